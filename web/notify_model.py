"""What ``POST /api/notify`` takes and answers, field by field."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel

from domain.notification import Guarantee, Json, Mode
from domain.place import Place
from state.notifications import RETENTION
from web.described import described
from web.problems import BadField, invalid_fields
from web.reading import canonical, mistakes, spelled
from web.said_model import (
    ACTIVITY_FIELDS,
    CHANNEL_ID,
    Line,
    MessageActivity,
    Name,
    Part,
    Said,
    ShortLine,
    ShownLine,
    malformed_activity,
)

CONVERSATIONS_LIMIT = 5000
CHANNELS_LIMIT = 100
ACTIONS_LIMIT = 10
SCHEDULE_LIMIT = timedelta(days=365)
HOLD_LIMIT = timedelta(days=30)

WAYS = ("value", "say", "url")
AUDIENCES = ("conversation", "conversations", "user", "aadObjectId", "all")
_LATER = "This version does not serve it yet."
LATER = {
    **{f"/to/{name}": _LATER for name in ("topic", "reference", "create", "tenantId")},
    **{f"/{name}": _LATER for name in ("dialog", "collapseKey", "callbackUrl")},
}


def _time(value: object) -> object:
    if isinstance(value, dict):
        raise ValueError("This version does not serve times in each recipient's own zone yet; give one with an offset.")
    if not isinstance(value, str):
        return value
    try:
        if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", value):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # of the year 0, or 10000, in UTC
        pass
    raise ValueError("It is not a time; write it as 2026-12-01T09:00:00+01:00.")


Moment = Annotated[AwareDatetime, BeforeValidator(_time)]


def _channels(value: object) -> object:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not 0 < len(names) <= CHANNELS_LIMIT:
        raise ValueError("It is of the wrong kind; give a channel, as in \"msteams\", or a list of such.")
    if not all(isinstance(name, str) and re.fullmatch(CHANNEL_ID, name) for name in names):
        raise ValueError("It is spelled wrongly; write it as in msteams.")
    return names


_CHANNEL: Json = {"type": "string", "pattern": CHANNEL_ID}
Channels = Annotated[
    list[str],
    BeforeValidator(_channels),
    WithJsonSchema(
        {"anyOf": [_CHANNEL, {"type": "array", "items": _CHANNEL, "minItems": 1, "maxItems": CHANNELS_LIMIT}]}
    ),
]


class Action(Part):
    """What the user can do with one tap: answer the notification with ``value``, say the text ``say`` as if it was
    typed, or open ``url``."""

    title: ShortLine
    value: Line | None = None
    """The answer, as it is in the delivery's result then. It never reaches a form that is open."""
    say: Line | None = None
    url: Annotated[str, spelled(r"^https?://[^\s/]\S*$", "https://example.org/report", max_length=2048)] | None = None

    @field_validator("url", mode="before")
    @classmethod
    def _of_the_web(cls, url: object) -> object:
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:", url) if isinstance(url, str) else None
        if scheme and scheme[0].lower() not in ("https:", "http:"):
            raise ValueError(f"It begins with {scheme[0]} but only https: and http: are allowed.")
        return url


def _exactly_one(schema: Json, model: type[BaseModel]) -> None:
    described(schema, model)
    schema["oneOf"] = [{"required": [name]} for name in AUDIENCES]


class To(Part):
    """Whom it is for: exactly one of conversation, conversations, user, aadObjectId and all."""

    model_config = ConfigDict(json_schema_extra=_exactly_one)

    conversation: Name | None = None
    """A conversation key: ``channelId/conversationId``."""
    conversations: Annotated[list[Name], Field(min_length=1, max_length=CONVERSATIONS_LIMIT)] | None = None
    """Conversation keys, each once."""
    user: Name | None = None
    """A user id: their personal conversation that was used last. One that is known on several channels needs
    channelId."""
    aad_object_id: Name | None = None
    """A directory id, likewise; known from the channels in ``AAD_CHANNELS`` only."""
    all: Literal[True] | None = None
    """Every known conversation."""
    channel_id: Channels | None = None
    """Narrows user, aadObjectId and all to a channel; user and aadObjectId to several, too."""
    every: bool = False
    """With user or aadObjectId: all their personal conversations."""
    conversation_type: Annotated[list[Place], Field(min_length=1)] | None = None
    """With user or aadObjectId: the kinds of conversations that are meant, for what others may read. Of group chats
    that is each in which the person was heard, of a channel the thread that was used last."""

    @field_validator("conversations")
    @classmethod
    def _each_once(cls, keys: list[str] | None) -> list[str] | None:
        seen: set[str] = set()
        for key in keys or ():
            if key in seen:
                raise ValueError(f"Each conversation may be there once; {key[:200]!r} is there again.")
            seen.add(key)
        return keys


