"""What a worker promises: every job ends once, whatever happens to processes, the store and the job's own code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from domain.errors import StoreUnavailable
from domain.ids import ConversationKey, JobId
from domain.job import Job, JobRequest, JobStatus
from jobs.context import CpuJobContext, JobContext, JobFailed
from jobs.registry import job, load
from jobs.worker import Worker
from state import keys
from state.embedded import find_server
from state.jobs import JobStore, Started, parse_work_member
from state.store import Store
from state.work import Work
from testkit.waiting import until

K = ConversationKey("directline/c1")
J = JobId("j1")
LEASE = 1.0

gates: dict[str, asyncio.Event] = {}
started: list[str] = []


@job("echo")
async def echo(context: JobContext, text: str) -> str:
    return f"{text} {context.attempt}"


@job("gate")
async def gate(context: JobContext, text: str) -> str:
    """Waits until its gate is opened."""
    started.append(text)
    await context.progress(0.5, "half way")
    await gates[text].wait()
    return f"{text} opened"


@job("refuse")
async def refuse(context: JobContext) -> str:
    raise JobFailed("I cannot do that on a Sunday.")


@job("break", tries=2, backoff=(0.01, 0.01))
async def break_down(context: JobContext, text: str) -> str:
    started.append(text)
    raise ValueError("the secret is 42")


@job("mumble")
async def mumble(context: JobContext) -> str:
    """Has nothing to say, and says it."""
    await context.progress(0.5, None)
    await context.progress("half", 3)  # type: ignore[arg-type]
    await context.progress(None)  # type: ignore[arg-type]
    return "done"


@job("break_apart", cpu=True, tries=1)
def break_apart(context: CpuJobContext) -> str:
    context.progress(0.5, None)
    raise ValueError("the secret is 42")


@job("leave", tries=1)
async def leave(context: JobContext) -> str:
    sys.exit(3)


@job("number", cpu=True, backoff=(0.01, 0.01))
def number(context: CpuJobContext) -> int:
    return 42


@job("chatter", cpu=True, tries=1)
def chatter(context: CpuJobContext, text: str) -> str:
    sys.stdout.write('{"result": "a print is no result"}\n')
    sys.stdout.flush()
    os.write(1, b"nor is this\n")
    context.progress(0.5, "half way")
    return f"{text} {context.attempt}"


@job("quit", cpu=True, tries=1)
def quit_early(context: CpuJobContext) -> str:
    os._exit(7)


@job("exit", cpu=True, tries=1)
def exit_politely(context: CpuJobContext) -> str:
    sys.exit(7)


@job("spin_once", cpu=True, backoff=(0.01, 0.01))
def spin_once(context: CpuJobContext, path: str) -> str:
    """Writes its process id and computes for ever; once the file is there, it is done at once."""
    file = Path(path)
    if file.exists():
        return f"at attempt {context.attempt}"
    file.write_text(f"{os.getpid()}\n")
    while True:
        pass


@job("spin_late", cpu=True, timeout=0.5, late="That took too long.")
def spin_late(context: CpuJobContext) -> str:
    while True:
        pass


def answer_text(job: Job) -> str:
    return f"{job.asked}: {job.result or 'It did not work.'}"


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A server that keeps everything it is told, at a URL."""
    command = [find_server(None), "--port", "0", "--unixsocket", str(folder / "s"), "--save", "", "--dir", str(folder)]
    command += ["--appendonly", "yes", "--appendfsync", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            yield f"unix://{folder / 's'}"
        finally:
            server.kill()


class Bench:
    """A store of jobs, workers, and what a test asks of them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.work = Work(store, "jobs", lease=LEASE)
        self.jobs = JobStore(store, jobs=self.work, conversations=Work(store, "conversations", lease=LEASE))
        self.answer_text = answer_text
        self.running: list[asyncio.Task[None]] = []

    def worker(self) -> Worker:
        """Another worker, at work."""
        worker = Worker(
            self.jobs,
            self.work if not self.running else Work(self.store, "jobs", lease=LEASE),
            load([__name__, "jobs.examples"]),
            concurrency=4,
            lease=LEASE,
            answer_text=self.answer_text,
        )
        self.running.append(asyncio.create_task(worker.run()))
        return worker

    async def submit(self, name: str, job_id: JobId = J, **arguments: Any) -> None:
        request = JobRequest(id=job_id, number=1, name=name, arguments=arguments, asked=f"do {name}", owner="x/ann")
        await self.jobs.submit(K, request)

    async def job(self, job_id: JobId = J) -> Job:
        job = await self.jobs.get(K, job_id)
        assert job is not None
        return job

    async def reached(self, status: JobStatus, job_id: JobId = J) -> Job:
        async def there() -> Job | None:
            job = await self.job(job_id)
            return job if job.status is status else None

        job: Job = await until(there)
        return job

    async def said(self) -> list[str]:
        """The texts in the mailbox."""
        mail = await self.store.run("HGETALL", keys.mailbox(K))
        return [orjson.loads(body)["content"]["activity"]["text"] for body in mail.values()]

    async def idle(self) -> None:
        """Wait until no job is left to be done."""

        async def nothing() -> bool:
            return await self.work.length() == 0

        await until(nothing)

    async def stop(self) -> None:
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
        await self.store.close()
        await self.store.redis.aclose(close_connection_pool=True)


@contextlib.asynccontextmanager
async def at_bench(url: str) -> AsyncIterator[Bench]:
    started.clear()
    gates.clear()
    gates["a"] = asyncio.Event()
    bench = Bench(Store.connect(url))

    async def reachable() -> bool:
        with contextlib.suppress(StoreUnavailable):
            return bool(await bench.store.run("FLUSHALL"))
        return False

    await until(reachable)
    try:
        yield bench
    finally:
        await bench.stop()


@pytest.fixture
async def bench(real_url: str) -> AsyncIterator[Bench]:
    async with at_bench(real_url) as bench:
        yield bench


def alive(pid: int) -> bool:
    """Whether a process runs (one that only waits to be collected does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc").exists()


async def spinning(path: Path) -> int:
    """The process id of a job that wrote it there."""

    async def told() -> int:
        return int(path.read_text()) if path.exists() and path.read_text().endswith("\n") else 0

    pid: int = await until(told)
    return pid


async def ended(pid: int) -> None:
    async def gone() -> bool:
        return not alive(pid)

    await until(gone)


async def test_a_coroutine_job_is_answered(bench: Bench) -> None:
    """The answer quotes what was asked, and nothing is left to be done."""
    bench.worker()
    await bench.submit("echo", text="hello")
    job = await bench.reached(JobStatus.DONE)
    assert (job.result, job.answer, job.progress) == ("hello 1", "pending", 1.0)
    assert await bench.said() == ["do echo: hello 1"]
    await bench.idle()


async def test_a_cpu_bound_job_is_answered(bench: Bench) -> None:
    """It runs in a process of its own, and what it prints disturbs nobody."""
    bench.worker()
    await bench.submit("chatter", text="hello")
    assert (await bench.reached(JobStatus.DONE)).result == "hello 1"
    assert await bench.said() == ["do chatter: hello 1"]


async def test_progress_is_seen_while_a_job_runs(bench: Bench) -> None:
    bench.worker()
    await bench.submit("gate", text="a")

    async def half() -> bool:
        return (await bench.job()).progress == 0.5

    await until(half)
    assert (await bench.job()).note == "half way"
    gates["a"].set()
    await bench.reached(JobStatus.DONE)


async def test_a_job_may_refuse_with_a_reason(bench: Bench) -> None:
    """The user is told it, and no other attempt is made."""
    bench.worker()
    await bench.submit("refuse")
    job = await bench.reached(JobStatus.FAILED)
    assert job.attempt == 1
    assert await bench.said() == ["do refuse: I cannot do that on a Sunday."]


async def test_a_job_that_breaks_is_tried_again_and_then_fails(bench: Bench) -> None:
    """The operator sees the error, the user never does."""
    bench.worker()
    await bench.submit("break", text="b")
    job = await bench.reached(JobStatus.FAILED)
    assert started == ["b", "b"]
    assert (job.attempt, job.error, job.result) == (2, "ValueError: the secret is 42", None)
    assert await bench.said() == ["do break: It did not work."]


async def test_progress_that_says_nothing_is_no_mistake(bench: Bench) -> None:
    bench.worker()
    await bench.submit("mumble")
    assert (await bench.reached(JobStatus.DONE)).result == "done"


@pytest.mark.parametrize(
    ("name", "arguments", "action"),
    [
        ("break", {"text": "b"}, "job_raised"),
        ("break_apart", {}, "job_raised"),
        ("number", {}, "job_mistake"),
        ("echo", {"wrong": 1}, "job_mistake"),
    ],
)
async def test_what_is_logged_of_a_job_says_which(
    bench: Bench, caplog: pytest.LogCaptureFixture, name: str, arguments: dict[str, Any], action: str
) -> None:
    bench.worker()
    await bench.submit(name, **arguments)
    await bench.reached(JobStatus.FAILED)
    told = [record for record in caplog.records if getattr(record, "action", None) == action]
    assert told
    assert {(record.__dict__["job"], record.__dict__["job_name"]) for record in told} == {(J, name)}


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("number", {}, "returned int"),
        ("echo", {"wrong": 1}, "does not take these arguments"),
        ("quit", {}, "exited with code 7 and no result"),
        ("exit", {}, "SystemExit: 7"),
        ("leave", {}, "SystemExit"),
        ("spin_late", {}, "took longer than 0.5 s"),
    ],
)
async def test_a_job_that_is_wrong_fails_with_a_clear_error(
    bench: Bench, name: str, arguments: dict[str, Any], error: str
) -> None:
    """At the first attempt where another could not fare better; and the worker goes on."""
    bench.worker()
    await bench.submit(name, **arguments)
    job = await bench.reached(JobStatus.FAILED)
    assert job.attempt == 1
    assert error in (job.error or "")
    await bench.submit("echo", JobId("j2"), text="still here")
    await bench.reached(JobStatus.DONE, JobId("j2"))


