"""Activities as JSON and back, along the attribute maps of the SDK's schema.

The SDK's own serializer takes a hundred microseconds and more for what is a walk over a dozen attributes.
This one gives the same (``tests/test_activities.py`` compares them), with two exceptions, both on purpose: what the
schema does not know (a conversation's ``tenantId``) is written again rather than lost, and tuples and enums in free
values such as ``channelData`` are written as lists and values rather than as their Python text. Reading takes what it
finds, and tells on the way what has another shape than the schema says: who reads from outside refuses that.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple, TypeAlias, TypeVar

import botbuilder.schema as schema
from botbuilder.core.invoke_response import InvokeResponse
from botbuilder.schema import Activity
from msrest.serialization import Deserializer, Model, Serializer

from domain.notification import Json

M = TypeVar("M", bound=Model)

_MODELS: dict[str, type[Model]] = {
    name: member for name, member in vars(schema).items() if isinstance(member, type) and issubclass(member, Model)
}


@functools.cache
def _fields(cls: Any) -> dict[str, tuple[str, str]]:
    """Attribute to its JSON name and the schema's name for its type."""
    return {
        attribute: (entry["key"].replace("\\.", "."), entry["type"])
        for attribute, entry in cls._attribute_map.items()
        if attribute != "additional_properties"
    }


# ---------------------------------------------------------------------- writing


def to_json(model: Model) -> Json:
    """A model of the SDK's schema as JSON values."""
    body = json_of(model)
    assert isinstance(body, dict)
    return body


def json_of(value: Any) -> Any:
    """Anything that an activity, or the answer to an invoke, may hold, as JSON values."""
    cls: type = type(value)
    return _writer(cls)(value)


@functools.cache
def _writer(cls: type) -> Callable[[Any], Any]:
    """How values of a class are written; found once for each class."""
    if cls in (type(None), str, int, float, bool):
        return _as_it_is
    if issubclass(cls, Model):
        return _model_writer(cls)
    if issubclass(cls, dict):
        return _write_dict
    if issubclass(cls, list | tuple | set | frozenset):
        return lambda value: [json_of(item) for item in value]
    if issubclass(cls, Enum):
        return lambda value: value.value
    return _dump_value


def _model_writer(cls: Any) -> Callable[[Model], Json]:
    """By attribute: JSON name, class of values that need no writing, writer. Most are absent, and most others text."""
    plan = {
        attribute: (key, None if kind == "iso-8601" else str, _WRITERS.get(kind, json_of))
        for attribute, (key, kind) in _fields(cls).items()
        if not cls._validation.get(attribute, {}).get("readonly")
    }

    def write(model: Model) -> Json:
        attributes = vars(model)
        unknown = attributes.get("additional_properties")
        body = _write_dict(unknown) if unknown else {}
        for attribute, item in attributes.items():
            if item is not None and attribute in plan:
                key, plain, write_item = plan[attribute]
                body[key] = item if type(item) is plain else write_item(item)
        return body

    return write


def _write_dict(value: dict[Any, Any]) -> Json:
    return {_text(key): item if type(item) is str else json_of(item) for key, item in value.items()}


def _as_it_is(value: Any) -> Any:
    return value


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


def _write_time(value: Any) -> Any:
    try:
        return Serializer.serialize_iso(value)
    except Exception:  # text that is no time, as a channel may have sent it
        return json_of(value)


_WRITERS: dict[str, Callable[[Any], Any]] = {"str": _text, "iso-8601": _write_time}


# ---------------------------------------------------------------------- reading


class Mistake(NamedTuple):
    """A value that is not what the schema says. ``path`` is where: names of fields, and numbers in lists."""

    path: tuple[str | int, ...]
    expected: str


MISTAKES = 100
"""So many are told of one activity, and then no more of its lists is judged: a long list of what is wrong costs more
than what is right."""
ENTRIES = 1000
"""So many may a list of an activity that comes from outside have, or a map. Each costs ten times its bytes."""


class _Mistakes(list[Mistake]):
    """``strict``: what the SDK would read all the same is a mistake too. ``judging``: it comes from outside, and is
    refused if there is any; else it is read whatever it is."""

    def __init__(self, *, strict: bool = True, judging: bool = False) -> None:
        super().__init__()
        self.strict = strict
        self.judging = judging

    @property
    def enough(self) -> bool:
        return self.judging and len(self) >= MISTAKES

    def too_many(self, value: list[Any] | Json, path: _Path) -> bool:
        """Whether so many entries are not even looked at."""
        if not self.judging or len(value) <= ENTRIES:
            return False
        kind = "a list" if isinstance(value, list) else "an object"
        self.append(Mistake(path, f"{kind} of at most {ENTRIES} entries"))
        return True

    def append_if_strict(self, mistake: Mistake) -> None:
        if self.strict:
            self.append(mistake)

    def append(self, mistake: Mistake) -> None:
        if len(self) < MISTAKES:
            super().append(mistake)


def activity_from_json(body: Json) -> Activity:
    """An activity; what the schema does not know is kept in ``additional_properties``."""
    activity: Activity = _load(Activity, body, (), _Mistakes())
    return activity


def read_activity(body: Json, *, strict: bool = True) -> tuple[Activity, list[Mistake]]:
    """An activity, and what of it is malformed: taken as it is, or as the SDK reads it (numbers as texts, ``"false"``
    as a truth value, null in a list), which is no mistake unless ``strict``. Long lists are one, and are not read."""
    mistakes = _Mistakes(strict=strict, judging=True)
    return _load(Activity, body, (), mistakes), mistakes


