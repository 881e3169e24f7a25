"""How the store keeps an audience; the conversations of one that was listed lie beside it."""

from __future__ import annotations

from domain.audience import Audience, Everyone, Listed
from domain.notification import Json


def described(audience: Audience) -> Json:
    return {"listed": True} if isinstance(audience, Listed) else {"channelId": audience.channel_id}


def everyone(body: Json) -> Everyone | None:
    """None for an audience that was listed."""
    return None if body.get("listed") else Everyone(channel_id=body["channelId"])
