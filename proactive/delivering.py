"""Putting deliveries to the user: in the turn, under the lock, as the phase of the conversation allows."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import orjson
from botbuilder.core import TurnContext
from botbuilder.schema import DeliveryModes

from domain.decision import Decision, after_reply, before_reply, decide
from domain.delivery import Delivery, Failure, Status
from domain.effect import Operation, Send
from domain.notification import Content, Guarantee, Json, Mode
from domain.phase import Phase, phase_of
from proactive.answers import RowOf, answered, tap_of
from proactive.asking import Draft, ask_again, by_the_service, keep_question, unnoticed
from proactive.host import DialogHost, Stack
from proactive.inbox import TAKEN, ContentOf, Said, content_of_delivery, forget, held, open_entry, remember
from proactive.listing import page_asked_for, show_inbox
from proactive.presentation import LINES, OPEN_FIELD, digest, in_digest_order, present
from proactive.texts import say
from state.turn import Turn, turn_of

log = logging.getLogger("aside.delivering")

DIGEST_FROM = 4
"""So many deliveries released at once are shown as one digest."""
INBOX = 200
"""Deliveries that a conversation keeps for its user at most."""
SAY_TRIES = 3
_OPEN_SAID = re.compile(r"open ((?:ntf|job)_[0-9a-z]+\.\w+)")
"""``OPEN_COMMAND`` with a delivery's id; what a person types has a number."""
_SHOWN_IN = (Operation.SEND, Operation.UPDATE)
"""What a delivery may be shown in, the better first."""