async def test_a_job_that_ran_out_of_time_may_say_so(bench: Bench) -> None:
    bench.worker()
    await bench.submit("spin_late")
    await bench.reached(JobStatus.FAILED)
    assert await bench.said() == ["do spin_late: That took too long."]


async def test_a_job_that_no_module_has_fails_after_its_tries(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker might have had it."""
    monkeypatch.setattr("jobs.worker._backoff", lambda spec, attempt: 0.0)
    bench.worker()
    await bench.submit("nonesuch")
    job = await bench.reached(JobStatus.FAILED)
    assert (job.attempt, job.error) == (3, "no job is called 'nonesuch' here")


async def test_a_text_that_fails_does_not_lose_the_result(bench: Bench) -> None:
    def mistaken(job: Job) -> str:
        raise KeyError("no such text")

    bench.answer_text = mistaken
    bench.worker()
    await bench.submit("echo", text="hello")
    await bench.reached(JobStatus.DONE)
    assert await bench.said() == ["hello 1"]


async def test_a_waiting_job_that_is_cancelled_never_runs(bench: Bench) -> None:
    await bench.submit("gate", text="a")
    await bench.jobs.cancel(K, J)
    bench.worker()
    await bench.idle()
    assert started == []
    assert await bench.said() == []


async def test_a_running_coroutine_job_is_cancelled(bench: Bench) -> None:
    """It stops, it is not answered, and no other worker takes it up."""
    worker = bench.worker()
    await bench.submit("gate", text="a")
    await bench.reached(JobStatus.RUNNING)
    await bench.jobs.cancel(K, J)
    await bench.reached(JobStatus.CANCELLED)
    await bench.idle()
    assert worker.running == 0
    assert await bench.said() == []


async def test_a_running_cpu_bound_job_is_cancelled(bench: Bench, tmp_path: Path) -> None:
    """Its process is killed."""
    bench.worker()
    await bench.submit("spin_once", path=str(tmp_path / "pid"))
    pid = await spinning(tmp_path / "pid")
    await bench.jobs.cancel(K, J)
    await bench.reached(JobStatus.CANCELLED)
    await ended(pid)
    assert await bench.said() == []


async def test_a_child_that_is_killed_is_tried_again(bench: Bench, tmp_path: Path) -> None:
    """A kill -9 of the job's process is a failed attempt, not the job's end."""
    bench.worker()
    await bench.submit("spin_once", path=str(tmp_path / "pid"))
    os.kill(await spinning(tmp_path / "pid"), signal.SIGKILL)
    job = await bench.reached(JobStatus.DONE)
    assert (job.result, job.attempt) == ("at attempt 2", 2)
    assert await bench.said() == ["do spin_once: at attempt 2"]


WORKER_ALONE = """
import asyncio, sys
from jobs.registry import load
from jobs.worker import Worker
from state.jobs import JobStore
from state.store import Store
from state.work import Work

async def main(url, module):
    store = Store.connect(url)
    work = Work(store, "jobs", lease=1.0)
    jobs = JobStore(store, jobs=work, conversations=Work(store, "conversations", lease=1.0))
    await Worker(jobs, work, load([module]), concurrency=4, lease=1.0, answer_text=lambda job: job.result).run()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_worker_that_is_killed_is_followed_by_another(bench: Bench, real_url: str, tmp_path: Path) -> None:
    """A kill -9 of a worker takes its children with it, and the job is answered exactly once, by another."""
    await bench.submit("spin_once", path=str(tmp_path / "pid"))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    alone = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER_ALONE, real_url, __name__, env=env)
    child = await spinning(tmp_path / "pid")
    bench.worker()
    assert (await bench.job()).status is JobStatus.RUNNING
    alone.kill()
    await alone.wait()
    await ended(child)
    job = await bench.reached(JobStatus.DONE)
    assert (job.result, job.attempt) == ("at attempt 1", 1)
    await bench.idle()
    assert await bench.said() == ["do spin_once: at attempt 1"]


