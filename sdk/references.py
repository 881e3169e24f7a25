"""Conversation references: kept from every inbound activity, and turned into the activity of a proactive turn."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import orjson
from botbuilder.schema import (
    Activity,
    ActivityEventNames,
    ActivityTypes,
    ChannelAccount,
    ConversationAccount,
    ConversationReference,
)

from domain.clock import to_ms
from domain.delivery import Delivery
from domain.effect import Leave
from domain.ids import UserKey, channel_of, user_key
from domain.notification import Json
from domain.place import Place, place_of
from sdk.activities import model_from_json, model_of, to_json
from sdk.locales import usable
from sdk.presence import note, presence
from state.conversations import index_of
from state.turn import Turn

_CONTINUES = {
    "type": ActivityTypes.event.value,
    "name": ActivityEventNames.continue_conversation.value,
}
_LEFT_A_CHANNEL = "channelMemberRemoved"
_SPEAKS = (ActivityTypes.message, ActivityTypes.invoke, ActivityTypes.message_reaction)


@dataclass(frozen=True)
class Frame:
    """The address part of an outgoing activity."""

    activity: Json
    service_url: str


def inbound_record(turn: Turn, activity: Activity, vouching: Collection[str]) -> None:
    """Note in the turn what an inbound activity tells of its conversation; written only where it changed.

    ``vouching``: channels that answer for what they say of people; on others a client may have written it.
    """
    before = turn.record or {}
    known: Json = before.get("reference") or {}
    vouched = activity.channel_id in vouching
    reference: Json = {
        "channelId": activity.channel_id,
        "serviceUrl": activity.service_url,
        "conversation": _conversation(activity, known.get("conversation") or {}, vouched),
        "user": _user(activity, known.get("user"), vouched),
        "bot": _merged(known.get("bot"), activity.recipient),
    }
    if _passed_on(turn, activity, known.get("user"), reference["user"]) and _is_undeclared(reference["conversation"]):
        reference["conversation"]["isGroup"] = True
    locale = activity.locale or before.get("locale")
    if locale:
        reference["locale"] = locale
    record: Json = {
        "reference": {key: value for key, value in reference.items() if value is not None},
        "timezone": activity.local_timezone or before.get("timezone"),
        "locale": locale,
        "firstSeen": before.get("firstSeen") or to_ms(turn.at),
    }
    if team := _team(activity, vouched) or before.get("team"):
        record["team"] = team
    leaves = _leaves(turn, activity, record)
    if any(left.user == (record["reference"].get("user") or {}).get("id") for left in leaves):
        del record["reference"]["user"]
    index = index_of(turn.conversation, record["reference"])
    speaks_to_others = index.shared and activity.type in _SPEAKS  # and may have left and come back
    if speaks_to_others or turn.record is None or index != index_of(turn.conversation, known):
        turn.effects.append(index)
    turn.effects += leaves
    if record != turn.record:
        turn.record = record
        turn.fields["record"] = orjson.dumps(record).decode()
    if activity.type in _SPEAKS:
        turn.last_spoke = turn.at
        turn.fields["spoke"] = str(to_ms(turn.at))
    if (reach := presence(activity)) is not None:
        note(turn, reach)


def _conversation(activity: Activity, known: Json, vouched: bool) -> Json:
    """What is known of the conversation account, and its tenant, which may stand in the channel's data alone."""
    conversation = {**known, **to_json(activity.conversation)}
    if not conversation.get("tenantId") and vouched and (tenant := _id_in_data(activity, "tenant")):
        conversation["tenantId"] = tenant
    return conversation


def _passed_on(turn: Turn, activity: Activity, before: Json | None, user: Json | None) -> bool:
    """Whether somebody speaks where another has spoken before."""
    others = before is not None and user is not None and before["id"] != user["id"]
    return others and turn.last_spoke is not None and activity.type in _SPEAKS


def _is_undeclared(conversation: Json) -> bool:
    """Whether its channel says nothing of who else reads what is said in it."""
    return not conversation.get("conversationType") and conversation.get("isGroup") is None


