"""Effects: what a turn has committed but not yet carried out. Together they are the outbox, in order.

Each can be carried out again without harm, except a send; what happens to one of those whose outcome is
not known is in ``domain.sending``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from domain.delivery import Delivery, StatusReport
from domain.errors import NewerState
from domain.ids import ConversationKey, DeliveryId, JobId, NotificationId
from domain.job import JobRequest
from domain.notification import Json, Notification
from domain.value import value


class Operation(StrEnum):
    SEND = "send"
    UPDATE = "update"
    DELETE = "delete"


@value
class Send:
    """An activity for the channel, as JSON of the activity schema.

    ``provisional`` is the id that the turn was given for it (or, for an update or delete, the id it named).
    ``shows`` are the deliveries that are delivered with it. ``attempts`` counts the sends that failed,
    ``doubtful`` whether one of them may have been accepted all the same.
    """

    operation: Operation
    provisional: str
    activity: Json
    service_url: str
    shows: tuple[Delivery, ...] = ()
    attempts: int = 0
    doubtful: bool = False
    missing: int = 0
    """How many of the attempts found that the conversation is not there."""
    throttled: int = 0
    """How often the channel said wait; that counts as no attempt."""
    reserved: bool = False
    """It has waited for its place under the send limits."""
    held_back: bool = False
    """It waits for nothing but others of its tenant; if the user speaks, it goes at once and the answer behind it."""
    answer: bool = False
    """A turn of the user's was held up by it: it does not stand behind what others are sent."""
    history: tuple[str, ...] = ()
    """What became of each attempt so far, for the operator."""
    after: tuple[DeliveryId, ...] = ()
    """It is said because these were shown before it: if none of them is, it is not said either."""


@dataclass(frozen=True, kw_only=True)
class Submit:
    """A job to be started."""

    job: JobRequest


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """A job of this conversation, to be stopped."""

    job: JobId


@dataclass(frozen=True, kw_only=True)
class Notify:
    """A notification that the turn itself addresses to its conversation (a reminder)."""

    notification: Notification


@value
class Report:
    """A delivery's change of status, to be recorded."""

    report: StatusReport


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What the user has answered to a delivery, to be recorded unless there is an answer already."""

    notification: NotificationId
    index: int
    result: Any


@dataclass(frozen=True, kw_only=True)
class Index:
    """The conversation, to be entered in the indexes under these ids."""

    conversation: ConversationKey
    users: tuple[str, ...]
    aad_objects: tuple[str, ...]
    channel: ConversationKey | None = None
    """The channel of Teams that it is, or is a thread of."""
    shared: bool = False
    """Whether others read what is said there."""


@dataclass(frozen=True, kw_only=True)
class Leave:
    """Somebody who is no longer in a conversation that others read, nor in its ``team``, if one is named."""

    conversation: ConversationKey
    user: str
    aad_object: str | None = None
    team: str | None = None


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Whether the bot can speak in its conversation, for whoever counts those where it cannot."""

    active: bool


@value
class Broken:
    """What was stored as an effect and cannot be read as one; ``cause`` says why."""

    body: Json
    cause: str


Effect = Send | Submit | Cancel | Notify | Report | Answered | Index | Leave | Reach | Broken


def effect_to_json(effect: Effect) -> Json:
    match effect:
        case Send():
            return _send_to_json(effect)
        case Submit():
            return {"kind": "submit", "job": effect.job.to_json()}
        case Cancel():
            return {"kind": "cancel", "job": effect.job}
        case Notify():
            return {"kind": "notify", "notification": effect.notification.to_json()}
        case Report():
            return {"kind": "report", "report": effect.report.to_json()}
        case Answered():
            return {
                "kind": "answered",
                "notification": effect.notification,
                "index": effect.index,
                "result": effect.result,
            }
        case Index():
            return {
                "kind": "index",
                "conversation": effect.conversation,
                "users": list(effect.users),
                "aadObjects": list(effect.aad_objects),
                "channel": effect.channel,
                "shared": effect.shared,
            }
        case Reach():
            return {"kind": "reach", "active": effect.active}
        case Leave():
            return {
                "kind": "leave",
                "conversation": effect.conversation,
                "user": effect.user,
                "aadObject": effect.aad_object,
                "team": effect.team,
            }
        case Broken():
            return effect.body
    assert_never(effect)


def effect_from_json(body: dict[str, Any]) -> Effect:
    """What cannot be read is answered as :class:`Broken`. Raises :class:`NewerState` for one of a kind that only newer
    processes know."""
    try:
        return _read(body)
    except NewerState:
        raise
    except Exception as error:  # whatever is wrong with it: its conversation has to go on
        return Broken(body=body, cause=f"{type(error).__name__}: {error}")


def _read(body: dict[str, Any]) -> Effect:
    match body["kind"]:
        case "send":
            return Send(
                operation=Operation(body["operation"]),
                provisional=body["provisional"],
                activity=body["activity"],
                service_url=body["serviceUrl"],
                shows=tuple(Delivery.from_json(delivery) for delivery in body.get("shows", ())),
                attempts=body.get("attempts", 0),
                doubtful=body.get("doubtful", False),
                missing=body.get("missing", 0),
                throttled=body.get("throttled", 0),
                reserved=body.get("reserved", False),
                held_back=body.get("heldBack", False),
                answer=body.get("answer", False),
                history=tuple(body.get("history", ())),
                after=tuple(body.get("after", ())),
            )
        case "submit":
            return Submit(job=JobRequest(**body["job"]))
        case "cancel":
            return Cancel(job=JobId(body["job"]))
        case "notify":
            return Notify(notification=Notification.from_json(body["notification"]))
        case "report":
            return Report(report=StatusReport.from_json(body["report"]))
        case "answered":
            return Answered(
                notification=NotificationId(body["notification"]), index=body["index"], result=body["result"]
            )
        case "index":
            return Index(
                conversation=ConversationKey(body["conversation"]),
                users=tuple(body["users"]),
                aad_objects=tuple(body["aadObjects"]),
                channel=body.get("channel"),
                shared=body.get("shared", False),
            )
        case "reach":
            return Reach(active=body["active"])
        case "leave":
            return Leave(
                conversation=ConversationKey(body["conversation"]),
                user=body["user"],
                aad_object=body["aadObject"],
                team=body["team"],
            )
        case kind:
            raise NewerState(f"An outbox has an effect of kind {kind!r}, which this process does not know. Update it.")


def _send_to_json(effect: Send) -> Json:
    body: Json = {
        "kind": "send",
        "operation": str(effect.operation),
        "provisional": effect.provisional,
        "activity": effect.activity,
        "serviceUrl": effect.service_url,
    }
    if effect.shows:
        body["shows"] = [_without_content(delivery) for delivery in effect.shows]
    so_far = {
        "attempts": effect.attempts,
        "missing": effect.missing,
        "throttled": effect.throttled,
        "doubtful": effect.doubtful,
        "reserved": effect.reserved,
        "heldBack": effect.held_back,
        "answer": effect.answer,
        "history": list(effect.history),
        "after": list(effect.after),
    }
    return body | {name: value for name, value in so_far.items() if value}


def _without_content(delivery: Delivery) -> Json:
    """What a report needs of a delivery: its content is in the activity already."""
    body = delivery.to_json()
    body.pop("content", None)
    return body
