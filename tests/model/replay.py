"""Steps of the protocol, taken by the service's own scripts: what they answer is what the protocol says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.delivery import Delivery
from domain.effect import Send
from domain.errors import LeaseLost
from domain.ids import ConversationKey, DeliveryId
from domain.notification import Guarantee, Mode
from state import keys
from state.codec import Codec
from state.doubts import mark
from state.mail import Mail
from state.store import Store
from state.turn import Turn
from state.turns import AlreadyProcessed, Begun, Entry, Taken, Turns, UserStateChanged
from state.work import Claim, Work
from tests.model.protocol import Item, Outcome, Process, State, Step

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
LONG = 10_000
"""Seconds in which nothing ends by itself: what ends, a step says."""


@dataclass
class _InHand:
    """What a process of the model has in hand here."""

    token: str
    turn: Turn
    claim: Claim
    entries: list[Entry] = field(default_factory=list)


class Replay:
    """``after`` takes one step and answers what the service let see, in the protocol's terms.

    ``lease``: seconds for which work is in hand; it makes no difference to the protocol.
    """

    def __init__(self, store: Store, key: ConversationKey, *, lease: float) -> None:
        self._store = store
        self._key = key
        self._turns = Turns(store, Codec(), lambda: NOW)
        self._work = Work(store, key, lease=lease)
        self._mail = Mail(store, Work(store, f"unheard {key}", lease=LONG))
        self._in_hand: dict[int, _InHand] = {}
        self._tokens = 0

    async def after(self, before: State, step: Step) -> Any:
        match step.name, step.who:
            case "put", str(item):
                await self._mail.put([(self._key, _delivery(item))])
            case "wake", _:
                await self._work.wake(self._key)
            case "keep", str(item):
                await self._mail.keep_input(self._key, item, {"id": item}, NOW)
            case "promise", _:
                await self._work.wake(self._key, delay=LONG + 1)
            case "begin", (int(who), item):
                return await self._begin(before, step, who, item)
            case "crash", int(who):
                self._in_hand.pop(who, None)
            case _, int(who):
                process = before.processes[who]
                assert process is not None
                return await self._goes_on(step, who, process)
        return None

    async def holds(self) -> dict[str, Any]:
        """What the store has, for comparison with :func:`held`."""
        outbox = await self._store.run("LRANGE", keys.outbox(self._key), 0, -1)
        entries = [Entry.decode(entry).effect for entry in outbox]
        mailbox = await self._store.run("HKEYS", keys.mailbox(self._key))
        return {
            "outbox": [(_text(effect), effect.doubtful) for effect in entries if isinstance(effect, Send)],
            "mailbox": {name.decode().removeprefix("in:") for name in mailbox},
            "work": bool(await self._work.length()),
            "lock": bool(await self._store.run("HEXISTS", keys.conversation(self._key), "lock")),
        }

    # ------------------------------------------------------------------ beginning

    async def _begin(self, before: State, step: Step, who: int, item: Item | None) -> Any:
        if item is None:
            await self._store.run("ZADD", keys.work(self._key), "XX", 1, self._key)
            claims, _ = await self._work.claim(1)
            assert [claim.member for claim in claims] == [self._key]
        if before.lock is not None:
            await self._set("until", LONG if step.saw == "taken" else -LONG)
        if before.blocked:
            still = isinstance(step.saw, tuple) and step.saw[5]
            await self._set("blocked", LONG if still else -LONG)
        self._tokens += 1
        token = f"t{self._tokens}"
        begun = await self._turns.begin(self._key, token, activity_id=item, work=self._work)
        if isinstance(begun, Taken):
            return "taken"
        if isinstance(begun, AlreadyProcessed):
            await self._work.wake(self._key)
            return "already processed"
        return self._begun(step, who, begun)

    def _begun(self, step: Step, who: int, begun: Begun) -> Any:
        turn = begun.turn
        assert begun.claim is not None
        process = step.after.processes[who]
        assert process is not None
        entries = [*begun.leftovers]
        if entries and begun.doubtful:
            entries[0] = _doubted(entries[0])
        self._in_hand[who] = _InHand(turn.token, turn, begun.claim, entries)
        turn.activity_id = process.input
        kept = tuple(sorted(input.activity["id"] for input in turn.inputs))
        mail = tuple(sorted(delivery.id for delivery in turn.mail))
        outbox = tuple(_text(entry.effect) for entry in begun.leftovers)
        state = tuple(turn.state.own.get("items", ()))
        return outbox, mail, kept, state, begun.doubtful, begun.blocked_for > 0, turn.doubted

    async def _set(self, name: str, seconds: int) -> None:
        now = int((await self._store.run("TIME"))[0])
        await self._store.run("HSET", keys.conversation(self._key), name, (now + seconds) * 1000)

    # ------------------------------------------------------------------ going on

    async def _goes_on(self, step: Step, who: int, process: Process) -> Any:
        mine = self._in_hand[who]
        try:
            match step.name:
                case "early":
                    marked = mark(mine.token, step.after.early)
                    assert await self._turns.renew(self._key, mine.token, early=marked)
                    mine.turn.spoke_early = True
                    return None
                case "send":
                    if not await self._turns.renew(self._key, mine.token):
                        raise LeaseLost
                    return step.saw
                case "commit":
                    return await self._commit(mine, process)
                case "acknowledge":
                    released = step.after.lock is None
                    return await self._acknowledge(mine, process, release=released)
                case "close":
                    again_in = LONG if process.blocked or process.others else None
                    return await self._work.close(mine.claim, again_in=again_in)
        except LeaseLost:
            del self._in_hand[who]
            return "lost"
        raise AssertionError(step)

    async def _commit(self, mine: _InHand, process: Process) -> Any:
        new = (*process.mail, *((process.input,) if process.input is not None else ()))
        turn = mine.turn
        turn.state.own["items"] = [*process.read, *new]
        turn.doubted -= set(new[: process.early])
        for item in new[process.early :]:
            turn.showing = () if item == process.input else (_delivery(item),)
            turn.send({"type": "message", "text": item}, "https://channel.example/")
        committed = await self._turns.commit(turn)
        assert not isinstance(committed, UserStateChanged)
        mine.entries = [] if process.blocked else committed
        return tuple(_text(entry.effect) for entry in committed)

    async def _acknowledge(self, mine: _InHand, process: Process, *, release: bool) -> Any:
        done, rewritten, blocked_for = [], None, None
        if process.outcome in (Outcome.SETTLED, Outcome.UNKNOWN):
            done = [mine.entries.pop(0).id]
        elif process.outcome is not Outcome.NOTHING:
            head = mine.entries[0]
            rewritten = _doubted(head) if process.outcome is Outcome.DOUBTFUL else head
            blocked_for = float(LONG)
        (answer,) = await self._store.sequence(
            self._turns.acknowledgement(
                self._key, mine.token, done, rewritten=rewritten, blocked_for=blocked_for, release=release
            )
        )
        left = self._turns.acknowledged(answer, self._key)
        return left.outbox, left.mail


def held(state: State) -> dict[str, Any]:
    """What the store has to have in a state of the protocol."""
    return {
        "outbox": [tuple(entry) for entry in state.outbox],
        "mailbox": set(state.mailbox),
        "work": state.work is not None,
        "lock": state.lock is not None,
    }


def seen(saw: object) -> object:
    """What was seen, with mail and inputs in the order of their names: the mailbox has no order of its own."""
    if isinstance(saw, tuple) and len(saw) == 7:
        outbox, mail, kept, *rest = saw
        return (outbox, tuple(sorted(mail)), tuple(sorted(kept)), *rest)
    return saw


def _text(effect: Any) -> str:
    return str(effect.activity["text"])


def _doubted(entry: Entry) -> Entry:
    assert isinstance(entry.effect, Send)
    return replace(entry, effect=replace(entry.effect, doubtful=True))


def _delivery(item: Item) -> Delivery:
    at_most_once = item[0] == "x"
    return Delivery(
        id=DeliveryId(item),
        mode=Mode.RESUME,
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
        guarantee=Guarantee.AT_MOST_ONCE if at_most_once else Guarantee.AT_LEAST_ONCE,
    )
