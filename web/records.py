"""What became of notifications, what is known of conversations, and how jobs stand."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web

from domain.audience import Everyone
from domain.clock import Clock
from domain.ids import ConversationKey, JobId, NotificationId, channel_of
from domain.job import Job
from domain.notification import Json, Notification
from domain.phase import phase_of
from domain.place import Place, place_of
from state.conversations import Conversations, Known
from state.delivery_rows import DeliveryRow
from state.jobs import JobStore
from state.notifications import Look, NotificationRecord, Notifications
from web.access import SENDER
from web.problems import BadField, Problem, invalid_fields, not_found
from web.reading import bad_cursor, cursor_number, cursor_text, json_answer, parse_query
from web.records_model import (
    CancelledView,
    ConversationPage,
    ConversationsQuery,
    ConversationView,
    DeliveriesQuery,
    DeliveryView,
    JobPage,
    JobsQuery,
    JobView,
    NotificationDetails,
    NotificationPage,
    NotificationsQuery,
    NotificationView,
)

log = logging.getLogger("aside.web")

SCANNED_AT_MOST = 2000
"""Records that one request with a filter looks at; what it answers then may be short of its limit."""
SCAN = 200


class NotificationRecords:
    def __init__(self, notifications: Notifications, conversations: Conversations, clock: Clock) -> None:
        self._notifications = notifications
        self._conversations = conversations
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
        place = _Place.of(query.cursor)
        look = await self._notifications.look(nid, start=place.start, limit=query.limit, status=query.status)
        if look is None:
            raise not_found("No notification has this id, or it is no longer kept.")
        now = self._clock()
        rows, following = await self._with_unserved(look, place, query, now)
        views = await self._views(look.record.notification, rows)
        return json_answer(NotificationDetails.with_deliveries(look.record, now, views, following))

    async def _with_unserved(
        self, look: Look, place: _Place, query: DeliveriesQuery, now: datetime
    ) -> tuple[list[DeliveryRow], str | None]:
        """A page of deliveries, those of recipients who are not served yet after the others; and the next cursor."""
        record, start = look.record, look.following
        if start < look.entered:
            return look.rows, str(start)
        left = record.recipients - start
        if left <= 0 or query.status not in (None, record.status_of_unserved(now)):
            return look.rows, None
        room = min(query.limit - len(look.rows), left)
        if not room:
            return look.rows, str(start)
        if record.audience is None:
            keys = look.unserved[:room]
        else:
            after = place.after if start > look.entered else look.last
            keys = await self._everybody(after, room, record.audience)
        rows = [record.unserved_row(start + offset, key, now) for offset, key in enumerate(keys)]
        end = start + len(rows)
        following = None if not rows or end >= record.recipients else f"{end}.{keys[-1]}"
        return [*look.rows, *rows], following

    async def _everybody(
        self, after: ConversationKey | None, number: int, audience: Everyone
    ) -> list[ConversationKey]:
        """So many of those whom a broadcast will be spread to."""
        found: list[ConversationKey] = []
        while len(found) < number:
            more = await self._conversations.recipients(after, number - len(found), audience.channel_id)
            if not more:
                break
            found += more
            after = more[-1]
        return found

    async def _views(self, notification: Notification, rows: Sequence[DeliveryRow]) -> list[DeliveryView]:
        known = await self._conversations.candidates([row.conversation for row in rows])
        references = {each.key: each.reference for each in known}
        return [
            DeliveryView.of(row, _user(notification, row.conversation, references.get(row.conversation)))
            for row in rows
        ]

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        nid = NotificationId(request.match_info["id"])
        if request.query:
            raise invalid_fields([BadField(name, "It is not served.", "parameter") for name in request.query])
        spared = await self._notifications.spreading.cancel(nid)
        record = await self._notifications.get(nid) if spared is not None else None
        if record is None:
            raise not_found("No notification has this id, or it is no longer kept.")
        ids = {"action": "notification_cancelled", "notification": nid, "sender": request[SENDER], "spared": spared}
        log.info("a notification is cancelled", extra=ids)
        return json_answer(CancelledView.after(record, self._clock(), spared or 0), status=202)

    def _matches(self, record: NotificationRecord, query: NotificationsQuery) -> bool:
        notification = record.notification
        return (
            (query.source is None or notification.content.source == query.source)
            and (query.category is None or notification.category == query.category)
            and (query.status is None or query.status in record.counts_at(self._clock()))
        )


@dataclass(frozen=True)
class _Place:
    """Where a page of deliveries begins: the recipient's number, and the conversation of the one before."""

    start: int
    after: ConversationKey | None

    @classmethod
    def of(cls, cursor: str | None) -> _Place:
        number, _, after = (cursor or "0").partition(".")
        return cls(cursor_number(number), ConversationKey(after) if after else None)


def _user(notification: Notification, key: ConversationKey, reference: Json | None) -> str | None:
    """Id of the user whom a delivery is for, if it is one person's."""
    account = notification.meant.get(channel_of(key))
    if account is None and reference and place_of(reference["conversation"]) is Place.PERSONAL:
        account = reference.get("user")
    return (account or {}).get("id")


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
