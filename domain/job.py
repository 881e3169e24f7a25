"""A job: a long-running computation started from a turn, whose answer comes back as a delivery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.ids import ConversationKey, JobId


class JobStatus(StrEnum):
    WAITING = "waiting"
    """Submitted; no worker has it yet, or it waits to be tried again."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self not in (JobStatus.WAITING, JobStatus.RUNNING)


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """What a turn asks for. ``asked`` is quoted in the answer; ``number`` is the job's in its conversation."""

    id: JobId
    number: int
    name: str
    arguments: dict[str, Any]
    asked: str
    owner: str
    """The user (``UserKey``) who started it: only they see it in the chat."""

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "number": self.number,
            "name": self.name,
            "arguments": self.arguments,
            "asked": self.asked,
            "owner": self.owner,
        }


@dataclass(frozen=True, kw_only=True)
class Job:
    """The record of a job. ``progress`` is a share from 0 to 1; ``error`` is for the operator, never for the chat."""

    id: JobId
    conversation: ConversationKey
    number: int
    name: str
    arguments: dict[str, Any]
    asked: str
    owner: str
    status: JobStatus
    created_at: datetime
    attempt: int = 1
    progress: float | None = None
    note: str | None = None
    result: str | None = None
    error: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    answer: str | None = None
    """Status of the delivery that carries the answer, once there is one."""
    answer_may_be_repeated: bool = False
    """Whether it may have been shown more than once: a process died, or a channel's answer left it open."""
