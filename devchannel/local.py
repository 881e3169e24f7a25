"""The channel's side that the bot talks to: what would be a connector service elsewhere."""

from __future__ import annotations

from typing import Any

from domain.service_url import LOCAL_CHANNEL
from state.transcripts import ActivityJson, Transcripts

CHANNEL_ID = "directline"
SERVICE_URL = LOCAL_CHANNEL
"""Activities of this channel carry it; what is sent there goes to :class:`LocalChannel` instead of over HTTP."""
BOT: dict[str, Any] = {"id": "bot", "name": "Aside", "role": "bot"}


class LocalChannel:
    """Takes what the bot sends to the local channel. Every call raises ``ConversationNotFound`` for a
    conversation that the channel does not know: what another channel answers with 404."""

    def __init__(self, transcripts: Transcripts) -> None:
        self._transcripts = transcripts

    async def send(self, conversation_id: str, activity: ActivityJson) -> str:
        """Show an activity to the user and answer the id by which it can be updated and deleted."""
        return await self._transcripts.append(conversation_id, _from_bot(conversation_id, activity))

    async def update(self, conversation_id: str, activity_id: str, activity: ActivityJson) -> None:
        await self._transcripts.update(conversation_id, activity_id, _from_bot(conversation_id, activity))

    async def delete(self, conversation_id: str, activity_id: str) -> None:
        await self._transcripts.delete(conversation_id, activity_id)


def _from_bot(conversation_id: str, activity: ActivityJson) -> ActivityJson:
    sent = {name: value for name, value in activity.items() if name not in ("id", "serviceUrl", "timestamp")}
    sent["channelId"] = CHANNEL_ID
    sent["conversation"] = {"id": conversation_id}
    sent["from"] = {**BOT, **(activity.get("from") or {}), "role": "bot"}
    # A client holds back the answer to an activity that it has not seen: keep only answers to ours.
    if not str(sent.get("replyToId") or "").startswith(f"{conversation_id}|"):
        sent.pop("replyToId", None)
    return sent
