"""What to do after a send: pure, from what the channel answered and how often it was tried."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from domain.delivery import Failure
from domain.notification import Guarantee

TRIES = 8
"""Attempts of a send before it is given up: with the pauses below, over about two minutes."""
PATIENCE = 3
"""Attempts when the channel says that the conversation is not there: such answers come and go."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 120.0
THROTTLED_PAUSE = 2.0
"""Seconds to wait after a 429 that does not say how long."""
LONGEST_THROTTLE = 3600.0


class Answer(StrEnum):
    """What is known of a send."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    """Not delivered: the channel says wait."""
    NOT_SENT = "not_sent"
    """Not delivered: the request never left (no connection, no token)."""
    DOUBTFUL = "doubtful"
    """The channel may have delivered it (5xx, 412, time-out, connection lost)."""
    BLOCKED = "blocked"
    UNINSTALLED = "uninstalled"
    MISSING = "missing"
    """The conversation is not there, this time."""
    UNAUTHORIZED = "unauthorized"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class ChannelAnswer:
    answer: Answer
    activity_id: str | None = None
    retry_after: float | None = None
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
    """Its place under the send limits is kept until then."""


@dataclass(frozen=True)
class GiveUp:
    reason: Failure


@dataclass(frozen=True)
class Unknowable:
    """It may have been delivered and must not be repeated."""


NextStep = Accepted | TryAgain | GiveUp | Unknowable


def next_step(answer: ChannelAnswer, *, attempts: int, guarantee: Guarantee, jitter: float) -> NextStep:
    """``attempts``: how many failed before this one. ``jitter``: from 0 to 1, spreads the pauses."""
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempts) * (0.75 + 0.5 * jitter)
    last = attempts + 1 >= TRIES
    match answer.answer:
        case Answer.ACCEPTED:
            return Accepted(answer.activity_id)
        case Answer.THROTTLED:
            wait = THROTTLED_PAUSE if answer.retry_after is None else answer.retry_after
            return TryAgain(min(wait, LONGEST_THROTTLE) + 0.25 * jitter, counts=False)
        case Answer.NOT_SENT:
            return GiveUp(Failure.EXHAUSTED) if last else TryAgain(pause)
        case Answer.DOUBTFUL:
            if guarantee is Guarantee.AT_MOST_ONCE:
                return Unknowable()
            return GiveUp(Failure.EXHAUSTED) if last else TryAgain(pause, doubtful=True)
        case Answer.MISSING:
            return GiveUp(Failure.GONE) if attempts + 1 >= PATIENCE else TryAgain(pause)
        case Answer.UNAUTHORIZED:
            return GiveUp(Failure.UNAUTHORIZED) if last else TryAgain(pause)
        case Answer.BLOCKED:
            return GiveUp(Failure.BLOCKED)
        case Answer.UNINSTALLED:
            return GiveUp(Failure.UNINSTALLED)
        case Answer.REJECTED:
            return GiveUp(Failure.REJECTED)
    assert_never(answer.answer)
