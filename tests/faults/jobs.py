"""Jobs that last until a test says so, under the names that the main dialog starts. Half done they reach a point."""

from __future__ import annotations

import os

from jobs.context import JobContext
from jobs.registry import job
from testkit.waiting import until
from tests.faults.points import reached


@job("pi", max_crashes=100)
async def pi(context: JobContext, text: str) -> str:
    """Ends once the file exists that ``JOB_ENDS`` names."""
    reached("mid_run")
    await until(lambda: os.path.exists(os.environ["JOB_ENDS"]), within=60)
    return f"pi to {text} digits"
