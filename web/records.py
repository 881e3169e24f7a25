"""What became of notifications, what is known of conversations, and how jobs stand."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

from aiohttp import web

from domain.clock import Clock
from domain.ids import ConversationKey, JobId, NotificationId
from domain.job import Job
from domain.phase import phase_of
from state.conversations import Conversations, Known
from state.jobs import JobStore
from state.notifications import NotificationRecord, Notifications
from web.access import SENDER
from web.problems import BadField, Problem, invalid_fields, not_found
from web.reading import bad_cursor, cursor_number, cursor_text, json_answer, parse_query
from web.records_model import (
    ConversationPage,
    ConversationsQuery,
    ConversationView,
    DeliveriesQuery,
    JobPage,
    JobsQuery,
    JobView,
    NotificationDetails,
    NotificationPage,
    NotificationsQuery,
    NotificationView,
    counts_of,
)

log = logging.getLogger("aside.web")

SCANNED_AT_MOST = 2000
"""Records that one request with a filter looks at; what it answers then may be short of its limit."""
SCAN = 200


class NotificationRecords:
    def __init__(self, notifications: Notifications, clock: Clock) -> None:
        self._notifications = notifications
        self._clock = clock

    async def page(self, request: web.Request) -> web.StreamResponse:
        query = parse_query(NotificationsQuery, request)
        found: list[NotificationRecord] = []
        rank: int | None = cursor_number(query.cursor)
        scanned = 0
        while rank is not None and len(found) < query.limit and scanned < SCANNED_AT_MOST:
            records, following = await self._notifications.recent(before=rank, limit=SCAN)
            scanned += SCAN
            for offset, record in enumerate(records):
                if self._matches(record, query):
                    if len(found) == query.limit:
                        following = rank + offset
                        break
                    found.append(record)
            rank = following
        now = self._clock()
        views = [NotificationView.of(record, now) for record in found]
        return json_answer(NotificationPage(notifications=views, next=cursor_text(rank)))

    async def one(self, request: web.Request) -> web.StreamResponse:
        query = parse_query(DeliveriesQuery, request)
        nid = NotificationId(request.match_info["id"])
        record = await self._notifications.get(nid)
        if record is None:
            raise not_found("No notification has this id, or it is no longer kept.")
        rows, following = await self._notifications.deliveries(
            nid, start=cursor_number(query.cursor), limit=query.limit, status=query.status
        )
        return json_answer(NotificationDetails.with_deliveries(record, self._clock(), rows, cursor_text(following)))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        nid = NotificationId(request.match_info["id"])
        if request.query:
            raise invalid_fields([BadField(name, "It is not served.", "parameter") for name in request.query])
        known = await self._notifications.cancel(nid)
        record = await self._notifications.get(nid) if known else None
        if record is None:
            raise not_found("No notification has this id, or it is no longer kept.")
        ids = {"action": "notification_cancelled", "notification": nid, "sender": request[SENDER]}
        log.info("a notification is cancelled", extra=ids)
        return json_answer(NotificationView.of(record, self._clock()), status=202)

    def _matches(self, record: NotificationRecord, query: NotificationsQuery) -> bool:
        notification = record.notification
        return (
            (query.source is None or notification.content.source == query.source)
            and (query.category is None or notification.category == query.category)
            and (query.status is None or query.status in counts_of(record, self._clock()))
        )


class ConversationRecords:
    def __init__(self, conversations: Conversations, clock: Clock, away_after: timedelta) -> None:
        self._conversations = conversations
        self._clock = clock
        self._away_after = away_after

    async def page(self, request: web.Request) -> web.StreamResponse:
        query = parse_query(ConversationsQuery, request)
        after = ConversationKey(query.cursor) if query.cursor else None
        keys = await self._conversations.page(after, query.limit + 1, query.channel_id)
        more = len(keys) > query.limit
        keys = keys[: query.limit]
        known = await self._conversations.get_many(keys)
        views = [self._view(each) for each in known if each is not None]
        return json_answer(ConversationPage(conversations=views, next=keys[-1] if more else None))

    async def one(self, request: web.Request) -> web.StreamResponse:
        known = await self._conversations.get(ConversationKey(request.match_info["key"]))
        if known is None:
            raise not_found("No conversation is known by this key; a key is channelId/conversationId, URL-encoded.")
        return json_answer(self._view(known))

    def _view(self, known: Known) -> ConversationView:
        phase = phase_of(
            waiting=known.waiting, last_spoke=known.last_spoke, away_after=self._away_after, now=self._clock()
        )
        return ConversationView.of(known, phase)


class JobRecords:
    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Newest first."""
        query = parse_query(JobsQuery, request)
        if query.conversation is not None:
            jobs, following = await self._of_conversation(ConversationKey(query.conversation), query)
        else:
            if query.cursor is not None and not re.fullmatch(r"(\+inf|\d{1,15})\.\d{1,6}", query.cursor):
                raise bad_cursor()
            jobs, following = await self._jobs.recent(query.limit, query.cursor)
        return json_answer(JobPage(jobs=[JobView.of(job) for job in jobs], next=following))

    async def _of_conversation(self, key: ConversationKey, query: JobsQuery) -> tuple[list[Job], str | None]:
        before = cursor_number(query.cursor) if query.cursor else None
        jobs = [job for job in reversed(await self._jobs.list(key)) if before is None or job.number < before]
        page = jobs[: query.limit]
        return page, (str(page[-1].number) if len(jobs) > len(page) else None)

    async def one(self, request: web.Request) -> web.StreamResponse:
        return json_answer(JobView.of(await self._find(request)))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """202 with the record: cancelled, or running until its worker has stopped it."""
        job = await self._find(request)
        status = None if job.status.final else await self._jobs.cancel(job.conversation, job.id)
        after = await self._find(request)
        if status is None or (status.final and status != "cancelled"):
            detail = f"The job has ended: it is {after.status.value}."
            raise Problem(409, "job-ended", "Job has ended", detail)
        ids = {"action": "job_cancel_asked", "job": job.id, "conversation": job.conversation, "sender": request[SENDER]}
        log.info("a job is to be cancelled", extra=ids)
        return json_answer(JobView.of(after), status=202)

    async def _find(self, request: web.Request) -> Job:
        job = await self._jobs.find(JobId(request.match_info["id"]))
        if job is None:
            raise not_found("No job has this id, or it is no longer kept.")
        return job
