"""When to ask somebody again who did not answer: later each time, and not everybody at the same moment."""

from __future__ import annotations

import random
import time


class Backoff:
    """Pauses that double from ``first`` up to ``most`` seconds, each shortened by up to half by chance."""

    def __init__(self, *, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._failures = 0
        self._until = 0.0

    @property
    def waiting(self) -> bool:
        """Whether the pause after the last failure lasts."""
        return time.monotonic() < self._until

    def failed(self) -> None:
        pause = min(self._most, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self._until = time.monotonic() + pause * random.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        self._failures = 0
        self._until = 0.0
