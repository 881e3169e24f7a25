"""State as versioned JSON: what SDK dialogs and a developer's plain classes put in state, and nothing that could run.

Values that JSON knows are stored as they are. Everything else is an object with a ``$type``: dates, tuples, sets,
bytes and the like by a short name; classes of the SDK as ``sdk:Name``; a developer's own as ``module:Class``.
Decoding creates instances without calling anything of theirs, and only of classes from packages that were
allowed by name; a class found through somebody else's module does not count.
"""

from __future__ import annotations

import base64
import functools
import importlib
import inspect
import math
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import botbuilder.dialogs as sdk_dialogs
import botbuilder.dialogs.choices as sdk_choices
import botbuilder.schema as sdk_schema
import botbuilder.schema.teams as sdk_teams
import orjson
from botbuilder.dialogs.dialog_state import DialogState
from botbuilder.dialogs.prompts import DateTimeResolution, PromptOptions
from msrest.serialization import Model

from domain.errors import UndecodableState, UnstorableState

MAX_INT = 2**63 - 1

_SDK_MODULES = (sdk_schema, sdk_teams, sdk_dialogs, sdk_choices)
_SDK_EXTRA = (DialogState, PromptOptions, DateTimeResolution)


def _sdk_classes() -> dict[str, type]:
    """What the SDK itself keeps in state: its schema's models, its enums, and the values of its dialogs."""
    classes: dict[str, type] = {cls.__name__: cls for cls in _SDK_EXTRA}
    for module in _SDK_MODULES:
        for name, member in vars(module).items():
            if inspect.isclass(member) and issubclass(member, Model | Enum):
                classes.setdefault(name, member)
    for cls in (sdk_dialogs.DialogInstance, sdk_choices.Choice, sdk_choices.FoundChoice):
        classes[cls.__name__] = cls
    return classes


_SDK_BY_NAME = _sdk_classes()
_SDK_NAMES = {cls: name for name, cls in _SDK_BY_NAME.items()}