class Delivering:
    """``content_of`` answers what a notification says, ``row_of`` what became of one of its deliveries; None once the
    record is gone."""

    def __init__(self, host: DialogHost, content_of: ContentOf, row_of: RowOf, away_after: timedelta) -> None:
        self._host = host
        self._content_of = content_of
        self._row_of = row_of
        self._away_after = away_after

    # ------------------------------------------------------------------ the three moments

    async def proactive(self, context: TurnContext) -> None:
        """The whole of a turn that the user did not cause."""
        turn = turn_of(context)
        inbox = _take_in(turn)
        phase = await self._phase(context, turn)
        decisions = [(delivery, decide(delivery, phase, turn.at)) for delivery in inbox]
        said = await self._carry(context, turn, decisions)
        if said and phase is not Phase.FREE:
            await ask_again(self._host, context)

    async def offer_to_bot(self, context: TurnContext, logic: Callable[[], Awaitable[None]]) -> None:
        """Let the bot have the event first, with what each delivery says; what it says that it took care of is
        delivered with what it has sent."""
        turn = turn_of(context)
        for told in (context.activity.value or {}).get("deliveries", ()):
            delivery = next((each for each in turn.mail if each.id == told["id"]), None)
            content = delivery and await content_of_delivery(delivery, self._content_of)
            told["content"] = content.to_json() if content else None
        before = len(turn.effects)
        with unnoticed(context):
            await logic()
        taken = [each for each in turn.mail if each.id in context.turn_state.get(TAKEN, ())]
        if not taken:
            return
        if any(isinstance(effect, Send) for effect in turn.effects[before:]):
            _shown_in(turn, before, tuple(taken))
        else:
            for delivery in taken:
                turn.report(delivery, Status.DELIVERED, reason="handled_by_bot")
        turn.mail = [each for each in turn.mail if each not in taken]

    async def before_reply(self, context: TurnContext) -> None:
        """At the start of the user's turn: what was queued for it comes first."""
        turn = turn_of(context)
        decisions = [(delivery, before_reply(delivery, turn.at)) for delivery in _take_in(turn)]
        await self._carry(context, turn, decisions)

    async def after_reply(self, context: TurnContext) -> None:
        """At the end of the user's turn: what was held is said if the user is free now."""
        turn = turn_of(context)
        phase = await self._phase(context, turn)
        inbox = held(turn)
        holding = [delivery for delivery in inbox if delivery.mode is not Mode.QUEUE]
        if holding:
            queued = [delivery for delivery in inbox if delivery.mode is Mode.QUEUE]
            decisions = [(delivery, after_reply(delivery, phase, turn.at)) for delivery in holding]
            said = await self._carry(context, turn, decisions, keeping=queued)
            if said and phase is not Phase.FREE:
                await ask_again(self._host, context)

    async def conclude(self, context: TurnContext) -> None:
        """At the end of every turn: what the API shows, and when to look again without being asked."""
        turn = turn_of(context)
        stack = await self._host.stack(context)
        await keep_question(self._host, context, waiting=stack.waiting)
        _describe(turn, stack)
        turn.wake_at = self._next_look(turn, stack)

    async def open(self, context: TurnContext) -> bool:
        """Show one delivery of a digest, or the inbox, if that is what the user's activity asks for."""
        tapped = _tapped(context)
        if (page := page_asked_for(context, tapped)) is not None:
            with by_the_service(context):
                await show_inbox(context, self._content_of, page)
            await ask_again(self._host, context)
            return True
        wanted = tapped.get(OPEN_FIELD)
        if wanted is None and (named := _OPEN_SAID.fullmatch((context.activity.text or "").strip())):
            wanted = named[1]
        if not isinstance(wanted, str):
            return False
        with by_the_service(context):
            if not await open_entry(context, self._content_of, wanted):
                await context.send_activity(say("digest_gone", context.activity.locale))
        await ask_again(self._host, context)
        return True

    async def answer(self, context: TurnContext) -> bool:
        """Take an answer to a notification, if that is what the user's activity is: a tap on one of its buttons. It is
        offered to the dialogs; where none takes care of it, the user is told that it has arrived."""
        tap = tap_of(context, _tapped(context))
        if tap is None:
            return False
        locale = context.activity.locale
        given = await answered(context, tap, self._content_of, self._row_of)
        if given is not None and await self._host.offer_answer(context, given.event):
            return True
        if given is None:
            said = say("digest_gone", locale)
        else:
            said = say("answer_noted" if given.first else "answer_stands", locale, title=given.title)
        with by_the_service(context):
            await context.send_activity(said)
        await ask_again(self._host, context)
        return True

    # ------------------------------------------------------------------ saying

    async def _carry(
        self,
        context: TurnContext,
        turn: Turn,
        decisions: Sequence[tuple[Delivery, Decision]],
        keeping: Sequence[Delivery] = (),
    ) -> bool:
        """Do what was decided. True if something was said."""
        kept = list(keeping)
        to_say: list[Said] = []
        for delivery, decision in decisions:
            if decision is Decision.EXPIRE:
                turn.report(delivery, Status.EXPIRED)
            elif decision in (Decision.SAY, Decision.SAY_AND_ASK_AGAIN):
                content = await content_of_delivery(delivery, self._content_of)
                if content is None:
                    turn.report(delivery, Status.EXPIRED)
                else:
                    to_say.append((delivery, content))
            else:
                _keep(turn, kept, delivery, decision)
        draft = Draft(context)
        await self._show(context, turn, kept, to_say)
        turn.state.own["inbox"] = [delivery.to_json() for delivery in _fitting(turn, kept)]
        return draft.says_something

    async def _show(self, context: TurnContext, turn: Turn, kept: list[Delivery], to_say: Sequence[Said]) -> None:
        """Offer each to the active dialog, and say what it leaves: where it stands, or of many the user's own by
        themselves and the others as a digest."""
        left: list[Said] = []
        listening = bool(to_say) and await self._host.active(context)
        for pair in to_say:
            if listening and await self._tried(context, turn, kept, [pair], partial(self._offer, context, pair)):
                continue
            if len(to_say) < DIGEST_FROM:
                await self._tried(context, turn, kept, [pair], partial(self._say, context, [pair]))
            else:
                left.append(pair)
        for shown in _gathered(left):
            await self._tried(context, turn, kept, shown, partial(self._say, context, shown))

    async def _offer(self, context: TurnContext, pair: Said) -> bool:
        return await self._host.offer(context, _offered(*pair))

    async def _say(self, context: TurnContext, shown: Sequence[Said]) -> bool:
        (delivery, content), *more = shown
        message = digest(context, shown) if more else present(content, context.activity.locale, delivery.id)
        with by_the_service(context):
            await context.send_activity(message)
        return True

    async def _tried(
        self,
        context: TurnContext,
        turn: Turn,
        kept: list[Delivery],
        shown: Sequence[Said],
        showing: Callable[[], Awaitable[bool]],
    ) -> bool:
        """True unless ``showing`` leaves it to others. What it fails to show is kept for another try, and given up
        in the end."""
        before, draft = len(turn.effects), Draft(context)
        deliveries = tuple(delivery for delivery, _ in shown)
        turn.showing = deliveries
        try:
            with unnoticed(context):
                done = await showing()
        except Exception as error:
            ids = {"conversation": turn.conversation, "deliveries": [delivery.id for delivery in deliveries]}
            log.exception("a delivery cannot be said", extra={"action": "delivery_unsayable", **ids})
            draft.take_back()
            turn.showing = ()
            for delivery in deliveries:
                _failed_to_say(turn, kept, delivery, error)
            return True
        unsent, turn.showing = turn.showing, ()
        if not unsent:
            _shown_in(turn, before, deliveries if done else ())
        elif done:  # nothing went to the channel: the answer carries it, or a dialog took care of it
            for delivery in deliveries:
                turn.report(delivery, Status.DELIVERED, reason=_why_not_sent(context))
        if done:
            remember(turn, shown)
        return done

    # ------------------------------------------------------------------ when

    async def _phase(self, context: TurnContext, turn: Turn) -> Phase:
        stack = await self._host.stack(context)
        return phase_of(waiting=stack.waiting, last_spoke=turn.last_spoke, away_after=self._away_after, now=turn.at)

    def _next_look(self, turn: Turn, stack: Stack) -> datetime | None:
        """The first moment at which something in the inbox may be said or expires."""
        moments: list[datetime] = []
        for delivery in held(turn):
            moments.append(delivery.expires_at)
            if delivery.attempts:
                moments.append(turn.at + timedelta(seconds=2**delivery.attempts))
            if delivery.mode is Mode.RESUME and stack.waiting:
                if delivery.hold_until is not None:
                    moments.append(delivery.hold_until)
                if turn.last_spoke is not None:
                    moments.append(turn.last_spoke + self._away_after)
        return min(moments, default=None)


