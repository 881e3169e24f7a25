"""Fan-out: one notification becomes a delivery in each recipient's mailbox, page by page.

A few recipients have it there before the sender is answered: what is accepted one after the other for a conversation
lies in its mailbox in that order, whichever process accepts it.

Each page is entered in the notification's record before it is put into mailboxes, and the progress is noted after;
a fan-out that is taken over repeats at most one page, and a mailbox takes nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from domain.audience import Audience, Listed
from domain.clock import Clock
from domain.delivery import Delivery, Failure, Status, deliver_to, report
from domain.errors import ConversationFull, StoreUnavailable
from domain.ids import ConversationKey, DeliveryId, NotificationId, delivery_id
from domain.notification import Notification
from domain.observing import Observer
from state.conversations import Conversations
from state.delivery_rows import PAGE
from state.fault_points import reached
from state.mail import Mail
from state.notifications import Notifications
from state.reports import recording
from state.scripts import Command
from state.spreading import Progress
from state.store import Store
from state.work import Claim, Work

log = logging.getLogger("aside.fanout")

FEW = 10
"""Recipients that are served before the sender is answered; more are served afterwards, page by page."""
INSIST_SECONDS = 4.0
"""How long an acceptance that the store interrupts is tried again; its sender waits meanwhile."""
INSIST_PAUSE = 0.1
SLICE = 100
"""Recipients whose mail is made in one go: nobody else's turn goes on meanwhile."""