def _team(activity: Activity, vouched: bool) -> str | None:
    return _id_in_data(activity, "team") if vouched else None


def _id_in_data(activity: Activity, name: str) -> str | None:
    data = activity.channel_data if isinstance(activity.channel_data, dict) else {}
    found = data.get(name)
    named = found.get("id") if isinstance(found, dict) else None
    return named if isinstance(named, str) and named else None


def _leaves(turn: Turn, activity: Activity, record: Json) -> list[Leave]:
    """Who left what others read: a team with all its channels, unless it is said to be one channel alone."""
    if activity.type != ActivityTypes.conversation_update or not activity.members_removed:
        return []
    if place_of(record["reference"]["conversation"]) is Place.PERSONAL:
        return []
    data = activity.channel_data if isinstance(activity.channel_data, dict) else {}
    team = None if data.get("eventType") == _LEFT_A_CHANNEL else record.get("team")
    return [
        Leave(conversation=turn.conversation, user=member.id, aad_object=member.aad_object_id, team=team)
        for member in activity.members_removed
        if member and member.id and member.id != (activity.recipient and activity.recipient.id)
    ]


def _user(activity: Activity, known: Json | None, vouched: bool) -> Json | None:
    """Who spoke last. What nobody said leaves that as it is, and the bot itself is no user."""
    sender = activity.from_property
    from_bot = bool(sender and activity.recipient and activity.recipient.id == sender.id)
    if not from_bot and sender and (known is None or known["id"] == sender.id or activity.type in _SPEAKS):
        known = _merged(known, sender)
    if known is None or vouched:
        return known
    return {name: value for name, value in known.items() if name != "aadObjectId"}


def _merged(known: Json | None, account: ChannelAccount | None) -> Json | None:
    """An account, with what was known of it and is not said again."""
    if account is None or not account.id:
        return known
    said = to_json(account)
    return {**known, **said} if known is not None and known.get("id") == account.id else said


def spoken_to(turn: Turn) -> UserKey | None:
    """The user of a conversation: in a group, who spoke last."""
    user = ((turn.record or {}).get("reference") or {}).get("user") or {}
    return user_key(channel_of(turn.conversation), user["id"]) if user.get("id") else None


def proactive_activity(turn: Turn) -> Activity:
    """The ContinueConversation event of this turn: what the SDK would make of the reference, with the locale it
    forgets, and in ``value`` what wants to be said."""
    assert turn.record is not None
    stored = turn.record["reference"]
    user, bot = stored.get("user"), stored.get("bot")
    address = {
        "channel_id": stored["channelId"],
        "service_url": stored["serviceUrl"],
        "conversation": model_from_json(ConversationAccount, stored["conversation"]),
        "locale": usable(stored.get("locale")),
    }
    reference = model_of(
        ConversationReference,
        user=model_from_json(ChannelAccount, user) if user else None,
        bot=model_from_json(ChannelAccount, bot) if bot else None,
        **address,
    )
    return model_of(
        Activity,
        **_CONTINUES,
        id=turn.token,
        recipient=reference.bot,
        from_property=reference.user,
        local_timezone=turn.record.get("timezone"),
        relates_to=reference,
        value={"deliveries": [_described(delivery) for delivery in turn.mail]},
        **address,
    )


def outbound_frame(turn: Turn) -> Frame | None:
    """How an activity of this turn is addressed."""
    if turn.record is None:
        return None
    stored = turn.record["reference"]
    frame = {"channelId": stored["channelId"], "serviceUrl": stored["serviceUrl"]}
    frame |= {"conversation": stored["conversation"], "from": stored.get("bot"), "recipient": stored.get("user")}
    return Frame({key: value for key, value in frame.items() if value is not None}, stored["serviceUrl"])


def _described(delivery: Delivery) -> Json:
    """What middleware and dialogs may want to know of a delivery: everything but what it says."""
    told: Json = {
        "id": delivery.id,
        "mode": str(delivery.mode),
        "category": delivery.category,
        "urgent": delivery.urgent,
    }
    if delivery.notification is not None:
        told["notification"] = delivery.notification
    if delivery.job is not None:
        told["job"] = delivery.job
    return told
