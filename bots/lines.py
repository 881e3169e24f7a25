"""Waiting for a conversation inside this process: first come, first served, without asking the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.errors import ConversationFull
from domain.ids import ConversationKey

LINE = 200
"""Turns that wait for one conversation in this process."""


class Lines:
    """A line of turns in front of each conversation that has one."""

    def __init__(self) -> None:
        self._lines: dict[ConversationKey, tuple[asyncio.Lock, int]] = {}

    def standing(self, key: ConversationKey) -> bool:
        """Whether a turn of this conversation runs or waits in this process."""
        return key in self._lines

    @asynccontextmanager
    async def turn(self, key: ConversationKey) -> AsyncIterator[None]:
        """Raises :class:`ConversationFull`."""
        lock, waiting = self._lines.get(key) or (asyncio.Lock(), 0)
        if waiting > LINE:
            raise ConversationFull("Too many turns wait for this conversation.")
        self._lines[key] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._lines[key]
            if waiting == 1:
                del self._lines[key]
            else:
                self._lines[key] = (lock, waiting - 1)
