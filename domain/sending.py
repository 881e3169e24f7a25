"""What to do with a send: pure, from what it is, what the channel answered and how often it was tried."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from domain.delivery import Failure
from domain.effect import Operation, Send
from domain.ids import DeliveryId
from domain.notification import Guarantee
from domain.reachability import Standing
from domain.value import value

TRIES = 8
"""Attempts of a send before it is given up: with the pauses below, over about two minutes."""
PATIENCE = 3
"""Attempts when the channel says that the conversation is not there: such answers come and go."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 120.0
THROTTLED_PAUSE = 2.0
"""Seconds to wait after a 429 that does not say how long."""
LONGEST_THROTTLE = 3600.0
"""Seconds that are waited after a 429 at most, whatever it says; up to a quarter more is added to spread sends."""
THROTTLED_TRIES = 100
"""Times that a send is told to wait before it is given up: three hours or more, as the pauses grow."""


class Answer(StrEnum):
    """What is known of a send."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    """Not delivered: the channel says wait."""
    NOT_SENT = "not_sent"
    """Not delivered: nobody took it (no connection, no token, the channel has moved)."""
    DOUBTFUL = "doubtful"
    """The channel may have delivered it (5xx, 412, time-out, connection lost)."""
    BLOCKED = "blocked"
    UNINSTALLED = "uninstalled"
    MISSING = "missing"
    """The conversation is not there, this time."""
    UNAUTHORIZED = "unauthorized"
    REJECTED = "rejected"


@value
class ChannelAnswer:
    answer: Answer
    activity_id: str | None = None
    retry_after: float | None = None
    """Seconds, if the channel said when to come back."""
    detail: str = ""
    """For the operator: status, code and sub code; never the activity."""


@dataclass(frozen=True)
class Accepted:
    activity_id: str | None


@dataclass(frozen=True)
class TryAgain:
    """After ``pause`` seconds. ``counts``: whether it uses up an attempt."""

    pause: float
    counts: bool = True
    doubtful: bool = False
    reserved: bool = False
    """It was not tried; its place under the send limits is kept until then."""
    held_back: bool = False
    """Nothing but others of its tenant is in its way."""


@dataclass(frozen=True)
class GiveUp:
    reason: Failure
    tried: bool = True


@dataclass(frozen=True)
class Unknowable:
    """It may have been delivered and must not be repeated."""


@dataclass(frozen=True)
class Expired:
    """Nothing that it shows is worth showing any more."""


@dataclass(frozen=True)
class Outdated:
    """Some of what it shows is not to be shown any more: it is among the ``withdrawn``, or has expired. What else it
    shows is to be said anew, without that."""

    withdrawn: frozenset[DeliveryId] = frozenset()


NextStep = Accepted | TryAgain | GiveUp | Unknowable | Expired | Outdated


def guarantee_of(send: Send) -> Guarantee:
    """The strictest guarantee of what a send shows; an update that is repeated shows nothing twice."""
    sends = send.operation is Operation.SEND
    at_most_once = sends and any(delivery.guarantee is Guarantee.AT_MOST_ONCE for delivery in send.shows)
    return Guarantee.AT_MOST_ONCE if at_most_once else Guarantee.AT_LEAST_ONCE


def before_send(send: Send, now: datetime) -> Unknowable | Expired | Outdated | None:
    """What a send comes to without being tried (again); None if it is to be tried."""
    if send.doubtful and guarantee_of(send) is Guarantee.AT_MOST_ONCE:
        return Unknowable()
    expired = [now >= delivery.expires_at for delivery in send.shows]
    if not any(expired):
        return None
    return Expired() if all(expired) else outdated(send, frozenset())


def look_in(send: Send, pause: float, now: datetime) -> float:
    """Seconds after which a send that is to wait for ``pause`` wants to be looked at: before that, if it expires."""
    if isinstance(before_send(send, now), Expired | Outdated):
        return 0.001
    left = ((each.expires_at - now).total_seconds() for each in send.shows if each.expires_at > now)
    return min([pause, *left])


def outdated(send: Send, withdrawn: frozenset[DeliveryId]) -> Outdated | None:
    """None where it goes all the same: the answer of a job, which nobody could say anew, is shown with the rest."""
    left = [delivery for delivery in send.shows if delivery.id not in withdrawn]
    return None if any(delivery.job is not None for delivery in left) else Outdated(withdrawn)


def barred(send: Send, standing: Standing, now: datetime) -> GiveUp | None:
    """What a send comes to where the bot cannot speak; None if it may go, or is to try whether that is still so."""
    if not standing.bars(now) or any(delivery.replayed for delivery in send.shows):
        return None
    return GiveUp(Failure(standing.reach.value), tried=False)


def next_step(answer: ChannelAnswer, send: Send, *, jitter: float) -> NextStep:
    """``send`` as it was before this attempt. ``jitter``: from 0 to 1, spreads the pauses."""
    pause = _growing(send.attempts) * (0.75 + 0.5 * jitter)
    last = send.attempts + 1 >= TRIES
    match answer.answer:
        case Answer.ACCEPTED:
            return Accepted(answer.activity_id)
        case Answer.THROTTLED:
            return _wait(answer.retry_after, send.throttled, jitter)
        case Answer.NOT_SENT:
            return GiveUp(Failure.EXHAUSTED) if last else TryAgain(pause)
        case Answer.DOUBTFUL:
            if guarantee_of(send) is Guarantee.AT_MOST_ONCE:
                return Unknowable()
            told = min(answer.retry_after or 0.0, LONGEST_PAUSE)
            return GiveUp(Failure.EXHAUSTED) if last else TryAgain(max(pause, told), doubtful=True)
        case Answer.MISSING:
            if send.missing + 1 >= PATIENCE:
                return GiveUp(Failure.GONE)
            return GiveUp(Failure.EXHAUSTED) if last else TryAgain(pause)
        case Answer.UNAUTHORIZED:
            return GiveUp(Failure.UNAUTHORIZED) if last else TryAgain(pause)
        case Answer.BLOCKED:
            return GiveUp(Failure.BLOCKED)
        case Answer.UNINSTALLED:
            return GiveUp(Failure.UNINSTALLED)
        case Answer.REJECTED:
            return GiveUp(Failure.REJECTED)
    assert_never(answer.answer)


def _wait(retry_after: float | None, throttled: int, jitter: float) -> TryAgain | GiveUp:
    """Never before the channel's time; and with growing pauses if it says wait again although that was kept."""
    if throttled + 1 >= THROTTLED_TRIES:
        return GiveUp(Failure.EXHAUSTED)
    told = THROTTLED_PAUSE if retry_after is None else min(retry_after, LONGEST_THROTTLE)
    wait = max(told, _growing(throttled - 1) if throttled else 0.0)
    return TryAgain(wait + jitter * max(0.25, wait / 4), counts=False)


def _growing(failures: int) -> float:
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures, 30)))
