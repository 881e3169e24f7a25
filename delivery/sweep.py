"""The sweep: what is not over and lies nowhere, since the store has lost a part of what it had, is found.

The record of a notification, the mailboxes, and the work in hand live on different servers of a cluster. When a
replica takes a server's place, what that had not passed on is gone, and what the others say of it still stands: a
delivery would stay ``pending`` for ever. A pass looks at the newest notifications, and at some of all others in turn;
one process at a time does it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from domain.clock import Clock
from domain.delivery import Failure, Status, deliver_to, report
from domain.errors import ConversationFull, StoreUnavailable
from domain.ids import NotificationId, delivery_id
from domain.notification import Guarantee, Notification
from domain.observing import Observer
from state.dead_letters import UNKNOWN, DeadLetters
from state.delivery_rows import PAGE, DeliveryRow
from state.mail import Mail
from state.notifications import Glimpse, Notifications
from state.reports import recording
from state.spreading import Progress
from state.store import Store
from state.whereabouts import Lookout, Whereabouts
from state.work import Work

log = logging.getLogger("aside.sweep")

EVERY = 20.0
"""Seconds between passes."""
GRACE = timedelta(seconds=30)
"""For which nothing is looked for: it may be on its way."""
FANOUT_AGE = timedelta(days=1)
"""For which a fan-out that is not finished is looked after; who was counted may be gone by the time of its page."""
NEWEST = 500
"""Notifications that every pass looks at."""
OTHERS = 2000
"""Others, of which a pass looks at so many and the next at those behind them."""
ROWS = 2000
"""Deliveries that a pass looks at at most, for each of the two."""
TOGETHER = 50
"""Deliveries that are looked for at once."""
LOST = "the store had lost it"


class Sweep:
    """``conversations`` and ``fanout`` are the works of these; ``give_way`` is awaited between steps, and
    ``besides`` after each pass."""

    def __init__(
        self,
        *,
        store: Store,
        notifications: Notifications,
        dead_letters: DeadLetters,
        mail: Mail,
        conversations: Work,
        fanout: Work,
        clock: Clock,
        give_way: Callable[[], Awaitable[None]],
        observer: Observer,
        besides: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._besides = besides
        self._observer = observer
        self._store = store
        self._notifications = notifications
        self._dead_letters = dead_letters
        self._mail = mail
        self._conversations = conversations
        self._fanout = fanout
        self._clock = clock
        self._give_way = give_way
        self._lookout = Lookout(store)

    async def run(self) -> None:
        """A pass every so often, by one of all processes; until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                cursor = await self._lookout.turn(EVERY)
                if cursor is not None:
                    await self.once(cursor)
                    if self._besides is not None:
                        await self._besides()
            except StoreUnavailable:
                continue
            except Exception:
                log.exception("the sweep goes on after an error", extra={"action": "loop_error", "loop": "sweep"})

    async def once(self, cursor: str = "") -> None:
        """One pass; ``cursor`` is how far the last one has come with those that are not the newest."""
        rows = ROWS
        for glimpse in await self._notifications.glimpses(0, NEWEST):
            rows -= (await self._look_after(glimpse, 0, min(rows, PAGE)))[0]
        await self._lookout.come_to(await self._go_on(cursor))

    async def _go_on(self, cursor: str) -> str:
        """Look at others from where the last pass left off; answers where the next one is to go on, '' at the end."""
        name, _, number = cursor.partition(" ")
        rank = await self._notifications.rank(NotificationId(name)) if name else None
        start, first = (NEWEST, 0) if rank is None else (rank, int(number))
        glimpses = await self._notifications.glimpses(start, OTHERS)
        rows = ROWS
        for glimpse in glimpses:
            seen, left = await self._look_after(glimpse, first, rows)
            rows, first = rows - seen, 0
            if left is not None or rows <= 0:
                return f"{glimpse.id} {left or 0}"
        return f"{glimpses[-1].id} 0" if len(glimpses) == OTHERS else ""

    async def _look_after(self, glimpse: Glimpse, first: int, limit: int) -> tuple[int, int | None]:
        """As :meth:`_see_to`, but whatever is wrong with one notification: the others are looked after."""
        try:
            return await self._see_to(glimpse, first, limit)
        except StoreUnavailable:
            raise
        except Exception:
            ids = {"action": "notification_passed_over", "notification": glimpse.id}
            log.exception("the sweep passes a notification over", extra=ids)
            return 0, None

    async def _see_to(self, glimpse: Glimpse, first: int, limit: int) -> tuple[int, int | None]:
        """See to what is not over of a notification, and look for its open deliveries from number ``first`` on. Answers
        how many deliveries were looked at, and the number of the next, None at the end."""
        if limit <= 0 or not (glimpse.unserved or glimpse.waiting):
            return 0, None
        await self._give_way()
        progress = await self._notifications.spreading.progress(glimpse.id)
        if progress is None:
            return 0, None
        if glimpse.unserved or progress.cancelled:
            await self._see_to_fanout(progress)
        if not glimpse.waiting:
            return 0, None
        rows, left = await self._notifications.deliveries.page(glimpse.id, start=first, limit=limit)
        latest = self._clock() - GRACE
        lost = [row for row in rows if not row.status.final and row.at <= latest and row.index < progress.served]
        for start in range(0, len(lost), TOGETHER):
            await self._give_way()
            await asyncio.gather(*(self._look_for(progress, row) for row in lost[start : start + TOGETHER]))
        return len(rows), left

    async def _see_to_fanout(self, progress: Progress) -> None:
        """A fan-out that is not finished is somebody's work, and so is one that is taken back; it is woken if the store
        has lost that."""
        notification, now = progress.notification, self._clock()
        due = notification.send_at or notification.created_at
        if now - notification.created_at < GRACE or (now - due > FANOUT_AGE and not progress.cancelled):
            return
        if not await self._fanout.knows(notification.id):
            await self._fanout.wake(notification.id, delay=max(0.0, (due - now).total_seconds()))

    async def _look_for(self, progress: Progress, row: DeliveryRow) -> None:
        key = row.conversation
        delivery = deliver_to(progress.notification, row.index, self._clock())
        where = await self._lookout.find(key, delivery.id)
        if where.lies:
            if not await self._conversations.knows(key):
                await self._conversations.wake(key)
            if progress.cancels > row.over and row.index < progress.withdrawn:
                with suppress(ConversationFull):  # the next pass tries again
                    await self._mail.withdraw(key, delivery.id)
            return
        ending = await self._ending(progress, row, where)
        if ending is None:
            await self._put_again(progress.notification, row)
            return
        status, reason = ending
        ended = report(delivery, status, self._clock(), reason=reason)
        await self._store.sequence(*recording(key, ended, [LOST]))
        self._observer.recorded(ended)
        ids = {"action": "delivery_lost", "conversation": key, "delivery": delivery.id}
        log.warning("a delivery that lay nowhere has ended: %s", status.value, extra=ids)

    async def _ending(
        self, progress: Progress, row: DeliveryRow, where: Whereabouts
    ) -> tuple[Status, str | None] | None:
        """How a delivery ends that lies nowhere, and why; None if it is to be put again."""
        notification = progress.notification
        letter = await self._dead_letters.get(delivery_id(notification.id, row.index))
        if letter is not None:
            return (Status.UNKNOWN, None) if letter.reason == UNKNOWN else (Status.FAILED, letter.reason)
        if notification.guarantee is Guarantee.AT_MOST_ONCE:
            return Status.UNKNOWN, None
        if notification.expires_at <= self._clock():
            return Status.EXPIRED, None
        if where.said_at is not None and where.said_at >= row.at:
            return Status.DELIVERED, None
        if progress.cancels > row.over:
            return Status.CANCELLED, None
        if not where.known:
            return Status.FAILED, Failure.GONE.value
        return None

    async def _put_again(self, notification: Notification, row: DeliveryRow) -> None:
        if not await self._notifications.deliveries.take_up(notification.id, row):
            return  # it was on its way
        delivery = deliver_to(notification, row.index, self._clock())
        ids = {"action": "delivery_found", "conversation": row.conversation, "delivery": delivery.id}
        log.warning("a delivery that lay nowhere is put again", extra=ids)
        with suppress(ConversationFull):  # the next pass tries again
            await self._mail.put_again(row.conversation, delivery)
