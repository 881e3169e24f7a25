"""Jobs: their records, who runs them, and the answer that is mailed in the script that ends them.

A run of a job holds a *fence*, a number that only grows; whoever writes about a running job shows it, and a
worker that was taken over finds that its number is old. ``starts`` counts the runs since an attempt last
ended in an orderly way, so that a job that kills its workers is not handed out for ever.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from domain.clock import Clock, from_ms, system_clock, to_ms
from domain.delivery import Delivery, Status
from domain.ids import ConversationKey, JobId, UserKey
from domain.job import Job, JobRequest, JobStatus
from state import job_scripts as scripts
from state import keys
from state.fault_points import reached
from state.readable import readable
from state.scripts import Argument, Command, scripted
from state.store import Store
from state.turns import encode_mail
from state.work import Work

UNFINISHED_TTL = 31 * keys.DAY
"""How long a job that nobody works on is kept; every sign of life starts it anew."""
INDEX_TTL = UNFINISHED_TTL + keys.JOB_TTL

Jobs = list[Job]
Arguments = list[Argument]


class Hold(StrEnum):
    """What a renewal finds."""

    OK = "ok"
    CANCEL = "cancel"
    """Still held, and the user wants it stopped."""
    LOST = "lost"
    """Taken over, ended or forgotten: say nothing about it any more."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """A job in a worker's hand. ``crashes`` counts the runs before this one that ended without a word."""

    job: Job
    fence: int
    crashes: int


@dataclass(frozen=True, kw_only=True)
class Busy:
    """Another worker runs the job and its lease lasts ``seconds`` more."""

    seconds: float


