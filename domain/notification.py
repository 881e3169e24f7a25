"""A notification: what is to be said, by whom, why, and how; one record however many recipients."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.clock import from_ms, to_ms
from domain.ids import NotificationId

Json = dict[str, Any]


class Mode(StrEnum):
    """How a notification enters a conversation in which the user may be doing something."""

    INTERJECT = "interject"
    """Said at once; a question that was open is asked again right after."""
    QUEUE = "queue"
    """Shown on the user's next turn, before the bot's reply to that turn."""
    RESUME = "resume"
    """Held until the user is free, then said."""


class Guarantee(StrEnum):
    """What happens to a send of which nobody knows whether the channel accepted it."""

    AT_LEAST_ONCE = "at_least_once"
    """Sent again: nothing is lost, and the repetition is recorded as possible."""
    AT_MOST_ONCE = "at_most_once"
    """Not sent again: nothing is repeated, and the delivery ends as ``unknown``."""


class Course(StrEnum):
    """How far a notification as a whole has come."""

    SCHEDULED = "scheduled"
    """Its time has not come."""
    RUNNING = "running"
    """Some of its deliveries may still change."""
    FINISHED = "finished"
    """Every delivery has ended."""
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is said. ``activity`` holds message-activity fields in the schema's camelCase JSON;
    the others are shown on the notification's card."""

    activity: Json = field(default_factory=dict)
    title: str | None = None
    reason: str | None = None
    source: str | None = None
    actions: tuple[Json, ...] = ()
    """Each ``{"title", "value"}``, ``{"title", "say"}`` or ``{"title", "url"}``."""

    @property
    def summary(self) -> str:
        """One line for lists and digests, at most 120 characters."""
        texts = (self.title, self.activity.get("text"), self.activity.get("summary"))
        line = next((line for text in texts if (line := " ".join(str(text or "").split()))), "(card)")
        return line if len(line) <= 120 else line[:119] + "…"

    def to_json(self) -> Json:
        body: Json = {"activity": self.activity}
        if self.title:
            body["title"] = self.title
        if self.reason:
            body["reason"] = self.reason
        if self.source:
            body["source"] = self.source
        if self.actions:
            body["actions"] = list(self.actions)
        return body

    @classmethod
    def from_json(cls, body: Json) -> Content:
        return cls(
            activity=body["activity"],
            title=body.get("title"),
            reason=body.get("reason"),
            source=body.get("source"),
            actions=tuple(body.get("actions", ())),
        )


@dataclass(frozen=True, kw_only=True)
class Notification:
    """The record of a notification. Durations are seconds; ``send_at`` absent means now."""

    id: NotificationId
    content: Content
    created_at: datetime
    expires_at: datetime
    mode: Mode = Mode.RESUME
    urgent: bool = False
    category: str = "general"
    send_at: datetime | None = None
    hold_for: float | None = None
    guarantee: Guarantee = Guarantee.AT_LEAST_ONCE
    meant: Json = field(default_factory=dict)
    """By channel the account (schema JSON) of the one person it is for, where others read it too."""
    own: bool = False
    """Whether its recipient has asked for it: a reminder."""
    sender: str | None = None
    """Name of the key that it was sent with."""

    def to_json(self) -> Json:
        return {
            "id": self.id,
            "content": self.content.to_json(),
            "createdAt": to_ms(self.created_at),
            "expiresAt": to_ms(self.expires_at),
            "mode": self.mode.value,
            "urgent": self.urgent,
            "category": self.category,
            "sendAt": to_ms(self.send_at) if self.send_at else None,
            "holdFor": self.hold_for,
            "guarantee": self.guarantee.value,
            **({"meant": self.meant} if self.meant else {}),
            **({"own": True} if self.own else {}),
            **({"sender": self.sender} if self.sender else {}),
        }

    @classmethod
    def from_json(cls, body: Json) -> Notification:
        return cls(
            id=NotificationId(body["id"]),
            content=Content.from_json(body["content"]),
            created_at=from_ms(body["createdAt"]),
            expires_at=from_ms(body["expiresAt"]),
            mode=Mode(body["mode"]),
            urgent=body["urgent"],
            category=body["category"],
            send_at=from_ms(body["sendAt"]) if body.get("sendAt") else None,
            hold_for=body.get("holdFor"),
            guarantee=Guarantee(body["guarantee"]),
            meant=body.get("meant", {}),
            own=body.get("own", False),
            sender=body.get("sender"),
        )
