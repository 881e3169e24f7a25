"""Waiting for a condition, with a deadline; never for a time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

DEADLINE = 15.0
"""Seconds after which a condition that has not come true is a failure."""


async def until(condition: Callable[[], Any], *, within: float = DEADLINE, what: str = "") -> Any:
    """The first truthy answer of ``condition``, plain or coroutine."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if loop.time() > end:
            raise AssertionError(f"not within {within} s: {what or condition}; last answer: {value!r}")
        await asyncio.sleep(0.01)