_SCALARS: dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    datetime: ("datetime", datetime.isoformat, datetime.fromisoformat),
    date: ("date", date.isoformat, date.fromisoformat),
    time: ("time", time.isoformat, time.fromisoformat),
    timedelta: ("timedelta", lambda v: f"{v.days}:{v.seconds}:{v.microseconds}", lambda s: timedelta(*_ints(s))),
    Decimal: ("decimal", str, Decimal),
    UUID: ("uuid", str, UUID),
    bytes: ("bytes", lambda v: base64.b64encode(v).decode(), base64.b64decode),
    int: ("int", str, int),
    float: ("float", repr, float),
}
_SCALAR_DECODERS = {name: decode for name, _, decode in _SCALARS.values()}
_COLLECTIONS: dict[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset"}
_COLLECTION_DECODERS: dict[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


def _ints(text: str) -> list[int]:
    return [int(part) for part in text.split(":")]


class Codec:
    """``packages``: top-level packages (or dotted modules) whose classes may be stored, besides the SDK's own."""

    def __init__(self, packages: Iterable[str] = ()) -> None:
        self._packages = tuple(packages)
        self._resolved: dict[str, type] = {}

    def encode(self, value: Any) -> bytes:
        """JSON for ``value``. Raises :class:`UnstorableState` with the place of what cannot be stored."""
        try:
            return orjson.dumps(self._flatten(value, "state", set()))
        except RecursionError:
            raise UnstorableState("State is nested too deeply to be stored.") from None

    def decode(self, data: bytes) -> Any:
        """The value that :meth:`encode` was given. Raises :class:`UndecodableState`."""
        try:
            return self._restore(orjson.loads(data)) if b'"$' in data else orjson.loads(data)
        except UndecodableState:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, ImportError, ArithmeticError) as error:
            raise UndecodableState(f"Stored state cannot be read: {type(error).__name__}: {error}") from error

    # ------------------------------------------------------------------ encoding

    def _flatten(self, value: Any, path: str, above: set[int]) -> Any:
        kind = type(value)
        if kind is str or kind is bool or value is None:
            return value
        if kind is int and -MAX_INT <= value <= MAX_INT:
            return value
        if kind is float and math.isfinite(value):
            return value
        if kind in _SCALARS:
            name, encode, _ = _SCALARS[kind]
            return {"$type": name, "v": encode(value)}
        if isinstance(value, Enum):
            return {"$type": "enum", "class": self._name(kind, path), "v": self._flatten(value.value, path, above)}
        if id(value) in above:
            raise UnstorableState(f"{path} refers to an object that contains it; state is stored as a tree.")
        above.add(id(value))
        try:
            return self._flatten_container(value, kind, path, above)
        finally:
            above.discard(id(value))

    def _flatten_container(self, value: Any, kind: type, path: str, above: set[int]) -> Any:
        if kind is list:
            return [self._flatten(item, f"{path}[{i}]", above) for i, item in enumerate(value)]
        if kind is dict:
            return self._flatten_dict(value, path, above)
        if kind in _COLLECTIONS:
            items = [self._flatten(item, f"{path}[{i}]", above) for i, item in enumerate(value)]
            if kind is not tuple:
                items.sort(key=orjson.dumps)  # the same set gives the same bytes
            return {"$type": _COLLECTIONS[kind], "v": items}
        name = self._name(kind, path)
        attributes = {
            attribute: self._flatten(item, f"{path}.{attribute}", above)
            for attribute, item in _attributes(value)
            if not (item is None or item == {}) or not isinstance(value, Model)
        }
        return {"$type": name, "v": attributes}

    def _flatten_dict(self, value: dict[Any, Any], path: str, above: set[int]) -> Any:
        if all(type(key) is str and key[:1] != "$" for key in value):
            return {key: self._flatten(item, f"{path}.{key}", above) for key, item in value.items()}
        pairs = [
            [self._flatten(key, f"{path} key", above), self._flatten(item, f"{path}[{key!r}]", above)]
            for key, item in value.items()
        ]
        return {"$type": "dict", "v": pairs}

    def _name(self, cls: type, path: str) -> str:
        if cls in _SDK_NAMES:
            return f"sdk:{_SDK_NAMES[cls]}"
        name = f"{cls.__module__}:{cls.__qualname__}"
        if not self._allowed(cls.__module__):
            raise UnstorableState(
                f"{path} is a {name}, which may not be stored. Store plain values, or add "
                f"{cls.__module__.partition('.')[0]!r} to STATE_MODULES."
            )
        if "<locals>" in cls.__qualname__:
            raise UnstorableState(f"{path} is a {name}: a class made inside a function cannot be found again.")
        if not _plain(cls):
            raise UnstorableState(f"{path} is a {name}, built on a built-in container; store a plain class instead.")
        return name

    # ------------------------------------------------------------------ decoding

    def _restore(self, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            return [self._restore(item) for item in value]
        if kind is not dict:
            return value
        if "$type" not in value:
            return {key: self._restore(item) for key, item in value.items()}
        name, body = value["$type"], value["v"]
        if name in _SCALAR_DECODERS:
            return _SCALAR_DECODERS[name](body)
        if name in _COLLECTION_DECODERS:
            return _COLLECTION_DECODERS[name]([self._restore(item) for item in body])
        if name == "dict":
            return {self._restore(key): self._restore(item) for key, item in body}
        if name == "enum":
            return self._member(value["class"], self._restore(body))
        return _instance(self._class(name), {key: self._restore(item) for key, item in body.items()})

    def _member(self, name: str, value: Any) -> Any:
        """The member of an enum, looked up in its table: its class is not called."""
        cls = self._class(name)
        if not issubclass(cls, Enum):
            raise UndecodableState(f"Stored state names {name} as an enum, which it is not.")
        for member in cls:
            if member.value == value:
                return member
        raise UndecodableState(f"Stored state holds {value!r}, which {name} no longer has.")

    def _class(self, name: str) -> type:
        cls = self._resolved.get(name)
        if cls is None:
            cls = self._resolved[name] = self._resolve(name)
        return cls

    def _resolve(self, name: str) -> type:
        module_name, _, qualified = name.partition(":")
        if module_name == "sdk":
            if qualified not in _SDK_BY_NAME:
                raise UndecodableState(f"Stored state holds a {name}, which this SDK does not have.")
            return _SDK_BY_NAME[qualified]
        if not self._allowed(module_name):
            raise UndecodableState(f"Stored state holds a {name}, which may not be read; see STATE_MODULES.")
        target: Any = importlib.import_module(module_name)
        for part in qualified.split("."):
            target = getattr(target, part)
        if not isinstance(target, type) or target.__module__ != module_name or not _plain(target):
            raise UndecodableState(f"Stored state holds a {name}, which is not a class that state may hold.")
        return target

    def _allowed(self, module: str) -> bool:
        return any(module == package or module.startswith(package + ".") for package in self._packages)


@functools.cache
def _plain(cls: type) -> bool:
    """Whether instances are attributes and nothing else (not a subclass of dict, int, Exception, ...)."""
    if issubclass(cls, Enum):
        return True
    try:
        object.__new__(cls)
    except TypeError:
        return False
    return True


@functools.cache
def _slots(cls: type) -> tuple[str, ...]:
    names: list[str] = []
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _attributes(value: Any) -> list[tuple[str, Any]]:
    attributes = list(getattr(value, "__dict__", {}).items())
    attributes += [(name, getattr(value, name)) for name in _slots(type(value)) if hasattr(value, name)]
    return attributes


@functools.cache
def _model_defaults(cls: type[Model]) -> dict[str, Any]:
    return dict(vars(cls()))


def _instance(cls: type, attributes: dict[str, Any]) -> Any:
    """An instance with these attributes, made without running any of its class's code."""
    instance = object.__new__(cls)
    if issubclass(cls, Model):
        vars(instance).update(_model_defaults(cls))
        vars(instance)["additional_properties"] = {}
    slots = _slots(cls)
    for name, item in attributes.items():
        if name in slots:
            object.__setattr__(instance, name, item)
        else:
            vars(instance)[name] = item
    return instance
