"""A delivery: one notification (or one job's answer) for one conversation, with a status."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from domain.clock import from_ms, to_ms
from domain.ids import DeliveryId, JobId, NotificationId, delivery_id
from domain.notification import Content, Guarantee, Json, Mode, Notification
from domain.value import value


class Status(StrEnum):
    """Where a delivery stands. The last five are final."""

    SCHEDULED = "scheduled"
    """Not to be looked at before its time."""
    PENDING = "pending"
    """Accepted; no turn has looked at it yet, or its send is being tried again."""
    HELD = "held"
    """A turn is keeping it until the user is free."""
    QUEUED = "queued"
    """A turn is keeping it for the user's next turn."""
    DELIVERED = "delivered"
    """The channel accepted it."""
    FAILED = "failed"
    """Given up on, for a reason."""
    UNKNOWN = "unknown"
    """A send whose outcome the channel never told, and that is not to be repeated."""
    EXPIRED = "expired"
    """Its time ran out before it could be shown."""
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self not in _OPEN


_OPEN = frozenset({Status.SCHEDULED, Status.PENDING, Status.HELD, Status.QUEUED})


class Failure(StrEnum):
    """Why a delivery failed."""

    BLOCKED = "blocked"
    """The user blocked the bot."""
    UNINSTALLED = "uninstalled"
    """The bot is no longer in the conversation."""
    GONE = "gone"
    """The conversation no longer exists."""
    UNAUTHORIZED = "unauthorized"
    """The channel does not accept the bot's credentials."""
    REJECTED = "rejected"
    """The channel refused the activity itself, or it could not be sent at all."""
    EXHAUSTED = "exhausted"
    """Every attempt failed, to send it or to run the turn that says it."""
    OVERFLOW = "overflow"
    """Too much waited for this conversation already."""


@value
class Delivery:
    """What lies in a mailbox or an inbox. ``content`` is inline for what belongs to this conversation
    alone (a job's answer); for a notification it stays in the notification's record until shown."""

    id: DeliveryId
    mode: Mode
    created_at: datetime
    expires_at: datetime
    urgent: bool = False
    category: str = "general"
    hold_until: datetime | None = None
    guarantee: Guarantee = Guarantee.AT_LEAST_ONCE
    notification: NotificationId | None = None
    index: int = 0
    job: JobId | None = None
    content: Content | None = None
    attempts: int = 0
    history: tuple[str, ...] = ()
    """What each of these attempts failed of, oldest first."""
    meant: Json | None = None
    """Of the notification: by channel the account of the one person it is for, where others read it too."""
    replayed: bool = False
    """Somebody wants it tried, also where the bot cannot speak as far as is known."""
    reminder: bool = False

    @property
    def own(self) -> bool:
        """Whether its recipient has asked for it: the answer of a job, or a reminder."""
        return self.job is not None or self.reminder

    def to_json(self) -> Json:
        body: Json = {
            "id": self.id,
            "mode": str(self.mode),
            "created": to_ms(self.created_at),
            "expires": to_ms(self.expires_at),
        }
        if self.urgent:
            body["urgent"] = True
        if self.category != "general":
            body["category"] = self.category
        if self.hold_until:
            body["holdUntil"] = to_ms(self.hold_until)
        if self.guarantee is not Guarantee.AT_LEAST_ONCE:
            body["guarantee"] = str(self.guarantee)
        if self.notification:
            body["notification"] = self.notification
            body["index"] = self.index
        if self.job:
            body["job"] = self.job
        if self.content:
            body["content"] = self.content.to_json()
        if self.attempts:
            body["attempts"] = self.attempts
        if self.history:
            body["history"] = list(self.history)
        if self.meant:
            body["meant"] = self.meant
        if self.replayed:
            body["replayed"] = True
        if self.reminder:
            body["reminder"] = True
        return body

    @classmethod
    def from_json(cls, body: Json) -> Delivery:
        return cls(
            id=DeliveryId(body["id"]),
            mode=Mode(body["mode"]),
            created_at=from_ms(body["created"]),
            expires_at=from_ms(body["expires"]),
            urgent=body.get("urgent", False),
            category=body.get("category", "general"),
            hold_until=from_ms(body["holdUntil"]) if "holdUntil" in body else None,
            guarantee=Guarantee(body.get("guarantee", Guarantee.AT_LEAST_ONCE)),
            notification=body.get("notification"),
            index=body.get("index", 0),
            job=body.get("job"),
            content=Content.from_json(body["content"]) if "content" in body else None,
            attempts=body.get("attempts", 0),
            history=tuple(body.get("history", ())),
            meant=body.get("meant"),
            replayed=body.get("replayed", False),
            reminder=body.get("reminder", False),
        )

    def failed_once_more(self, error: Exception) -> Delivery:
        """Of the error its class alone: what it says may be nobody else's business."""
        return replace(self, attempts=self.attempts + 1, history=(*self.history, type(error).__name__))