class NotifyRequest(Said):
    to: To
    activity: MessageActivity | None = None
    """Instead of text, textFormat, attachments, attachmentLayout, suggestedActions, channelData and locale."""
    mode: Mode = Mode.RESUME
    urgent: bool = False
    """Listed first."""
    title: ShownLine | None = None
    reason: ShownLine | None = None
    """Why the user gets it."""
    source: ShortLine | None = None
    """Who sent it."""
    actions: Annotated[list[Action], Field(max_length=ACTIONS_LIMIT)] | None = None
    category: Annotated[str, spelled(r"^[a-z0-9][a-z0-9._-]{0,63}$", "builds")] = "general"
    send_at: Moment | None = None
    """Not before this time; at most 365 days ahead."""
    expires_at: Moment | None = None
    """When it is no longer worth showing; by default, and at most, 30 days after sendAt."""
    hold_for: Annotated[float, Field(gt=0, le=HOLD_LIMIT.total_seconds())] | None = None
    """Seconds for which the mode resume may hold it; the other modes do not look at it."""
    guarantee: Guarantee = Guarantee.AT_LEAST_ONCE
    id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """As the header Idempotency-Key: the same key and body within 24 hours answer the first answer again."""
    dry_run: bool = False
    """Validates and counts recipients, sends nothing."""

    @field_validator("send_at")
    @classmethod
    def _within_a_year(cls, moment: datetime | None, info: ValidationInfo) -> datetime | None:
        if moment is not None and moment - _now(info) > SCHEDULE_LIMIT:
            raise ValueError(f"It is more than {SCHEDULE_LIMIT.days} days ahead.")
        return moment

    @field_validator("expires_at")
    @classmethod
    def _worth_showing(cls, moment: datetime | None, info: ValidationInfo) -> datetime | None:
        if moment is None or "send_at" not in info.data:
            return moment
        begins = max(_now(info), info.data["send_at"] or _now(info))
        if moment <= begins:
            raise ValueError("It is not after sendAt." if begins > _now(info) else "It is not in the future.")
        if moment - begins > RETENTION:
            raise ValueError(f"It is more than {RETENTION.days} days after sendAt, or after now without one.")
        return moment

    @field_validator("id")
    @classmethod
    def _printable(cls, key: str | None) -> str | None:
        if key is not None and not key.isprintable():
            raise ValueError("It has characters that cannot be printed.")
        return key


class Accepted(BaseModel):
    """The answer to a notification that was recorded."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, frozen=True)

    id: str
    status: Literal["scheduled", "pending"]
    recipients: int
    unreachable: int = 0
    """Of the recipients those where the bot cannot speak, as far as it is known."""
    status_url: str


class Counted(BaseModel):
    """The answer to a dry run."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, frozen=True)

    dry_run: Literal[True] = True
    recipients: int
    unreachable: int = 0
    """As for one that is sent."""


def parse_request(raw: Any, *, now: datetime) -> NotifyRequest:
    """Raises :class:`Problem` with every bad field."""
    if not isinstance(raw, dict):
        raise invalid_fields([BadField("", "The body is not an object.")])
    errors: list[BadField] = []
    try:
        parsed = NotifyRequest.model_validate_json(canonical(raw), context={"now": now})
    except ValidationError as error:
        errors = mistakes(error, later=LATER)
    errors += _wrong_combinations(raw)
    errors += malformed_activity(raw, {error.place for error in errors})
    if errors:
        raise invalid_fields(errors)
    return parsed


def _wrong_combinations(raw: Json) -> list[BadField]:
    """What is wrong with fields together; each of them may be right or wrong by itself."""
    errors = []
    to = raw.get("to")
    if isinstance(to, dict):
        given = [name for name in AUDIENCES if to.get(name) is not None]
        later = [name for name in to if f"/to/{name}" in LATER]
        if len(given) > 1 or (not given and not later):
            errors.append(BadField("/to", f"Give exactly one of {', '.join(AUDIENCES)}."))
        if to.get("channelId") is not None and {"conversation", "conversations"} & set(given):
            errors.append(BadField("/to/channelId", "It narrows user, aadObjectId and all only."))
        if isinstance(to.get("channelId"), list) and "all" in given:
            errors.append(BadField("/to/channelId", "Give one channel; a list narrows user and aadObjectId only."))
        errors += [
            BadField(f"/to/{name}", "It goes with user and aadObjectId only.")
            for name in ("every", "conversationType")
            if to.get(name) and given and not {"user", "aadObjectId"} & set(given)
        ]
    actions = raw.get("actions")
    errors += [
        BadField(f"/actions/{index}", "Give exactly one of value, say and url.")
        for index, action in enumerate(actions if isinstance(actions, list) else ())
        if isinstance(action, dict) and sum(action.get(name) is not None for name in WAYS) != 1
    ]
    activity = raw.get("activity")
    if activity is not None:
        errors += [
            BadField(f"/{name}", "Give it inside the activity, or no activity.")
            for name in ACTIVITY_FIELDS
            if raw.get(name) is not None
        ]
    elif not any(raw.get(name) for name in ("text", "attachments", "title", "dialog")):
        errors.append(BadField("", "It says nothing; give text, attachments, title or activity."))
    return errors


def _now(info: ValidationInfo) -> datetime:
    assert info.context is not None
    now: datetime = info.context["now"]
    return now
