"""What users read has no gap where something is missing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.ids import ConversationKey, JobId
from domain.job import Job, JobStatus
from domain.notification import Content, Json
from proactive.texts import job_answer

SORRY = "I am sorry, that did not work: "
LATER = "something went wrong while I was working on it. Please try again later."


@pytest.mark.parametrize(
    ("asked", "status", "result", "text"),
    [
        ("pi 7", JobStatus.DONE, "3.1", "You asked: pi 7\n\n3.1"),
        ("pi 7", JobStatus.FAILED, "It is too long.", f"You asked: pi 7\n\n{SORRY}It is too long."),
        ("pi 7", JobStatus.FAILED, " ", f"You asked: pi 7\n\n{SORRY}{LATER}"),
        ("", JobStatus.DONE, "3.1", "3.1"),
        (" ", JobStatus.FAILED, None, f"{SORRY}{LATER}"),
    ],
)
def test_the_answer_of_a_job(asked: str, status: JobStatus, result: str | None, text: str) -> None:
    """Also of one that was started without a word of what was asked, or that fails without a reason."""
    job = Job(
        id=JobId("job_1"),
        conversation=ConversationKey("msteams/a:ann"),
        number=1,
        name="pi",
        arguments={},
        asked=asked,
        owner="",
        status=status,
        created_at=datetime.now(UTC),
        result=result,
    )
    assert job_answer(job) == text


@pytest.mark.parametrize(
    ("activity", "summary"),
    [({"text": " "}, "(card)"), ({"text": "\n", "summary": "a\nchart"}, "a chart"), ({}, "(card)")],
)
def test_a_line_for_what_has_no_text(activity: Json, summary: str) -> None:
    assert Content(activity=activity).summary == summary
