"""Replaying a dead letter: the delivery goes back into its mailbox as if it had just been sent.

The letter, the record and the mailbox may be on different servers: each step can be repeated, and what was done is
known by the letter. So a replay that is asked for twice, or taken up where another died, shows it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from domain.clock import Clock
from domain.delivery import Delivery, deliver_to
from domain.errors import NothingToReplay
from domain.ids import DeliveryId
from domain.job import Job
from domain.notification import Content
from state.dead_letters import DeadLetter, DeadLetters
from state.delivery_rows import Reopened
from state.jobs import JobStore
from state.mail import Mail
from state.notifications import Notifications

LATE = timedelta(days=1)
"""How long a replayed delivery that had expired meanwhile is worth showing."""

_REFUSED = {
    Reopened.ENDED: "What it is about was replayed already, or ended otherwise: it was shown, withdrawn, or is gone.",
    Reopened.ONCE: "It may have been shown, and its sender wants it shown at most once.",
    Reopened.WITHDRAWN: "Its notification was cancelled after it had failed.",
}


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """``withdrawn``: it was cancelled after it had failed."""

    letter: DeadLetter
    withdrawn: bool = False


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

    async def __call__(self, letter_id: DeliveryId, *, unless_withdrawn: bool = False) -> Replayed | None:
        """Replay a dead letter, once however often it is asked for; None if there is none.

        ``unless_withdrawn``: leave what was cancelled since as it is. Raises :class:`NothingToReplay` and
        :class:`ConversationFull`.
        """
        letter = await self._dead_letters.get(letter_id)
        if letter is None:
            return None
        delivery = await self._delivery(letter)
        if delivery is None:
            raise NothingToReplay("The notification or job behind this dead letter is no longer kept.")
        withdrawn = await self._reopen(letter, delivery, unless_withdrawn)
        now = self._clock()
        if delivery.expires_at <= now:
            delivery = replace(delivery, expires_at=now + LATE)
        put = await self._mail.put_again(letter.conversation, replace(delivery, replayed=True), letter.replayed_for)
        await self._dead_letters.remove(letter)
        if not put:
            raise NothingToReplay(_REFUSED[Reopened.ENDED])
        return Replayed(letter=letter, withdrawn=withdrawn)

    async def said(self, letters: Sequence[DeadLetter]) -> list[Content | None]:
        """What each letter's delivery says; None where it is no longer kept."""
        return list(await asyncio.gather(*(self._said(letter) for letter in letters)))

    async def _said(self, letter: DeadLetter) -> Content | None:
        if letter.said is not None:
            return Content(activity=letter.said)
        if letter.notification is not None:
            return await self._notifications.content(letter.notification)
        delivery = await self._delivery(letter)
        return delivery.content if delivery is not None else None

    async def _reopen(self, letter: DeadLetter, delivery: Delivery, unless_withdrawn: bool) -> bool:
        """Have the record take it up again. True if it was withdrawn. Raises :class:`NothingToReplay`."""
        if letter.notification is None:
            return False  # a job's record lies beside the mailbox
        reopened, withdrawn = await self._notifications.deliveries.reopen(
            *(letter.notification, letter.index, letter.at, delivery.guarantee), unless_withdrawn=unless_withdrawn
        )
        if reopened is Reopened.ENDED:
            await self._dead_letters.remove(letter)
        if reopened in _REFUSED:
            raise NothingToReplay(_REFUSED[reopened])
        return withdrawn

    async def _delivery(self, letter: DeadLetter) -> Delivery | None:
        if letter.notification is not None:
            record = await self._notifications.get(letter.notification)
            return None if record is None else deliver_to(record.notification, letter.index, self._clock())
        if letter.job is not None:
            job = await self._jobs.get(letter.conversation, letter.job)
            answer = None if job is None else self._answer_to(job)
            return answer if answer is not None and answer.id == letter.id else None
        return None
