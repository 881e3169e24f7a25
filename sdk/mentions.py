"""What was said to the bot, without the mention by which it is called in a group."""

from __future__ import annotations

import html
import re
from typing import Any

from botbuilder.schema import Activity


def heard(activity: Activity) -> str:
    """The text of a message, for the prompts too, without the bot's own mentions; empty where there is none.

    Teams leaves a mention's ``text`` out where the name has an ``&``, which the message then has as ``&amp;``, and does
    not keep to one case.
    """
    if activity.text is None:
        return ""
    text = activity.text
    for mention in (entity.additional_properties for entity in activity.entities or () if _is_mention(entity)):
        mentioned = mention.get("mentioned")
        if activity.recipient and isinstance(mentioned, dict) and mentioned.get("id") == activity.recipient.id:
            text = _without(text, mention.get("text"), mentioned.get("name"))
    activity.text = text.replace("\xa0", " ").strip()
    return str(activity.text)


def overheard(activity: Activity) -> str:
    """The same, of an activity that stays as it is."""
    text = activity.text
    try:
        return heard(activity)
    finally:
        activity.text = text


def _is_mention(entity: Any) -> bool:
    return getattr(entity, "type", None) == "mention"


def _without(text: str, called: Any, name: Any) -> str:
    """``text`` without one mention: as it is said to be written, or as a name is when that is not said."""
    for way in [called] if called else [f"<at>{name}</at>", f"@{name}"] if name else []:
        if found := re.search(_pattern(str(way)), text, re.IGNORECASE):
            return text[: found.start()] + text[found.end() :]
    return text


def _pattern(written: str) -> str:
    """Finds what is written, with ``&`` escaped or not, and a tag whatever attributes it has."""
    tag = re.fullmatch(r"<at\b[^>]*>(.*)</at>", written, re.IGNORECASE | re.DOTALL)
    name = html.unescape(tag[1] if tag else written)
    pattern = "(?:&amp;|&)".join(map(re.escape, name.split("&")))
    return rf"<at\b[^>]*>{pattern}</at>" if tag else pattern
