"""Whether JSON has the shape of an activity, by the attribute maps of the SDK's schema.

The SDK takes what it finds and fails later, deep in a turn; here a channel is told which field is wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import botbuilder.schema as schema
from botbuilder.schema import Activity
from msrest.serialization import Deserializer, Model

from domain.notification import Json
from web.problems import BadField
from web.reading import pointer

REQUIRED = (("type",), ("channelId",), ("serviceUrl",), ("conversation", "id"))
_DEEPEST = 8


def wrong_shapes(body: Json) -> list[BadField]:
    """Every field that is missing or malformed; empty for an activity that a turn can be made of."""
    missing = [BadField(pointer(path), "It is missing.") for path in REQUIRED if _at(body, path) in (None, "")]
    wrong = malformed(body)
    return wrong + [error for error in missing if not any(error.place.startswith(other.place) for other in wrong)]


def malformed(body: Json) -> list[BadField]:
    """Every field of an activity, or of a part of one, that has another type than the schema says."""
    return [BadField(pointer(path), detail) for path, detail in _wrong(Activity, body, ())]


def _at(body: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


@functools.cache
def _kinds(cls: Any) -> dict[str, str]:
    """JSON name to the schema's name for its type."""
    return {
        entry["key"].replace("\\.", "."): entry["type"]
        for attribute, entry in cls._attribute_map.items()
        if attribute != "additional_properties"
    }


def _wrong(cls: Any, body: Json, path: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], str]]:
    kinds = _kinds(cls)
    for name, value in body.items():
        if value is not None and name in kinds:
            yield from _check(kinds[name], value, (*path, name))


def _check(kind: str, value: Any, path: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], str]]:
    model = getattr(schema, kind.strip("[]"), None)
    if kind.startswith("["):
        if not isinstance(value, list):
            yield path, "It is not a list."
            return
        for index, item in enumerate(value):
            yield from _check(kind.strip("[]"), item, (*path, index))
    elif isinstance(model, type) and issubclass(model, Model):
        if not isinstance(value, dict):
            yield path, "It is not an object."
        elif len(path) > _DEEPEST:
            yield path, "It is nested too deeply."
        else:
            yield from _wrong(model, value, path)
    elif kind == "str" and not isinstance(value, str):
        yield path, "It is not a string."
    elif kind == "bool" and not isinstance(value, bool):
        yield path, "It is not true or false."
    elif kind == "iso-8601" and not _is_time(value):
        yield path, "It is not a time (ISO 8601)."


def _is_time(value: Any) -> bool:
    try:
        Deserializer.deserialize_iso(value)
    except Exception:  # whatever the SDK raises for it, its own errors among them
        return False
    return True
