"""State as versioned JSON: what SDK dialogs and a developer's plain classes put in state, and nothing that could run.

Values that JSON knows are stored as they are. Everything else is an object with a ``$type``: dates, tuples, sets,
bytes and the like by a short name; classes of the SDK as ``sdk:Name``; a developer's own as ``module:Class``, with what
they are as the builtin type that they derive from. Numbers of numpy become plain ones.
Decoding creates instances without calling anything of theirs (but ``__hash__`` and ``__eq__`` where they lie in a
set or are a key), and only of classes from packages that were allowed by name; a class found through somebody
else's module does not count. State is a tree: an object that was stored in two places comes back as two.
"""

from __future__ import annotations

import base64
import importlib
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from domain.errors import StateTooDeep, UndecodableState, UnstorableState
from state import builtin_kinds
from state.instances import SDK_CLASSES, SDK_NAMES, attributes_of, instance_of, is_plain

MAX_INT = 2**63 - 1
PART_DEPTH = 80
"""Containers within one another that are written as they are: each takes up to three levels of JSON, of which orjson
writes 254. What is nested deeper is written as a part of its own."""
MAX_DEPTH = 8 * PART_DEPTH
"""Containers within one another at most: about 160 dialogs, each begun inside another. The SDK's own storage can carry
a quarter of that, and its dialogs, without any, not much more."""
DEEP = b'{"$deep":['
"""What such a document begins with: a list of its parts, the outermost first."""


def _write_time(moment: datetime | time) -> str:
    """ISO 8601 with the name of its time zone, if it has one, as RFC 9557 writes it; other zones become offsets."""
    zone = moment.tzinfo
    return f"{moment.isoformat()}[{zone.key}]" if isinstance(zone, ZoneInfo) and zone.key else moment.isoformat()


def _read_datetime(text: str) -> datetime:
    text, _, zone = text.partition("[")
    moment = datetime.fromisoformat(text)
    if not zone:
        return moment
    local = moment.replace(tzinfo=ZoneInfo(zone.rstrip("]")))
    return local if local.utcoffset() == moment.utcoffset() else local.replace(fold=1)


def _read_time(text: str) -> time:
    text, _, zone = text.partition("[")
    moment = time.fromisoformat(text)
    return moment.replace(tzinfo=ZoneInfo(zone.rstrip("]"))) if zone else moment


