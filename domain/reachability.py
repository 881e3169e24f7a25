"""Whether the channel lets the bot speak into a conversation, as far as it is known."""

from __future__ import annotations

from enum import StrEnum


class Reachability(StrEnum):
    ACTIVE = "active"
    BLOCKED = "blocked"
    """The user blocked the bot."""
    UNINSTALLED = "uninstalled"
    """The bot was removed from the conversation."""
    GONE = "gone"
    """The conversation no longer exists."""