async def test_a_job_that_crashes_its_workers_fails(bench: Bench) -> None:
    """It is not handed out for ever, and the user learns that it failed."""
    await bench.submit("gate", text="a")
    for crash in range(3):
        assert isinstance(await bench.jobs.start(K, J, f"dead worker {crash}", lease=0), Started)
    bench.worker()
    job = await bench.reached(JobStatus.FAILED)
    assert job.error == "crashed its worker 3 times"
    assert started == []
    assert await bench.said() == ["do gate: It did not work."]


async def test_a_worker_that_lost_a_job_stops_it_and_says_nothing(bench: Bench) -> None:
    """Whoever has the higher fence speaks for the job."""
    worker = bench.worker()
    await bench.submit("gate", text="a")
    await bench.reached(JobStatus.RUNNING)
    await bench.store.run("HSET", keys.job(K, J), "lease", 0)
    taken = await bench.jobs.start(K, J, "another worker", lease=60)
    assert isinstance(taken, Started)

    async def dropped() -> bool:
        return worker.running == 0

    await until(dropped)
    gates["a"].set()
    assert (await bench.job()).status is JobStatus.RUNNING
    assert await bench.said() == []
    assert await bench.jobs.finish(K, J, taken.fence, JobStatus.DONE, result="by the other")


