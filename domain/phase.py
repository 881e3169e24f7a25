"""The phase of a conversation: may it be spoken into?"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum


class Phase(StrEnum):
    FREE = "free"
    """No dialog waits for the user, or only dialogs that declare themselves idle."""
    BUSY = "busy"
    """A dialog waits for the user, who spoke not long ago."""
    AWAY = "away"
    """A dialog waits, and the user has been silent for longer than ``away_after``."""


def phase_of(*, waiting: bool, last_spoke: datetime | None, away_after: timedelta, now: datetime) -> Phase:
    """``waiting``: a dialog that is not idle waits for the user. A user who never spoke is away."""
    if not waiting:
        return Phase.FREE
    if last_spoke is None or now - last_spoke >= away_after:
        return Phase.AWAY
    return Phase.BUSY