def deliver_to(notification: Notification, index: int, now: datetime) -> Delivery:
    """The delivery of ``notification`` to its recipient number ``index``, as it enters the mailbox."""
    return Delivery(
        id=delivery_id(notification.id, index),
        mode=notification.mode,
        created_at=notification.send_at or notification.created_at,  # not when its turn in a fan-out came
        expires_at=notification.expires_at,
        urgent=notification.urgent,
        category=notification.category,
        hold_until=None if notification.hold_for is None else now + timedelta(seconds=notification.hold_for),
        guarantee=notification.guarantee,
        notification=notification.id,
        index=index,
        meant=notification.meant or None,
        reminder=notification.own,
    )


@value
class StatusReport:
    """A change of a delivery's status, as it is recorded for the sender."""

    delivery: DeliveryId
    status: Status
    at: datetime
    notification: NotificationId | None = None
    index: int = 0
    job: JobId | None = None
    reason: str | None = None
    activity_id: str | None = None
    attempts: int = 0
    history: tuple[str, ...] = ()
    """What became of each attempt of its turn, for the operator."""
    may_be_repeated: bool = False

    def to_json(self) -> Json:
        body: Json = {"delivery": self.delivery, "status": str(self.status), "at": to_ms(self.at)}
        if self.notification:
            body |= {"notification": self.notification, "index": self.index}
        if self.job:
            body["job"] = self.job
        if self.reason:
            body["reason"] = self.reason
        if self.activity_id:
            body["activityId"] = self.activity_id
        if self.attempts:
            body["attempts"] = self.attempts
        if self.history:
            body["history"] = list(self.history)
        if self.may_be_repeated:
            body["mayBeRepeated"] = True
        return body

    @classmethod
    def from_json(cls, body: Json) -> StatusReport:
        return cls(
            delivery=DeliveryId(body["delivery"]),
            status=Status(body["status"]),
            at=from_ms(body["at"]),
            notification=body.get("notification"),
            index=body.get("index", 0),
            job=body.get("job"),
            reason=body.get("reason"),
            activity_id=body.get("activityId"),
            attempts=body.get("attempts", 0),
            history=tuple(body.get("history", ())),
            may_be_repeated=body.get("mayBeRepeated", False),
        )


def report(
    delivery: Delivery,
    status: Status,
    at: datetime,
    *,
    reason: str | None = None,
    activity_id: str | None = None,
    attempts: int | None = None,
    may_be_repeated: bool = False,
) -> StatusReport:
    """``attempts``: of its send; without one, those of its turn."""
    return StatusReport(
        delivery=delivery.id,
        status=status,
        at=at,
        notification=delivery.notification,
        index=delivery.index,
        job=delivery.job,
        reason=reason,
        activity_id=activity_id,
        attempts=delivery.attempts if attempts is None else attempts,
        history=delivery.history if attempts is None else (),
        may_be_repeated=may_be_repeated,
    )
