"""The records of jobs, on every store: what happens once, what may be repeated, who may still speak."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import orjson
import pytest

from domain.delivery import Delivery, Status
from domain.ids import ConversationKey, DeliveryId, JobId
from domain.job import Job, JobRequest, JobStatus
from domain.notification import Content, Mode
from state import keys
from state.jobs import Busy, Hold, JobStore, Started, work_member
from state.store import Store
from state.work import Work

K = ConversationKey("directline/c{1}")
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
LEASE = 30.0


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


class Bench:
    """A job store with its works, and what a test asks of them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.work = Work(store, "jobs", lease=LEASE)
        self.conversations = Work(store, "conversations", lease=LEASE)
        self.jobs = JobStore(store, jobs=self.work, conversations=self.conversations, clock=self.clock)

    async def start(self, job_id: str = "j1", worker: str = "w1", lease: float = LEASE) -> Started:
        started = await self.jobs.start(K, JobId(job_id), worker, lease=lease)
        assert isinstance(started, Started)
        return started

    async def job(self, job_id: str = "j1") -> Job:
        job = await self.jobs.get(K, JobId(job_id))
        assert job is not None
        return job

    async def mail(self) -> dict[bytes, Any]:
        found = await self.store.run("HGETALL", keys.mailbox(K))
        return {name: orjson.loads(mail) for name, mail in found.items()}

    async def due(self, work: Work) -> list[str]:
        return [claim.member for claim in (await work.claim(10))[0]]


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def request(job_id: str = "j1", number: int = 1, owner: str = "directline/ann") -> JobRequest:
    arguments = {"text": "12"}
    return JobRequest(
        id=JobId(job_id), number=number, name="factor", arguments=arguments, asked="factor 12", owner=owner
    )


def answer(job_id: str = "j1") -> Delivery:
    return Delivery(
        id=DeliveryId(f"{job_id}.a"),
        mode=Mode.RESUME,
        created_at=NOW,
        expires_at=NOW + timedelta(days=31),
        category="job",
        job=JobId(job_id),
        content=Content(activity={"type": "message", "text": "12 = 2^2 × 3"}),
    )


async def test_a_submitted_job_waits_and_a_worker_is_called(bench: Bench) -> None:
    """Everything the turn said is kept, and the job is due at once."""
    assert await bench.jobs.submit(K, request())
    job = await bench.job()
    assert (job.status, job.attempt, job.created_at) == (JobStatus.WAITING, 1, NOW)
    assert (job.number, job.name, job.arguments, job.asked) == (1, "factor", {"text": "12"}, "factor 12")
    assert await bench.jobs.find(JobId("j1")) == job
    assert await bench.due(bench.work) == [work_member(K, JobId("j1"), request().owner)]


async def test_submitting_again_changes_nothing(bench: Bench) -> None:
    """A turn's effects may be carried out twice: the job is there once, as it was."""
    await bench.jobs.submit(K, request())
    before = await bench.job()
    bench.clock.now += timedelta(minutes=1)
    assert not await bench.jobs.submit(K, request())
    assert await bench.job() == before
    assert len(await bench.jobs.list(K)) == len((await bench.jobs.recent(10))[0]) == 1


async def test_submitting_again_after_the_end_runs_nothing(bench: Bench) -> None:
    """A job that is over stays over, and no worker is called for it."""
    await bench.jobs.submit(K, request())
    await bench.due(bench.work)
    await bench.store.run("DEL", keys.work("jobs"))
    started = await bench.start()
    await bench.jobs.finish(K, JobId("j1"), started.fence, JobStatus.DONE, result="x", answer=answer())
    assert not await bench.jobs.submit(K, request())
    assert (await bench.job()).status is JobStatus.DONE
    assert await bench.due(bench.work) == []


async def test_submitting_again_while_it_runs_calls_nobody(bench: Bench) -> None:
    """The claim of the worker that runs it is left alone."""
    await bench.jobs.submit(K, request())
    await bench.due(bench.work)
    await bench.start()
    await bench.jobs.submit(K, request())
    assert await bench.due(bench.work) == []


