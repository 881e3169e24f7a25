"""Fan-out: one notification becomes a delivery in each recipient's mailbox, page by page.

Each page is entered in the notification's record before it is put into mailboxes, and the progress is noted after;
a fan-out that is taken over repeats at most one page, and a mailbox takes nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from domain.clock import Clock
from domain.delivery import Delivery, Failure, Status, deliver_to, report
from domain.ids import ConversationKey, NotificationId, delivery_id
from state.conversations import Conversations
from state.fault_points import reached
from state.mail import Mail
from state.notifications import PAGE, Notifications, Progress
from state.reports import recording
from state.store import Store

log = logging.getLogger("aside.fanout")


SLICE = 100
"""Recipients whose mail is made in one go: nobody else's turn goes on meanwhile."""


class Fanout:
    """``give_way`` is awaited between slices of the work."""

    def __init__(
        self,
        store: Store,
        notifications: Notifications,
        conversations: Conversations,
        mail: Mail,
        clock: Clock,
        give_way: Callable[[], Awaitable[None]],
    ) -> None:
        self._give_way = give_way
        self._store = store
        self._notifications = notifications
        self._conversations = conversations
        self._mail = mail
        self._clock = clock

    async def page(self, nid: NotificationId) -> bool:
        """Serve the next page of recipients. False once there is none left (or the notification is gone)."""
        progress = await self._notifications.progress(nid)
        if progress is None:
            return False
        if progress.cancelled:
            return await self._withdraw(nid, progress)
        wanted = await self._next(nid, progress)
        if not wanted:
            return False
        start = progress.served
        recipients = await self._notifications.enter(nid, start, wanted, Status.PENDING)
        reached("recipients_entered")
        now = self._clock()
        for first in range(0, len(recipients), SLICE):
            await self._give_way()
            refused = await self._mail.put(
                [
                    (key, deliver_to(progress.notification, start + first + offset, now))
                    for offset, key in enumerate(recipients[first : first + SLICE])
                ]
            )
            await self._overflow(refused)
        reached("mail_put")
        await self._notifications.advance(nid, start, start + len(recipients), recipients[-1])
        return True  # also where another has served this page meanwhile: it may have lost its claim to this one

    async def _withdraw(self, nid: NotificationId, progress: Progress) -> bool:
        """Have the next recipients' conversations drop what they have not shown."""
        rows, _ = await self._notifications.deliveries(nid, start=progress.withdrawn, limit=PAGE)
        now = self._clock()
        await asyncio.gather(  # together they share round trips
            *(
                self._mail.withdraw(
                    row.conversation,
                    delivery_id(nid, row.index),
                    # Whoever entered it may not have lived to put it.
                    deliver_to(progress.notification, row.index, now) if row.index >= progress.served else None,
                )
                for row in rows
                if not row.status.final
            )
        )
        await self._notifications.withdrawn(nid, progress.withdrawn + len(rows))
        return len(rows) == PAGE

    async def _overflow(self, refused: list[tuple[ConversationKey, Delivery]]) -> None:
        """What found its mailbox full has failed, and says so."""
        now = self._clock()
        for key, delivery in refused:
            ids = {"action": "mailbox_full", "conversation": key, "delivery": delivery.id}
            log.warning("a mailbox is full", extra=ids)
            failed = report(delivery, Status.FAILED, now, reason=Failure.OVERFLOW.value)
            await self._store.sequence(*recording(key, failed, ["the mailbox was full"]))

    async def _next(self, nid: NotificationId, progress: Progress) -> list[ConversationKey]:
        if progress.audience is None:
            return await self._notifications.listed(nid, progress.served, PAGE)
        return await self._conversations.page(progress.after, PAGE, progress.audience.channel_id)
