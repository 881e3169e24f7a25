"""After a turn that failed: what its user is told, and which mail is tried again, alone, and in the end given up."""

from __future__ import annotations

from collections.abc import Container
from datetime import timedelta

from botbuilder.core import InvokeResponse, TurnContext
from botbuilder.schema import Activity, ActivityTypes, DeliveryModes

from domain.delivery import Delivery, Failure, Status
from domain.effect import Send
from domain.notification import Json
from sdk.activities import to_json
from state.turn import Turn

FAILED_TRIES = 3
"""Turns that a delivery may make fail before it is given up."""
DEATHS = 10
"""Turns in a row that may end with their process, before what they were about counts as what ends it."""
UNREADABLE_PAUSE = timedelta(seconds=30)
"""Between looks at mail whose conversation's state cannot be read by this process."""
FAILED_PAUSE = 1.0
"""Seconds before mail whose turn failed is looked at again; doubled with each failure."""


def apology(activity: Activity, text: str) -> Json:
    reply = Activity(type=ActivityTypes.message, text=text, input_hint="acceptingInput")
    return to_json(TurnContext.apply_conversation_reference(reply, TurnContext.get_conversation_reference(activity)))


def failure_answer(activity: Activity, sentence: Json) -> InvokeResponse | None:
    """What a failed turn answers in the response's body, where the channel waits for that."""
    if activity.type == ActivityTypes.invoke:
        return InvokeResponse(status=500, body={"error": {"code": "BotError", "message": sentence["text"]}})
    if activity.delivery_mode == DeliveryModes.expect_replies:
        return InvokeResponse(status=200, body={"activities": [sentence]})
    return None


def set_aside_what_failed(turn: Turn, *, user: bool) -> None:
    """Mail that made a turn fail stays in the mailbox while other mail is looked at, and is then looked at alone."""
    clean = [delivery for delivery in turn.mail if not delivery.attempts]
    failed = [delivery for delivery in turn.mail if delivery.attempts]
    if not failed:
        return
    turn.mail = clean if clean or user else failed[:1]
    stays = {delivery.id for delivery in [*clean, *failed]} - {delivery.id for delivery in turn.mail}
    turn.mail_ids = [name for name in turn.mail_ids if name not in stays]
    if user or stays:
        turn.mail_wake_at = turn.at + timedelta(seconds=FAILED_PAUSE if user or clean else 0)


def leave_mail(turn: Turn) -> None:
    """Of a turn that is not for it: mail stays where it is, and is looked at by the next turn, with the inbox."""
    set_aside_what_failed(turn, user=True)
    if turn.mail or turn.withdrawn:
        turn.mail_wake_at = turn.at
    turn.mail_ids = []
    look_at_inbox(turn, 0)


def refuse_what_kills(turn: Turn) -> None:
    """Raises :class:`RuntimeError` where the turns before this one ended with their processes again and again."""
    if turn.died >= DEATHS:
        raise RuntimeError(f"{turn.died} turns of this conversation in a row ended with their process")


def blame(turn: Turn, failed: Turn, shown: Container[str], error: Exception) -> None:
    """After a proactive turn that failed: the mail it looked at is tried again, and in the end given up. What came
    meanwhile is not to blame, and has a turn of its own; what it showed nevertheless is done. What ended so many
    processes by itself is not tried again."""
    tries = _tries(failed, len(failed.mail))
    looked_at = {delivery.id for delivery in failed.mail}
    failed_before = [delivery for delivery in turn.mail if delivery.attempts and delivery.id not in looked_at]
    turn.mail = [delivery for delivery in turn.mail if delivery.id in looked_at]
    turn.mail_ids = [delivery.id for delivery in turn.mail]
    for delivery in turn.mail:
        if delivery.id in shown:
            continue
        delivery = delivery.failed_once_more(error)
        if delivery.attempts >= tries:
            turn.report(delivery, Status.FAILED, reason=Failure.EXHAUSTED.value)
        else:
            turn.bumped.append(delivery)
    paused = [*turn.bumped, *failed_before]
    if turn.mail_left() > len(paused):
        turn.mail_wake_at = turn.at + timedelta(seconds=0 if looked_at else FAILED_PAUSE)
    elif paused:
        attempts = min(delivery.attempts for delivery in paused)
        turn.mail_wake_at = turn.at + timedelta(seconds=FAILED_PAUSE * 2 ** (attempts - 1))


def blame_inbox(turn: Turn, failed: Turn, error: Exception) -> None:
    """What the inbox holds and the failed turn was about to say is tried again too, and in the end given up."""
    said = {delivery.id for effect in failed.effects if isinstance(effect, Send) for delivery in effect.shows}
    if failed.died >= DEATHS and not failed.mail:
        said = {delivery.id for delivery in _inbox(turn) if delivery.hold_until and delivery.hold_until <= turn.at}
    tries = _tries(failed, len(said))
    kept, attempts = [], 0
    for delivery in _inbox(turn):
        if delivery.id in said:
            delivery = delivery.failed_once_more(error)
            attempts = max(attempts, delivery.attempts)
            if delivery.attempts >= tries:
                turn.report(delivery, Status.FAILED, reason=Failure.EXHAUSTED.value)
                continue
        kept.append(delivery)
    if attempts:
        turn.state.own["inbox"] = [delivery.to_json() for delivery in kept]
        turn.fields["inbox"] = str(len(kept))
    look_at_inbox(turn, attempts)


def _tries(failed: Turn, many: int) -> int:
    """Turns that each of so many deliveries may make fail."""
    return 1 if failed.died >= DEATHS and many == 1 else FAILED_TRIES


def _inbox(turn: Turn) -> list[Delivery]:
    return turn.held()


def look_at_inbox(turn: Turn, attempts: int) -> None:
    """A turn that failed does not know when its inbox wants to be looked at; the next turn finds out."""
    if turn.state.own.get("inbox"):
        turn.wake_at = turn.at + timedelta(seconds=FAILED_PAUSE * 2**attempts)
