"""What is wrong with an activity, as fields of a request."""

from __future__ import annotations

from botbuilder.schema import Activity

from domain.notification import Json
from sdk import activity_shape
from sdk.activities import read_activity
from web.problems import BadField
from web.reading import pointer


def shaped(body: Json) -> tuple[Activity, list[BadField]]:
    """The activity, and every field that is missing or malformed: none if a turn can be made of it."""
    activity, flaws = activity_shape.shaped(body)
    return activity, [BadField(pointer(path), detail) for path, detail in flaws]


def malformed(body: Json) -> list[BadField]:
    """Every field of an activity, or of a part of one, that has another type than the schema says."""
    return [BadField(pointer(path), f"It is not {expected}.") for path, expected in read_activity(body)[1]]