async def test_a_start_that_is_repeated_is_the_same_run(bench: Bench) -> None:
    """A call repeated on a broken connection is neither a crash nor a new fence."""
    await bench.jobs.submit(K, request())
    assert await bench.start() == await bench.start()
    assert (await bench.start()).crashes == 0


async def test_a_job_that_another_worker_runs_is_not_started(bench: Bench) -> None:
    """Whoever is woken by mistake learns for how long the other's lease lasts."""
    await bench.jobs.submit(K, request())
    await bench.start()
    busy = await bench.jobs.start(K, JobId("j1"), "w2", lease=LEASE)
    assert isinstance(busy, Busy)
    assert 0 < busy.seconds <= LEASE


async def test_a_job_whose_worker_died_is_taken_over(bench: Bench) -> None:
    """The new fence is higher, and the crash is counted; the attempt is the same."""
    await bench.jobs.submit(K, request())
    first = await bench.start(lease=0)
    second = await bench.start(worker="w2")
    assert second.fence > first.fence
    assert (second.crashes, second.job.attempt) == (1, 1)


async def test_an_old_fence_is_not_listened_to(bench: Bench) -> None:
    """A worker that was taken over can change nothing and mails nothing."""
    await bench.jobs.submit(K, request())
    old = (await bench.start(lease=0)).fence
    await bench.start(worker="w2")
    before = await bench.job()
    assert await bench.jobs.renew([(K, JobId("j1"), old)], lease=LEASE) == [Hold.LOST]
    assert not await bench.jobs.progress(K, JobId("j1"), old, 0.5)
    assert not await bench.jobs.retry(K, JobId("j1"), old, "broken")
    assert not await bench.jobs.release(K, JobId("j1"), old)
    assert not await bench.jobs.finish(K, JobId("j1"), old, JobStatus.DONE, result="x", answer=answer())
    assert await bench.job() == before
    assert await bench.mail() == {}


async def test_a_fence_stays_old_after_attempts_that_failed(bench: Bench) -> None:
    """Counting crashes starts anew with every attempt; fences never do."""
    await bench.jobs.submit(K, request())
    old = (await bench.start(lease=0)).fence
    await bench.jobs.retry(K, JobId("j1"), (await bench.start(worker="w2")).fence, "broken")
    await bench.start(worker="w3")
    assert not await bench.jobs.finish(K, JobId("j1"), old, JobStatus.DONE, result="x")


async def test_the_answer_is_mailed_with_the_end(bench: Bench) -> None:
    """One script ends the job and puts the answer into the mailbox; the conversation is woken."""
    await bench.jobs.submit(K, request())
    started = await bench.start()
    bench.clock.now += timedelta(seconds=9)
    assert await bench.jobs.finish(K, JobId("j1"), started.fence, JobStatus.DONE, result="12 = …", answer=answer())
    job = await bench.job()
    assert (job.status, job.result, job.progress, job.answer) == (JobStatus.DONE, "12 = …", 1.0, "pending")
    assert job.finished_at == NOW + timedelta(seconds=9)
    (mail,) = (await bench.mail()).values()
    assert mail.pop("kind") == "delivery"
    assert Delivery.from_json(mail) == answer()
    assert await bench.due(bench.conversations) == [K]


async def test_an_end_that_is_repeated_mails_nothing_more(bench: Bench) -> None:
    """Even after a turn has taken the answer out, a repeated call says yes and does nothing."""
    await bench.jobs.submit(K, request())
    fence = (await bench.start()).fence
    for _ in range(2):
        assert await bench.jobs.finish(K, JobId("j1"), fence, JobStatus.DONE, result="x", answer=answer())
        assert len(await bench.mail()) in (0, 1)
        await bench.store.run("DEL", keys.mailbox(K))
    await bench.jobs.finish(K, JobId("j1"), fence, JobStatus.DONE, result="y", answer=answer())
    assert await bench.mail() == {}
    assert (await bench.job()).result == "x"


