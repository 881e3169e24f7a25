"""Users go first: while the turn of one is under way, proactive turns pause between their steps, unless a user waits
for just that conversation.

What is in the middle of a broadcast would otherwise have its next step before every step of the user's turn. The
pauses are short, so that a broadcast goes on however much is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from state.store import HURRIED

LONGEST_PAUSE = 0.08
"""Seconds."""
AT_A_TIME = 2
"""Turns that go on before the event loop looks at what else there is."""


class Precedence:
    def __init__(self) -> None:
        self._users = 0
        self._paused: dict[asyncio.Future[None], str] = {}
        """Pauses, and the conversation that pauses ('' if it is none's)."""

    @property
    def taken(self) -> bool:
        """Whether a user's turn is under way in this process."""
        return self._users > 0

    @contextmanager
    def of_user(self) -> Iterator[None]:
        """Around the turn of a user."""
        self._users += 1
        hurried = HURRIED.set(True)
        try:
            yield
        finally:
            HURRIED.reset(hurried)
            self._users -= 1
            if not self._users:
                self._go_on()

    async def give_way(self, key: str = "") -> None:
        """Between the steps of what no user waits for; ``key``: the conversation, should one come to wait for it."""
        if not self._users:
            return
        loop = asyncio.get_running_loop()
        pause: asyncio.Future[None] = loop.create_future()
        self._paused[pause] = key
        timer = loop.call_later(LONGEST_PAUSE, _end, pause)
        try:
            await pause
        finally:
            timer.cancel()
            self._paused.pop(pause, None)

    def hurry(self, key: str) -> None:
        """A user waits for what is done in this conversation: its pause ends."""
        for pause, paused in self._paused.items():
            if paused == key:
                _end(pause)

    def _go_on(self) -> None:
        """A few at a time: should a user come in meanwhile, the others wait again."""
        if self._users:
            return
        for pause in list(islice(self._paused, AT_A_TIME)):
            del self._paused[pause]
            _end(pause)
        if self._paused:
            asyncio.get_running_loop().call_soon(self._go_on)


def _end(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)
