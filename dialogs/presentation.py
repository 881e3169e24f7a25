"""How notifications look: one as a message or a card, several as a digest."""

from __future__ import annotations

from collections.abc import Sequence

from botbuilder.schema import Activity, ActivityTypes

from dialogs.texts import say
from domain.delivery import Delivery
from domain.notification import Content, Json
from state.activities import activity_from_json

HERO_CARD = "application/vnd.microsoft.card.hero"
OPEN_FIELD = "asideOpen"
"""In the value of a digest's button: the id of the delivery to be shown."""


def present(content: Content, locale: str | None) -> Activity:
    """The message for one notification: its own activity, with its title, reason, source and actions on a card."""
    body: Json = {"type": ActivityTypes.message.value, **content.activity}
    if content.title or content.actions or content.reason or content.source:
        body["attachments"] = [_card(content, locale), *body.get("attachments", [])]
        if "text" in body:
            body.setdefault("summary", body.pop("text"))
    return activity_from_json(body)


def digest(shown: Sequence[tuple[Delivery, Content]], locale: str | None) -> Activity:
    """One message for several notifications, newest urgent first, each with a way to open it."""
    ordered = in_digest_order(shown)
    lines = [say("digest", locale, count=len(ordered))]
    buttons = []
    for number, (delivery, content) in enumerate(ordered, 1):
        urgent = say("digest_urgent", locale) if delivery.urgent else ""
        lines.append(f"{number}. {urgent}{content.summary}")
        title = say("digest_open", locale, number=number)
        value = {OPEN_FIELD: delivery.id}
        buttons.append({"type": "messageBack", "title": title, "text": title, "displayText": title, "value": value})
    card = {"contentType": HERO_CARD, "content": {"buttons": buttons}}
    return activity_from_json({"type": ActivityTypes.message.value, "text": "\n".join(lines), "attachments": [card]})


def in_digest_order(shown: Sequence[tuple[Delivery, Content]]) -> list[tuple[Delivery, Content]]:
    newest_first = sorted(shown, key=lambda pair: pair[0].created_at, reverse=True)
    return sorted(newest_first, key=lambda pair: not pair[0].urgent)


def _card(content: Content, locale: str | None) -> Json:
    below = []
    if content.reason:
        below.append(say("card_reason", locale, reason=content.reason))
    if content.source:
        below.append(say("card_source", locale, source=content.source))
    text = content.activity.get("text")
    card: Json = {"text": "\n\n".join(filter(None, [text, *below]))}
    if content.title:
        card["title"] = content.title
    if content.actions:
        card["buttons"] = [_button(action) for action in content.actions]
    return {"contentType": HERO_CARD, "content": card}


def _button(action: Json) -> Json:
    if "url" in action:
        return {"type": "openUrl", "title": action["title"], "value": action["url"]}
    return {"type": "imBack", "title": action["title"], "value": action["value"]}
