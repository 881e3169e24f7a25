"""Activities as JSON and back, along the attribute maps of the SDK's schema.

The SDK's own serializer takes a hundred microseconds and more for what is a walk over a dozen attributes.
This one gives the same (``tests/test_activities.py`` compares them), with two exceptions, both on purpose: what the
schema does not know (a conversation's ``tenantId``) is written again rather than lost, and tuples and enums in free
values such as ``channelData`` are written as lists and values rather than as their Python text. It takes what it
finds: whether a body has the shape of an activity is asked where it comes in, not here.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import botbuilder.schema as schema
from botbuilder.core.invoke_response import InvokeResponse
from botbuilder.schema import Activity, ConversationReference
from msrest.serialization import Deserializer, Model, Serializer

from domain.notification import Json

_MODELS: dict[str, type[Model]] = {
    name: member for name, member in vars(schema).items() if isinstance(member, type) and issubclass(member, Model)
}


def to_json(model: Model) -> Json:
    """A model of the SDK's schema as JSON values."""
    body = json_of(model)
    assert isinstance(body, dict)
    return body


def activity_from_json(body: Json) -> Activity:
    """An activity; what the schema does not know is kept in ``additional_properties``."""
    return _load(Activity, body)


def reference_from_json(body: Json) -> ConversationReference:
    return _load(ConversationReference, body)


@functools.cache
def _writing(cls: Any) -> tuple[tuple[str, str, Callable[[Any], Any]], ...]:
    """Attribute, JSON name and way of writing of each attribute that is written."""
    return tuple(
        (attribute, entry["key"].replace("\\.", "."), _WRITERS.get(entry["type"], json_of))
        for attribute, entry in cls._attribute_map.items()
        if attribute != "additional_properties" and not cls._validation.get(attribute, {}).get("readonly")
    )


def json_of(value: Any) -> Any:
    """Anything that an activity, or the answer to an invoke, may hold, as JSON values."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Model):
        cls: type = type(value)
        attributes = vars(value)
        body = {key: json_of(item) for key, item in (attributes.get("additional_properties") or {}).items()}
        for attribute, key, write in _writing(cls):
            item = attributes.get(attribute)
            if item is not None:
                body[key] = write(item)
        return body
    if isinstance(value, dict):
        return {_text(key): json_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_of(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return _dump_value(value)


def _dump_value(value: Any) -> Any:
    match value:
        case datetime():
            return Serializer.serialize_iso(value)
        case date():
            return Serializer.serialize_date(value)
        case time():
            return Serializer.serialize_time(value)
        case timedelta():
            return Serializer.serialize_duration(value)
        case Decimal() | float():
            return float(value)
        case int():
            return int(value)
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case InvokeResponse():  # the SDK's activity handler sends these as an activity's value
            return {"status": int(value.status or 200), "body": json_of(value.body)}
        case Exception(args=(str() as code, str() as message)):
            # The SDK's Action.Execute handler puts an exception where the schema has an error object.
            return {"code": code, "message": message}
    return str(value)


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    return value if type(value) is str else str(value)


def _time(value: Any) -> Any:
    try:
        return Serializer.serialize_iso(value)
    except Exception:  # text that is no time, as a channel may have sent it
        return json_of(value)


_WRITERS: dict[str, Callable[[Any], Any]] = {"str": _text, "iso-8601": _time}

_Reading = dict[str, tuple[str, type[Model] | None, str]]


@functools.cache
def _reading(cls: Any) -> tuple[_Reading, dict[str, Any]]:
    """JSON name to (attribute, model of it or of its items, type), and the attributes' defaults."""
    plan: _Reading = {}
    for attribute, entry in cls._attribute_map.items():
        if attribute == "additional_properties":
            continue
        kind = entry["type"]
        plan[entry["key"].replace("\\.", ".")] = (attribute, _MODELS.get(kind.strip("[]{}")), kind)
    return plan, dict(vars(cls()))


def _load(cls: type, body: Json) -> Any:
    plan, defaults = _reading(cls)
    instance: Any = object.__new__(cls)
    attributes = vars(instance)
    attributes.update(defaults)
    extra: Json = {}
    for key, value in body.items():
        known = plan.get(key)
        if known is None:
            extra[key] = value
            continue
        attribute, model, kind = known
        if value is not None:
            attributes[attribute] = value if type(value) is str and kind != "iso-8601" else _read(value, model, kind)
    attributes["additional_properties"] = extra
    return instance


def _read(value: Any, model: type[Model] | None, kind: str) -> Any:
    if model is None:
        return _read_time(value) if kind == "iso-8601" else value
    match value:
        case list() if kind[0] == "[":
            return [_load(model, item) if isinstance(item, dict) else item for item in value]
        case dict() if kind[0] == "{":
            return {key: _load(model, item) if isinstance(item, dict) else item for key, item in value.items()}
        case dict() if kind[0] != "[":
            return _load(model, value)
    return value


def _read_time(value: Any) -> Any:
    try:
        return Deserializer.deserialize_iso(value)
    except Exception:  # whatever the SDK raises for what is no time, its own errors among them
        return value
