"""The worker: takes jobs in hand, keeps them in hand while they run, and sees to it that each ends once."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar, assert_never

from redis.exceptions import RedisError

from domain.clock import Clock, system_clock
from domain.errors import StoreUnavailable
from domain.ids import ConversationKey, JobId, new_id
from domain.job import Job, JobStatus
from domain.observing import Observer
from jobs.answers import AnswerText, answer_to
from jobs.attempt import Attempt, Done, Failed, Stop
from jobs.registry import JobSpec, Registry
from state.fault_points import reached
from state.jobs import Busy, Hold, JobStore, Started, parse_work_member
from state.store import asked_to_end
from state.work import Claim, Work

log = logging.getLogger("aside.jobs")

T = TypeVar("T")

LOOK_SECONDS = 5.0
"""Work is looked for at least this often, whatever the bell says."""
LEAVE_SECONDS = 10.0
"""What stopping and giving back may take at a shutdown; afterwards the leases run out."""
RETRY_SECONDS = (0.1, 5.0)
"""The first and the longest pause between tries to record something."""


@dataclass(eq=False, kw_only=True)
class _Run:
    """A job in this worker's hand. ``fence`` is there once it is started; ``closed`` once the claim is no more."""

    claim: Claim
    conversation: ConversationKey
    job_id: JobId
    name: str
    fence: int | None = None
    attempt: Attempt | None = None
    stopped: Stop | None = None
    closed: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the claim's ticket changes."""

    def stop(self, why: Stop) -> None:
        self.stopped = self.stopped or why
        if self.attempt is not None:
            self.attempt.stop(why)


class _Abandoned(Exception):
    """What was to be recorded is another worker's to record now."""