async def test_a_job_longer_than_its_lease_runs_once(bench: Bench) -> None:
    """The lease is renewed for as long as the job runs, though another worker looks for work."""
    bench.worker()
    bench.worker()
    await bench.submit("wait", text="3")
    job = await bench.reached(JobStatus.DONE)
    assert (job.result, job.attempt) == ("Waited 3 seconds.", 1)
    assert await bench.store.run("HGET", keys.job(K, J), "fence") == b"1"


async def test_waking_a_running_job_does_not_run_it_twice(bench: Bench) -> None:
    bench.worker()
    bench.worker()
    await bench.submit("gate", text="a")
    await bench.reached(JobStatus.RUNNING)

    async def put_off() -> bool:
        seconds, micros = await bench.store.run("TIME")
        now = int(seconds) * 1000 + int(micros) / 1000
        return float(await bench.store.run("ZSCORE", keys.work("jobs"), f"{K}\n{J}")) > now

    for _ in range(10):
        await bench.work.wake(f"{K}\n{J}")
        await until(put_off)
    gates["a"].set()
    await bench.reached(JobStatus.DONE)
    assert started == ["a"]
    assert await bench.store.run("HGET", keys.job(K, J), "fence") == b"1"


async def test_draining_lets_a_job_finish(bench: Bench) -> None:
    """What is running is awaited; what comes meanwhile is left to others."""
    worker = bench.worker()
    await bench.submit("gate", text="a")
    await bench.reached(JobStatus.RUNNING)
    draining = asyncio.create_task(worker.drain(30))
    await asyncio.sleep(0)
    await bench.submit("echo", JobId("j2"), text="too late")
    gates["a"].set()
    await draining
    await bench.running[0]
    assert (await bench.job()).status is JobStatus.DONE
    assert (await bench.job(JobId("j2"))).status is JobStatus.WAITING


