"""What a notification says: fields of the activity schema, or a whole message activity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from domain.notification import Json
from web.activity_shape import malformed
from web.described import described
from web.problems import BadField
from web.reading import spelled

TEXT_LIMIT = 28 * 1024
PARTS_LIMIT = 250
"""Attachments, and suggested actions."""
ACTIVITY_FIELDS = (
    *("text", "textFormat", "attachments", "attachmentLayout", "suggestedActions", "channelData", "locale"),
)
ADDRESS_FIELDS = frozenset(
    {
        *("id", "timestamp", "localTimestamp", "localTimezone", "channelId", "serviceUrl", "conversation", "from"),
        *("recipient", "replyToId", "relatesTo", "callerId", "deliveryMode", "type"),
    }
)
"""Fields of a whole activity that are each delivery's own; they are left out."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
ShownLine = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
ShortLine = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Locale = Annotated[str, spelled(r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", "en-GB", max_length=35)]
CHANNEL_ID = r"^[A-Za-z0-9._-]{1,100}$"
ChannelId = Annotated[str, spelled(CHANNEL_ID, "msteams")]
Text = Annotated[str, StringConstraints(max_length=TEXT_LIMIT)]


class Part(BaseModel):
    """A part of a request: camelCase, no field that is not known, no value that has to be guessed."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        json_schema_extra=described,
        hide_input_in_errors=True,
    )


class SchemaPart(Part):
    """A part of an activity: what the schema does not know is passed on."""

    model_config = ConfigDict(extra="allow")


class Attachment(SchemaPart):
    content_type: Name
    content_url: str | None = None
    content: Any = None
    name: str | None = None
    thumbnail_url: str | None = None


class CardAction(SchemaPart):
    type: Name
    title: str
    value: Any = None


class SuggestedActions(SchemaPart):
    actions: Annotated[list[CardAction], Field(min_length=1, max_length=PARTS_LIMIT)]
    to: list[str] | None = None


class Said(Part):
    """What to say, as in the activity schema."""

    text: Text | None = None
    text_format: Literal["plain", "markdown", "xml"] | None = None
    attachments: Annotated[list[Attachment], Field(max_length=PARTS_LIMIT)] | None = None
    attachment_layout: Literal["list", "carousel"] | None = None
    suggested_actions: SuggestedActions | None = None
    channel_data: dict[str, Any] | None = None
    locale: Locale | None = None


class MessageActivity(Said):
    """A whole message activity. Its address (conversation, from, recipient, ...) is each delivery's own."""

    model_config = ConfigDict(extra="allow")

    type: Literal["message"] = "message"
    speak: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> MessageActivity:
        said = (self.text, self.attachments, self.suggested_actions, self.channel_data, self.speak)
        if not any(said):
            raise ValueError("It says nothing; give text, attachments, suggestedActions, channelData or speak.")
        return self


def activity_of(raw: Mapping[str, Any]) -> Json:
    """The message activity of a request that was validated, in the words it came in."""
    if raw.get("activity") is not None:
        return {name: value for name, value in raw["activity"].items() if name not in ADDRESS_FIELDS}
    return {name: raw[name] for name in ACTIVITY_FIELDS if raw.get(name) is not None}


def malformed_activity(raw: Json, reported: set[str]) -> list[BadField]:
    """What else of a whole activity could not be sent."""
    activity = raw.get("activity")
    if not isinstance(activity, dict):
        return []
    body = {name: value for name, value in activity.items() if name not in ADDRESS_FIELDS}
    found = [BadField(f"/activity{error.place}", error.detail) for error in malformed(body)]
    return [error for error in found if error.place not in reported]
