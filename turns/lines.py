"""Waiting for a conversation inside this process: first come, first served, without asking the store."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from domain.errors import ConversationFull
from domain.ids import ConversationKey

LINE = 200
"""Turns that wait for one conversation in this process."""


class _Line(asyncio.Lock):
    """``many``: turns that stand in it, the one that runs among them."""

    many = 0


class _Place:
    """A turn's place in its line, as an async context manager: a generator would cost more than the lock."""

    __slots__ = ("_key", "_lines")

    def __init__(self, lines: dict[ConversationKey, _Line], key: ConversationKey) -> None:
        self._lines = lines
        self._key = key

    async def __aenter__(self) -> None:
        line = self._lines.get(self._key)
        if line is None:
            line = self._lines[self._key] = _Line()
        if line.many > LINE:
            raise ConversationFull("Too many turns wait for this conversation.")
        line.many += 1
        try:
            await line.acquire()
        except BaseException:
            self._leave(line)
            raise

    async def __aexit__(self, *_: object) -> None:
        line = self._lines[self._key]
        line.release()
        self._leave(line)

    def _leave(self, line: _Line) -> None:
        line.many -= 1
        if not line.many:
            del self._lines[self._key]


class Lines:
    """A line of turns in front of each conversation that has one."""

    def __init__(self) -> None:
        self._lines: dict[ConversationKey, _Line] = {}

    def standing(self, key: ConversationKey) -> bool:
        """Whether a turn of this conversation runs or waits in this process."""
        return key in self._lines

    def awaited(self, key: ConversationKey) -> bool:
        """Whether a turn waits for the one of this conversation that runs in this process."""
        line = self._lines.get(key)
        return line is not None and line.many > 1

    def turn(self, key: ConversationKey) -> AbstractAsyncContextManager[None]:
        """The block is the turn's once it is its turn. Raises :class:`ConversationFull`."""
        return _Place(self._lines, key)
