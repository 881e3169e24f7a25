"""When a 429 is about more than its conversation: pure, from what a tenant's conversations were told lately.

Microsoft Learn, "Optimize your bot with rate limiting in Teams": there is a limit for each conversation and one for
each app and tenant, and an answer does not say which was reached. So one conversation that is told to wait waits
alone; if several are told within moments, it is the tenant that has to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

WINDOW = 5.0
"""Seconds within which they have to be told."""
CONVERSATIONS = 3
"""So many different ones."""


@dataclass(frozen=True, kw_only=True)
class Throttled:
    """A conversation that was told, ``at`` a time, to wait ``until`` another; both in seconds of one clock."""

    conversation: str
    at: float
    until: float


def tenant_waits_until(told: Iterable[Throttled], now: float) -> float | None:
    """The longest wait among those told lately, if there are enough of them; None if each waits for itself."""
    lately = [one for one in told if now - one.at <= WINDOW]
    if len({one.conversation for one in lately}) < CONVERSATIONS:
        return None
    return max(one.until for one in lately)
