"""Answers that a user gives to a notification itself, by a tap on one of its buttons: never to a form that is open."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from botbuilder.core import TurnContext

from domain.effect import Answered
from domain.ids import NotificationId, delivery_id
from domain.notification import Json
from proactive.inbox import ContentOf
from proactive.presentation import ANSWER_COMMAND, ANSWER_FIELD
from state.delivery_rows import DeliveryRow
from state.turn import turn_of

_SAID = re.compile(r"answer (ntf_\w{1,100})\.([0-9]{1,9}) ([0-9]{1,2})")
"""``ANSWER_COMMAND``, with the parts of the delivery's id."""

RowOf = Callable[[NotificationId, int], Awaitable[DeliveryRow | None]]


@dataclass(frozen=True, kw_only=True)
class Tap:
    """Which of a delivery's actions was tapped."""

    notification: NotificationId
    index: int
    action: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """``first``: whether the delivery was not answered before; what was answered first stands."""

    title: str
    event: Json
    first: bool


def tap_of(context: TurnContext, value: dict[str, Any]) -> Tap | None:
    """The tap on such a button that the user's activity is, if it is one. ``value``: of the activity."""
    given = context.activity.text
    if ANSWER_FIELD in value:
        given = ANSWER_COMMAND.format(delivery=value[ANSWER_FIELD], action=value.get("action"))
    found = _SAID.fullmatch((given or "").strip())
    if found is None:
        return None
    return Tap(notification=NotificationId(found[1]), index=int(found[2]), action=int(found[3]))


async def answered(context: TurnContext, tap: Tap, content_of: ContentOf, row_of: RowOf) -> Answer | None:
    """Have the answer recorded when this turn commits, unless there is one. None where this conversation has no such
    delivery, or its notification is no longer kept."""
    turn = turn_of(context)
    row = await row_of(tap.notification, tap.index)
    content = await content_of(tap.notification)
    if row is None or row.conversation != turn.conversation or content is None or len(content.actions) <= tap.action:
        return None
    action = content.actions[tap.action]
    if "value" not in action:
        return None
    delivery = delivery_id(tap.notification, tap.index)
    first = row.result is None
    if first:
        turn.effects.append(Answered(notification=tap.notification, index=tap.index, result=action["value"]))
    event = {
        "delivery": delivery,
        "notification": tap.notification,
        "title": action["title"],
        "value": action["value"],
        "first": first,
        "content": content.to_json(),
    }
    return Answer(title=action["title"], event=event, first=first)
