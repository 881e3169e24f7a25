"""Whether JSON has the shape of an activity.

The SDK takes what it finds and fails later, deep in a turn; here a channel is told which field is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from botbuilder.schema import Activity

from domain.notification import Json
from state.activities import Mistake, read_activity
from web.problems import BadField
from web.reading import pointer

REQUIRED = (("type",), ("channelId",), ("serviceUrl",), ("conversation", "id"))


def shaped(body: Json) -> tuple[Activity, list[BadField]]:
    """The activity, and every field that is missing or malformed: none if a turn can be made of it."""
    activity, mistakes = read_activity(body)
    wrong = _bad_fields(mistakes)
    missing = [BadField(pointer(path), "It is missing.") for path in REQUIRED if _at(body, path) in (None, "")]
    return activity, wrong + [
        error for error in missing if not any(error.place.startswith(other.place) for other in wrong)
    ]


def malformed(body: Json) -> list[BadField]:
    """Every field of an activity, or of a part of one, that has another type than the schema says."""
    return _bad_fields(read_activity(body)[1])


def _bad_fields(mistakes: Iterable[Mistake]) -> list[BadField]:
    return [BadField(pointer(path), f"It is not {expected}.") for path, expected in mistakes]


def _at(body: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body
