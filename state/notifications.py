"""Notifications, as their senders see them: what was to be said, to whom, and how it stands."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import orjson

from domain.audience import Audience, Everyone, Listed
from domain.clock import Clock, from_ms, to_ms
from domain.delivery import Status
from domain.ids import ConversationKey, NotificationId
from domain.notification import Content, Course, Notification
from state import keys
from state.audience_codec import described, everyone
from state.delivery_rows import ENTERING, DeliveryRow, DeliveryRows, parsed_of
from state.idempotency import IdempotencyKeys
from state.readable import readable
from state.scripts import Command, Script, scripted
from state.spreading import Spreading
from state.store import Store
from state.work import Claim, Work

RETENTION = timedelta(days=30)
"""How long a notification waits at most, and so how long it is kept."""
RECORDED_WITHIN = timedelta(minutes=1)
"""A notification may be listed for a moment before it is recorded, for that is elsewhere on a cluster."""
LOOKED_AT_MOST = 5000
"""Deliveries that are looked at for one page of those with a status."""
CACHED_CONTENTS = 1024

# KEYS notification recipients deliveries | ttl, body, audience, total, status in which deliveries are entered or '', at
# ms, recipients... -> 1 new | 0 known
_ACCEPT = Script(
    ENTERING
    + """
if redis.call('HSETNX', KEYS[1], 'body', ARGV[2]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'audience', ARGV[3], 'total', ARGV[4], 'served', 0, 'after', '')
redis.call('EXPIRE', KEYS[1], ARGV[1])
if #ARGV == 6 then return 1 end
for i = 7, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
redis.call('EXPIRE', KEYS[2], ARGV[1])
if ARGV[5] == '' then return 1 end
for i = 7, #ARGV do
  redis.call('HSET', KEYS[3], i - 7, entered(ARGV[5], ARGV[6], ARGV[i]))