async def test_a_worker_that_died_before_it_woke_the_conversation_is_made_up_for(bench: Bench) -> None:
    """Whoever takes the job over finds it ended and wakes the conversation for the answer that lies there."""
    await bench.jobs.submit(K, request())
    fence = (await bench.start()).fence
    await bench.jobs.finish(K, JobId("j1"), fence, JobStatus.FAILED, error="e", answer=answer())
    await bench.store.run("DEL", keys.work("conversations"))
    assert await bench.jobs.start(K, JobId("j1"), "w2", lease=LEASE) is None
    assert await bench.due(bench.conversations) == [K]


async def test_a_retry_counts_an_attempt_and_forgives_crashes(bench: Bench) -> None:
    """The job waits again with the error on its record; repeating the call counts nothing twice."""
    await bench.jobs.submit(K, request())
    await bench.start(lease=0)
    fence = (await bench.start(worker="w2")).fence
    assert await bench.jobs.retry(K, JobId("j1"), fence, "ValueError: no")
    assert await bench.jobs.retry(K, JobId("j1"), fence, "ValueError: no")
    job = await bench.job()
    assert (job.status, job.attempt, job.error) == (JobStatus.WAITING, 2, "ValueError: no")
    assert (await bench.start(worker="w3")).crashes == 0


async def test_a_job_given_back_is_as_it_was(bench: Bench) -> None:
    """A worker that shuts down neither fails nor crashes."""
    await bench.jobs.submit(K, request())
    fence = (await bench.start()).fence
    assert await bench.jobs.release(K, JobId("j1"), fence)
    assert (await bench.job()).status is JobStatus.WAITING
    again = await bench.start(worker="w2")
    assert (again.crashes, again.job.attempt) == (0, 1)


async def test_progress_is_kept(bench: Bench) -> None:
    await bench.jobs.submit(K, request())
    fence = (await bench.start()).fence
    assert await bench.jobs.progress(K, JobId("j1"), fence, 0.25, "a quarter")
    assert ((await bench.job()).progress, (await bench.job()).note) == (0.25, "a quarter")


async def test_a_waiting_job_is_cancelled_at_once(bench: Bench) -> None:
    await bench.jobs.submit(K, request())
    assert await bench.jobs.cancel(K, JobId("j1")) is JobStatus.CANCELLED
    assert (await bench.job()).finished_at == NOW
    assert await bench.jobs.start(K, JobId("j1"), "w1", lease=LEASE) is None


async def test_a_running_job_is_cancelled_by_its_worker(bench: Bench) -> None:
    """The worker learns of it at its next renewal; even a job that is done by then has no answer any more."""
    await bench.jobs.submit(K, request())
    fence = (await bench.start()).fence
    assert await bench.jobs.cancel(K, JobId("j1")) is JobStatus.RUNNING
    assert await bench.jobs.renew([(K, JobId("j1"), fence)], lease=LEASE) == [Hold.CANCEL]
    assert await bench.jobs.finish(K, JobId("j1"), fence, JobStatus.DONE, result="x", answer=answer())
    job = await bench.job()
    assert (job.status, job.result, job.answer) == (JobStatus.CANCELLED, None, None)
    assert await bench.mail() == {}


async def test_cancelling_wins_over_another_attempt(bench: Bench) -> None:
    await bench.jobs.submit(K, request())
    fence = (await bench.start()).fence
    await bench.jobs.cancel(K, JobId("j1"))
    await bench.jobs.retry(K, JobId("j1"), fence, "broken")
    assert (await bench.job()).status is JobStatus.CANCELLED


async def test_a_job_whose_worker_is_dead_is_cancelled_at_once(bench: Bench) -> None:
    await bench.jobs.submit(K, request())
    started = await bench.jobs.start(K, JobId("j1"), "w1", lease=-1)
    assert isinstance(started, Started)
    assert await bench.jobs.cancel(K, JobId("j1")) is JobStatus.CANCELLED
    assert not await bench.jobs.finish(K, JobId("j1"), started.fence, JobStatus.DONE, result="x", answer=answer())


async def test_a_job_that_is_over_stays_as_it_is(bench: Bench) -> None:
    await bench.jobs.submit(K, request())
    fence = (await bench.start()).fence
    await bench.jobs.finish(K, JobId("j1"), fence, JobStatus.DONE, result="x", answer=answer())
    assert await bench.jobs.cancel(K, JobId("j1")) is JobStatus.DONE
    assert (await bench.job()).result == "x"
    assert await bench.jobs.cancel(K, JobId("unknown")) is None


