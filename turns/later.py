"""Something that begins after a while, unless it is called off before: until then it costs a timer, not a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


class Later:
    """``begin`` runs as a task from ``seconds`` on, in the context of whoever made this: with the priority that it has
    on its way to the store and to the channel, for one."""

    def __init__(self, seconds: float, begin: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._begin = begin
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(seconds, self._start)

    def _start(self) -> None:
        self._task = asyncio.create_task(self._begin(), name=self._name)

    def now(self) -> None:
        """Begin, in the context of whoever says so, unless it has begun."""
        self._timer.cancel()
        if self._task is None:
            self._start()

    @property
    def begun(self) -> bool:
        return self._task is not None

    def call_off(self) -> None:
        """It does not begin; if it has, it is cancelled."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def over(self) -> None:
        """Answers when it has ended, for one that was called off. Raises what it raised."""
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task
