"""One attempt at a job: run it, stop it, and say how it ended, as a value."""

from __future__ import annotations

import asyncio
import inspect
import logging
from dataclasses import dataclass
from enum import Enum, auto

from domain.job import Job
from jobs.context import RESULT_LIMIT, JobContext, JobFailed, JobMistake, checked_result, cleaned
from jobs.process import ChildDied, ChildError, run_in_child
from jobs.registry import JobSpec

log = logging.getLogger("aside.jobs")

STOP_SECONDS = 5.0
"""How long a job that was told to stop may clean up before it is told again."""
STOP_TRIES = 3
ERROR_LIMIT = 2_000


class Stop(Enum):
    """Why an attempt was stopped from outside."""

    CANCELLED = auto()
    LOST = auto()
    """Another worker has the job."""
    SHUTDOWN = auto()


@dataclass(frozen=True, kw_only=True)
class Done:
    result: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """``error`` is for the operator; ``reason`` is a sentence for the user, if the job gave one."""

    error: str
    reason: str | None = None
    again: bool = False
    """Another attempt may fare better."""


class Attempt:
    """A running attempt; made inside the loop. ``progress`` is the latest that the job told and nobody took."""

    def __init__(self, job: Job, spec: JobSpec) -> None:
        self.progress: tuple[float, str] | None = None
        self._job = job
        self._spec = spec
        self._why: Stop | None = None
        self._stopping = asyncio.Event()
        self._body = asyncio.create_task(self._perform(), name=f"job-body-{job.id}")

    def stop(self, why: Stop) -> None:
        """Have the attempt end soon. The first reason counts."""
        if self._why is None:
            self._why = why
            self._stopping.set()

    async def outcome(self) -> Done | Failed | Stop:
        """Wait for the end, whatever brings it."""
        stopping = asyncio.create_task(self._stopping.wait(), name=f"job-stop-{self._job.id}")
        try:
            await asyncio.wait({self._body, stopping}, timeout=self._spec.timeout, return_when=asyncio.FIRST_COMPLETED)
            if self._body.done():
                return self._ended()
            await self._end_body()
        finally:
            stopping.cancel()
            self._body.cancel()
        if self._body.done() and not self._body.cancelled() and self._body.exception() is None:
            return Done(result=self._body.result())  # it was quicker than its end
        if self._why is not None:
            return self._why
        # Computing as long again would only end the same way; what waits for others may fare better.
        spec = self._spec
        return Failed(error=f"took longer than {spec.timeout:g} s", reason=spec.late, again=not spec.cpu)

    async def _perform(self) -> str:
        job, spec = self._job, self._spec
        context = JobContext(job_id=job.id, attempt=job.attempt, report=self._report)
        try:
            inspect.signature(spec.function).bind(context, **job.arguments)
        except TypeError as error:
            raise JobMistake(f"The job {spec.name!r} does not take these arguments: {error}.") from None
        if spec.cpu:
            return await run_in_child(spec, job.id, job.attempt, job.arguments, self._report)
        try:
            return checked_result(spec.name, await spec.function(context, **job.arguments))
        except (SystemExit, KeyboardInterrupt) as error:  # would otherwise end the loop with everything on it
            raise RuntimeError(f"the job raised {type(error).__name__}") from error

    def _report(self, share: float, note: str) -> None:
        self.progress = share, note

    async def _end_body(self) -> None:
        for _ in range(STOP_TRIES):
            self._body.cancel()
            await asyncio.wait({self._body}, timeout=STOP_SECONDS)
            if self._body.done():
                return
        log.error("a job does not stop and was left to itself", extra={"action": "job_stuck", **self._ids})

    @property
    def _ids(self) -> dict[str, object]:
        """What every log line about the attempt carries."""
        return {"job": self._job.id, "job_name": self._spec.name, "attempt": self._job.attempt}

    def _ended(self) -> Done | Failed:
        if self._body.cancelled():
            return Failed(error="the job cancelled itself", again=True)
        error = self._body.exception()
        if error is None:
            return Done(result=self._body.result())
        if isinstance(error, JobFailed):
            return Failed(error=_brief(str(error)), reason=cleaned(error.reason_for_user)[:RESULT_LIMIT])
        if isinstance(error, JobMistake):
            log.error("a job cannot work: %s", error, extra={"action": "job_mistake", **self._ids})
            return Failed(error=_brief(str(error)))
        if isinstance(error, ChildError):
            log.warning("a job raised:\n%s", error.trace, extra={"action": "job_raised", **self._ids})
        elif not self._spec.cpu:
            log.warning("a job raised", exc_info=error, extra={"action": "job_raised", **self._ids})
        if isinstance(error, ChildDied | ChildError):
            return Failed(error=_brief(str(error)), again=True)
        return Failed(error=_brief(f"{type(error).__name__}: {error}"), again=True)


def _brief(error: str) -> str:
    return cleaned(error)[:ERROR_LIMIT]
