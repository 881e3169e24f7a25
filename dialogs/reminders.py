"""How people say when they want to be reminded, and of what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

SECONDS = {"week": 604_800, "day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
"""The units, the longer first."""
_SHORT = {"wk": "week", "hr": "hour", "min": "minute", "sec": "second"}
_SHORT |= {unit[0]: unit for unit in SECONDS}
_UNIT = "|".join(sorted([*SECONDS, *_SHORT], key=len, reverse=True))
_COUNT_AND_UNIT = rf"[0-9]++ ?(?:{_UNIT})s?(?![a-z])"
_MORE = rf"(?:(?:,? and |, ?| ?){_COUNT_AND_UNIT}){{0,4}}"
_SPAN = re.compile(rf"in ({_COUNT_AND_UNIT}{_MORE})(?: from now)?", re.IGNORECASE)
"""At most one of each unit; neither this nor the possessive ``++`` lets a long text be tried again and again."""
_PART = re.compile(rf"([0-9]+) ?({_UNIT})", re.IGNORECASE)
_OF_WHAT = re.compile(r",? (?:(to|that|of) )?(.*)", re.IGNORECASE | re.DOTALL)
_GOES_ON = re.compile(
    r"([0-9&+]|(and|or|half|quarter|at|on|every|each|from|before|after|today|tomorrow|to|that|of)\b)", re.IGNORECASE
)
"""What may belong to the time, and not to what the user wants to be reminded of."""


@dataclass(frozen=True, kw_only=True)
class Reminder:
    """``parts``: how many of which unit, as the user said it, the longer units first."""

    parts: tuple[tuple[int, str], ...]
    what: str

    @property
    def seconds(self) -> int:
        return sum(count * SECONDS[unit] for count, unit in self.parts)

    @property
    def wait(self) -> timedelta:
        return timedelta(seconds=self.seconds)


def understood(said: str) -> Reminder | None:
    """What follows ``remind me``; None for what is not understood with certainty."""
    span = _SPAN.match(said)
    rest = _OF_WHAT.fullmatch(said, span.end()) if span else None
    if span is None or rest is None or not rest[2].strip():
        return None
    if rest[1] is None and _GOES_ON.match(rest[2]):
        return None
    parts = tuple((_count(count), _unit(unit)) for count, unit in _PART.findall(span[1]))
    sizes = [SECONDS[unit] for _, unit in parts]
    if any(longer <= shorter for longer, shorter in pairwise(sizes)):
        return None  # "in 5 minutes, 10 minutes" is no length of time
    return Reminder(parts=parts, what=rest[2].strip())


def _count(digits: str) -> int:
    """So many; of what is beyond all bounds only that it is."""
    return int(digits.lstrip("0")[:15] or "0")


def _unit(name: str) -> str:
    return _SHORT.get(name.lower(), name.lower())
