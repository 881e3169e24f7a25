"""The way of every turn: take the lock and read, run the bot, commit once, carry out what was committed.

There are three ways in: the user's turn, which waits for the conversation; the proactive turn, which does not (its
conversation stays in hand and is looked at again); and the turn that the bot's own code begins, which waits.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from botbuilder.core import InvokeResponse, TurnContext
from botbuilder.schema import Activity, ActivityTypes
from botframework.connector.auth import ClaimsIdentity

from domain.clock import Clock
from domain.delivery import Failure, Status
from domain.effect import Send
from domain.errors import ConversationFull, LeaseLost, StoreUnavailable, TooManyJobs
from domain.ids import ConversationKey, conversation_key, random_id
from domain.notification import Json
from domain.observing import Observer
from domain.reachability import Reachability, Standing
from domain.value import value
from proactive.beginning_anew import apologize_once_more, begin_anew, has_no_end, no_apology_due, nothing_waits
from proactive.presentation import start_over_card
from proactive.texts import say
from sdk.activities import activity_from_json, json_of, to_json
from sdk.adapter import CURRENT_TURN, AsideAdapter
from sdk.clients import SdkClients
from sdk.locales import usable
from sdk.presence import presence
from sdk.references import inbound_record, proactive_activity, spoken_to
from state.fault_points import reached
from state.mail import Mail
from state.pins import PATIENCE, PAUSES, Pin
from state.store import HURRIED
from state.turn import Kept, Turn
from state.turns import LEASE, AlreadyProcessed, Begun, Entry, Taken, Turns, UserStateChanged
from state.work import Claim, Work
from turns.early import EarlyOutput
from turns.failed_turns import (
    UNREADABLE_PAUSE,
    apology,
    blame,
    blame_inbox,
    failure_answer,
    leave_mail,
    look_at_inbox,
    refuse_what_kills,
    set_aside_what_failed,
)
from turns.heard import answered_in_body, known_as, speaker
from turns.later import Later
from turns.lines import Lines
from turns.outbox import Outbox
from turns.precedence import Precedence
from turns.send_limits import may_go_at_once

log = logging.getLogger("aside.turn")

RERUNS = 8
"""How often a turn is run again because another conversation of its user committed in between."""
RUNS = 3
"""Runs of what a user said that may end with their process, before it is given up."""
BACK_OFF = (0.005, 0.25)
"""First and longest pause, in seconds, of a user's turn while another process has the conversation."""
OWN_PATIENCE = 120.0
"""Seconds that a turn which the bot's own code begins waits for others of its conversation: should one of these wait
for just that code, both go on."""
OUTBOX = 500
"""Effects that wait in an outbox; with so many, its conversation gets no turn until the channel accepts some."""

Handler = Callable[[TurnContext], Awaitable[None]]
Begin = Callable[[], Awaitable[Begun | Taken | AlreadyProcessed]]


@dataclass(frozen=True)
class Duplicate:
    """The conversation has had this activity; nothing was done."""


@value
class _Held:
    """A conversation in this process's hand: the lock's token, and the work to be closed with it."""

    key: ConversationKey
    token: str
    claim: Claim

    @classmethod
    def of(cls, begun: Begun) -> _Held:
        assert begun.claim is not None
        return cls(key=begun.turn.conversation, token=begun.turn.token, claim=begun.claim)