def model_from_json(cls: type[M], body: Json) -> M:
    """A part of an activity, read as all of it is."""
    model: M = _load(cls, body, (), _Mistakes())
    return model


def model_of(cls: type[M], **attributes: Any) -> M:
    """What the schema's class makes of attributes, in a tenth of the time."""
    schema: Any = cls
    model: M = object.__new__(cls)
    model.__dict__ = {**_reading(schema)[1], "additional_properties": {}, **attributes}
    return model


_Path: TypeAlias = tuple[str | int, ...]
_Read: TypeAlias = Callable[[Any, _Path, _Mistakes], Any]
"""Reads a value that is at a path, and notes what is wrong in it."""


@functools.cache
def _reading(cls: Any) -> tuple[dict[str, tuple[str, type | None, _Read]], dict[str, Any]]:
    """JSON name to (attribute, class of values that need no reading, reader), and the attributes' defaults."""
    plan = {key: (attribute, _PLAIN.get(kind), _reader(kind)) for attribute, (key, kind) in _fields(cls).items()}
    return plan, dict(vars(cls()))


def _load(cls: type, body: Json, path: _Path, mistakes: _Mistakes) -> Any:
    plan, defaults = _reading(cls)
    attributes = defaults.copy()
    attributes["additional_properties"] = extra = {}
    for key, value in body.items():
        known = plan.get(key)
        if known is None:
            extra[key] = value
        elif value is not None:
            attribute, plain, read = known
            attributes[attribute] = value if type(value) is plain else read(value, (*path, key), mistakes)
    instance: Any = object.__new__(cls)
    instance.__dict__ = attributes
    return instance


def _reader(kind: str) -> _Read:
    if kind.startswith("["):
        return _list_reader(_reader(kind[1:-1]))
    if kind.startswith("{"):
        return _map_reader(_MODELS.get(kind[1:-1]))
    if kind in _MODELS:
        return _model_reader(_MODELS[kind])
    return _READERS.get(kind, _read_free)


def _list_reader(read_item: _Read) -> _Read:
    def read(value: Any, path: _Path, mistakes: _Mistakes) -> Any:
        if not isinstance(value, list):
            mistakes.append(Mistake(path, "a list"))
            return value
        if mistakes.enough or mistakes.too_many(value, path):
            return value
        return [
            None if item is None and not mistakes.strict else read_item(item, (*path, number), mistakes)
            for number, item in enumerate(value)
        ]

    return read


def _map_reader(model: type[Model] | None) -> _Read:
    def read(value: Any, path: _Path, mistakes: _Mistakes) -> Any:
        if model is None or not isinstance(value, dict) or mistakes.too_many(value, path):
            return value
        # Only a semantic action has a map, and channels put into it what they like: nothing in it is a mistake.
        ignored = _Mistakes()
        return {
            key: _load(model, item, path, ignored) if isinstance(item, dict) else item for key, item in value.items()
        }

    return read


def _model_reader(model: type[Model]) -> _Read:
    def read(value: Any, path: _Path, mistakes: _Mistakes) -> Any:
        if not isinstance(value, dict):
            mistakes.append(Mistake(path, "an object"))
            return value
        return _load(model, value, path, mistakes)

    return read


def _read_free(value: Any, path: _Path, mistakes: _Mistakes) -> Any:
    return value


def _read_text(value: Any, path: _Path, mistakes: _Mistakes) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | list | dict):
        mistakes.append(Mistake(path, "a string"))
        return value
    mistakes.append_if_strict(Mistake(path, "a string"))
    return None if value is None else str(value)


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def _read_bool(value: Any, path: _Path, mistakes: _Mistakes) -> Any:
    if isinstance(value, bool):
        return value
    meant = _BOOLEANS.get(str(value).lower()) if isinstance(value, str | int) else None
    if meant is None:
        mistakes.append(Mistake(path, "true or false"))
        return value
    mistakes.append_if_strict(Mistake(path, "true or false"))
    return meant


def _read_time(value: Any, path: _Path, mistakes: _Mistakes) -> Any:
    try:
        return _time_of(value)
    except Exception:  # whatever the SDK raises for what is no time, its own errors among them
        mistakes.append(Mistake(path, "a time (ISO 8601)"))
        return value


_PLAIN: dict[str, type] = {"str": str, "bool": bool}
_READERS: dict[str, _Read] = {"str": _read_text, "bool": _read_bool, "iso-8601": _read_time}

_USUAL_TIME = re.compile(
    r"([12]\d{3}-(?:0[1-9]|1[0-2])-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d{1,9})?)(Z|[+-]\d\d:[0-5]\d|)",
    re.ASCII,
)
"""What the standard library and the SDK read alike: no month 0 or hour 24, nothing near the ends of time."""


def _time_of(value: Any) -> datetime:
    """A time as the SDK reads it, with a time zone of its class; a tenth of its time for what channels write."""
    usual = _USUAL_TIME.fullmatch(value) if isinstance(value, str) else None
    if usual is None:
        found: datetime = Deserializer.deserialize_iso(value)
        return found
    return datetime.fromisoformat(usual[1]).replace(tzinfo=_zone(usual[2]))


@functools.cache
def _zone(offset: str) -> tzinfo | None:
    found: datetime = Deserializer.deserialize_iso(f"2000-01-01T00:00:00{offset}")
    return found.tzinfo
