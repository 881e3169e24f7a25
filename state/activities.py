"""Activities as JSON and back, along the attribute maps of the SDK's schema.

The SDK's own serializer takes a hundred microseconds and more for what is a walk over a dozen attributes;
the output of this one is the same (``tests/test_activities.py`` compares them).
"""

from __future__ import annotations

import functools
from datetime import date, datetime
from enum import Enum
from typing import Any

import botbuilder.schema as schema
from botbuilder.schema import Activity, ConversationReference
from msrest.serialization import Deserializer, Model, Serializer

from domain.notification import Json

_MODELS: dict[str, type[Model]] = {
    name: member for name, member in vars(schema).items() if isinstance(member, type) and issubclass(member, Model)
}


def to_json(model: Model) -> Json:
    """A model of the SDK's schema as JSON values."""
    body = _dump(model)
    assert isinstance(body, dict)
    return body


def activity_from_json(body: Json) -> Activity:
    """An activity; what the schema does not know is kept in ``additional_properties``."""
    return _load(Activity, body)


def reference_from_json(body: Json) -> ConversationReference:
    return _load(ConversationReference, body)


@functools.cache
def _writing(cls: type[Model]) -> tuple[tuple[str, str], ...]:
    """Attribute and JSON name of each attribute that is written."""
    return tuple(
        (attribute, entry["key"].replace("\\.", "."))
        for attribute, entry in cls._attribute_map.items()
        if attribute != "additional_properties" and not cls._validation.get(attribute, {}).get("readonly")
    )


def _dump(value: Any) -> Any:
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Model):
        attributes = vars(value)
        body = {key: _dump(item) for key, item in (attributes.get("additional_properties") or {}).items()}
        for attribute, key in _writing(type(value)):
            item = attributes.get(attribute)
            if item is not None:
                body[key] = item if type(item) is str else _dump(item)
        return body
    if isinstance(value, dict):
        return {str(key): _dump(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_dump(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return Serializer.serialize_iso(value)
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, str) else value


_Reading = dict[str, tuple[str, type[Model] | None, bool, bool]]


@functools.cache
def _reading(cls: type[Model]) -> tuple[_Reading, dict[str, Any]]:
    """JSON name to (attribute, model of it or of its items, is a list, is a time); and the attributes' defaults."""
    plan: _Reading = {}
    for attribute, entry in cls._attribute_map.items():
        if attribute == "additional_properties":
            continue
        kind = entry["type"]
        listed = kind.startswith("[")
        model = _MODELS.get(kind.strip("[]"))
        plan[entry["key"].replace("\\.", ".")] = (attribute, model, listed, kind == "iso-8601")
    return plan, dict(vars(cls()))


def _load(cls: type[Model], body: Json) -> Any:
    plan, defaults = _reading(cls)
    instance = cls.__new__(cls)
    attributes = vars(instance)
    attributes.update(defaults)
    extra: Json = {}
    for key, value in body.items():
        known = plan.get(key)
        if known is None:
            extra[key] = value
            continue
        attribute, model, listed, is_time = known
        if value is None:
            continue
        if model is not None and listed and isinstance(value, list):
            value = [_load(model, item) if isinstance(item, dict) else item for item in value]
        elif model is not None and isinstance(value, dict):
            value = _load(model, value)
        elif is_time and isinstance(value, str):
            value = Deserializer.deserialize_iso(value)
        attributes[attribute] = value
    attributes["additional_properties"] = extra
    return instance
