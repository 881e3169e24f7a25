"""What kind of place a conversation is: who else reads what is said there."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

THREAD = ";messageid="
"""In a Teams conversation id: between the channel and the message that a thread of it began with."""


class Place(StrEnum):
    """Named as the activity schema's ``conversationType`` names them on Teams."""

    PERSONAL = "personal"
    """The user and the bot."""
    GROUP_CHAT = "groupChat"
    CHANNEL = "channel"


def place_of(conversation: dict[str, Any]) -> Place:
    """The kind of a conversation account (schema JSON). What a channel says in words of its own is not personal, nor
    is what it calls personal and a group at once."""
    conversation_id, said = str(conversation.get("id")), conversation.get("conversationType")
    if said in tuple(Place):
        return Place.GROUP_CHAT if said == Place.PERSONAL and conversation.get("isGroup") else Place(said)
    if conversation_id.startswith("19:") and "@thread.tacv2" in conversation_id:
        return Place.CHANNEL
    if said or conversation.get("isGroup") or (conversation_id.startswith("19:") and "@thread" in conversation_id):
        return Place.GROUP_CHAT
    return Place.PERSONAL


def root_of(conversation_id: str) -> str:
    """The conversation that a thread belongs to: the channel of Teams; of what is no thread, itself."""
    return conversation_id.partition(THREAD)[0]
