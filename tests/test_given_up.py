"""What always takes its process with it, of what a user was promised or sent: that is counted, and it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import aiohttp
import orjson
import pytest

from app import Service
from channel.http import HttpChannel
from domain.effect import Send
from domain.errors import StoreUnavailable
from domain.ids import ConversationKey
from domain.sending import ChannelAnswer
from state import keys
from state.turn import Kept, Turn
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.own_dialogs.slow import gates
from tests.serving import impatient, serving
from tests.test_dead_letters import letters, replays
from tests.test_failing_dialogs import APOLOGY
from turns import outbox
from turns.failed_turns import DEATHS
from turns.pipeline import RUNS

__all__ = ["impatient"]

CARRY = HttpChannel.carry

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture(autouse=True)
def closed_gates() -> Iterator[None]:
    gates.clear()
    yield
    for gate in gates.values():
        gate.set()


async def promised(service: Service, person: Person, text: str, runs: int) -> Json:
    """What a process left that had answered 202 and then died, ``runs`` times."""
    activity, key = person.activity(text=text), ConversationKey(person.key)
    await service.mail.keep_input(key, activity["id"], activity, service.clock())
    kept = Kept(at=service.clock(), activity=activity, name=activity["id"])
    await service.mail.count_runs(key, kept, runs)
    return activity


async def runs_of(service: Service, person: Person, activity: Json) -> int | None:
    """As they are stored; None if the activity is not kept."""
    kept = await service.store.run("HGET", keys.mailbox(ConversationKey(person.key)), f"in:{activity['id']}")
    return None if kept is None else int(orjson.loads(kept)["runs"])


class TestARunOfWhatWasPromised:
    service = serving(ROOT_DIALOG="tests.own_dialogs.slow:Slow", FLUSH_AFTER="0.1")

    async def test_counts_before_it_ends(self, service: Service, ann: Person) -> None:
        """A run that ends without a word has been counted; one that commits is all that was wanted."""
        activity = await promised(service, ann, "talk", RUNS - 1)
        await service.work.wake(ConversationKey(ann.key))
        await ann.hears("one", "two")
        assert await runs_of(service, ann, activity) == RUNS
        for gate in ("more", "end"):
            gates[gate].set()
        await ann.hears("three", "four")
        assert await ann.posts(activity) == (200, None)
        assert await runs_of(service, ann, activity) is None

    async def test_is_not_to_blame_for_the_store(
        self, service: Service, ann: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A run that failed because the store was away is not counted."""
        commit, tries = service.turns.commit, 0

        async def away(turn: Turn) -> Any:
            nonlocal tries
            tries += 1
            if tries <= RUNS:
                raise StoreUnavailable("It is away.")
            return await commit(turn)

        monkeypatch.setattr(service.turns, "commit", away)
        activity = await promised(service, ann, "quick", 1)
        for number in range(1, RUNS + 1):
            await service.store.run("HDEL", keys.conversation(ConversationKey(ann.key)), "lock", "until")
            await service.work.wake(ConversationKey(ann.key))
            await until(partial(lambda number: tries >= number, number), what="another run")
            await until(lambda: not service.pipeline._lines.standing(ConversationKey(ann.key)), what="it is over")
            assert await runs_of(service, ann, activity) == 1
        await service.store.run("HDEL", keys.conversation(ConversationKey(ann.key)), "lock", "until")
        await service.work.wake(ConversationKey(ann.key))
        await ann.hears("quick")


class TestWhatEndedTooManyProcesses:
    @pytest.mark.parametrize("by", ["a wake-up", "the channel", "the next message"])
    async def test_is_given_up(
        self, service: Service, ann: Person, sender: Sender, caplog: pytest.LogCaptureFixture, by: str
    ) -> None:
        """Whoever comes upon it: the user is told once, the operator has a dead letter and a line in the log."""
        activity = await promised(service, ann, "the last straw", RUNS)
        if by == "a wake-up":
            await service.work.wake(ConversationKey(ann.key))
        elif by == "the channel":
            assert await ann.posts(activity) == (200, None)
        else:
            assert await ann.posts(ann.activity(text="hello")) == (200, None)
        apology, *rest = await ann.next(2 if by == "the next message" else 1)
        assert APOLOGY.fullmatch(apology)
        assert rest == (["You sent: hello"] if by == "the next message" else [])
        (record,) = [record for record in caplog.records if getattr(record, "action", "") == "input_given_up"]
        assert (vars(record)["conversation"], vars(record)["activity"]) == (ann.key, activity["id"])
        assert await runs_of(service, ann, activity) is None
        (letter,) = await letters(sender)
        assert (letter["conversation"], letter["reason"]) == (ann.key, "exhausted")
        assert await replays(sender, letter["id"]) == 409
        assert await ann.says("hello again") == ["You sent: hello again"]


async def dies(service: Service, person: Person, times: int, *, for_now: bool = False) -> None:
    """Turns of a conversation end with their processes, so many in a row; ``for_now``: the last has not ended yet."""
    until = 10**15 if for_now else 0
    field = ("lock", "somebody who died", "until", until, "died", times - 1)
    await service.store.run("HSET", keys.conversation(ConversationKey(person.key)), *field)


