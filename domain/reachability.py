"""Whether the channel lets the bot speak into a conversation, as far as it is known."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from domain.value import value

TRIED_EVERY = timedelta(days=1)
"""How often a conversation that could not be reached is tried, the first time so long after it became so."""


class Reachability(StrEnum):
    ACTIVE = "active"
    BLOCKED = "blocked"
    """The user blocked the bot."""
    UNINSTALLED = "uninstalled"
    """The bot was removed from the conversation."""
    GONE = "gone"
    """The conversation no longer exists."""


@value
class Standing:
    """What a conversation is, ``since`` when, and when a send last ``tried`` whether it still is."""

    reach: Reachability = Reachability.ACTIVE
    since: datetime | None = None
    tried: datetime | None = None

    @property
    def active(self) -> bool:
        return self.reach is Reachability.ACTIVE

    def bars(self, now: datetime) -> bool:
        """Whether nothing is to be sent there now."""
        last = self.tried or self.since
        return not self.active and last is not None and now - last < TRIED_EVERY

    def after(self, reach: Reachability, now: datetime) -> Standing:
        """What it is once a send has found this."""
        since = self.since if reach is self.reach else now
        return Standing(reach=reach, since=since, tried=now)