end
redis.call('EXPIRE', KEYS[3], ARGV[1])
count(ARGV[5], #ARGV - 6)
return 1
"""
)

# KEYS notifications | ms, ids... -> how many of these are older, and not listed any more
_FORGET = Script(
    """
local forgotten = 0
for i = 2, #ARGV do
  local at = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if at and tonumber(at) < tonumber(ARGV[1]) then forgotten = forgotten + redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return forgotten
"""
)

# KEYS notification deliveries recipients results | start, limit, rows to look at, beginning of those wanted -> {} if
# unknown, or {record, {index, row, result, ...}, index after the last that was looked at, rows, recipients after them,
# the last row}
_LOOK = Script(
    """
if redis.call('HEXISTS', KEYS[1], 'body') == 0 then return {} end
local size, limit, wanted = redis.call('HLEN', KEYS[2]), tonumber(ARGV[2]), ARGV[4]
local at, stop, found, number = tonumber(ARGV[1]), math.min(size, ARGV[1] + ARGV[3]), {}, 0
while at < stop and number < limit do
  local indexes = {}
  for index = at, math.min(stop, at + 500) - 1 do indexes[#indexes + 1] = index end
  for _, row in ipairs(redis.call('HMGET', KEYS[2], unpack(indexes))) do
    if number == limit then break end
    if row and string.sub(row, 1, #wanted) == wanted then
      found[#found + 1] = at; found[#found + 1] = row; number = number + 1
      found[#found + 1] = redis.call('HGET', KEYS[4], at) or ''
    end
    at = at + 1
  end
end
local waiting, last = {}, ''
if at >= size and number < limit then waiting = redis.call('LRANGE', KEYS[3], at, at + limit - number - 1) end
if size > 0 then last = redis.call('HGET', KEYS[2], size - 1) or '' end
return {redis.call('HGETALL', KEYS[1]), found, at, size, waiting, last}
"""
)


@dataclass(frozen=True, kw_only=True)
class NotificationRecord:
    notification: Notification
    audience: Everyone | None
    """None if it was listed."""
    recipients: int
    """As many as there were when it was accepted; when all have been served, as many as were served."""
    served: int
    cancelled: bool
    cancelled_at: datetime | None
    """When somebody was first spared by it."""
    counts: dict[Status, int]
    """Of the deliveries that were entered."""

    @property
    def entered(self) -> int:
        return sum(self.counts.values())

    @property
    def unserved(self) -> int:
        """Recipients whose delivery is not entered yet."""
        return max(0, self.recipients - self.entered)

    def status_of_unserved(self, now: datetime) -> Status:
        if self.cancelled:
            return Status.CANCELLED
        send_at = self.notification.send_at
        return Status.SCHEDULED if send_at is not None and send_at > now else Status.PENDING

    def counts_at(self, now: datetime) -> dict[Status, int]:
        """Of all recipients, served or not."""
        if not self.unserved:
            return self.counts
        status = self.status_of_unserved(now)
        return self.counts | {status: self.counts.get(status, 0) + self.unserved}

    def unserved_row(self, index: int, conversation: ConversationKey, now: datetime) -> DeliveryRow:
        """The delivery of a recipient who is not served yet."""
        status, at = self.status_of_unserved(now), self.cancelled_at or self.notification.created_at
        return DeliveryRow(index=index, conversation=conversation, status=status, at=at)

    def course(self, now: datetime) -> Course:
        counts = self.counts_at(now)
        if self.cancelled and (self.cancelled_at is not None or Status.CANCELLED in counts):
            return Course.CANCELLED
        if not any(not status.final for status in counts):
            return Course.FINISHED
        return Course.SCHEDULED if set(counts) == {Status.SCHEDULED} else Course.RUNNING


@dataclass(frozen=True, kw_only=True)
class Look:
    """A notification and some of its deliveries, as they were at one moment."""

    record: NotificationRecord
    rows: list[DeliveryRow]
    """Those that are entered."""
    following: int
    """The recipient after the last that was looked at."""
    entered: int
    unserved: list[ConversationKey]
    """Recipients from ``following`` on of an audience that was listed, if all that are entered were looked at."""
    last: ConversationKey | None
    """The last whose delivery is entered."""


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """Whether a notification is over: recipients may be ``unserved``, and deliveries ``waiting``."""

    id: NotificationId
    unserved: bool
    waiting: bool


class Notifications:
    """The records; and with them their ``deliveries``, how they are ``spreading`` (``fanout`` is that work), and the
    idempotency ``requests`` that they came with."""

    def __init__(self, store: Store, fanout: Work, clock: Clock) -> None:
        self.deliveries = DeliveryRows(store, clock)
        self.spreading = Spreading(store, fanout, self.deliveries, clock)
        self.requests = IdempotencyKeys(store, clock)
        self._store = store
        self._fanout = fanout
        self._clock = clock
        self._contents: OrderedDict[NotificationId, Content] = OrderedDict()

    async def accept(self, notification: Notification, audience: Audience, recipients: int) -> None:
        """Record a notification and have it fanned out when its time has come. Repeating it changes nothing."""
        await self._store.sequence(*self._recording(notification, audience, recipients))
        delay = (notification.send_at - self._clock()).total_seconds() if notification.send_at else 0.0
        await self._fanout.wake(notification.id, delay=max(0.0, delay))

    async def accept_in_hand(
        self, notification: Notification, audience: Audience, recipients: int
    ) -> tuple[Claim, bool]:
        """Record a notification that the caller fans out now, if it was new: then its deliveries are entered, too.
        Should the caller not live to, the fan-out goes on elsewhere."""
        recorded = self._recording(notification, audience, recipients, entered=Status.PENDING)
        new, *_, ticket = await self._store.together(*recorded, self._fanout.opening(notification.id))
        return Claim(member=notification.id, ticket=ticket), bool(new)

    def _recording(
        self, notification: Notification, audience: Audience, recipients: int, entered: Status | None = None
    ) -> list[Command]:
        """Commands that record a notification, in any order; the answer of the first is whether it was new."""
        nid = notification.id
        listed = audience.conversations if isinstance(audience, Listed) else ()
        left = (notification.expires_at - self._clock()).total_seconds()
        ttl = max(keys.NOTIFICATION_TTL, math.ceil(left) + keys.DAY)
        body = orjson.dumps(notification.to_json())
        now = to_ms(self._clock())
        status = entered.value if entered else ""
        return [
            scripted(
                _ACCEPT,
                [keys.notification(nid), keys.recipients(nid), keys.deliveries(nid)],
                [
                    ttl,
                    body,
                    orjson.dumps(described(audience)),
                    recipients,
                    status,
                    now,
                    *listed,
                ],
            ),
            Command(("ZADD", keys.notifications(), to_ms(notification.created_at), nid)),
            Command(("ZREMRANGEBYSCORE", keys.notifications(), "-inf", now - ttl * 1000)),
        ]

    async def glimpses(self, start: int, limit: int) -> list[Glimpse]:
        """Of the notifications from rank ``start`` on, newest first, whether they are over."""
        members = await self._store.run("ZREVRANGE", keys.notifications(), start, start + limit - 1)
        ids = [NotificationId(member.decode()) for member in members]
        rows = await self._store.together(*(Command(("HMGET", keys.notification(nid), *_GLIMPSED)) for nid in ids))
        glimpses = [
            readable("notification", nid, partial(_glimpse, nid, row)) for nid, row in zip(ids, rows, strict=True)
        ]
        return [glimpse for glimpse in glimpses if glimpse is not None]

    async def rank(self, nid: NotificationId) -> int | None:
        """How many notifications are newer."""
        rank = await self._store.run("ZREVRANK", keys.notifications(), nid)
        return None if rank is None else int(rank)

    async def content(self, nid: NotificationId) -> Content | None:
        """What a notification says; None once its record is gone, or if it cannot be read."""
        known = self._contents.get(nid)
        if known is not None:
            self._contents.move_to_end(nid)
            return known
        body = await self._store.run("HGET", keys.notification(nid), "body")
        if body is None:
            return None
        content = readable("notification", nid, lambda: Notification.from_json(orjson.loads(body)).content)
        if content is None:
            return None
        self._contents[nid] = content
        if len(self._contents) > CACHED_CONTENTS:
            self._contents.popitem(last=False)
        return content

    async def get(self, nid: NotificationId) -> NotificationRecord | None:
        """What is known of a notification; None if it is unknown, or cannot be read."""
        values = await self._store.run("HGETALL", keys.notification(nid))
        return readable("notification", nid, lambda: _record(values))

    async def look(
        self, nid: NotificationId, *, start: int = 0, limit: int = 100, status: Status | None = None
    ) -> Look | None:
        """The notification, and its deliveries from recipient number ``start``; those with ``status``, if it is given,
        of a bounded number. None if it is not known."""
        names = [keys.notification(nid), keys.deliveries(nid), keys.recipients(nid), keys.results(nid)]
        wanted = "" if status is None else f"{status.value} "
        answer = await self._store.call(_LOOK, names, [start, limit, LOOKED_AT_MOST, wanted])
        record = readable("notification", nid, lambda: _record(answer[0])) if answer else None
        if record is None:
            return None
        _, rows, following, entered, unserved, last = answer
        return Look(
            record=record,
            rows=parsed_of(nid, [int(index) for index in rows[::3]], rows[1::3], rows[2::3]),
            following=int(following),
            entered=int(entered),
            unserved=[ConversationKey(key.decode()) for key in unserved],
            last=next((row.conversation for row in parsed_of(nid, [int(entered) - 1], [last], [None])), None),
        )

    async def recent(
        self, *, before: int | None = None, limit: int = 50
    ) -> tuple[list[NotificationRecord], int | None]:
        """Newest first, from rank ``before``; and the rank at which the next page starts, None at the end."""
        start = before or 0
        members = await self._store.run("ZREVRANGE", keys.notifications(), start, start + limit - 1)
        rows = await self._store.together(
            *(Command(("HGETALL", keys.notification(NotificationId(member.decode())))) for member in members)
        )
        gone = [member for member, row in zip(members, rows, strict=True) if not row]
        forgotten = 0
        if gone:  # or recorded at this moment
            too_old = to_ms(self._clock() - RECORDED_WITHIN)
            forgotten = await self._store.call(_FORGET, [keys.notifications()], [too_old, *gone])
        found = [
            readable("notification", member.decode(), partial(_record, row))
            for member, row in zip(members, rows, strict=True)
        ]
        records = [record for record in found if record is not None]
        return records, (start + limit - forgotten if len(members) == limit else None)


_GLIMPSED = ("total", "served", *(f"count:{status.value}" for status in Status if not status.final))


def _glimpse(nid: NotificationId, values: list[bytes | None]) -> Glimpse:
    total, served, *waiting = (int(value or 0) for value in values)
    return Glimpse(id=nid, unserved=served < total, waiting=sum(waiting) > 0)


def _record(values: list[bytes] | dict[bytes, bytes]) -> NotificationRecord | None:
    fields: dict[bytes, bytes] = (
        values if isinstance(values, dict) else dict(zip(values[::2], values[1::2], strict=True))
    )
    if b"body" not in fields:
        return None
    counts = {
        Status(name.decode().removeprefix("count:")): int(value)
        for name, value in fields.items()
        if name.startswith(b"count:") and int(value)
    }
    audience = orjson.loads(fields[b"audience"])
    return NotificationRecord(
        notification=Notification.from_json(orjson.loads(fields[b"body"])),
        audience=everyone(audience),
        recipients=int(fields[b"total"]),
        served=int(fields[b"served"]),
        cancelled=b"withdrawn" in fields,
        cancelled_at=from_ms(int(fields[b"cancelled_at"])) if b"cancelled_at" in fields else None,
        counts=counts,
    )
