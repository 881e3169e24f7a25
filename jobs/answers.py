"""The delivery that brings a job's answer back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from domain.delivery import Delivery
from domain.ids import DeliveryId
from domain.job import Job
from domain.notification import Content, Mode

log = logging.getLogger("aside.jobs")

ANSWER_LIFE = timedelta(days=31)

AnswerText = Callable[[Job], str]
"""What is said of a job that is over: its ``status`` is done or failed, and ``result`` holds what the job itself
has to say, in the second case only if it gave a reason for the user."""


def answer_to(job: Job, text: AnswerText, now: datetime) -> Delivery:
    """The answer of a job that is over."""
    return Delivery(
        id=DeliveryId(f"{job.id}.a"),
        mode=Mode.RESUME,
        created_at=now,
        expires_at=now + ANSWER_LIFE,
        category="job",
        job=job.id,
        content=Content(activity={"type": "message", "text": _text(job, text)}),
    )


def _text(job: Job, text: AnswerText) -> str:
    try:
        return text(job)
    except Exception:  # a result that took an hour is not lost to a mistake in a text
        log.exception("the text of an answer failed", extra={"action": "answer_text_failed", "job": job.id})
        return job.result or f"{job.asked}: {job.status.value}"
