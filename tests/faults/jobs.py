"""Jobs that last until a test says so, under the names that the main dialog starts."""

from __future__ import annotations

import os

from jobs.context import JobContext
from jobs.registry import job
from tests.waiting import until


@job("pi")
async def pi(context: JobContext, text: str) -> str:
    """Ends once the file exists that ``JOB_ENDS`` names."""
    await until(lambda: os.path.exists(os.environ["JOB_ENDS"]), within=60)
    return f"pi to {text} digits"
