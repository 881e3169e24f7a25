"""Fan-out: one notification becomes a delivery in each recipient's mailbox, page by page.

Each page is entered in the notification's record before it is put into mailboxes, and the progress is noted after;
a fan-out that is taken over repeats at most one page, and a mailbox takes nothing twice.
"""

from __future__ import annotations

from bots.fault_points import reached
from domain.clock import Clock
from domain.delivery import Status, deliver_to
from domain.ids import ConversationKey, NotificationId
from state.conversations import Conversations
from state.mail import Mail
from state.notifications import PAGE, Notifications, Progress


class Fanout:
    def __init__(self, notifications: Notifications, conversations: Conversations, mail: Mail, clock: Clock) -> None:
        self._notifications = notifications
        self._conversations = conversations
        self._mail = mail
        self._clock = clock

    async def page(self, nid: NotificationId) -> bool:
        """Serve the next page of recipients. False once there is none left (or the notification is gone)."""
        progress = await self._notifications.progress(nid)
        if progress is None:
            return False
        wanted = await self._next(nid, progress)
        if not wanted:
            return False
        start = progress.served
        recipients = await self._notifications.enter(nid, start, wanted, Status.PENDING)
        reached("recipients_entered")
        now = self._clock()
        await self._mail.put(
            [
                (key, deliver_to(progress.notification, start + offset, now))
                for offset, key in enumerate(recipients)
            ]
        )
        reached("mail_put")
        return await self._notifications.advance(nid, start, start + len(recipients), recipients[-1])

    async def _next(self, nid: NotificationId, progress: Progress) -> list[ConversationKey]:
        if progress.audience is None:
            return await self._notifications.listed(nid, progress.served, PAGE)
        return await self._conversations.page(progress.after, PAGE, progress.audience.channel_id)
