"""Replaying a dead letter: the delivery goes back into its mailbox as if it had just been sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from domain.clock import Clock
from domain.delivery import Delivery, deliver_to
from domain.errors import NothingToReplay
from domain.ids import DeliveryId
from domain.job import Job
from state.dead_letters import DeadLetter, DeadLetters
from state.jobs import JobStore
from state.mail import Mail
from state.notifications import Notifications

LATE = timedelta(days=1)
"""How long a replayed delivery that had expired meanwhile is worth showing."""


class Replay:
    """``answer_to`` makes the delivery of a job's answer anew."""

    def __init__(
        self,
        *,
        dead_letters: DeadLetters,
        notifications: Notifications,
        jobs: JobStore,
        mail: Mail,
        answer_to: Callable[[Job], Delivery],
        clock: Clock,
    ) -> None:
        self._dead_letters = dead_letters
        self._notifications = notifications
        self._jobs = jobs
        self._mail = mail
        self._answer_to = answer_to
        self._clock = clock

    async def __call__(self, letter_id: DeliveryId) -> DeadLetter | None:
        """Replay a dead letter and answer it; None if there is none. Raises :class:`NothingToReplay`."""
        letter = await self._dead_letters.get(letter_id)
        if letter is None:
            return None
        delivery = await self._delivery(letter)
        if delivery is None:
            raise NothingToReplay("The notification or job behind this dead letter is no longer kept.")
        now = self._clock()
        if delivery.expires_at <= now:
            delivery = replace(delivery, expires_at=now + LATE)
        await self._mail.put_again(letter.conversation, delivery)
        await self._dead_letters.remove(letter_id)
        return letter

    async def _delivery(self, letter: DeadLetter) -> Delivery | None:
        if letter.notification is not None:
            record = await self._notifications.get(letter.notification)
            if record is None:
                return None
            await self._notifications.reopen(letter.notification, letter.index)
            return deliver_to(record.notification, letter.index, self._clock())
        if letter.job is not None:
            job = await self._jobs.get(letter.conversation, letter.job)
            return self._answer_to(job) if job is not None else None
        return None


