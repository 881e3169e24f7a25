"""What the API tells of notifications, conversations and jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from domain.clock import to_iso
from domain.delivery import Status
from domain.job import Job, JobStatus
from domain.notification import Course, Guarantee, Json, Mode
from domain.phase import Phase
from domain.reachability import Reachability
from state.conversations import Known
from state.delivery_rows import DeliveryRow
from state.notifications import NotificationRecord
from web.described import described
from web.said_model import ChannelId

PAGE_LIMIT = 500

Moment = Annotated[
    datetime,
    PlainSerializer(to_iso, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


class View(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, frozen=True, json_schema_extra=described)


class Query(BaseModel):
    """Parameters of a list."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, json_schema_extra=described, hide_input_in_errors=True
    )

    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT)] = 50
    cursor: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """``next`` of the page before."""


class DeliveriesQuery(Query):
    """Of those with a ``status`` a page may hold few or none though more follow: so many deliveries are looked at."""

    status: Status | None = None


class NotificationsQuery(DeliveriesQuery):
    """``status`` finds notifications that have a delivery in it."""

    source: str | None = None
    category: str | None = None


class ConversationsQuery(Query):
    channel_id: ChannelId | None = None


class JobsQuery(Query):
    conversation: str | None = None


class DeliveryView(View):
    conversation: str
    user: str | None
    """Id of the user it is for; nobody's where others read what is said there and no single person was meant."""
    status: Status
    attempts: int
    at: Moment
    reason: str | None
    activity_id: str | None
    may_be_repeated: bool
    result: Any
    """What the user has answered to it: the ``value`` of the action that was tapped first."""

    @classmethod
    def of(cls, row: DeliveryRow, user: str | None) -> DeliveryView:
        return cls(
            conversation=row.conversation,
            user=user,
            status=row.status,
            attempts=row.attempts,
            at=row.at,
            reason=row.reason,
            activity_id=row.activity_id,
            may_be_repeated=row.may_be_repeated,
            result=row.result,
        )


class NotificationView(View):
    id: str
    status: Course
    sender: str | None
    """Name of the key that it was sent with."""
    summary: str
    source: str | None
    category: str
    mode: Mode
    urgent: bool
    created_at: Moment
    send_at: Moment | None
    expires_at: Moment
    recipients: int
    counts: dict[Status, int]
    """Deliveries by status; together they are the recipients."""

    @classmethod
    def of(cls, record: NotificationRecord, now: datetime) -> NotificationView:
        return cls(**_fields_of(record, now))


class CancelledView(NotificationView):
    spared: int
    """Recipients for whom no channel is asked to take it any more, nor was asked before (unless it said no)."""

    @classmethod
    def after(cls, record: NotificationRecord, now: datetime, spared: int) -> CancelledView:
        return cls(**_fields_of(record, now), spared=spared)


class NotificationDetails(NotificationView):
    title: str | None
    reason: str | None
    activity: Json
    actions: list[Json]
    hold_for: float | None
    guarantee: Guarantee
    deliveries: list[DeliveryView]
    next: str | None

    @classmethod
    def with_deliveries(
        cls, record: NotificationRecord, now: datetime, deliveries: list[DeliveryView], following: str | None
    ) -> NotificationDetails:
        notification = record.notification
        return cls(
            **_fields_of(record, now),
            title=notification.content.title,
            reason=notification.content.reason,
            activity=notification.content.activity,
            actions=list(notification.content.actions),
            hold_for=notification.hold_for,
            guarantee=notification.guarantee,
            deliveries=deliveries,
            next=following,
        )


class NotificationPage(View):
    notifications: list[NotificationView]
    next: str | None


class UserView(View):
    id: str | None
    name: str | None
    aad_object_id: str | None


def user_of(reference: Json) -> UserView | None:
    """Whose conversation it is, as far as that is known."""
    user = reference.get("user")
    if not user:
        return None
    return UserView(id=user.get("id"), name=user.get("name"), aad_object_id=user.get("aadObjectId"))


class ConversationView(View):
    key: str
    channel_id: str
    conversation_type: str | None
    user: UserView | None
    tenant_id: str | None
    timezone: str | None
    locale: str | None
    phase: Phase
    dialogs: list[str]
    inbox: int
    mailbox: int
    outbox: int
    reachability: Reachability
    reachability_since: Moment | None
    reachability_detail: str | None
    first_seen: Moment
    last_seen: Moment

    @classmethod
    def of(cls, known: Known, phase: Phase) -> ConversationView:
        conversation = known.reference.get("conversation") or {}
        return cls(
            key=known.key,
            channel_id=known.reference["channelId"],
            conversation_type=conversation.get("conversationType"),
            user=user_of(known.reference),
            tenant_id=conversation.get("tenantId"),
            timezone=known.timezone,
            locale=known.locale,
            phase=phase,
            dialogs=list(known.dialogs),
            inbox=known.inbox,
            mailbox=known.mailbox,
            outbox=known.outbox,
            reachability=known.reachability,
            reachability_since=known.reachability_since,
            reachability_detail=known.reachability_detail,
            first_seen=known.first_seen,
            last_seen=known.last_spoke or known.first_seen,
        )


class ConversationPage(View):
    conversations: list[ConversationView]
    next: str | None


class JobView(View):
    id: str
    conversation: str
    number: int
    name: str
    asked: str
    arguments: Json
    status: JobStatus
    progress: float | None
    """A share from 0 to 1."""
    note: str | None
    result: str | None
    error: str | None
    attempt: int
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    answer: str | None
    """Status of the delivery that carries the answer."""
    answer_may_be_repeated: bool

    @classmethod
    def of(cls, job: Job) -> JobView:
        return cls(**{name: getattr(job, name) for name in cls.model_fields})


class JobPage(View):
    jobs: list[JobView]
    next: str | None


def _fields_of(record: NotificationRecord, now: datetime) -> dict[str, Any]:
    notification = record.notification
    return {
        "id": notification.id,
        "status": record.course(now),
        "sender": notification.sender,
        "summary": notification.content.summary,
        "source": notification.content.source,
        "category": notification.category,
        "mode": notification.mode,
        "urgent": notification.urgent,
        "created_at": notification.created_at,
        "send_at": notification.send_at,
        "expires_at": notification.expires_at,
        "recipients": max(record.recipients, record.entered),
        "counts": record.counts_at(now),
    }