class JobStore:
    """The records of jobs. Every call may be repeated without harm and raises ``StoreUnavailable``."""

    def __init__(self, store: Store, *, jobs: Work, conversations: Work, clock: Clock = system_clock) -> None:
        self._store = store
        self._jobs = jobs
        self._conversations = conversations
        self._clock = clock

    async def submit(self, conversation: ConversationKey, request: JobRequest) -> bool:
        """Record a job and have it run. False, and nothing changes, if it was submitted before."""
        names = [keys.job(conversation, request.id), keys.jobs(conversation)]
        body = json.dumps(request.to_json(), separators=(",", ":"))
        args: Arguments = [request.id, request.number, body, self._now(), UNFINISHED_TTL, keys.JOBS_KEPT]
        new, status, created, oldest = await self._store.call(scripts.SUBMIT, names, args)
        member = f"{conversation}\n{request.id}"
        await self._store.sequence(
            *_owning(request.owner, member, int(created)),
            Command(("SET", keys.job_index(request.id), conversation, "EX", INDEX_TTL)),
            Command(("ZADD", keys.recent_jobs(), "NX", int(created), member)),
            Command(("ZREMRANGEBYRANK", keys.recent_jobs(), 0, -keys.RECENT_JOBS - 1)),
        )
        if status == b"waiting":
            await self._jobs.wake(work_member(conversation, request.id, request.owner))
        if oldest:
            await self._make_room(conversation, [JobId(job_id.decode()) for job_id in oldest])
        return bool(new)

    async def _make_room(self, conversation: ConversationKey, ids: Sequence[JobId]) -> None:
        """Forget those of a conversation's jobs that are over."""
        found, _ = await self._read([(conversation, job_id) for job_id in ids])
        over = [job_id for job_id, job in zip(ids, found, strict=True) if job is None or job.status.final]
        await self._store.sequence(*(command for job_id in over for command in _forgetting(conversation, job_id)))

    async def start(
        self, conversation: ConversationKey, job_id: JobId, worker: str, *, lease: float
    ) -> Started | Busy | None:
        """Take a job in hand for ``lease`` seconds; None if there is nothing to run.

        ``worker`` is unique to this run: a repetition under the same name is the same run, not a crash.
        """
        names = [keys.job(conversation, job_id), keys.jobs(conversation)]
        args: Arguments = [worker, round(lease * 1000), self._now(), UNFINISHED_TTL, keys.JOB_TTL]
        kind, *rest = await self._store.call(scripts.START, names, args)
        if kind == b"busy":
            return Busy(seconds=rest[0] / 1000)
        if kind == b"over":
            if rest[0] in (b"done", b"failed"):
                # Its worker may have died between mailing the answer and saying so.
                await self._conversations.wake(conversation)
            return None
        fields = dict(zip(rest[::2], rest[1::2], strict=True))
        job = readable("job", job_id, partial(_job, conversation, fields))
        if job is None:  # it would come back for ever
            error = "its record cannot be read"
            await self.finish(conversation, job_id, int(fields[b"fence"]), JobStatus.FAILED, error=error)
            return None
        return Started(job=job, fence=int(fields[b"fence"]), crashes=int(fields[b"starts"]) - 1)

    async def finish(
        self,
        conversation: ConversationKey,
        job_id: JobId,
        fence: int,
        outcome: JobStatus,
        *,
        result: str | None = None,
        error: str | None = None,
        answer: Delivery | None = None,
    ) -> bool:
        """End a job and mail its answer. False, and nothing changes, if the fence is old.

        A job whose cancelling was asked for meanwhile ends as cancelled, without an answer.
        """
        names = [
            keys.job(conversation, job_id),
            keys.jobs(conversation),
            keys.mailbox(conversation),
            keys.mail_ids(conversation),
        ]
        args: Arguments = [fence, outcome.value, result or "", error or "", self._now(), keys.JOB_TTL, UNFINISHED_TTL]
        args += [answer.id, encode_mail(answer)] if answer else ["", ""]
        args += [keys.MAIL_IDS_TTL, keys.MAIL_IDS_KEPT]
        if not await self._store.call(scripts.FINISH, names, args):
            return False
        if answer:
            reached("answer_mailed")
            await self._conversations.wake(conversation)
        return True

    async def retry(self, conversation: ConversationKey, job_id: JobId, fence: int, error: str) -> bool:
        """An attempt failed and another is to follow. False if the fence is old."""
        return await self._again(conversation, job_id, fence, 1, error)

    async def release(self, conversation: ConversationKey, job_id: JobId, fence: int) -> bool:
        """Give a job back unharmed: neither a failed attempt nor a crash. False if the fence is old."""
        return await self._again(conversation, job_id, fence, 0, "")

    async def _again(self, conversation: ConversationKey, job_id: JobId, fence: int, failed: int, error: str) -> bool:
        args: Arguments = [fence, failed, error, self._now(), keys.JOB_TTL]
        return bool(await self._store.call(scripts.AGAIN, [keys.job(conversation, job_id)], args))

    async def renew(self, held: Sequence[tuple[ConversationKey, JobId, int]], *, lease: float) -> Sequence[Hold]:
        """Keep jobs in hand for another lease; each is a conversation, an id and a fence."""
        args = (round(lease * 1000), UNFINISHED_TTL)
        calls = (
            self._store.call(scripts.RENEW, [keys.job(key, job_id)], [fence, *args]) for key, job_id, fence in held
        )
        return [Hold(answer.decode()) for answer in await asyncio.gather(*calls)]

    async def progress(
        self, conversation: ConversationKey, job_id: JobId, fence: int, share: float, note: str = ""
    ) -> bool:
        """Record how far a run is, from 0 to 1. False if the fence is old."""
        return bool(await self._store.call(scripts.PROGRESS, [keys.job(conversation, job_id)], [fence, share, note]))

    async def cancel(self, conversation: ConversationKey, job_id: JobId) -> JobStatus | None:
        """The status afterwards: ``running`` while a worker has yet to stop it; None for an unknown job."""
        status = await self._store.call(scripts.CANCEL, [keys.job(conversation, job_id)], [self._now(), keys.JOB_TTL])
        return JobStatus(status.decode()) if status else None

    @staticmethod
    def reporting_answer(
        conversation: ConversationKey, job_id: JobId, status: Status, *, may_be_repeated: bool = False
    ) -> Command:
        """The command that records where the delivery of the answer stands, to leave together with others."""
        return scripted(scripts.REPORT, [keys.job(conversation, job_id)], [status.value, int(may_be_repeated)])

    async def get(self, conversation: ConversationKey, job_id: JobId) -> Job | None:
        """A job; None for one that is unknown, or cannot be read."""
        found, _ = await self._read([(conversation, job_id)])
        return found[0]

    async def find(self, job_id: JobId) -> Job | None:
        """A job by its id alone."""
        conversation = await self._store.run("GET", keys.job_index(job_id))
        return await self.get(ConversationKey(conversation.decode()), job_id) if conversation else None

    async def recent(self, limit: int, cursor: str | None = None) -> tuple[Jobs, str | None]:
        """Jobs of all conversations, newest first, and the cursor of the next page (None on the last).

        A page holds fewer than ``limit`` where jobs have gone. Raises ``ValueError`` for a cursor that is none.
        """
        top, _, seen = (cursor or "+inf.0").partition(".")
        offset = int(seen)
        bound = top if top == "+inf" else str(int(top))
        command = ("ZREVRANGEBYSCORE", keys.recent_jobs(), bound, "-inf", "WITHSCORES", "LIMIT", offset, limit)
        flat = _pairs(await self._store.run(*command))
        found, there = await self._read([parse_work_member(member) for member, _ in flat])
        gone = [member for (member, _), is_there in zip(flat, there, strict=True) if not is_there]
        if gone:
            await self._store.run("ZREM", keys.recent_jobs(), *gone)
        following = None
        if len(flat) == limit:
            last = flat[-1][1]
            # Jobs of the same millisecond: so many of them have been seen, on this page or those before it.
            same = sum(score == last for (_, score), is_there in zip(flat, there, strict=True) if is_there)
            following = f"{last}.{same + (offset if str(last) == top else 0)}"
        return [job for job in found if job is not None], following

    async def forget(self, conversation: ConversationKey, owner: str | None = None) -> None:
        """Delete a conversation's jobs, or those of one user in it; what runs is stopped by its worker."""
        ids, found = await self._of(conversation)
        for job_id, job in zip(ids, found, strict=True):
            if owner is None or (job is not None and job.owner == owner):
                await self._store.sequence(*_forgetting(conversation, job_id))

    async def list(self, conversation: ConversationKey) -> Jobs:
        """A conversation's jobs, oldest first."""
        _, found = await self._of(conversation)
        return [job for job in found if job is not None]

    async def _of(self, conversation: ConversationKey) -> tuple[Sequence[JobId], Sequence[Job | None]]:
        """The ids of what a conversation has of jobs, and each job, None if it cannot be read."""
        ids = [JobId(job_id.decode()) for job_id in await self._store.run("ZRANGE", keys.jobs(conversation), 0, -1)]
        found, there = await self._read([(conversation, job_id) for job_id in ids])
        gone = [job_id for job_id, is_there in zip(ids, there, strict=True) if not is_there]
        if gone:
            await self._store.run("ZREM", keys.jobs(conversation), *gone)
        return ids, found

    async def unfinished(self, owner: UserKey) -> int:
        """How many of a user's jobs have not ended, in all conversations."""
        key = keys.user_jobs(owner)
        members = [member.decode() for member in await self._store.run("ZRANGE", key, 0, -1)]
        found, _ = await self._read([parse_work_member(member) for member in members])
        over = [member for member, job in zip(members, found, strict=True) if job is None or job.status.final]
        if over:
            await self._store.run("ZREM", key, *over)
        return len(members) - len(over)

    async def _read(
        self, wanted: Sequence[tuple[ConversationKey, JobId]]
    ) -> tuple[Sequence[Job | None], Sequence[bool]]:
        """Each job, None for one that is gone or cannot be read; and whether it is there."""
        replies = await self._store.together(*(Command(("HGETALL", keys.job(key, job_id))) for key, job_id in wanted))
        found = [
            readable("job", job_id, partial(_job, key, _fields(reply))) if reply else None
            for (key, job_id), reply in zip(wanted, replies, strict=True)
        ]
        return found, [bool(reply) for reply in replies]

    def _now(self) -> int:
        return to_ms(self._clock())


