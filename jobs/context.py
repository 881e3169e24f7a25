"""What a job's function is given, what it may raise, and what it may return."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from domain.ids import JobId

RESULT_LIMIT = 20_000
"""Characters a result may have: channels refuse activities of more than some 28 to 100 kB."""
NOTE_LIMIT = 200

Report = Callable[[float, str], None]
"""Takes a share from 0 to 1 and a note."""


class JobFailed(Exception):
    """Raised by a job that cannot be done, whoever tries: ``reason_for_user`` is a plain sentence for the chat."""

    def __init__(self, reason_for_user: str) -> None:
        super().__init__(reason_for_user)
        self.reason_for_user = reason_for_user


class JobMistake(Exception):
    """The job's own code is wrong, so that trying it again is of no use."""


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """Given to a coroutine job as its first parameter. ``attempt`` counts from 1."""

    job_id: JobId
    attempt: int
    report: Report

    async def progress(self, share: float, note: str | None = "") -> None:
        """Tell how far the job is, from 0 to 1. May be called as often as one likes."""
        self.report(*_clean(share, note))


@dataclass(frozen=True, kw_only=True)
class CpuJobContext:
    """Given to a CPU-bound job as its first parameter. ``attempt`` counts from 1."""

    job_id: JobId
    attempt: int
    report: Report

    def progress(self, share: float, note: str | None = "") -> None:
        """Tell how far the job is, from 0 to 1. May be called as often as one likes."""
        self.report(*_clean(share, note))


def checked_result(name: str, value: object) -> str:
    """A job's result, if it is one: text that a channel takes. Raises :class:`JobMistake`."""
    if not isinstance(value, str):
        raise JobMistake(f"The job {name!r} returned {type(value).__name__}; a job returns the text to be told (str).")
    if not value.strip():
        raise JobMistake(f"The job {name!r} returned an empty text.")
    if value != cleaned(value):
        raise JobMistake(f"The job {name!r} returned text that cannot be written in UTF-8.")
    if len(value) > RESULT_LIMIT:
        raise JobMistake(f"The job {name!r} returned {len(value)} characters; at most {RESULT_LIMIT} can be told.")
    return value


def cleaned(text: str) -> str:
    """The text with what UTF-8 cannot carry (lone surrogates) replaced."""
    return text.encode("utf-8", "replace").decode()


def _clean(share: object, note: object) -> tuple[float, str]:
    """What can be told of what a job says: a slip in it is no reason to lose the job."""
    try:
        known = float(share)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        known = 0.0
    text = "" if note is None else str(note)
    return (min(1.0, max(0.0, known)) if math.isfinite(known) else 0.0), cleaned(text)[:NOTE_LIMIT]
