"""Collections of the standard library, own classes that derive from builtin types, and numbers of numpy, in state.

An own class may derive from one of :data:`_BASES`: its value is stored beside its attributes, and read back with what
the builtin type itself has for it, so that no ``__new__``, ``append`` or ``__setitem__`` of the class is run.
"""

from __future__ import annotations

import functools
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import BuiltinFunctionType
from typing import Any

from domain.errors import UndecodableState, UnstorableState

MADE_BY_CLASS = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: set for what a class statement made, not set for the interpreter's own types."""

# --------------------------------------------------------------------- single values


def _fraction(text: str) -> Fraction:
    numerator, denominator = (int(part, 16) for part in text.split("/"))
    return Fraction(numerator, denominator)


SCALARS: dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    Fraction: ("fraction", lambda v: f"{v.numerator:x}/{v.denominator:x}", _fraction),
    type(Path()): ("path", str, Path),
    PurePosixPath: ("posix path", str, PurePosixPath),
    PureWindowsPath: ("windows path", str, PureWindowsPath),
}
"""By type: its short name, and how it becomes text and comes back."""
assert all(issubclass(kind, Fraction | PurePath) for kind in SCALARS)


def is_numpy(kind: type) -> bool:
    """Whether this is a type of numpy's, which need not be installed."""
    return kind.__module__.partition(".")[0] == "numpy"


def number_of(value: Any, path: str) -> Any:
    """The plain value of a scalar of numpy's. Raises :class:`UnstorableState` for its arrays and the like."""
    if any((base.__module__, base.__name__) == ("numpy", "generic") for base in type(value).__mro__):
        plain = value.item()
        counted = type(plain) is int and type(value).__name__ in _TIMES  # finer than Python's: a bare count of units
        if not counted and not is_numpy(type(plain)):
            return plain
    raise UnstorableState(
        f"{path} is a {type(value).__module__}:{type(value).__qualname__}; store plain values: "
        "float() of a number, tolist() of an array, astype('datetime64[us]').item() of a time."
    )


_TIMES = ("datetime64", "timedelta64")

# --------------------------------------------------------------------- collections

_FACTORIES: dict[str, Any] = {
    factory.__name__: factory
    for factory in (list, dict, set, tuple, frozenset, int, float, str, bool, bytes, Counter, OrderedDict, deque)
}


def factory_name(value: defaultdict[Any, Any], path: str) -> str | None:
    """What makes its missing values, by name. Raises :class:`UnstorableState` unless it is a builtin type."""
    factory = value.default_factory
    if factory is None:
        return None
    name: str = getattr(factory, "__name__", "")
    if _FACTORIES.get(name) is not factory:
        raise UnstorableState(
            f"{path} is a defaultdict whose missing values come from {factory!r}, which cannot be stored; make them "
            "with a builtin type (list, dict, int, ...), or use a dict and setdefault()."
        )
    return name


def defaultdict_of(factory: str | None, pairs: dict[Any, Any]) -> defaultdict[Any, Any]:
    return defaultdict(None if factory is None else _FACTORIES[factory], pairs)


def counter_of(pairs: dict[Any, Any]) -> Counter[Any]:
    counter: Counter[Any] = Counter()
    dict.update(counter, pairs)
    return counter


def deque_of(longest: int | None, items: list[Any]) -> deque[Any]:
    return deque(items, longest)


# --------------------------------------------------------------------- own classes with a builtin base


def _filled(base: Any, fill: Callable[[Any, Any], None]) -> Callable[[type, Any], Any]:
    def make(cls: type, content: Any) -> Any:
        instance = base.__new__(cls)
        fill(instance, content)
        return instance

    return make


def _fill_ordered(instance: Any, content: dict[Any, Any]) -> None:
    for key, item in content.items():
        OrderedDict.__setitem__(instance, key, item)


def _tuple(cls: Any, items: list[Any]) -> Any:
    if len(items) != len(getattr(cls, "_fields", items)):
        raise UndecodableState(f"Stored state holds a {cls.__qualname__} of {len(items)} values, which it has no more.")
    return tuple.__new__(cls, items)


_BASES: dict[type, tuple[Callable[[Any], Any], Callable[[type, Any], Any]]] = {
    str: (str.__str__, str.__new__),
    int: (int.__int__, int.__new__),
    float: (float.__float__, float.__new__),
    bytes: (lambda value: bytes.__getitem__(value, slice(None)), bytes.__new__),
    tuple: (lambda value: list(tuple.__iter__(value)), _tuple),
    list: (lambda value: list(list.__iter__(value)), _filled(list, list.extend)),
    set: (lambda value: set(set.__iter__(value)), _filled(set, set.update)),
    frozenset: (lambda value: set(frozenset.__iter__(value)), frozenset.__new__),
    OrderedDict: (lambda value: dict(OrderedDict.items(value)), _filled(OrderedDict, _fill_ordered)),
    dict: (lambda value: dict(dict.items(value)), _filled(dict, dict.update)),
}
"""By builtin type: the plain value of an instance of a class derived from it, and an instance of such a value."""


@functools.cache
def builtin_base(cls: type) -> type | None:
    """The builtin type that an own class derives from; None if there is none, or more to it than that type's value."""
    own = [base for base in cls.__mro__[:-1] if base.__flags__ & MADE_BY_CLASS]
    rest = [base for base in cls.__mro__[:-1] if not base.__flags__ & MADE_BY_CLASS]
    if not own or any(isinstance(vars(base).get("__new__"), BuiltinFunctionType) for base in own):
        return None
    return rest[0] if rest in ([OrderedDict, dict], *([base] for base in _BASES)) else None


def plain_part(base: type, value: Any) -> Any:
    """What an instance of an own class is as the builtin type ``base``."""
    return _BASES[base][0](value)


def instance_with(base: type, cls: type, content: Any) -> Any:
    """An instance of ``cls`` with that value, made without running any of its code. Attributes are not set."""
    return _BASES[base][1](cls, content)
