"""Moments as the user would say them: in the user's own time zone, and how long ago."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from botbuilder.core import TurnContext

from proactive.texts import say, span
from state.turn import turn_of

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def when(context: TurnContext, moment: datetime) -> str:
    """Such as "14:05, 5 minutes ago"; with the day where that is not today, with UTC where no zone is known."""
    turn = turn_of(context)
    locale = context.activity.locale
    zone = _zone(context.activity.local_timezone or (turn.record or {}).get("timezone"))
    local, today = moment.astimezone(zone or UTC), turn.at.astimezone(zone or UTC)
    time = f"{local:%H:%M}" if local.date() == today.date() else f"{local:%Y-%m-%d %H:%M}"
    return say("when", locale, time=time if zone else f"{time} UTC", ago=_ago(moment, turn.at, locale))


def _ago(moment: datetime, now: datetime, locale: str | None) -> str:
    seconds = (now - moment).total_seconds()
    for unit, length in _UNITS:
        if seconds >= length:
            return say("ago", locale, span=span([(int(seconds // length), unit)], locale))
    return say("just_now", locale)


@lru_cache(maxsize=512)
def _zone(name: str | None) -> tzinfo | None:
    """The zone of this name, None for what is none: the name is what a client has written."""
    if not name or len(name) > 100:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