async def test_jobs_are_listed_oldest_first(bench: Bench) -> None:
    """By their numbers in the conversation, whatever order they arrived in."""
    for number in (2, 10, 1):
        await bench.jobs.submit(K, request(f"j{number}", number))
    assert [job.number for job in await bench.jobs.list(K)] == [1, 2, 10]


async def test_recent_jobs_are_paged_newest_first(bench: Bench) -> None:
    """Every job appears once, also where several came in the same millisecond and some are gone."""
    for number in range(9):
        bench.clock.now = NOW + timedelta(seconds=number // 4)
        await bench.jobs.submit(K, request(f"j{number}", number))
    await bench.store.run("DEL", keys.job(K, JobId("j5")))
    seen: list[int] = []
    cursor: str | None = None
    for _ in range(9):
        page, cursor = await bench.jobs.recent(2, cursor)
        seen += [job.number for job in page]
        if cursor is None:
            break
    assert cursor is None
    assert sorted(seen) == [0, 1, 2, 3, 4, 6, 7, 8]
    assert [number // 4 for number in seen] == sorted((number // 4 for number in seen), reverse=True)
    with pytest.raises(ValueError, match="invalid literal"):
        await bench.jobs.recent(2, "nonsense.x")


async def test_the_fate_of_the_answer_is_recorded(bench: Bench) -> None:
    """On the job if it is still known; a job that is gone is not half made again."""
    await bench.jobs.submit(K, request())

    async def report(job_id: str, status: Status, *, may_be_repeated: bool = False) -> tuple[str | None, bool]:
        command = bench.jobs.reporting_answer(K, JobId(job_id), status, may_be_repeated=may_be_repeated)
        await bench.store.sequence(command)
        job = await bench.jobs.get(K, JobId(job_id))
        return (job.answer, job.answer_may_be_repeated) if job else (None, False)

    assert await report("j1", Status.DELIVERED) == ("delivered", False)
    assert await report("j1", Status.PENDING, may_be_repeated=True) == ("pending", True)
    assert await report("j1", Status.DELIVERED) == ("delivered", True)
    await report("gone", Status.DELIVERED)
    assert await bench.jobs.get(K, JobId("gone")) is None
    assert not await bench.store.run("EXISTS", keys.job(K, JobId("gone")))


async def test_forgetting_a_user_stops_and_removes_their_jobs(bench: Bench) -> None:
    """And nobody else's."""
    await bench.jobs.submit(K, request())
    await bench.jobs.submit(K, request("j2", 2, owner="directline/bob"))
    fence = (await bench.start()).fence
    await bench.jobs.forget(K, "directline/ann")
    assert [job.id for job in await bench.jobs.list(K)] == ["j2"]
    assert await bench.jobs.find(JobId("j1")) is None
    assert await bench.jobs.renew([(K, JobId("j1"), fence)], lease=LEASE) == [Hold.LOST]
    assert [job.id for job in (await bench.jobs.recent(10))[0]] == ["j2"]


async def test_every_key_of_a_job_expires(bench: Bench) -> None:
    """Whatever becomes of it; what is permanent is declared so."""
    for number, job_id in enumerate(("waiting", "running", "done", "cancelled")):
        await bench.jobs.submit(K, request(job_id, number))
    await bench.start("running")
    await bench.jobs.finish(K, JobId("done"), (await bench.start("done")).fence, JobStatus.DONE, answer=answer("done"))
    await bench.jobs.cancel(K, JobId("cancelled"))
    for raw in await bench.store.run("KEYS", "*"):
        key = raw.decode()
        if not any(fnmatchcase(key, pattern) for pattern in keys.PERMANENT):
            assert await bench.store.run("TTL", key) > 0, key
    assert await bench.store.run("TTL", keys.job(K, JobId("done"))) <= keys.JOB_TTL
    assert await bench.store.run("TTL", keys.job(K, JobId("cancelled"))) <= keys.JOB_TTL
    assert await bench.store.run("TTL", keys.job(K, JobId("running"))) > keys.JOB_TTL
