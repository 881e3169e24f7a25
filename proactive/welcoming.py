"""Who is welcomed, and when: once for each user of a conversation, however many activities tell that they are there."""

from __future__ import annotations

import asyncio
import logging

from botbuilder.core import BotAdapter, TurnContext
from botbuilder.schema import Activity, ActivityTypes

from state.turn import turn_of

log = logging.getLogger("aside.welcoming")

ASKED_FOR = 3.0
"""Seconds for which a channel is waited for that is asked who somebody is."""
_GROUPS = ("groupChat", "channel")
_EVERYBODY = "*"
"""Stands for all of a group: it is told once, and again if the bot was taken out and comes back."""
_REMEMBERED = 100


def in_group(activity: Activity) -> bool:
    conversation = activity.conversation
    return conversation is not None and bool(conversation.is_group or conversation.conversation_type in _GROUPS)


def due(context: TurnContext) -> bool:
    """Whether this activity brings somebody who is to be welcomed; they are noted as welcomed then."""
    own = turn_of(context).state.own
    activity = context.activity
    welcomed = [] if in_group(activity) and _bot_left(activity) else own.get("welcomed", [])
    new = [user for user in _newcomers(activity) if user not in welcomed]
    if noted := [*welcomed, *new][-_REMEMBERED:]:
        own["welcomed"] = noted
    else:
        own.pop("welcomed", None)
    return bool(new)


async def who_added(context: TurnContext) -> str | None:
    """The name of the person whose activity this is. Teams tells it only if asked; None where nobody does."""
    account = context.activity.from_property
    if account is None or not account.id:
        return None
    if account.name:
        return str(account.name)
    connector = context.turn_state.get(BotAdapter.BOT_CONNECTOR_CLIENT_KEY)
    try:
        async with asyncio.timeout(ASKED_FOR):
            member = await connector.conversations.get_conversation_member(context.activity.conversation.id, account.id)
    except Exception as error:
        ids = {"action": "member_unknown", "conversation": turn_of(context).conversation}
        log.info("the channel does not tell who added the bot: %s", type(error).__name__, extra=ids)
        return None
    return member.name or None


def _newcomers(activity: Activity) -> list[str]:
    others = [member for member in _added(activity) if member != _bot(activity)]
    if in_group(activity):
        return [_EVERYBODY] if _bot_came(activity) else []  # who joins a group later has not asked for a greeting
    if others:
        return others
    sender = activity.from_property
    if _bot_came(activity) and activity.conversation.conversation_type == "personal" and sender and sender.id:
        return [sender.id]  # an install: elsewhere the user comes in an activity of their own
    return []


def _bot_came(activity: Activity) -> bool:
    if activity.type == ActivityTypes.installation_update:
        return bool(activity.action == "add")
    return _bot(activity) in _added(activity)


def _bot_left(activity: Activity) -> bool:
    if activity.type == ActivityTypes.installation_update:
        return bool(activity.action == "remove")
    return _bot(activity) in [member.id for member in activity.members_removed or () if member]


def _added(activity: Activity) -> list[str]:
    return [member.id for member in activity.members_added or () if member and member.id]


def _bot(activity: Activity) -> str | None:
    return activity.recipient.id if activity.recipient else None
