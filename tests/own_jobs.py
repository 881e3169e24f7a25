"""Jobs that do as the tests say: they wait until they are let on, or fail."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from jobs.context import JobContext, JobFailed
from jobs.registry import job

gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
"""What a job waits for, by its argument."""


@job("pi")
async def gated(context: JobContext, text: str) -> str:
    """Takes the place of the shipped job of that name: ``compute pi 7`` ends when gate 7 opens."""
    await context.progress(0.5, "half way")
    await gates[text].wait()
    return f"result {text}"


@job("primes", tries=1)
async def broken(context: JobContext, text: str) -> str:
    raise RuntimeError("secret: the password is hunter2")


@job("factor", tries=1)
async def impossible(context: JobContext, text: str) -> str:
    raise JobFailed("I cannot factor that.")
