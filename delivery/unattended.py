"""What lies there and is nobody's work: mail, what waits in an outbox, jobs. The store has lost the wake-up."""

from __future__ import annotations

from domain.ids import ConversationKey
from state import keys
from state.conversations import Conversations
from state.jobs import JobStore, work_member
from state.scripts import Command
from state.store import Store
from state.work import Work

JOBS = 200
"""Of the newest jobs so many are looked at."""
CONVERSATIONS = 1000
"""Conversations that are looked at in one go; those behind them are the next time."""


class Unattended:
    """``conversations`` and ``job_work`` are the works of these. To wake what needs nothing does no harm."""

    def __init__(
        self, *, store: Store, known: Conversations, conversations: Work, jobs: JobStore, job_work: Work
    ) -> None:
        self._store = store
        self._known = known
        self._conversations = conversations
        self._jobs = jobs
        self._job_work = job_work
        self._after: ConversationKey | None = None

    async def wake(self) -> None:
        """Have it seen to; some of it, and what is behind it the next time."""
        await self._wake_jobs()
        await self._wake_conversations()

    async def _wake_jobs(self) -> None:
        found, _ = await self._jobs.recent(JOBS)
        for job in found:
            member = work_member(job.conversation, job.id, job.owner)
            if not job.status.final and not await self._job_work.knows(member):
                await self._job_work.wake(member)

    async def _wake_conversations(self) -> None:
        page = await self._known.page(self._after, CONVERSATIONS)
        self._after = page[-1] if len(page) == CONVERSATIONS else None
        sizes = await self._store.together(
            *(Command(command) for key in page for command in (("HLEN", keys.mailbox(key)), ("LLEN", keys.outbox(key))))
        )
        for key, mailbox, outbox in zip(page, sizes[::2], sizes[1::2], strict=True):
            if (mailbox or outbox) and not await self._conversations.knows(key):
                await self._conversations.wake(key)
