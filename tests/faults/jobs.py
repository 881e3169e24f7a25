"""Jobs that take for ever, under the names that the main dialog starts."""

from __future__ import annotations

import asyncio

from jobs.context import JobContext
from jobs.registry import job


@job("pi")
async def pi(context: JobContext, text: str) -> str:
    await asyncio.Event().wait()
    return text
