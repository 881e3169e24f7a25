"""What the engine reads of an activity that came in: who speaks, what it is known by, and where its answer goes."""

from __future__ import annotations

from botbuilder.schema import Activity, ActivityTypes, DeliveryModes

from domain.ids import UserKey, user_key

_OF_A_MESSAGE = (ActivityTypes.message_update, ActivityTypes.message_delete, ActivityTypes.message_reaction)


def known_as(activity: Activity) -> str | None:
    """What a conversation knows an activity by, so that one that is sent again is not taken for another.

    An edit, and what else happens to a message, may carry the id of that message: it is told by its type, and by its
    time from a later one of its kind. None without an id.
    """
    if not activity.id:
        return None
    if activity.type in (None, ActivityTypes.message):
        return str(activity.id)
    at = activity.timestamp if activity.type in _OF_A_MESSAGE else None
    return " ".join(str(part) for part in (activity.type, at, activity.id) if part is not None)


def answered_in_body(activity: Activity) -> bool:
    """Whether what its turn says goes out in the response to the user's request."""
    return bool(activity.type == ActivityTypes.invoke or activity.delivery_mode == DeliveryModes.expect_replies)


def speaker(activity: Activity) -> UserKey | None:
    """The user who said it; None where the channel does not say who."""
    user_id = activity.from_property.id if activity.from_property else None
    return user_key(activity.channel_id, user_id) if user_id else None
