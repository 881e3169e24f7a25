"""Values: classes of fields that never change, as the type checker sees to it.

A dataclass that is ``frozen`` also sees to it while it runs, and pays for that with every field of every instance: a
delivery makes a dozen of them, and took a fiftieth of its time for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def value(cls: type[T]) -> type[T]:
    """A dataclass whose fields are given by name, and that is compared and hashed by them."""
    return dataclass(kw_only=True, slots=True, unsafe_hash=True)(cls)