class Pipeline:
    """``apologize`` gives the sentence that a user is told when a turn failed: of a reference id, a locale, whether
    what the bot knew of the conversation is lost, and whether it failed so often that the user is offered to begin
    anew. ``vouching`` are the channels that answer for what they say of people. ``ended`` is told each turn's kind and
    outcome, ``observer`` what it leaves behind. ``continued`` is the handler of turns that code of the bot's own
    begins: of its callback and the context."""

    def __init__(
        self,
        *,
        turns: Turns,
        outbox: Outbox,
        conversations: Work,
        mail: Mail,
        adapter: AsideAdapter,
        clients: SdkClients,
        handler: Handler,
        continued: Callable[[Handler, TurnContext], Awaitable[None]],
        apologize: Callable[[str, str | None, bool, bool], str],
        app_id: str,
        vouching: Collection[str],
        flush_after: timedelta,
        ended: Callable[[str, str], None],
        observer: Observer,
        clock: Clock,
    ) -> None:
        self._observer = observer
        self._ended = ended
        self._clock = clock
        self._mail = mail
        self._turns = turns
        self._outbox = outbox
        self._work = conversations
        self._adapter = adapter
        self._clients = clients
        self._handler = handler
        self._continued = continued
        adapter.turn_of_its_own = self.turn_of_its_own
        self._apologize = apologize
        self._app_id = app_id
        self._vouching = vouching
        self._flush_after = flush_after
        self._lines = Lines()
        self.precedence = Precedence()

    # ------------------------------------------------------------------ the three ways in

    async def user_turn(self, identity: ClaimsIdentity, activity: Activity) -> InvokeResponse | Duplicate | None:
        """Run the turn of an inbound activity, once the conversation is its own.

        Raises :class:`StoreUnavailable` and :class:`ConversationFull`.
        """
        key = conversation_key(activity.channel_id, activity.conversation.id)
        received = self._clock()
        if self._lines.standing(key):
            self.precedence.hurry(key)
        async with self._lines.turn(key):
            with self.precedence.of_user():
                return await self._in_line(key, received, identity, activity)

    async def _in_line(
        self, key: ConversationKey, received: datetime, identity: ClaimsIdentity, activity: Activity
    ) -> InvokeResponse | Duplicate | None:
        """The user's turn, when it is the next of this process in the conversation."""
        user, known = speaker(activity), known_as(activity)
        while True:
            begin = partial(self._turns.begin, key, random_id("trn"), user=user, activity_id=known)
            reached("before_lock")
            begun = await self._wait_for(partial(begin, work=self._work))
            if not isinstance(begun, Begun):
                await self._work.wake(key)  # whatever else it was in hand for is still to be done
                self._ended("user", "duplicate")
                said = await self._turns.answer(key, known) if known and answered_in_body(activity) else None
                return Duplicate() if said is None else InvokeResponse(**said)
            held = _Held.of(begun)
            mine = next((kept for kept in begun.turn.inputs if kept.name == known), None)
            earlier = next((kept for kept in begun.turn.inputs if kept.at < received), mine)
            if earlier is None or (earlier is mine and mine.runs < RUNS):
                return await self._said(held, begun, begin, identity, activity)
            await self._said_before(held, begun, earlier)

    async def keep(self, activity: Activity, waited: float) -> bool:
        """Promise the turn of an activity that came in ``waited`` seconds ago: should this process die, another
        runs it. False for one that has no id, by which its turn would be known. Raises :class:`StoreUnavailable`."""
        known = known_as(activity)
        if known is None:
            return False
        key = conversation_key(activity.channel_id, activity.conversation.id)
        await self._mail.keep_input(key, known, to_json(activity), self._clock() - timedelta(seconds=waited))
        return True

    async def proactive_turn(self, claim: Claim) -> None:
        """Give a conversation that was woken its turn, unless it has one; then whoever has it sees to the rest."""
        key = ConversationKey(claim.member)
        if self._lines.standing(key):
            return
        with suppress(ConversationFull):  # its mail, and what its user was promised, is kept
            await self._proactive_turn(key)

    async def _proactive_turn(self, key: ConversationKey) -> None:
        async with self._lines.turn(key):
            begin = partial(self._turns.begin, key, random_id("trn"))
            HURRIED.set(False)  # the task may have had a turn before this one
            await self._give_way(key)
            reached("before_lock")
            begun = await begin(work=self._work)
            if not isinstance(begun, Begun):
                return
            held = _Held.of(begun)
            if begun.turn.inputs:
                await self._said_before(held, begun, begun.turn.inputs[0])
                return

            async def run(turn: Turn) -> None:
                set_aside_what_failed(turn, user=False)
                if turn.record is None:
                    _nobody_there(turn)
                    return
                if turn.standing.bars(turn.at):
                    _not_sent_to(turn)
                if turn.mail or turn.withdrawn or turn.state.own.get("inbox"):
                    refuse_what_kills(turn)
                    identity = self._adapter.create_claims_identity(self._app_id)
                    turn.user = spoken_to(turn)
                    activity = proactive_activity(turn)
                    await self._in_turn(
                        turn, self._adapter.process_proactive(identity, activity, None, self._handler)
                    )

            await self._transaction(held, begun, begin, run, None)

    async def turn_of_its_own(self, activity: Activity, logic: Handler) -> None:
        """Run a turn that the bot's own code begins: ``logic`` in place of the dialogs, once the conversation is free.
        Mail is left to the turn that follows. Raises what ``logic`` does, and then nothing of the turn stays; also
        :class:`StoreUnavailable` and :class:`ConversationFull`."""
        key = conversation_key(activity.channel_id, activity.conversation.id)
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(OWN_PATIENCE):
                    await stack.enter_async_context(self._lines.turn(key))
                HURRIED.set(False)
                await self._of_its_own(key, activity, logic)
        except (StoreUnavailable, ConversationFull, LeaseLost, TimeoutError) as error:
            ids = {"action": "continuation_refused", "conversation": key}
            log.error("a turn that the bot began was not run: %s", str(error) or "no end of waiting", extra=ids)
            raise

    async def _of_its_own(self, key: ConversationKey, activity: Activity, logic: Handler) -> None:
        while True:
            begin = partial(self._turns.begin, key, random_id("trn"))
            await self._give_way(key)
            begun: Begun = await self._wait_for(partial(begin, work=self._work))
            held = _Held.of(begun)
            if not begun.turn.inputs:
                break
            await self._said_before(held, begun, begun.turn.inputs[0])
        identity = self._adapter.create_claims_identity(self._app_id)
        callback = partial(self._continued, logic)

        async def run(turn: Turn) -> None:
            leave_mail(turn)
            turn.user = speaker(activity) or spoken_to(turn)
            await self._in_turn(turn, self._adapter.process_proactive(identity, activity, None, callback))

        await self._transaction(held, begun, begin, run, None, own=True)

    async def _said(
        self,
        held: _Held,
        begun: Begun,
        begin: Begin,
        identity: ClaimsIdentity,
        activity: Activity,
    ) -> InvokeResponse | None:
        async def run(turn: Turn) -> InvokeResponse | None:
            set_aside_what_failed(turn, user=True)
            if activity.reply_to_id:
                named = await self._turns.provisional_id(held.key, str(activity.reply_to_id))
                activity.reply_to_id = named or activity.reply_to_id
            self._hear(turn, activity)
            answer: InvokeResponse | None = await self._in_turn(
                turn, self._adapter.process_activity(self._clients.result(identity), activity, self._handler)
            )
            return answer

        return await self._transaction(held, begun, begin, run, activity)

    async def _said_before(self, held: _Held, begun: Begun, kept: Kept) -> None:
        """Run the turn of an activity whose process did not live to commit it. It was authenticated when it came.

        Should it be what kills processes, it is given up after a few: the user is told, and the others are spared."""
        activity = activity_from_json(kept.activity)
        begun.turn.activity_id = kept.name
        begin = partial(self._turns.begin, held.key, held.token, activity_id=kept.name)
        if kept.runs >= RUNS:
            await self._give_up(held, begun, begin, kept, activity)
            return
        log.warning(
            "a turn is run in place of a process that died",
            extra={"action": "input_recovered", "conversation": held.key, "activity": activity.id},
        )
        await self._mail.count_runs(held.key, kept, kept.runs + 1)
        identity = self._adapter.create_claims_identity(self._app_id)
        try:
            await self._said(held, begun, begin, identity, activity)
        except (StoreUnavailable, ConversationFull, asyncio.CancelledError):  # it is not to blame for that
            with suppress(StoreUnavailable):
                await self._mail.count_runs(held.key, kept, kept.runs)
            raise

    async def _give_up(
        self, held: _Held, begun: Begun, begin: Begin, kept: Kept, activity: Activity
    ) -> None:
        """End what a user said like a turn that raised: its runs took their processes with them."""
        ids = {"action": "input_given_up", "conversation": held.key, "activity": activity.id, "runs": kept.runs}
        log.error("what a user said is given up: each run of its turn ended with its process", extra=ids)
        history = ["its process ended during the turn"] * kept.runs
        await self._mail.give_up_input(held.key, kept, self._clock(), history)

        async def run(_: Turn) -> InvokeResponse | None:
            raise RuntimeError(f"{kept.runs} runs of this turn ended with their process")

        await self._transaction(held, begun, begin, run, activity)

    def _hear(self, turn: Turn, activity: Activity) -> None:
        """Make the turn that of an inbound activity."""
        user = speaker(activity)
        if user != turn.user:
            turn.user_state = None  # it was read for somebody else of the group
        turn.user = user
        inbound_record(turn, activity, self._vouching)
        activity.locale = usable(activity.locale)

    # ------------------------------------------------------------------ the transaction

    async def _transaction(
        self,
        held: _Held,
        begun: Begun,
        begin: Begin,
        run: Callable[[Turn], Awaitable[InvokeResponse | None]],
        activity: Activity | None,
        *,
        own: bool = False,
    ) -> InvokeResponse | None:
        keeper = Later(LEASE.total_seconds() / 4, partial(self._keep, held), f"lease {held.key}")
        try:
            reached("loaded")
            if begun.turn.spoke_early:
                _warn_of_repetition(begun.turn)
            blocked_for = await self._catch_up(held, begun, activity)
            for run_before in range(RERUNS):
                turn = begun.turn
                early = EarlyOutput(
                    *(turn, self._adapter, self._turns, self._outbox),
                    after=self._flush_after,
                    activity=activity,
                    blocked=bool(blocked_for),
                )
                if activity is None:
                    await self._give_way(held.key)
                try:
                    async with early:
                        answer = await run(turn)
                    turn.answer = _in_json(answer)
                    reached("before_commit")
                    committed = await self._turns.commit(turn)
                except (LeaseLost, StoreUnavailable):
                    raise
                except Exception as error:
                    return await self._failed(held, begin, early, activity, error, blocked_for, own=own)
                if not isinstance(committed, UserStateChanged):
                    reached("committed")
                    self._ended("proactive" if activity is None else "user", "committed")
                    await self._finish(held, turn, committed, blocked_for, early, answering=activity is not None)
                    return answer
                if early.accepted:
                    break  # what the user has read cannot be said again
                if run_before:
                    await self._go_first(turn)
                begun = await self._again(begin)
            overtaken = RuntimeError("the user's state was changed by other conversations meanwhile")
            return await self._failed(held, begin, early, activity, overtaken, blocked_for, own=own)
        finally:
            keeper.call_off()
            self._turns.forget(held.token)

    async def _go_first(self, turn: Turn) -> None:
        """Have other conversations of the user, who have overtaken a turn twice, wait until it has been run again."""
        turn.user_state = None  # whatever it is by now
        pause, longest = PAUSES
        until = time.monotonic() + PATIENCE
        while await self._turns.pin(turn) is Pin.TAKEN and time.monotonic() < until:
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))
            pause = min(longest, pause * 2)

    async def _catch_up(self, held: _Held, begun: Begun, activity: Activity | None) -> float:
        """Carry out what earlier turns left; where the channel wants nothing now, the seconds until that is looked at.

        Raises :class:`ConversationFull`: the conversation is let go until then, and its mail stays where it is.
        """
        leftovers, blocked_for = begun.leftovers, begun.blocked_for
        if blocked_for:
            leftovers, blocked_for = await self._outbox.drop_what_is_over(
                held.key, held.token, leftovers, begun.turn.withdrawn, blocked_for
            )
        waiting = len(leftovers)
        if blocked_for and activity is not None and may_go_at_once(leftovers, activity.service_url):
            await self._turns.unblock(held.key, held.token)
            blocked_for = 0.0
        if waiting and not blocked_for:
            carried = await self._outbox.carry_out(
                *(held.key, held.token, leftovers),
                deaths=begun.deaths,
                answering=activity is not None,
                service_url=_address(begun.turn, activity),
                release=False,
                standing=_standing(begun.turn, activity),
            )
            begun.turn.standing = carried.standing
            waiting, blocked_for = carried.left.outbox, carried.blocked_for or 0.0
        if waiting < OUTBOX or not blocked_for:
            return blocked_for
        log.warning("an outbox is full", extra={"action": "outbox_full", "conversation": held.key})
        self._ended("proactive" if activity is None else "user", "refused")
        closing = (self._work, held.claim, blocked_for)
        standing = begun.turn.standing
        await self._outbox.carry_out(held.key, held.token, [], release=True, closing=closing, standing=standing)
        raise ConversationFull("The channel accepts nothing for this conversation now.", blocked_for)

    async def _give_way(self, key: ConversationKey) -> None:
        """Between the steps of a proactive turn. Should its user wait for it, it is as urgent as the user's own."""
        if not self._lines.awaited(key):
            await self.precedence.give_way(key)
        if self._lines.awaited(key):
            HURRIED.set(True)

    async def _in_turn(self, turn: Turn, running: Awaitable[Any]) -> Any:
        before = CURRENT_TURN.set(turn)
        try:
            return await running
        except SystemExit as error:  # of a dialog's: it would end the service and everybody's turns
            raise RuntimeError(f"the bot raised SystemExit({error.code!r})") from error
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            # Nobody has cancelled the turn: what the bot waited for was cancelled.
            raise RuntimeError("the bot raised CancelledError") from error
        finally:
            CURRENT_TURN.reset(before)
            turn.end()

    async def _finish(
        self,
        held: _Held,
        turn: Turn,
        entries: list[Entry],
        blocked_for: float,
        early: EarlyOutput,
        *,
        answering: bool,
    ) -> None:
        """Carry out what was committed, unless the channel wants nothing now; let go of the conversation."""
        if not answering:
            await self._give_way(held.key)
        again_in = turn.look_again()
        blocked_for = max(blocked_for, early.blocked_for)
        if blocked_for:
            again_in = blocked_for if again_in is None else min(again_in, blocked_for)
            # Sends wait their turn in the outbox. The others are carried out now, and once more when it is theirs.
            entries = [entry for entry in entries if not isinstance(entry.effect, Send)]
        carried = await self._outbox.carry_out(
            *(held.key, held.token, entries),
            sent=turn.sent_early,
            answering=answering,
            blocked_for=early.blocked_for or None,
            release=True,
            closing=(self._work, held.claim, again_in),
            standing=turn.standing,
        )
        self._observer.left(carried.left.outbox)
        if "inbox" in turn.fields:
            self._observer.kept(int(turn.fields["inbox"]))
        stuck = carried.left.outbox and not blocked_for and not carried.blocked_for
        if carried.left.mail > turn.mail_left() or stuck:
            await self._work.wake(held.key)

    async def _again(self, begin: Begin) -> Begun:
        """Read again what a failed or overtaken turn had read; the lock is still held."""
        begun = await begin()
        if not isinstance(begun, Begun) or begun.doubtful:
            raise LeaseLost("The conversation was taken over.")
        return begun

    async def _failed(
        self,
        held: _Held,
        begin: Begin,
        early: EarlyOutput,
        activity: Activity | None,
        error: Exception,
        blocked_for: float,
        *,
        own: bool,
    ) -> InvokeResponse | None:
        """End a turn that raised: old state, none of its output; one plain sentence to a user who said something.
        Whoever began a turn of the bot's ``own`` is told by the exception."""
        answer, turn = None, early.turn
        reference = held.token.removeprefix("trn_")[-8:]
        ids = {"conversation": held.key, "reference": reference, "sent_early": early.accepted}
        self._ended("proactive" if activity is None else "user", "failed")
        if isinstance(error, TooManyJobs):
            log.warning("a turn failed: %s", error, extra={"action": "jobs_refused", **ids})
        else:
            log.error("a turn failed", exc_info=error, extra={"action": "turn_failed", **ids})
        ended = (await self._again(begin)).turn
        shown = early.carry_over(ended)
        if activity is not None:
            self._hear(ended, activity)
            ended.mail_ids = [name for name in ended.mail_ids if name in shown]
            ended.mail_wake_at = ended.at if ended.mail else None
            sentence = await self._sentence(turn, ended, error, activity, reference)
            answer = failure_answer(activity, sentence)
            speaks = answer is None and activity.type == ActivityTypes.message
            if speaks and not await self._told(ended, activity, error):
                ended.send(sentence, activity.service_url)
            ended.answer = _in_json(answer)
            look_at_inbox(ended, 0)
        elif own:
            leave_mail(ended)
        elif turn.unreadable():
            ended.mail_ids = []  # it waits: for a process that can read the state, or for the user to speak
            ended.mail_wake_at = ended.at + UNREADABLE_PAUSE
        else:
            blame(ended, turn, shown, error)
            blame_inbox(ended, turn, error)
        committed = await self._turns.commit(ended)
        assert not isinstance(committed, UserStateChanged)
        await self._finish(held, ended, committed, blocked_for, early, answering=activity is not None)
        if own:
            raise error
        return answer

    async def _sentence(
        self, failed: Turn, ended: Turn, error: Exception, activity: Activity, reference: str
    ) -> Json:
        """What the user of a turn that raised is told."""
        if isinstance(error, TooManyJobs):
            return apology(activity, say("jobs_full", activity.locale, count=error.limit))
        lost = await self._start_over(failed, ended, error)
        stuck = not lost and activity.type == ActivityTypes.message and apologize_once_more(ended)
        sentence = apology(activity, self._apologize(reference, activity.locale, lost, stuck))
        if stuck:
            sentence["attachments"] = [start_over_card(activity.locale)]
        return sentence

    async def _told(self, ended: Turn, activity: Activity, error: Exception) -> bool:
        """Whether the bot's own ``on_turn_error`` has told the user that a turn failed."""
        if self._adapter.on_turn_error is None:
            return False
        before = list(ended.effects)
        identity = self._adapter.create_claims_identity(self._app_id)
        try:
            await self._in_turn(ended, self._adapter.tell_error(identity, activity, error))
        except Exception:
            ids = {"action": "error_handler_failed", "conversation": ended.conversation}
            log.exception("on_turn_error of the bot failed", extra=ids)
            ended.effects[:] = before
        return any(isinstance(effect, Send) for effect in ended.effects[len(before) :])

    async def _start_over(self, failed: Turn, ended: Turn, error: Exception) -> bool:
        """Where a user's turn failed because state cannot be read, put that state aside; where its dialogs have no end,
        drop them: the user begins anew.

        What the service itself keeps beside it (the inbox) stays."""
        if has_no_end(error, failed):
            begin_anew(ended)
            no_apology_due(ended)
            return True
        if not await self._turns.put_aside(failed):
            return False
        if failed.state.unreadable:
            ended.state.keep({})
            nothing_waits(ended)
        if failed.user_state is not None and failed.user_state.unreadable:
            document = await ended.user_document()
            assert document is not None
            document.keep({})
        return True

    # ------------------------------------------------------------------ the lock

    async def _wait_for(self, begin: Begin) -> Any:
        pause, longest = BACK_OFF
        while isinstance(begun := await begin(), Taken):
            await asyncio.sleep(min(pause, begun.ends_in + 0.001) * random.uniform(0.75, 1.25))
            pause = min(longest, pause * 2)
        return begun

    async def _keep(self, held: _Held) -> None:
        """Keep the lease alive while the turn runs. A turn that lost it finds out when it commits."""
        while True:
            try:
                if not await self._turns.renew(held.key, held.token):
                    ids = {"action": "lease_lost", "conversation": held.key}
                    log.error("a turn lost its conversation to another process", extra=ids)
                    return
            except StoreUnavailable:
                pass
            await asyncio.sleep(LEASE.total_seconds() / 4)


