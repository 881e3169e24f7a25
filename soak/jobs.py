"""The job that is soaked: its answer says for which input it was started."""

from __future__ import annotations

import asyncio

from jobs.context import JobContext
from jobs.registry import job


@job("answer", tries=10, backoff=(0.1, 1.0), max_crashes=1000)
async def answer(context: JobContext, number: int) -> str:
    """Every fifth fails at first."""
    await asyncio.sleep(number % 4 * 0.25)
    if number % 5 == 0 and context.attempt == 1:
        raise ConnectionError("not at the first try")
    return f"answer-{number};"
