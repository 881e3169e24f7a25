"""Jobs that last until a test says so, under the names that the main dialog starts."""

from __future__ import annotations

import asyncio
import os

from jobs.context import JobContext
from jobs.registry import job


@job("pi")
async def pi(context: JobContext, text: str) -> str:
    """Ends once the file exists that ``JOB_ENDS`` names."""
    while not os.path.exists(os.environ["JOB_ENDS"]):
        await asyncio.sleep(0.01)
    return f"pi to {text} digits"