def _in_json(answer: InvokeResponse | None) -> Json | None:
    return None if answer is None else {"status": int(answer.status or 200), "body": json_of(answer.body)}


def _address(turn: Turn, activity: Activity | None) -> str | None:
    """Where the conversation is now: what was committed before it moved is sent there too."""
    known: str | None = (turn.record or {}).get("reference", {}).get("serviceUrl")
    return known if activity is None else activity.service_url


def _warn_of_repetition(turn: Turn) -> None:
    """Of a reply there is no record that could say that it may have been repeated."""
    ids = {"conversation": turn.conversation, "deliveries": sorted(turn.doubted)}
    text = "a turn that never committed had said something already, which may be said again"
    log.warning(text, extra={"action": "early_output_in_doubt", **ids})


def _standing(turn: Turn, activity: Activity | None) -> Standing:
    """Whether the bot can speak in a turn's conversation, knowing what has come in."""
    present = activity is not None and presence(activity) is Reachability.ACTIVE
    return Standing() if present else turn.standing


def _not_sent_to(turn: Turn) -> None:
    """Mail for a conversation where the bot cannot speak: the sender is told at once, and may have it tried."""
    tried = {each.id for each in turn.mail if each.replayed or each.id in turn.withdrawn or each.expires_at <= turn.at}
    for delivery in turn.mail:
        if delivery.id not in tried:
            turn.report(delivery, Status.FAILED, reason=Failure(turn.standing.reach.value).value)
    turn.mail = [delivery for delivery in turn.mail if delivery.id in tried]


def _nobody_there(turn: Turn) -> None:
    """Mail for a conversation that nobody ever heard of."""
    for delivery in turn.mail:
        turn.report(delivery, Status.FAILED, reason=Failure.GONE.value)
