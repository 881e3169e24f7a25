"""What to do with a delivery now. Pure: the same delivery, phase and moment give the same answer."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import assert_never

from domain.delivery import Delivery
from domain.notification import Mode
from domain.phase import Phase


class Decision(StrEnum):
    SAY = "say"
    """Say it now."""
    SAY_AND_ASK_AGAIN = "say_and_ask_again"
    """Say it now, then repeat the question that is open."""
    HOLD = "hold"
    """Keep it in the inbox until the user is free, is away, or the deadline passes."""
    QUEUE = "queue"
    """Keep it in the inbox for the user's next turn."""
    EXPIRE = "expire"
    """Too late to be worth showing."""


def decide(delivery: Delivery, phase: Phase, now: datetime) -> Decision:
    """The decision of a turn that the user did not cause."""
    if now >= delivery.expires_at:
        return Decision.EXPIRE
    match delivery.mode:
        case Mode.QUEUE:
            return Decision.QUEUE
        case Mode.INTERJECT:
            return Decision.SAY if phase is Phase.FREE else Decision.SAY_AND_ASK_AGAIN
        case Mode.RESUME:
            if phase is Phase.FREE:
                return Decision.SAY
            if phase is Phase.AWAY or (delivery.hold_until is not None and now >= delivery.hold_until):
                return Decision.SAY_AND_ASK_AGAIN
            return Decision.HOLD
    assert_never(delivery.mode)


def before_reply(delivery: Delivery, now: datetime) -> Decision:
    """The decision at the start of the user's own turn, before the bot replies: what was queued for it, and
    what may interrupt, is said first; the reply that follows is then the last thing on the screen."""
    if now >= delivery.expires_at:
        return Decision.EXPIRE
    return Decision.HOLD if delivery.mode is Mode.RESUME else Decision.SAY


def after_reply(delivery: Delivery, phase: Phase, now: datetime) -> Decision:
    """The decision at the end of the user's own turn: what was held is said if this turn freed the user,
    or if its deadline has passed."""
    return decide(delivery, phase, now)
