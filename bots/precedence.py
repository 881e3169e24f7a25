"""Users go first: while the turn of one is under way, proactive turns pause between their steps.

What is in the middle of a broadcast would otherwise have its next step before every step of the user's turn. The
pauses are short, so that a broadcast goes on however much is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_PAUSE = 0.02
"""Seconds."""


class Precedence:
    def __init__(self) -> None:
        self._users = 0
        self._paused: set[asyncio.Future[None]] = set()

    @property
    def taken(self) -> bool:
        """Whether a user's turn is under way in this process."""
        return self._users > 0

    @contextmanager
    def of_user(self) -> Iterator[None]:
        """Around the turn of a user."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                for pause in self._paused:
                    _end(pause)

    async def give_way(self) -> None:
        """Between the steps of a turn that no user waits for."""
        if not self._users:
            return
        loop = asyncio.get_running_loop()
        pause: asyncio.Future[None] = loop.create_future()
        self._paused.add(pause)
        timer = loop.call_later(LONGEST_PAUSE, _end, pause)
        try:
            await pause
        finally:
            timer.cancel()
            self._paused.discard(pause)


def _end(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)
