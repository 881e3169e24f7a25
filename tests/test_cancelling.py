"""Cancelling a notification: what has not been shown never is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app import Service
from domain.ids import ConversationKey, NotificationId, new_id
from domain.notification import Content, Mode, Notification
from state.notifications import Listed
from tests.people import Person, Sender


async def cancels(sender: Sender, notification: str) -> int:
    async with sender.http.delete(f"{sender.bot_url}/api/notifications/{notification}") as response:
        return response.status


async def test_what_is_queued_is_withdrawn(ann: Person, sender: Sender) -> None:
    """It lay in the inbox; the next turn shows nothing of it."""
    await ann.says("hello")
    notification = await sender.notifies(ann, "never mind", mode="queue")
    await sender.becomes(notification, "queued")
    assert await cancels(sender, notification) == 202
    await sender.becomes(notification, "cancelled")
    assert await ann.says("and?") == ["You sent: and?"]


async def test_what_was_shown_stays_delivered(ann: Person, bob: Person, sender: Sender) -> None:
    """One recipient saw it, the other is busy: only the other is spared."""
    await ann.says("hello")
    await bob.says("report")
    notification = await sender.notifies({"conversations": [ann.key, bob.key]}, "maintenance tonight", mode="resume")
    await sender.becomes(notification, "delivered", 0)
    await sender.becomes(notification, "held", 1)
    assert await cancels(sender, notification) == 202
    await sender.becomes(notification, "cancelled", 1)
    assert (await sender.delivery(notification, 0))["status"] == "delivered"
    assert "maintenance tonight" not in await bob.says("cancel")


async def test_what_is_scheduled_is_not_sent(ann: Person, sender: Sender) -> None:
    await ann.says("hello")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    notification = await sender.notifies(ann, "good morning", sendAt=tomorrow)
    assert await cancels(sender, notification) == 202
    status, body = await sender.gets(f"/api/notifications/{notification}")
    assert (status, body["counts"]) == (200, {"cancelled": 1})


async def test_what_is_accepted_again_stays_cancelled(ann: Person, sender: Sender, service: Service) -> None:
    """Its sender got no answer, for the process died right after recording it; an operator cancelled it; and the
    sender posts it again as the same."""
    await ann.says("hello")
    now = service.clock()
    notification = Notification(
        id=NotificationId(new_id("ntf")),
        content=Content(activity={"type": "message", "text": "never mind"}),
        created_at=now,
        expires_at=now + timedelta(days=1),
        mode=Mode.INTERJECT,
    )
    audience = Listed(conversations=(ConversationKey(ann.key),))
    await service.notifications.accept_in_hand(notification, audience, 1)
    assert await cancels(sender, notification.id) == 202
    await service.fanout.accept(notification, audience, 1)
    _, body = await sender.gets(f"/api/notifications/{notification.id}")
    assert body["counts"] == {"cancelled": 1}
    assert await ann.says("and?") == ["You sent: and?"]


async def test_an_unknown_one_is_404(sender: Sender) -> None:
    assert await cancels(sender, "ntf_nothing") == 404