class Worker:
    """Runs up to ``concurrency`` jobs at once. ``lease`` is in seconds, the same as that of ``work``."""

    def __init__(
        self,
        store: JobStore,
        work: Work,
        registry: Registry,
        *,
        concurrency: int,
        lease: float,
        answer_text: AnswerText,
        clock: Clock = system_clock,
        observer: Observer | None = None,
    ) -> None:
        self._observer = observer or Observer()
        self.name = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"
        self._store = store
        self._work = work
        self._registry = registry
        self._concurrency = concurrency
        self._lease = lease
        self._answer_text = answer_text
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._carriers: set[asyncio.Task[None]] = set()
        self._claiming = asyncio.Lock()
        self._changed = asyncio.Event()
        self._stopped = asyncio.Event()
        self._draining = False

    @property
    def running(self) -> int:
        """How many jobs it has in hand."""
        return len(self._runs)

    async def run(self) -> None:
        """Work until cancelled, which gives the jobs in hand back, or until :meth:`drain` is through."""
        loops = [
            asyncio.create_task(self._forever(self._claim), name="jobs-claim"),
            asyncio.create_task(self._forever(self._renew), name="jobs-renew"),
            asyncio.create_task(self._forever(self._work.listen), name="jobs-listen"),
        ]
        log.info("worker started", extra={"action": "worker_started", "worker": self.name})
        try:
            await self._stopped.wait()
        finally:
            try:
                await self.drain(0)
            finally:
                for loop in loops:
                    loop.cancel()
                await asyncio.gather(*loops, return_exceptions=True)
                log.info("worker stopped", extra={"action": "worker_stopped", "worker": self.name})

    async def drain(self, seconds: float) -> None:
        """Take no more jobs, let those in hand finish for ``seconds``, give the rest to other workers at once."""
        self._draining = True
        with suppress(TimeoutError):  # a claim that is cut off would leave what it took to its lease
            async with asyncio.timeout(LEAVE_SECONDS), self._claiming:
                pass
        if self._carriers and seconds > 0:
            await asyncio.wait(self._carriers, timeout=seconds)
        for run in self._runs.values():
            run.stop(Stop.SHUTDOWN)
        if self._carriers:
            await asyncio.wait(self._carriers, timeout=LEAVE_SECONDS)
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)
        self._stopped.set()

    async def _forever(self, step: Callable[[], Awaitable[None]]) -> None:
        while not asked_to_end():
            try:
                await step()
            except StoreUnavailable:  # said so itself
                await asyncio.sleep(1)
            except Exception:
                log.exception("a mistake in the worker", extra={"action": "worker_mistake", "worker": self.name})
                await asyncio.sleep(1)

    async def _claim(self) -> None:
        self._changed.clear()
        if self._draining or len(self._carriers) >= self._concurrency:
            await self._changed.wait()
            return
        async with self._claiming:
            claims: list[Claim] = []
            due_in = None
            if not self._draining:
                claims, due_in = await self._work.claim(self._concurrency - len(self._carriers))
            for claim in claims:
                self._take(claim)
        if not claims:
            await self._pause(LOOK_SECONDS if due_in is None else min(LOOK_SECONDS, due_in))

    async def _pause(self, seconds: float) -> None:
        """Until work may have become due: it was woken, or a job was put down that is to be tried again soon."""
        waits = {
            asyncio.create_task(self._work.wait(seconds), name="jobs-woken"),
            asyncio.create_task(self._changed.wait(), name="jobs-changed"),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _take(self, claim: Claim) -> None:
        if (known := self._runs.get(claim.member)) is not None:
            known.claim = claim  # its lease ran out while the store was away, or somebody woke it
            return
        conversation, job_id = parse_work_member(claim.member)
        reached("job_claimed")
        run = _Run(claim=claim, conversation=conversation, job_id=job_id, name=f"{self.name}:{new_id('run')}")
        self._runs[claim.member] = run
        carrier = asyncio.create_task(self._carry(run), name=f"job-{job_id}")
        self._carriers.add(carrier)
        carrier.add_done_callback(self._put_down)

    def _put_down(self, carrier: asyncio.Task[None]) -> None:
        self._carriers.discard(carrier)
        self._changed.set()

    async def _carry(self, run: _Run) -> None:
        try:
            await self._carry_out(run)
        except _Abandoned:
            self._note(run, "job_lost", "a job was taken over by another worker", logging.WARNING)
        except Exception:
            log.exception("a mistake in the worker", extra={"action": "worker_mistake", "job": run.job_id})
        finally:
            self._runs.pop(run.claim.member, None)

    async def _carry_out(self, run: _Run) -> None:
        started = await self._insist(
            run, lambda: self._store.start(run.conversation, run.job_id, run.name, lease=self._lease)
        )
        if started is None:
            await self._close(run)
        elif isinstance(started, Busy):
            await self._close(run, again_in=started.seconds)
        else:
            run.fence = started.fence
            end = await self._perform(run, started)
            reached("job_run")
            await self._settle(run, started, end)

    async def _perform(self, run: _Run, started: Started) -> Done | Failed | Stop:
        job = started.job
        spec = self._registry.get(job.name)
        if started.crashes >= (spec or _UNKNOWN).max_crashes:
            return Failed(error=f"crashed its worker {started.crashes} times")
        if spec is None:
            return Failed(error=f"no job is called {job.name!r} here", again=True)
        if run.stopped is not None:
            return run.stopped
        self._note(run, "job_started", "job started", attempt=job.attempt, job_name=job.name)
        if job.attempt == 1:
            self._observer.job_started((self._clock() - job.created_at).total_seconds())
        run.attempt = Attempt(job, spec)
        return await run.attempt.outcome()

    async def _settle(self, run: _Run, started: Started, end: Done | Failed | Stop) -> None:
        job = started.job
        spec = self._registry.get(job.name, _UNKNOWN)
        match end:
            case Done(result=result):
                await self._finish(run, replace(job, status=JobStatus.DONE, result=result, error=None, progress=1.0))
            case Failed(again=True, error=error) if job.attempt < spec.tries:
                await self._retry(run, error, _backoff(spec, job.attempt))
            case Failed(error=error, reason=reason):
                await self._finish(run, replace(job, status=JobStatus.FAILED, result=reason, error=error))
            case Stop.CANCELLED:
                await self._finish(run, replace(job, status=JobStatus.CANCELLED))
            case Stop.SHUTDOWN:
                await self._release(run)
            case Stop.LOST:
                raise _Abandoned
            case _:
                assert_never(end)

    async def _finish(self, run: _Run, job: Job) -> None:
        now = self._clock()
        job = replace(job, finished_at=now)
        answer = None if job.status is JobStatus.CANCELLED else answer_to(job, self._answer_text, now)
        await self._record(
            run,
            lambda fence: self._store.finish(
                job.conversation, job.id, fence, job.status, result=job.result, error=job.error, answer=answer
            ),
        )
        reached("job_recorded")
        self._observer.job_ended(job.status)
        self._note(run, f"job_{job.status.value}", f"job {job.status.value}", job_name=job.name)
        await self._close(run)

    async def _retry(self, run: _Run, error: str, pause: float) -> None:
        await self._record(run, lambda fence: self._store.retry(run.conversation, run.job_id, fence, error))
        self._observer.job_ended(JobStatus.WAITING)
        self._note(run, "job_retry", "a job is to be tried again", again_in=round(pause, 3))
        await self._close(run, again_in=pause)

    async def _release(self, run: _Run) -> None:
        await self._record(run, lambda fence: self._store.release(run.conversation, run.job_id, fence))
        self._note(run, "job_released", "a job was given back")
        if not await self._close(run, again_in=0):
            await self._work.wake(run.claim.member)

    async def _record(self, run: _Run, write: Callable[[int], Awaitable[bool]]) -> None:
        fence = run.fence
        assert fence is not None
        if not await self._insist(run, lambda: write(fence)):
            raise _Abandoned

    async def _insist(self, run: _Run, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it succeeds, however long the store is away."""
        pause, longest = RETRY_SECONDS
        while True:
            try:
                return await call()
            except (StoreUnavailable, RedisError) as error:
                if run.stopped is Stop.LOST:
                    raise _Abandoned from error
                if not isinstance(error, StoreUnavailable):  # which says so itself
                    log.exception("the store refused a call", extra={"action": "store_refused", "job": run.job_id})
            await asyncio.sleep(pause)
            pause = min(longest, 2 * pause)

    async def _close(self, run: _Run, *, again_in: float | None = None) -> bool:
        async with run.lock:
            run.closed = True
            return await self._insist(run, lambda: self._work.close(run.claim, again_in=again_in))

    async def _renew(self) -> None:
        await asyncio.sleep(min(1.0, self._lease / 4))
        held = [(run, run.fence) for run in self._runs.values() if run.fence is not None and not run.closed]
        if not held:
            return
        ids = [(run.conversation, run.job_id, fence) for run, fence in held]
        holds = await self._store.renew(ids, lease=self._lease)
        kept = []
        for (run, fence), hold in zip(held, holds, strict=True):
            if hold is Hold.LOST:
                run.stop(Stop.LOST)
                continue
            if hold is Hold.CANCEL:
                run.stop(Stop.CANCELLED)
            kept.append(self._keep(run, fence))
        await asyncio.gather(*kept)

    async def _keep(self, run: _Run, fence: int) -> None:
        async with run.lock:
            if not run.closed:
                run.claim = await self._work.extend(run.claim) or await self._work.open(run.claim.member)
        if run.attempt is not None and run.attempt.progress is not None:
            share, note = run.attempt.progress
            run.attempt.progress = None
            await self._store.progress(run.conversation, run.job_id, fence, share, note)

    def _note(self, run: _Run, action: str, text: str, level: int = logging.INFO, **more: object) -> None:
        log.log(level, text, extra={"action": action, "job": run.job_id, "conversation": run.conversation, **more})


_UNKNOWN = JobSpec(name="", function=lambda: None, backoff=(5.0, 60.0))
"""How a job is treated that this worker's modules do not have: another worker's may, while a release is rolled out."""


def _backoff(spec: JobSpec, attempt: int) -> float:
    first, longest = spec.backoff
    return min(longest, first * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)