class TestANotificationThatEndsTheProcessThatShowsIt:
    async def test_is_given_up(self, service: Service, ann: Person, sender: Sender) -> None:
        """In the end, and by itself; what comes after it is shown."""
        await ann.says("hello")
        await dies(service, ann, DEATHS)
        poison = await sender.notifies(ann, "poison", mode="interject")
        assert (await sender.becomes(poison, "failed"))["reason"] == "exhausted"
        (letter,) = await letters(sender)
        assert (letter["notification"], letter["history"]) == (poison, ["RuntimeError"])
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert ann.news() == ["news"]

    async def test_is_tried_until_then(self, service: Service, ann: Person, sender: Sender) -> None:
        """Processes are killed by others too; a turn that comes to its end forgets those that did not."""
        await ann.says("hello")
        for text in ("one", "two"):
            await dies(service, ann, DEATHS - 1)
            await sender.becomes(await sender.notifies(ann, text, mode="interject"), "delivered")
        assert not await service.store.run("HEXISTS", keys.conversation(ConversationKey(ann.key)), "died")
        assert ann.news() == ["one", "two"]

    async def test_is_found_among_others(self, service: Service, ann: Person, sender: Sender) -> None:
        """Of several nobody knows which it was: each is tried alone before it is given up."""
        await ann.says("hello")
        await dies(service, ann, DEATHS, for_now=True)
        both = [await sender.notifies(ann, text, mode="interject") for text in ("one", "two")]
        await dies(service, ann, DEATHS)
        await service.work.wake(ConversationKey(ann.key))
        for notification in both:
            await sender.becomes(notification, "delivered")
        assert sorted(ann.news()) == ["one", "two"]

    async def test_is_given_up_in_the_inbox_too(self, service: Service, ann: Person, sender: Sender) -> None:
        """Held until its time had come; the form goes on."""
        await ann.says("report")
        held = await sender.notifies(ann, "now or never", mode="resume", holdFor=1)
        await sender.becomes(held, "held")
        await dies(service, ann, DEATHS)
        assert (await sender.becomes(held, "failed"))["reason"] == "exhausted"
        assert await ann.says("high") == ["How many people are affected?"]


class TestASendThatEndsItsProcess:
    @pytest.fixture
    def over(self, monkeypatch: pytest.MonkeyPatch) -> list[Send]:
        """The sends over which a process has ended: what is left of it is a lock that nobody lets go of."""
        carry, over = HttpChannel.carry, list[Send]()

        async def deadly(self: HttpChannel, send: Send, activity_id: str | None) -> ChannelAnswer:
            if "poison" in str(send.activity):
                over.append(send)
                raise asyncio.CancelledError
            return await carry(self, send, activity_id)

        monkeypatch.setattr(HttpChannel, "carry", deadly)
        return over

    async def ends(self, service: Service, person: Person, over: list[Send], times: int) -> None:
        """Wait until so many have ended, each when the lock of the one before it has."""
        key = ConversationKey(person.key)
        for number in range(1, times + 1):
            await until(partial(lambda number: len(over) >= number, number), what=f"the end of {number}")
            await until(lambda: not service.pipeline._lines.standing(key), what="its turn is gone")
            if number < times:
                await self.others_go_on(service, person)

    async def others_go_on(self, service: Service, person: Person) -> None:
        key = ConversationKey(person.key)
        await service.store.run("HSET", keys.conversation(key), "until", 0)
        await service.work.wake(key)

    async def test_is_put_aside_and_what_is_behind_it_goes_on(
        self, service: Service, ann: Person, sender: Sender, over: list[Send], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nobody knows whether it was shown; the operator may have it tried once more."""
        await ann.says("hello")
        poison = await sender.notifies(ann, "poison", mode="interject")
        await self.ends(service, ann, over, outbox.RUNS)
        news = await sender.notifies(ann, "news", mode="interject")
        await self.others_go_on(service, ann)
        delivery = await sender.becomes(poison, "unknown")
        assert delivery["attempts"] == len(over) == outbox.RUNS
        await sender.becomes(news, "delivered")
        assert ann.news() == ["news"]
        (letter,) = await letters(sender)
        assert (letter["notification"], letter["reason"]) == (poison, "unknown")
        assert "each of 3 processes" in str(letter["history"])
        assert [vars(each)["conversation"] for each in caplog.records if vars(each).get("action") == "effect_put_aside"]
        assert await ann.says("hi") == ["You sent: hi"]

    async def test_is_kept_as_a_dead_letter_if_it_is_a_reply(
        self, service: Service, ann: Person, sender: Sender, over: list[Send]
    ) -> None:
        with pytest.raises(aiohttp.ClientError):
            await ann.posts(ann.activity(text="poison"))
        await self.ends(service, ann, over, outbox.RUNS)
        await self.others_go_on(service, ann)
        assert await ann.says("hi") == ["You sent: hi"]
        (letter,) = await letters(sender)
        assert (letter["reason"], letter["conversation"]) == ("exhausted", ann.key)

    async def test_is_tried_until_then(
        self, service: Service, ann: Person, sender: Sender, over: list[Send], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Processes are killed by others too."""
        await ann.says("hello")
        for text in ("poison", "more poison"):
            over.clear()
            notification = await sender.notifies(ann, text, mode="interject")
            await self.ends(service, ann, over, outbox.RUNS - 1)
            with monkeypatch.context() as healed:
                healed.setattr(HttpChannel, "carry", CARRY)
                await self.others_go_on(service, ann)
                assert (await sender.becomes(notification, "delivered"))["mayBeRepeated"] is True
        assert ann.news() == ["poison", "more poison"]
