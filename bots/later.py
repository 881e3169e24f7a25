"""Something that begins after a while, unless it is called off before: until then it costs an alarm, not a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from bots.alarms import Alarms


class Later:
    """``begin`` runs as a task from ``seconds`` on."""

    def __init__(
        self, alarms: Alarms, seconds: float, begin: Callable[[], Coroutine[Any, Any, None]], name: str
    ) -> None:
        self._begin = begin
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self._alarm = alarms.set(seconds, self._start)

    def _start(self) -> None:
        self._task = asyncio.create_task(self._begin(), name=self._name)

    @property
    def begun(self) -> bool:
        return self._task is not None

    def call_off(self) -> None:
        """It does not begin; if it has, it is cancelled."""
        self._alarm.call_off()
        if self._task is not None:
            self._task.cancel()

    async def over(self) -> None:
        """Answers when it has ended, for one that was called off. Raises what it raised."""
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task