def _take_in(turn: Turn) -> list[Delivery]:
    """The inbox with all mail taken in, without what was withdrawn meanwhile."""
    forget(turn, turn.withdrawn)
    known = {body["id"] for body in turn.state.own.get("inbox", ())}
    everything = held(turn) + [delivery for delivery in turn.mail if delivery.id not in known]
    kept = []
    for delivery in everything:
        if delivery.id in turn.withdrawn:
            turn.report(delivery, Status.CANCELLED)
        else:
            kept.append(delivery)
    return kept


def _keep(turn: Turn, kept: list[Delivery], delivery: Delivery, decision: Decision) -> None:
    kept.append(delivery)
    if any(mail.id == delivery.id for mail in turn.mail):
        turn.report(delivery, Status.QUEUED if decision is Decision.QUEUE else Status.HELD)


def _fitting(turn: Turn, kept: list[Delivery]) -> list[Delivery]:
    """What the inbox has room for: the newest, and of those above all the urgent. The others fail, and say so."""
    if len(kept) <= INBOX:
        return kept
    by_worth = sorted(kept, key=lambda delivery: (delivery.urgent, delivery.created_at), reverse=True)
    worth = {delivery.id for delivery in by_worth[:INBOX]}
    for delivery in by_worth[INBOX:]:
        log.warning("an inbox is full", extra={"action": "inbox_full", "conversation": turn.conversation})
        turn.report(delivery, Status.FAILED, reason=Failure.OVERFLOW.value)
    return [delivery for delivery in kept if delivery.id in worth]


def _failed_to_say(turn: Turn, kept: list[Delivery], delivery: Delivery, error: Exception) -> None:
    failed = delivery.failed_once_more(error)
    if failed.attempts >= SAY_TRIES:
        turn.report(failed, Status.FAILED, reason=Failure.EXHAUSTED.value)
    else:
        kept.append(failed)
        turn.report(failed, Status.HELD)


def _tapped(context: TurnContext) -> Json:
    """The value of a button, which some channels send as JSON text; empty where there is none."""
    value = context.activity.value
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = orjson.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _gathered(left: Sequence[Said]) -> list[list[Said]]:
    """What is said together: of many the user's own by themselves, as they came, then the others as a digest."""
    own = [pair for pair in left if pair[0].own][:LINES]
    others = [pair for pair in left if pair not in own]
    if len(others) < DIGEST_FROM:
        return [[pair] for pair in left]
    return [[pair] for pair in own] + _digests(in_digest_order(others))


def _digests(to_say: Sequence[Said]) -> list[list[Said]]:
    """One digest, or two: what may be repeated if its send is in doubt is not mixed with what may not."""
    groups = ([pair for pair in to_say if pair[0].guarantee is guarantee] for guarantee in Guarantee)
    return [group for group in groups if group]


def _shown_in(turn: Turn, before: int, deliveries: tuple[Delivery, ...]) -> None:
    """Let the first message since ``before`` show these, or where a dialog only changed what it had said, that: as
    it ends, so do they. What goes out early stays as it is."""
    if turn.send_early is not None:
        return
    since = [(at, effect) for at, effect in enumerate(turn.effects[before:], before) if isinstance(effect, Send)]
    best = [at for wanted in _SHOWN_IN for at, effect in since if effect.operation is wanted][:1]
    for at, effect in since:
        shows = deliveries if at in best else ()
        if effect.shows != shows:
            turn.effects[at] = replace(effect, shows=shows)


def _why_not_sent(context: TurnContext) -> str | None:
    if context.activity.delivery_mode == DeliveryModes.expect_replies:
        return "in_response"
    return "handled_by_dialog"


def _offered(delivery: Delivery, content: Content) -> Json:
    return {
        "id": delivery.id,
        "mode": delivery.mode.value,
        "category": delivery.category,
        "urgent": delivery.urgent,
        "content": content.to_json(),
    }


def _describe(turn: Turn, stack: Stack) -> None:
    turn.fields["dialogs"] = orjson.dumps(stack.dialogs).decode()
    turn.fields["waiting"] = "1" if stack.waiting else "0"
    turn.fields["inbox"] = str(len(turn.state.own.get("inbox", ())))
