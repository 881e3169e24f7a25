"""Time comes from a clock that is handed in, so that tests can set it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Answers the present moment, aware and in UTC."""

_EARLIEST = datetime(2, 1, 1, tzinfo=UTC).timestamp() * 1000
_LATEST = datetime(9998, 12, 31, tzinfo=UTC).timestamp() * 1000


def system_clock() -> datetime:
    return datetime.now(UTC)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the Unix epoch."""
    return round(moment.timestamp() * 1000)


def from_ms(milliseconds: float) -> datetime:
    """What is before the year 2, or after 9998, becomes their beginning or end: so it can be reckoned with."""
    return datetime.fromtimestamp(min(max(milliseconds, _EARLIEST), _LATEST) / 1000, UTC)


def to_iso(moment: datetime) -> str:
    """RFC 3339 with milliseconds and ``Z``, as the API answers times."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
