"""What an inbound activity says of whether the bot can speak where it comes from.

A removal is told in activities too, often in more than one, and each channel has its own. An upgrade of the app tells
of a removal and an addition that nobody asked for: it changes nothing.
"""

from __future__ import annotations

from botbuilder.schema import Activity, ActivityTypes, ChannelAccount

from domain.clock import to_ms
from domain.effect import Reach
from domain.reachability import Reachability, Standing
from state.turn import Turn

_BY_ACTION = {"add": Reachability.ACTIVE, "remove": Reachability.UNINSTALLED}
_BY_EVENT = {
    "teamDeleted": Reachability.GONE,
    "teamHardDeleted": Reachability.GONE,
    "teamRestored": Reachability.ACTIVE,
    "channelRestored": Reachability.ACTIVE,
}
"""By the ``eventType`` of Teams' channel data."""


def presence(activity: Activity) -> Reachability | None:
    """What the conversation is from now on, None for what it was. A user who does anything can be spoken to."""
    bot = activity.recipient.id if activity.recipient else None
    if activity.type in (ActivityTypes.installation_update, ActivityTypes.contact_relation_update):
        return _BY_ACTION.get((activity.action or "").lower())
    if activity.type == ActivityTypes.conversation_update:
        if _named(bot, activity.members_removed):
            return Reachability.UNINSTALLED
        return Reachability.ACTIVE if _named(bot, activity.members_added) else _told_by_teams(activity)
    sender = activity.from_property
    return Reachability.ACTIVE if sender and sender.id and sender.id != bot else None


def note(turn: Turn, reach: Reachability, detail: str = "") -> None:
    """Note in the turn what its conversation is; what it was already, it is since then."""
    if reach is turn.standing.reach:
        return
    turn.standing = Standing(reach=reach, since=turn.at)
    fields = {"reach": reach.value, "reach_since": str(to_ms(turn.at)), "reach_tried": "", "reach_detail": detail}
    turn.fields |= fields
    turn.effects.append(Reach(active=reach is Reachability.ACTIVE))


def _named(bot: str | None, members: list[ChannelAccount] | None) -> bool:
    return bot is not None and any(member and member.id == bot for member in members or ())


def _told_by_teams(activity: Activity) -> Reachability | None:
    data = activity.channel_data if isinstance(activity.channel_data, dict) else {}
    event, channel = data.get("eventType"), data.get("channel")
    if event == "channelDeleted":  # told in the team's conversation, which may be another channel's
        deleted = channel.get("id") if isinstance(channel, dict) else None
        return Reachability.GONE if deleted == activity.conversation.id else None
    return _BY_EVENT.get(event) if isinstance(event, str) else None