async def test_draining_gives_back_what_does_not_finish(bench: Bench, tmp_path: Path) -> None:
    """Another worker takes it at once, as the same attempt; its process is gone."""
    worker = bench.worker()
    await bench.submit("spin_once", path=str(tmp_path / "pid"))
    pid = await spinning(tmp_path / "pid")
    await worker.drain(0)
    assert not alive(pid)
    assert (await bench.job()).status is JobStatus.WAITING
    (claim,), _ = await bench.work.claim(1)
    assert parse_work_member(claim.member) == (K, J)
    await bench.work.wake(claim.member)
    bench.worker()
    assert (await bench.reached(JobStatus.DONE)).result == "at attempt 1"


async def test_a_cancelled_worker_gives_its_jobs_back(bench: Bench) -> None:
    bench.worker()
    await bench.submit("gate", text="a")
    await bench.reached(JobStatus.RUNNING)
    bench.running[0].cancel()
    await asyncio.gather(bench.running[0], return_exceptions=True)
    assert (await bench.job()).status is JobStatus.WAITING


async def test_a_result_waits_for_a_store_that_is_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The server is killed while a job runs; the job ends meanwhile; it is answered when the server is back."""
    folder = tmp_path_factory.mktemp("v")
    with contextlib.ExitStack() as server:
        url = server.enter_context(serving(folder))
        async with at_bench(url) as bench:
            bench.worker()
            await bench.submit("gate", text="a")
            await bench.reached(JobStatus.RUNNING)
            server.close()
            gates["a"].set()
            with pytest.raises(StoreUnavailable):
                await bench.job()
            server.enter_context(serving(folder))

            async def back() -> bool:
                with contextlib.suppress(StoreUnavailable):
                    return (await bench.job()).status is JobStatus.DONE
                return False

            await until(back)
            assert await bench.said() == ["do gate: a opened"]
            assert started == ["a"]
            await bench.submit("echo", JobId("j2"), text="hello")
            await bench.reached(JobStatus.DONE, JobId("j2"))


async def test_a_mistake_does_not_end_the_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loop goes on after whatever is raised in it."""
    claim, broken = bench.work.claim, iter([RuntimeError("a bug")])

    async def claim_badly(limit: int) -> Any:
        for error in broken:
            raise error
        return await claim(limit)

    monkeypatch.setattr(bench.work, "claim", claim_badly)
    bench.worker()
    await bench.submit("echo", text="hello")
    await bench.reached(JobStatus.DONE)


async def test_a_worker_ends_though_a_read_swallows_its_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """``asyncio.wait_for`` before Python 3.12 does, where what it waits for is done at that moment: whoever then asks
    again without a pause would hold up everything else for ever."""
    read = asyncio.Event()

    async def swallowing(*_: Any, **__: Any) -> None:
        read.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(bench.store.redis, "blpop", swallowing)
    worker = bench.worker()
    await asyncio.wait_for(read.wait(), 5)
    await worker.drain(0)
    await asyncio.wait_for(bench.running[0], 5)