class Fanout:
    """``work`` is that of spreading notifications; ``give_way`` is awaited between slices of it."""

    def __init__(
        self,
        store: Store,
        work: Work,
        notifications: Notifications,
        conversations: Conversations,
        mail: Mail,
        clock: Clock,
        give_way: Callable[[], Awaitable[None]],
        observer: Observer,
    ) -> None:
        self._observer = observer
        self._give_way = give_way
        self._store = store
        self._work = work
        self._notifications = notifications
        self._conversations = conversations
        self._mail = mail
        self._clock = clock
        self._ending: set[asyncio.Task[None]] = set()

    async def accept(self, notification: Notification, audience: Audience, recipients: int) -> None:
        """Record a notification, and put it into its recipients' mailboxes if they are few and its time has come.

        The others get theirs from :meth:`go_on`. Raises :class:`StoreUnavailable`: it may be recorded then, and is
        spread in any case if it is; but what is accepted next might overtake it, so it does not count as accepted
        until it is accepted again.
        """
        began = time.monotonic()
        later = notification.send_at is not None and notification.send_at > self._clock()
        if later or not isinstance(audience, Listed) or len(audience.conversations) > min(FEW, PAGE):
            await self._notifications.accept(notification, audience, recipients)
            return
        claim, new = await self._notifications.accept_in_hand(notification, audience, recipients)
        while True:
            try:
                if new:
                    reached("recipients_entered")
                    await self._spread(notification, 0, audience.conversations)
                else:
                    await self.page(notification.id)  # it may have been cancelled meanwhile, or be served
                break
            except StoreUnavailable:
                if time.monotonic() - began > INSIST_SECONDS:
                    ids = {"action": "work_interrupted", "loop": "accept", "member": notification.id}
                    log.warning("what was refused is recorded, and spread when the store is back", extra=ids)
                    raise
            new = False
            await asyncio.sleep(INSIST_PAUSE)
        nid, keys = notification.id, audience.conversations
        self._end(claim, [self._notifications.spreading.advancing(nid, 0, len(keys), keys[-1])] if new else [])

    def _end(self, claim: Claim, noting: Sequence[Command]) -> None:
        """Note that all have it, while the sender is answered: who takes the claim over finds nothing left to do."""

        async def end() -> None:
            with suppress(StoreUnavailable):
                await self._store.sequence(*noting, self._work.closing(claim))

        ending = asyncio.create_task(end(), name=f"fanout {claim.member}")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def settle(self) -> None:
        """Answers once what was accepted has been noted."""
        if self._ending:
            await asyncio.wait(self._ending)

    async def go_on(self, claim: Claim) -> None:
        """Serve the next page of recipients of the notification that was claimed."""
        more = await self.page(NotificationId(claim.member))
        await self._work.close(claim, again_in=0 if more else None)

    async def page(self, nid: NotificationId) -> bool:
        """Serve the next page of recipients. False once there is none left (or the notification is gone)."""
        progress = await self._notifications.spreading.progress(nid)
        if progress is None:
            return False
        if progress.cancelled:
            return await self._withdraw(nid, progress)
        wanted = await self._next(nid, progress)
        if not wanted:
            await self._notifications.spreading.spread(nid, progress.served)
            return False
        await self._serve(progress.notification, progress.served, wanted)
        return True  # also where another has served this page meanwhile: it may have lost its claim to this one

    async def _serve(self, notification: Notification, start: int, wanted: Sequence[ConversationKey]) -> None:
        """Put a notification into the mailboxes of a page of recipients, of which the first is number ``start``."""
        recipients = await self._notifications.spreading.enter(notification.id, start, wanted, Status.PENDING)
        reached("recipients_entered")
        await self._spread(notification, start, recipients)
        await self._notifications.spreading.advance(notification.id, start, start + len(recipients), recipients[-1])

    async def _spread(self, notification: Notification, start: int, recipients: Sequence[ConversationKey]) -> None:
        """Put a notification into the mailboxes of recipients that were entered, and wake their conversations."""
        now = self._clock()
        try:
            async with asyncio.TaskGroup() as putting:  # one after the other would spread no faster than turns deliver
                for first in range(0, len(recipients), SLICE):
                    if first:
                        await self._give_way()
                    mail = [
                        (key, deliver_to(notification, start + first + offset, now))
                        for offset, key in enumerate(recipients[first : first + SLICE])
                    ]
                    putting.create_task(self._put(mail))
                    await asyncio.sleep(0)
        except* StoreUnavailable as unavailable:
            raise StoreUnavailable(str(unavailable.exceptions[0])) from unavailable
        reached("mail_put")

    async def _put(self, mail: Sequence[tuple[ConversationKey, Delivery]]) -> None:
        await self._overflow(await self._mail.put(mail))

    async def _withdraw(self, nid: NotificationId, progress: Progress) -> bool:
        """Have the next recipients' conversations drop what they have not shown."""
        found, count = await self._notifications.spreading.to_withdraw(nid, progress.withdrawn)
        now = self._clock()
        await asyncio.gather(  # together they share round trips
            *(
                self._drop(
                    key,
                    delivery_id(nid, index),
                    # Whoever entered it may not have lived to put it.
                    deliver_to(progress.notification, index, now) if index >= progress.served else None,
                )
                for index, key in found
            )
        )
        await self._notifications.spreading.withdraw(nid, progress, count)
        return count == PAGE

    async def _drop(self, key: ConversationKey, delivery: DeliveryId, unsure: Delivery | None) -> None:
        with suppress(ConversationFull):  # it is not sent all the same: the outbox asks before it sends
            await self._mail.withdraw(key, delivery, unsure)

    async def _overflow(self, refused: list[tuple[ConversationKey, Delivery]]) -> None:
        """What found its mailbox full has failed, and says so."""
        now = self._clock()
        for key, delivery in refused:
            ids = {"action": "mailbox_full", "conversation": key, "delivery": delivery.id}
            log.warning("a mailbox is full", extra=ids)
            failed = report(delivery, Status.FAILED, now, reason=Failure.OVERFLOW.value)
            await self._store.sequence(*recording(key, failed, ["the mailbox was full"]))
            self._observer.recorded(failed)

    async def _next(self, nid: NotificationId, progress: Progress) -> list[ConversationKey]:
        if progress.audience is None:
            return await self._notifications.spreading.listed(nid, progress.served, PAGE)
        return await self._conversations.recipients(progress.after, PAGE, progress.audience.channel_id)
