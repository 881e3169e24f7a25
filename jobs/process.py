"""Running a CPU-bound job in a process of its own, which can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from domain.environment import without_secrets
from domain.ids import JobId
from jobs.context import JobFailed, JobMistake, Report, checked_result
from jobs.registry import JobSpec

TERM_SECONDS = 2.0
"""Between asking a child to end and killing it."""
_LINE_LIMIT = 1 << 20
_STDERR = 2


class ChildDied(Exception):
    """A child ended without saying how its job went."""


class ChildError(Exception):
    """A job raised; the text names the exception, and ``trace`` is its traceback."""

    def __init__(self, text: str, trace: str) -> None:
        super().__init__(text)
        self.trace = trace


async def run_in_child(spec: JobSpec, job_id: JobId, attempt: int, arguments: Mapping[str, Any], report: Report) -> str:
    """The result of one attempt. However this is left, no process remains.

    Raises :class:`JobFailed`, :class:`JobMistake`, :class:`ChildError` or :class:`ChildDied`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "jobs.child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=_STDERR,
        limit=_LINE_LIMIT,
        start_new_session=True,
        env=without_secrets(os.environ) | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
    )
    request = {
        "parent": os.getpid(),
        "module": spec.function.__module__,
        "function": spec.function.__qualname__,
        "job": job_id,
        "attempt": attempt,
        "arguments": arguments,
    }
    try:
        return await _converse(process, spec, request, report)
    finally:
        await _end(process)


async def _converse(
    process: asyncio.subprocess.Process, spec: JobSpec, request: Mapping[str, Any], report: Report
) -> str:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")  # and left open: its end is the parent's death
    while line := await process.stdout.readline():
        message = json.loads(line)
        if "progress" in message:
            share, note = message["progress"]
            report(share, note)
        elif "result" in message:
            return checked_result(spec.name, message["result"])
        elif "refused" in message:
            raise JobFailed(message["refused"])
        elif "mistake" in message:
            raise JobMistake(message["mistake"])
        else:
            raise ChildError(message["error"], message["trace"])
    raise ChildDied(_cause(await process.wait()))


def _cause(code: int) -> str:
    if code >= 0:
        return f"its process exited with code {code} and no result"
    with contextlib.suppress(ValueError):
        return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process was killed by signal {-code}"


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask, then kill, the child and what it started; a second cancellation only skips the asking."""
    assert process.stdin is not None and process.stdout is not None
    try:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERM_SECONDS):
                await process.wait()
    finally:
        _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.stdin.close()
    with contextlib.suppress(TimeoutError, ValueError):
        async with asyncio.timeout(TERM_SECONDS):  # what the job started may still hold the pipe
            await process.stdout.read()
            await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
