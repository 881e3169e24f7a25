"""What a soak does, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from state.turns import LEASE


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is chosen at random is chosen by ``seed``; ``lease`` None is the service's own. Durations are seconds."""

    seconds: float
    seed: int
    lease: float | None = None
    users: int = 4
    groups: int = 2
    """Conversations in which all users are."""
    chat_pause: float = 0.6
    """On average, between what somebody says in a conversation."""
    notify_pause: float = 1.0
    trouble_pause: float = 3.0
    store_away: float = 6.0
    """At most, at a time: stopped or slow; it is full for a third of that."""
    moods: float = 0.1
    """Share of the sends that the channel answers badly."""
    hang: float = 20.0
    flush_after: float = 1.0
    """After so long a turn's output is no longer held back; slow dialogs take twice as long."""

    @property
    def lease_seconds(self) -> float:
        return self.lease or LEASE.total_seconds()

    def random(self, purpose: str) -> Random:
        return Random(f"{self.seed} {purpose}")
