"""Time-outs by the thousand, nearly all of which are called off: they share the event loop's timers.

Those of one length ring in the order in which they were set, so that a timer for the first of them will do for all.
To set an alarm and to call it off is to put it into a dictionary and to take it out; a timer of the event loop costs
several times that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def _nothing() -> None:
    """What an alarm does that was called off."""


class Alarm:
    """One that was set; :meth:`call_off` it any time."""

    __slots__ = ("_due", "_others", "_ring")

    def __init__(self, due: float, ring: Callable[[], None], others: dict[Alarm, None]) -> None:
        self._due = due
        self._ring = ring
        self._others = others
        others[self] = None

    def call_off(self) -> None:
        """It does not ring any more; nothing happens to one that has."""
        self._others.pop(self, None)
        self._ring = _nothing  # whoever set it has it, and would stay in a cycle with it


class Alarms:
    """Made in a running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._set: dict[float, dict[Alarm, None]] = {}
        """By their length in seconds, the first that is due first."""
        self._timers: dict[float, asyncio.TimerHandle] = {}

    def set(self, seconds: float, ring: Callable[[], None]) -> Alarm:
        """Call ``ring`` in so many seconds."""
        alarms = self._set.get(seconds)
        if alarms is None:
            alarms = self._set[seconds] = {}
        if seconds not in self._timers:
            self._timers[seconds] = self._loop.call_later(seconds, self._look, seconds)
        return Alarm(self._loop.time() + seconds, ring, alarms)

    def _look(self, seconds: float) -> None:
        """Ring what is due, and look again when the next is."""
        del self._timers[seconds]
        alarms, now = self._set[seconds], self._loop.time()
        while alarms and (first := next(iter(alarms)))._due <= now:
            self._loop.call_soon(first._ring)  # what it raises is its own affair
            first.call_off()
        if alarms:
            self._timers[seconds] = self._loop.call_at(first._due, self._look, seconds)
        else:
            del self._set[seconds]
