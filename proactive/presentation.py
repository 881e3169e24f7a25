"""How notifications look: one as a message or a card, several as a digest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botbuilder.core import TurnContext
from botbuilder.schema import Activity, ActivityTypes

from domain.delivery import Delivery
from domain.ids import DeliveryId
from domain.notification import Content, Json
from proactive.texts import say
from proactive.times import when
from sdk.activities import activity_from_json

HERO_CARD = "application/vnd.microsoft.card.hero"
OPEN_FIELD = "asideOpen"
"""In the value of a digest's button: the id of the delivery to be shown."""
MORE_FIELD = "asideInbox"
"""In the value of the button for what a list has no room for: the page of the inbox to be shown."""
OPEN_COMMAND = "open {delivery}"
"""What its button says besides, for channels that drop the value."""
ANSWER_FIELD = "asideAnswer"
"""In the value of an action's button: the id of the delivery that is answered."""
ANSWER_COMMAND = "answer {delivery} {action}"
BUTTONS = 6
"""Teams shows no more than so many on a card."""
LINES = 20
"""Of a digest, or a page of the inbox."""


def present(content: Content, locale: str | None, delivery: DeliveryId) -> Activity:
    """The message for one delivery: its own activity, with its title, reason, source and actions on a card."""
    body: Json = {"type": ActivityTypes.message.value, **content.activity}
    if content.title or content.actions or content.reason or content.source:
        mentions = any(entity.get("type") == "mention" for entity in body.get("entities", []))
        text = body.get("text") if mentions else body.pop("text", None)  # a mention is shown where its entity is
        card = _card(content, locale, None if mentions else text, delivery)
        body["attachments"] = [card, *body.get("attachments", [])]
        if text is not None:
            body.setdefault("summary", text)
    message: Any = activity_from_json(body)
    message.own_locale = message.locale
    return message


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of a digest or of the inbox. ``at``: when it was accepted; once it was told, when that was."""

    id: str
    at: datetime
    summary: str
    source: str | None = None
    urgent: bool = False


def entry_of(delivery: Delivery, content: Content) -> Entry:
    """The line for a delivery that was not told yet."""
    return Entry(
        id=delivery.id,
        at=delivery.created_at,
        summary=content.summary,
        source=content.source,
        urgent=delivery.urgent,
    )


def digest(context: TurnContext, shown: Sequence[tuple[Delivery, Content]]) -> Activity:
    """One message for several notifications, in their order, each of the first with a way to open it."""
    locale = context.activity.locale
    listed = [entry_of(delivery, content) for delivery, content in shown[:LINES]]
    lines = [say("digest", locale, count=len(shown)), *numbered_lines(context, listed)]
    if len(shown) > LINES:
        lines.append(say("digest_more", locale, count=len(shown) - LINES))
    return with_buttons("\n".join(lines), listed, locale, more=1 if len(shown) > LINES else None)


def in_digest_order(shown: Iterable[tuple[Delivery, Content]]) -> list[tuple[Delivery, Content]]:
    """Urgent ones first, then in the order in which they were accepted."""
    return sorted(shown, key=lambda pair: (not pair[0].urgent, pair[0].created_at))


def numbered_lines(context: TurnContext, entries: Sequence[Entry], first: int = 1) -> list[str]:
    """A line for each, with its time and source."""
    locale = context.activity.locale
    return [
        say(
            "entry",
            locale,
            number=number,
            urgent=say("digest_urgent", locale) if entry.urgent else "",
            summary=entry.summary,
            details=", ".join(filter(None, [entry.source, when(context, entry.at)])),
        )
        for number, entry in enumerate(entries, first)
    ]


def with_buttons(
    text: str, entries: Sequence[Entry], locale: str | None, first: int = 1, more: int | None = None
) -> Activity:
    """A message with a button for each entry, which opens it; where a channel drops a button's value, its text does.
    ``more``: the page of the inbox that another button shows."""
    buttons: list[Json] = []
    for number, entry in enumerate(entries, first):
        title = say("digest_open", locale, number=number)
        value = {OPEN_FIELD: entry.id}
        said = OPEN_COMMAND.format(delivery=entry.id)
        buttons.append({"type": "messageBack", "title": title, "text": said, "displayText": title, "value": value})
    if more is not None:
        title, said, page = say("list_more", locale), f"inbox {more}", {MORE_FIELD: more}
        buttons.append({"type": "messageBack", "title": title, "text": said, "displayText": title, "value": page})
    cards = [
        {"contentType": HERO_CARD, "content": {"buttons": buttons[at : at + BUTTONS]}}
        for at in range(0, len(buttons), BUTTONS)
    ]
    return activity_from_json({"type": ActivityTypes.message.value, "text": text, "attachments": cards})


def _card(content: Content, locale: str | None, text: str | None, delivery: DeliveryId) -> Json:
    below = []
    if content.reason:
        below.append(say("card_reason", locale, reason=content.reason))
    if content.source:
        below.append(say("card_source", locale, source=content.source))
    card: Json = {"text": "\n\n".join(filter(None, [text, *below]))}
    if content.title:
        card["title"] = content.title
    if content.actions:
        card["buttons"] = [_button(action, delivery, at) for at, action in enumerate(content.actions)]
    return {"contentType": HERO_CARD, "content": card}


def _button(action: Json, delivery: DeliveryId, at: int) -> Json:
    if "url" in action:
        return {"type": "openUrl", "title": action["title"], "value": action["url"]}
    if "say" in action:
        return {"type": "imBack", "title": action["title"], "value": action["say"]}
    return answer_button(action["title"], delivery, at)


def start_over_card(locale: str | None) -> Json:
    """The button by which somebody begins anew."""
    button = {"type": "imBack", "title": say("start_over_button", locale), "value": say("start_over", locale)}
    return {"contentType": HERO_CARD, "content": {"buttons": [button]}}


def answer_button(title: str, delivery: DeliveryId, action: int) -> Json:
    """The button that answers a delivery with its action of this number, from 0; where a channel drops a button's
    value, its text does."""
    return {
        "type": "messageBack",
        "title": title,
        "text": ANSWER_COMMAND.format(delivery=delivery, action=action),
        "displayText": title,
        "value": {ANSWER_FIELD: delivery, "action": action},
    }