_SCALARS: dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    datetime: ("datetime", _write_time, _read_datetime),
    date: ("date", date.isoformat, date.fromisoformat),
    time: ("time", _write_time, _read_time),
    timedelta: ("timedelta", lambda v: f"{v.days}:{v.seconds}:{v.microseconds}", lambda s: timedelta(*_ints(s))),
    Decimal: ("decimal", str, Decimal),
    UUID: ("uuid", str, UUID),
    bytes: ("bytes", lambda v: base64.b64encode(v).decode(), base64.b64decode),
    int: ("int", hex, lambda s: int(s, 16)),
    float: ("float", repr, float),
    **builtin_kinds.SCALARS,
}
_SCALAR_DECODERS = {name: decode for name, _, decode in _SCALARS.values()}
_COLLECTIONS: dict[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset"}
_COLLECTION_DECODERS: dict[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_MAPPING_DECODERS: dict[str, Callable[[dict[Any, Any]], Any]] = {
    "dict": dict,
    "OrderedDict": OrderedDict,
    "Counter": builtin_kinds.counter_of,
}


def _ints(text: str) -> list[int]:
    return [int(part) for part in text.split(":")]


class _Above(set[int]):
    """The identities of the containers that a value lies in, within its part of the document; ``outside``: those that
    the part lies in. ``deep``: the parts that were found, in their order."""

    def __init__(
        self, outside: frozenset[int] = frozenset(), deep: list[tuple[Any, str, _Above]] | None = None
    ) -> None:
        self.outside = outside
        self.deep: list[tuple[Any, str, _Above]] = [] if deep is None else deep

    def set_apart(self, value: Any, path: str) -> dict[str, Any]:
        """What stands for a value that is a part of its own."""
        outside = self.outside | self
        if len(outside) >= MAX_DEPTH:
            raise StateTooDeep(f"{path[:200]}… is nested too deeply; keep state to {MAX_DEPTH} levels.")
        self.deep.append((value, path, _Above(outside, self.deep)))
        return {"$type": "deep", "v": len(self.deep)}


class Codec:
    """``packages``: top-level packages (or dotted modules) whose classes may be stored, besides the SDK's own."""

    def __init__(self, packages: Iterable[str] = ()) -> None:
        self._packages = tuple(packages)
        self._resolved: dict[str, type] = {}

    def allow(self, packages: Iterable[str]) -> None:
        """Classes of these may be stored and read as well."""
        self._packages += tuple(packages)

    def encode(self, value: Any) -> bytes:
        """JSON for ``value``. Raises :class:`UnstorableState` with the place of what cannot be stored."""
        try:
            above = _Above()
            whole = self._flatten(value, "state", above)
            if not above.deep:
                return orjson.dumps(whole)
            parts = [whole]
            for item, path, around in above.deep:  # which grows meanwhile
                parts.append(self._flatten(item, path, around))
            return orjson.dumps({"$deep": parts})
        except orjson.JSONEncodeError as error:
            raise UnstorableState(f"State holds a value that JSON cannot: {error}.") from None

    def decode(self, data: bytes) -> Any:
        """The value that :meth:`encode` was given. Raises :class:`UndecodableState`."""
        try:
            if data.startswith(DEEP):
                return self._restore_parts(orjson.loads(data)["$deep"])
            return self._restore(orjson.loads(data)) if b'"$' in data else orjson.loads(data)
        except UndecodableState:
            raise
        except Exception as error:  # the data may be anything, and a module that it names may fail in any way
            raise UndecodableState(f"Stored state cannot be read: {type(error).__name__}: {error}") from error

    # ------------------------------------------------------------------ encoding

    def _flatten(self, value: Any, path: str, above: _Above) -> Any:
        kind = type(value)
        if kind is str:
            return value if value.isascii() else _text(value, path)
        if kind is bool or value is None:
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
        if builtin_kinds.is_numpy(kind):
            return self._flatten(builtin_kinds.number_of(value, path), path, above)
        if id(value) in above or id(value) in above.outside:
            raise UnstorableState(f"{path} refers to an object that contains it; state is stored as a tree.")
        if len(above) == PART_DEPTH:
            return above.set_apart(value, path)
        above.add(id(value))
        try:
            return self._flatten_container(value, kind, path, above)
        finally:
            above.discard(id(value))

    def _flatten_container(self, value: Any, kind: type, path: str, above: _Above) -> Any:
        if kind is list:
            return [self._flatten(item, f"{path}[{i}]", above) for i, item in enumerate(value)]
        if kind is dict:
            return self._flatten_dict(value, path, above)
        if kind in _COLLECTIONS:
            items = [self._flatten(item, f"{path}[{i}]", above) for i, item in enumerate(value)]
            if kind is not tuple:
                items.sort(key=orjson.dumps)  # the same set gives the same bytes
            return {"$type": _COLLECTIONS[kind], "v": items}
        if kind is OrderedDict or kind is Counter:
            return {"$type": kind.__name__, "v": self._pairs(value, path, above)}
        if kind is defaultdict:
            factory = builtin_kinds.factory_name(value, path)
            return {"$type": "defaultdict", "of": factory, "v": self._pairs(value, path, above)}
        if kind is deque:
            items = [self._flatten(item, f"{path}[{i}]", above) for i, item in enumerate(value)]
            return {"$type": "deque", "of": value.maxlen, "v": items}
        name = self._name(kind, path)
        if getattr(value, "__dict__", None) is value:
            raise UnstorableState(f"{path} is a {name}, whose items are its attributes; define __getattr__ for that.")
        attributes = {
            attribute: self._flatten(item, f"{path}.{attribute}", above) for attribute, item in attributes_of(value)
        }
        base = builtin_kinds.builtin_base(kind)
        if base is None:
            return {"$type": name, "v": attributes}
        return {"$type": name, "v": attributes, "of": self._flatten_base(base, value, path, above)}

    def _flatten_base(self, base: type, value: Any, path: str, above: _Above) -> Any:
        """What an instance of an own class is as the builtin type it derives from: a value, its items or its pairs."""
        plain = builtin_kinds.plain_part(base, value)
        if isinstance(plain, dict):
            return self._pairs(plain, path, above)
        if not isinstance(plain, list | set):
            return self._flatten(plain, path, above)
        items = [self._flatten(item, f"{path}[{i}]", above) for i, item in enumerate(plain)]
        if isinstance(plain, set):
            items.sort(key=orjson.dumps)
        return items

    def _flatten_dict(self, value: dict[Any, Any], path: str, above: _Above) -> Any:
        if all(type(key) is str and key[:1] != "$" for key in value):
            return {key: self._flatten(item, f"{path}.{key}", above) for key, item in value.items()}
        return {"$type": "dict", "v": self._pairs(value, path, above)}

    def _pairs(self, value: dict[Any, Any], path: str, above: _Above) -> Any:
        return [
            [self._flatten(key, f"{path} key", above), self._flatten(item, f"{path}[{key!r}]", above)]
            for key, item in value.items()
        ]

    def _name(self, cls: type, path: str) -> str:
        if cls in SDK_NAMES:
            return f"sdk:{SDK_NAMES[cls]}"
        name = f"{cls.__module__}:{cls.__qualname__}"
        if not _storable(cls):
            raise UnstorableState(
                f"{path} is a {name}, which is more than its attributes; store plain values or a plain class instead."
            )
        if not self._allowed(cls.__module__):
            raise UnstorableState(
                f"{path} is a {name}, which may not be stored. Store plain values, or add "
                f"{cls.__module__.partition('.')[0]!r} to STATE_MODULES."
            )
        if "<locals>" in cls.__qualname__:
            raise UnstorableState(
                f"{path} is a {name}: a class made inside a function cannot be found again; define it in a module."
            )
        if not self._finds(name, cls):
            raise UnstorableState(
                f"{path} is a {name}, which its module does not have under this name; define it there, "
                "or give it its name there, as in Pair = namedtuple('Pair', 'a b')."
            )
        return name

    def _finds(self, name: str, cls: type) -> bool:
        try:
            return self._class(name) is cls
        except Exception:  # whatever importing its module raises
            return False

    # ------------------------------------------------------------------ decoding

    def _restore_parts(self, parts: list[Any]) -> Any:
        """The innermost first, each put in its place in another."""
        for place, part in reversed(list(enumerate(parts))):
            for stand_in in _stand_ins(part):
                stand_in["v"] = parts[stand_in["v"]]
            parts[place] = self._restore(part)
        return parts[0]

    def _restore(self, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            return [self._restore(item) for item in value]
        if kind is not dict:
            return value
        if "$type" not in value:
            return {key: self._restore(item) for key, item in value.items()}
        name, body = value["$type"], value["v"]
        if name == "deep":
            return body
        if name in _SCALAR_DECODERS:
            return _SCALAR_DECODERS[name](body)
        if name in _COLLECTION_DECODERS:
            return _COLLECTION_DECODERS[name]([self._restore(item) for item in body])
        if name in _MAPPING_DECODERS:
            return _MAPPING_DECODERS[name](self._restore_pairs(body))
        if name == "defaultdict":
            return builtin_kinds.defaultdict_of(value["of"], self._restore_pairs(body))
        if name == "deque":
            return builtin_kinds.deque_of(value["of"], [self._restore(item) for item in body])
        if name == "enum":
            return self._member(value["class"], self._restore(body))
        cls: Any = self._class(name)
        if issubclass(cls, Enum):
            raise UndecodableState(f"Stored state names the enum {name} as a plain class.")
        base = builtin_kinds.builtin_base(cls)
        if (base is None) != ("of" not in value):
            raise UndecodableState(f"Stored state holds a {name}, which derived from something else then.")
        attributes = {key: self._restore(item) for key, item in body.items()}
        return instance_of(cls, attributes, None if base is None else self._restore_base(base, cls, value["of"]))

    def _restore_base(self, base: type, cls: type, stored: Any) -> Any:
        if issubclass(base, dict):
            return builtin_kinds.instance_with(base, cls, self._restore_pairs(stored))
        items = [self._restore(item) for item in stored] if isinstance(stored, list) else self._restore(stored)
        return builtin_kinds.instance_with(base, cls, items)

    def _restore_pairs(self, pairs: Any) -> dict[Any, Any]:
        return {self._restore(key): self._restore(item) for key, item in pairs}

    def _member(self, name: str, value: Any) -> Any:
        """The member of an enum, looked up in its table: its class is not called."""
        cls = self._class(name)
        if not issubclass(cls, Enum):
            raise UndecodableState(f"Stored state names {name} as an enum, which it is not.")
        for member in cls:
            if member.value == value:
                return member
        if issubclass(cls, Flag) and type(value) is int and _missing(cls) is _missing(Flag):
            return cls(value)  # several flags at once: made by the standard library, which keeps to those there are
        raise UndecodableState(f"Stored state holds {value!r}, which {name} no longer has.")

    def _class(self, name: str) -> type:
        cls = self._resolved.get(name)
        if cls is None:
            cls = self._resolved[name] = self._resolve(name)
        return cls

    def _resolve(self, name: str) -> type:
        module_name, _, qualified = name.partition(":")
        if module_name == "sdk":
            if qualified not in SDK_CLASSES:
                raise UndecodableState(f"Stored state holds a {name}, which this SDK does not have.")
            return SDK_CLASSES[qualified]
        if not self._allowed(module_name):
            raise UndecodableState(f"Stored state holds a {name}, which may not be read; see STATE_MODULES.")
        if not all(part.isidentifier() and part != "__main__" for part in module_name.split(".")):
            raise UndecodableState(f"Stored state holds a {name}, which names no module.")
        target: Any = importlib.import_module(module_name)
        for part in qualified.split("."):
            target = vars(target)[part]
        if not isinstance(target, type) or target.__module__ != module_name or not _storable(target):
            raise UndecodableState(f"Stored state holds a {name}, which is not a class that state may hold.")
        return target

    def _allowed(self, module: str) -> bool:
        return any(module == package or module.startswith(package + ".") for package in self._packages)


def _storable(cls: Any) -> bool:
    """Whether instances are their attributes, or those and the value of one builtin type."""
    return builtin_kinds.builtin_base(cls) is not None or is_plain(cls)


def _stand_ins(part: Any) -> list[dict[str, Any]]:
    """What stands for other parts in one."""
    found, left = [], [part]
    while left:
        item = left.pop()
        if isinstance(item, dict) and item.get("$type") == "deep":
            found.append(item)
        elif isinstance(item, dict):
            left += item.values()
        elif isinstance(item, list):
            left += item
    return found


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnstorableState(f"{path} holds half a character (a lone surrogate); decode the text first.") from None
    return value


def _missing(cls: type[Flag]) -> Any:
    return getattr(cls._missing_, "__func__", None)