def _forgetting(conversation: ConversationKey, job_id: JobId) -> list[Command]:
    return [
        Command(("DEL", keys.job(conversation, job_id))),
        Command(("ZREM", keys.jobs(conversation), job_id)),
        Command(("DEL", keys.job_index(job_id))),
        Command(("ZREM", keys.recent_jobs(), f"{conversation}\n{job_id}")),
    ]


def _owning(owner: str, member: str, created: int) -> list[Command]:
    if not owner:
        return []
    key = keys.user_jobs(UserKey(owner))
    return [
        Command(("ZADD", key, "NX", created, member)),
        Command(("ZREMRANGEBYRANK", key, 0, -keys.JOBS_KEPT - 1)),
        Command(("EXPIRE", key, UNFINISHED_TTL)),
    ]


def work_member(conversation: ConversationKey, job_id: JobId, owner: str) -> str:
    """A job as a member of the ``jobs`` work, which is shared out among the owners: of what nobody owns, among
    conversations."""
    digest = hashlib.sha256((owner or conversation).encode()).hexdigest()[:16]
    return f"{conversation}\n{job_id}~{digest}"


def parse_work_member(member: str) -> tuple[ConversationKey, JobId]:
    conversation, _, job_id = member.rpartition("\n")
    return ConversationKey(conversation), JobId(job_id.partition("~")[0])


def _pairs(reply: Any) -> Sequence[tuple[str, int]]:
    if reply and isinstance(reply[0], list | tuple):
        return [(member.decode(), int(score)) for member, score in reply]
    return [(member.decode(), int(float(score))) for member, score in zip(reply[::2], reply[1::2], strict=True)]


def _fields(reply: Any) -> dict[bytes, bytes]:
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def _job(conversation: ConversationKey, fields: dict[bytes, bytes]) -> Job:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    moments = {name: from_ms(int(text[name])) for name in ("created", "started", "finished") if name in text}
    return Job(
        **json.loads(text["body"]),
        conversation=conversation,
        status=JobStatus(text["status"]),
        created_at=moments["created"],
        attempt=int(text["attempt"]),
        progress=float(text["progress"]) if "progress" in text else None,
        note=text.get("note") or None,
        result=text.get("result"),
        error=text.get("error"),
        started_at=moments.get("started"),
        finished_at=moments.get("finished"),
        answer=text.get("answer"),
        answer_may_be_repeated="repeated" in text,
    )
