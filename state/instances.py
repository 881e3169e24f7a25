"""Instances as their attributes and back, without running code of their classes; and the SDK's classes by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from enum import Enum
from types import BuiltinFunctionType, MemberDescriptorType
from typing import Any

import botbuilder.core as sdk_core
import botbuilder.dialogs as sdk_dialogs
import botbuilder.dialogs.choices as sdk_choices
import botbuilder.schema as sdk_schema
import botbuilder.schema.teams as sdk_teams
from botbuilder.core.recognizer_result import TopIntent
from botbuilder.dialogs.dialog_state import DialogState
from botbuilder.dialogs.prompts import DateTimeResolution, PromptOptions
from botbuilder.dialogs.prompts.oauth_prompt import CallerInfo
from msrest.serialization import Model

from state.builtin_kinds import MADE_BY_CLASS

_SDK_MODULES = (sdk_schema, sdk_teams, sdk_dialogs, sdk_choices, sdk_core)
_SDK_EXTRA = (DialogState, PromptOptions, DateTimeResolution, CallerInfo, TopIntent)


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


SDK_CLASSES = _sdk_classes()
SDK_NAMES = {cls: name for name, cls in SDK_CLASSES.items()}


@functools.cache
def is_plain(cls: type) -> bool:
    """Whether instances are attributes and nothing else (no function, no subclass of dict, int, Exception, ...)."""
    return issubclass(cls, Enum) or all(
        base.__flags__ & MADE_BY_CLASS and not isinstance(vars(base).get("__new__"), BuiltinFunctionType)
        for base in cls.__mro__[:-1]
    )


@functools.cache
def _slots(cls: type) -> dict[str, MemberDescriptorType]:
    """The slots of a class by their names in it, each the one that its attribute means."""
    slots: dict[str, MemberDescriptorType] = {}
    for base in reversed(cls.__mro__):
        slots |= {name: slot for name, slot in vars(base).items() if isinstance(slot, MemberDescriptorType)}
    return slots


@functools.cache
def _blank(cls: type) -> tuple[str, ...]:
    """The attributes that an instance of a model of the SDK has, in order; none for any other class."""
    if cls not in SDK_NAMES or not issubclass(cls, Model):
        return ()
    try:
        return tuple(vars(cls()))
    except TypeError:  # there is one whose constructor is broken
        return ("additional_properties", *cls._attribute_map)


def attributes_of(value: Any) -> Iterator[tuple[str, Any]]:
    """What is stored of an object, in an order that does not depend on how it was made if it is the SDK's."""
    cls: type = type(value)
    attributes = getattr(value, "__dict__", {})
    blank = _blank(cls)
    for name in blank:
        item = attributes.get(name)
        if not (type(item) is dict and not item if name == "additional_properties" else item is None):
            yield name, item
    for name, item in attributes.items():
        if name not in blank and name != "__orig_class__":  # which a subscripted generic leaves in its instances
            yield name, item
    for name, slot in _slots(cls).items():
        try:
            yield name, slot.__get__(value, cls)
        except AttributeError:  # never set
            continue


def instance_of(cls: type, attributes: dict[str, Any], bare: Any = None) -> Any:
    """An instance with these attributes (``bare``, if given), made without running any of its class's code."""
    instance: Any = object.__new__(cls) if bare is None else bare
    slots = _slots(cls)
    blank = _blank(cls)
    if blank:
        vars(instance).update(dict.fromkeys(blank), additional_properties={})
    for name, item in attributes.items():
        if name in slots:
            slots[name].__set__(instance, item)
        else:
            vars(instance)[name] = item
    return instance
