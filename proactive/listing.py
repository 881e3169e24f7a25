"""The inbox as its user sees it: page by page, each line with a button that opens it."""

from __future__ import annotations

import re

from botbuilder.core import TurnContext

from domain.notification import Json
from proactive.inbox import ContentOf, kept, number, offer, offered
from proactive.presentation import LINES, MORE_FIELD, numbered_lines, with_buttons
from proactive.texts import say
from sdk.mentions import overheard
from state.turn import turn_of

_SAID = re.compile(r"inbox(?: ([0-9]{1,4}))?[.!?]?", re.IGNORECASE)


def page_asked_for(context: TurnContext, tapped: Json) -> int | None:
    """The page of the inbox that the user's activity asks for: by a tap on a list's button, or by the word that a list
    has offered. ``tapped``: the value of the activity."""
    page = tapped.get(MORE_FIELD)
    if isinstance(page, int):
        return page
    said = _SAID.fullmatch(" ".join(overheard(context.activity).split())) if offered(turn_of(context)) else None
    return int(said[1] or 1) if said else None


async def show_inbox(context: TurnContext, content_of: ContentOf, page: int = 1) -> None:
    """Say what waits, and then what was told lately; pages are counted from 1."""
    locale = context.activity.locale
    inbox = await kept(context, content_of)
    everything = [*inbox.waiting, *inbox.recent]
    first = LINES * (max(page, 1) - 1)
    listed = everything[first : first + LINES]
    if not listed:
        await context.send_activity(say("inbox_no_more" if everything else "inbox_empty", locale))
        return
    lines = numbered_lines(context, listed, first + 1)
    waiting = max(0, len(inbox.waiting) - first)
    shown = [say("inbox_waiting", locale), *lines[:waiting]] if waiting else []
    shown += [say("inbox_recent", locale), *lines[waiting:]] if lines[waiting:] else []
    more = len(everything) - first - len(listed)
    following = first // LINES + 2 if more else None
    if more:
        offer(turn_of(context))
        shown.append(say("inbox_more", locale, count=more, page=following))
    number(turn_of(context), [entry.id for entry in listed], first + 1)
    await context.send_activity(with_buttons("\n".join(shown), listed, locale, first + 1, more=following))
