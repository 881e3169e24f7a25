"""Notifications and what became of each delivery, for the sender; and the progress of their fan-out."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson

from domain.clock import Clock, from_ms, to_ms
from domain.delivery import Delivery, Status, StatusReport
from domain.ids import ConversationKey, NotificationId, new_id
from domain.notification import Content, Course, Guarantee, Json, Notification
from state import keys
from state.scripts import Argument, Command, Script, scripted
from state.store import Store
from state.work import Claim, Work

RETENTION = timedelta(days=30)
"""How long a notification waits at most, and so how long it is kept."""
IN_PROGRESS = timedelta(seconds=5)
"""How long a request with an idempotency key may take before another may carry on in its place. That does no harm (it
accepts the same notification), and one that was answered 503 because the store went away is not to block the key."""
RECORDED_WITHIN = timedelta(minutes=1)
"""A notification may be listed for a moment before it is recorded, for that is elsewhere on a cluster."""
PAGE = 500
LOOKED_AT_MOST = 5000
"""Deliveries that are looked at for one page of those with a status."""
CACHED_CONTENTS = 1024

# A row is a status, a space, details as JSON, a newline and the conversation. Counts are kept in the record while it
# is there: it goes before its rows. ``asked`` in the details: a channel was asked to take it and has not said no;
# ``over``: by how many cancellations it is not meant any more, since it was replayed after them.
_COUNT = """
local function count(status, by, before)
  if redis.call('EXISTS', KEYS[1]) == 0 then return end
  redis.call('HINCRBY', KEYS[1], 'count:' .. status, by)
  if before then redis.call('HINCRBY', KEYS[1], 'count:' .. before, -by) end
end
"""

_FINAL = f"local final = {{{', '.join(f'{status.value} = true' for status in Status if status.final)}}}\n"

_ROW = (
    _COUNT
    + _FINAL
    + """
local function parsed(row) return string.match(row, '^(%S+) ([^\\n]*)\\n(.*)$') end
local function asked(details) return string.find(details, '"asked":1', 1, true) ~= nil end
local function over(details) return tonumber(string.match(details, '"over":(%d+)') or 0) end
local function repeated(details) return string.find(details, '"mayBeRepeated":true', 1, true) ~= nil end
local function with(details, part) return string.sub(details, 1, -2) .. ',' .. part .. '}' end
local function cancelled_for(details) return tonumber(redis.call('HGET', KEYS[1], 'cancels') or 0) > over(details) end
local function write(index, before, old, status, details, conversation)
  if over(old) > 0 and over(details) == 0 then details = with(details, '"over":' .. over(old)) end
  if repeated(old) and status ~= 'unknown' and not repeated(details) then
    details = with(details, '"mayBeRepeated":true')
  end
  redis.call('HSET', KEYS[2], index, status .. ' ' .. details .. '\\n' .. conversation)
  if before ~= status then count(status, 1, before) end
  if asked(old) ~= asked(details) and redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('HINCRBY', KEYS[1], 'asked', asked(details) and 1 or -1)
  end
end
"""
)

# KEYS notification recipients deliveries | ttl, body, audience, total, status in which deliveries are entered or '', at
# ms, recipients... -> 1 new | 0 known
_ACCEPT = Script(
    _COUNT
    + """
if redis.call('HSETNX', KEYS[1], 'body', ARGV[2]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'audience', ARGV[3], 'total', ARGV[4], 'served', 0, 'after', '')
redis.call('EXPIRE', KEYS[1], ARGV[1])
if #ARGV == 6 then return 1 end
for i = 7, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
redis.call('EXPIRE', KEYS[2], ARGV[1])
if ARGV[5] == '' then return 1 end
for i = 7, #ARGV do
  redis.call('HSET', KEYS[3], i - 7, ARGV[5] .. ' {"at":' .. ARGV[6] .. '}\\n' .. ARGV[i])
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

# KEYS notification deliveries | ttl, first index, status, at ms, conversations... -> 1 entered | 0 were there already
_ENTER = Script(
    _COUNT
    + """
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 0 end
for i = 5, #ARGV do
  redis.call('HSET', KEYS[2], ARGV[2] + i - 5, ARGV[3] .. ' {"at":' .. ARGV[4] .. '}\\n' .. ARGV[i])
end
redis.call('EXPIRE', KEYS[2], math.max(ARGV[1], redis.call('TTL', KEYS[1])))
count(ARGV[3], #ARGV - 4)
return 1
"""
)

# KEYS notification deliveries | index, status, details -> 1 recorded | 0 it had ended already.
# That what was delivered may have been repeated is recorded then, too: whoever delivered it died before it was off
# the outbox. Once it may have been shown, that stays. And what was cancelled while a turn showed it without a send (in
# the answer to a request) was shown.
_REPORT = Script(
    _ROW
    + """
local row = redis.call('HGET', KEYS[2], ARGV[1])
if not row then return 0 end
local before, old, conversation = parsed(row)
local again = before == ARGV[2] and repeated(ARGV[3])
local unsent = string.find(ARGV[3], '"in_response"', 1, true) or string.find(ARGV[3], '"handled_by_dialog"', 1, true)
local shown = before == 'cancelled' and ARGV[2] == 'delivered' and unsent
if final[before] and not again and not shown then return 0 end
local details = ARGV[3]
if asked(old) and not final[ARGV[2]] and repeated(details) then details = with(details, '"asked":1') end
write(ARGV[1], before, old, ARGV[2], details, conversation)
return 1
"""
)

# KEYS notification deliveries | index, 1 if a channel is asked now, '' to look only -> 1 it is wanted | 0 withdrawn
_ASK = Script(
    _ROW
    + """
local row = redis.call('HGET', KEYS[2], ARGV[1])
if not row then return 1 end
local before, old, conversation = parsed(row)
if before == 'cancelled' or cancelled_for(old) then return 0 end
if ARGV[2] == '1' and not final[before] and not asked(old) then
  write(ARGV[1], before, old, before, with(old, '"asked":1'), conversation)
end
return 1
"""
)

# KEYS notification deliveries | start, rows, at ms or '' to look only
# -> {rows that are there, index, conversation of each that has not ended...}; those that no channel was asked to take
# are cancelled from now on
_WITHDRAW = Script(
    _ROW
    + """
local there, found = 0, {}
for index = tonumber(ARGV[1]), ARGV[1] + ARGV[2] - 1 do
  local row = redis.call('HGET', KEYS[2], index)
  if not row then break end
  there = there + 1
  local before, old, conversation = parsed(row)
  if not final[before] and cancelled_for(old) then
    found[#found + 1] = index; found[#found + 1] = conversation
    if ARGV[3] ~= '' and not asked(old) then
      write(index, before, old, 'cancelled', '{"at":' .. ARGV[3] .. '}', conversation)
    end
  end
end
table.insert(found, 1, there)
return found
"""
)

# KEYS notification deliveries | index, at ms of its end, at ms, 1 if it is to be shown at most once, 1 to leave what
# was withdrawn
# -> {what of ``Reopened``, 1 if it was withdrawn}
_REOPEN = Script(
    _ROW
    + """
local row = redis.call('HGET', KEYS[2], ARGV[1])
if not row then return {'ended', 0} end
local before, old, conversation = parsed(row)
local withdrawn = cancelled_for(old) and 1 or 0
if not final[before] then return {'open', withdrawn} end
if before ~= 'failed' and before ~= 'unknown' then return {'ended', withdrawn} end
if string.match(old, '"at":(%d+)') ~= ARGV[2] then return {'ended', withdrawn} end
if ARGV[4] == '1' and (before == 'unknown' or repeated(old)) then return {'once', withdrawn} end
if ARGV[5] == '1' and withdrawn == 1 then return {'withdrawn', 1} end
local details = '{"at":' .. ARGV[3] .. '}'
if before == 'unknown' then details = with(details, '"mayBeRepeated":true') end
if withdrawn == 1 then details = with(details, '"over":' .. redis.call('HGET', KEYS[1], 'cancels')) end
write(ARGV[1], before, old, 'pending', details, conversation)
return {'again', withdrawn}
"""
)

# KEYS deliveries results | index, ttl, result as JSON -> 1 recorded | 0 there is no such delivery, or a result already
_ANSWER = Script(
    """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[3]) == 0 then return 0 end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
"""
)

# KEYS notification deliveries | index, status and at ms as they were seen, at ms -> 1 pending again | 0 it has moved on
_TAKE_UP = Script(
    _ROW
    + """
local row = redis.call('HGET', KEYS[2], ARGV[1])
if not row then return 0 end
local before, old, conversation = parsed(row)
if before ~= ARGV[2] or string.match(old, '"at":(%d+)') ~= ARGV[3] then return 0 end
write(ARGV[1], before, old, 'pending', '{"at":' .. ARGV[4] .. ',"mayBeRepeated":true}', conversation)
return 1
"""
)

# KEYS notification | at ms -> deliveries that are spared by it, -1 for an unknown notification
_CANCEL = Script(
    _FINAL
    + """
if redis.call('HEXISTS', KEYS[1], 'body') == 0 then return -1 end
redis.call('HSET', KEYS[1], 'withdrawn', 0)
redis.call('HSETNX', KEYS[1], 'cancelled_at', ARGV[1])
redis.call('HINCRBY', KEYS[1], 'cancels', 1)
local h = redis.call('HMGET', KEYS[1], 'total', 'asked')
local entered, ended = 0, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local status = string.match(all[i], '^count:(.*)')
  if status then
    entered = entered + all[i + 1]
    if final[status] and status ~= 'cancelled' then ended = ended + all[i + 1] end
  end
end
return math.max(entered, tonumber(h[1])) - ended - (h[2] or 0)
"""
)

# KEYS notification | withdrawn before, withdrawn, cancellations -> 1 | 0 cancelled once more, or somebody is ahead
_WITHDRAWN = Script(
    """
local h = redis.call('HMGET', KEYS[1], 'withdrawn', 'cancels')
if h[1] ~= ARGV[1] or (h[2] or '1') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'withdrawn', ARGV[2])
return 1
"""
)

# KEYS notification | served : they were all
_SPREAD = Script(
    """
if redis.call('HGET', KEYS[1], 'served') == ARGV[1] then redis.call('HSET', KEYS[1], 'total', ARGV[1]) end
return 1
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

# KEYS notification | served before, served, after -> 1 | 0 somebody else is ahead
_ADVANCE = Script(
    """
if redis.call('HGET', KEYS[1], 'served') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'served', ARGV[2], 'after', ARGV[3])
return 1
"""
)


@dataclass(frozen=True, kw_only=True)
class Everyone:
    """Every known conversation, or those of a channel."""

    channel_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Listed:
    """These conversations."""

    conversations: tuple[ConversationKey, ...]


Audience = Everyone | Listed


@dataclass(frozen=True, kw_only=True)
class DeliveryRow:
    """What became of one delivery."""

    index: int
    conversation: ConversationKey
    status: Status
    at: datetime
    attempts: int = 0
    reason: str | None = None
    activity_id: str | None = None
    may_be_repeated: bool = False
    result: Any = None
    """What the user has answered to it."""
    over: int = 0
    """By how many cancellations it is not meant any more, since it was replayed after them."""


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
        if self.cancelled:
            return Course.CANCELLED
        counts = self.counts_at(now)
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
class Progress:
    """How far a fan-out has come: ``served`` recipients, the last of them ``after``."""

    notification: Notification
    audience: Everyone | None
    served: int
    after: ConversationKey | None
    cancelled: bool
    """Nobody else is to be served, and what has not been shown is to be withdrawn."""
    withdrawn: int
    """For how many recipients that has been done."""
    cancels: int
    """How often it was cancelled."""


class Reopened(StrEnum):
    """What became of the wish to take a delivery up again."""

    AGAIN = "again"
    """It is pending."""
    OPEN = "open"
    """It was taken up already, and has not ended since."""
    ENDED = "ended"
    """It has ended otherwise since, or is not known any more."""
    ONCE = "once"
    """It may have been shown, and is to be shown at most once."""
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """Whether a notification is over: recipients may be ``unserved``, and deliveries ``waiting``."""

    id: NotificationId
    unserved: bool
    waiting: bool


@dataclass(frozen=True, kw_only=True)
class FirstAnswer:
    """The answer that a request with this idempotency key was given."""

    body: Json


@dataclass(frozen=True, kw_only=True)
class Reserved:
    """The request may go on, under this id."""

    id: NotificationId


class InProgress(Exception):
    """Another request with the same idempotency key has not been answered yet."""


class KeyReused(Exception):
    """The idempotency key was used with another body."""


class Notifications:
    """``fanout`` is the work of spreading notifications over mailboxes."""

    def __init__(self, store: Store, fanout: Work, clock: Clock) -> None:
        self._store = store
        self._fanout = fanout
        self._clock = clock
        self._contents: OrderedDict[NotificationId, Content] = OrderedDict()

    # ------------------------------------------------------------------ accepting

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
        described = {"listed": True} if isinstance(audience, Listed) else {"channelId": audience.channel_id}
        left = (notification.expires_at - self._clock()).total_seconds()
        ttl = max(keys.NOTIFICATION_TTL, math.ceil(left) + keys.DAY)
        body = orjson.dumps(notification.to_json())
        now = to_ms(self._clock())
        return [
            scripted(
                _ACCEPT,
                [keys.notification(nid), keys.recipients(nid), keys.deliveries(nid)],
                [ttl, body, orjson.dumps(described), recipients, entered.value if entered else "", now, *listed],
            ),
            Command(("ZADD", keys.notifications(), to_ms(notification.created_at), nid)),
            Command(("ZREMRANGEBYSCORE", keys.notifications(), "-inf", now - ttl * 1000)),
        ]

    async def reserve(self, sender: str, key: str, body: bytes) -> FirstAnswer | Reserved:
        """Look an idempotency key up, and take it. Raises :class:`InProgress` and :class:`KeyReused`."""
        name = _idempotency_name(sender, key)
        digest = hashlib.sha256(body).hexdigest()
        mine: Json = {"id": new_id("ntf"), "digest": digest, "at": to_ms(self._clock()), "answer": None}
        stored = await self._store.call(_RESERVE, [name], [orjson.dumps(mine), keys.IDEMPOTENCY_TTL])
        entry: Json = orjson.loads(stored) if stored else mine
        if entry["digest"] != digest:
            raise KeyReused
        if entry["answer"] is not None:
            return FirstAnswer(body=entry["answer"])
        if entry["id"] != mine["id"] and to_ms(self._clock()) - entry["at"] < IN_PROGRESS / timedelta(milliseconds=1):
            raise InProgress
        return Reserved(id=NotificationId(entry["id"]))

    async def answered(self, sender: str, key: str, body: bytes, nid: NotificationId, answer: Json) -> None:
        """Remember the answer, for a repetition of the request."""
        name = _idempotency_name(sender, key)
        digest = hashlib.sha256(body).hexdigest()
        entry = {"id": nid, "digest": digest, "at": to_ms(self._clock()), "answer": answer}
        await self._store.run("SET", name, orjson.dumps(entry), "EX", keys.IDEMPOTENCY_TTL)

    async def abandon(self, sender: str, key: str) -> None:
        """The request was refused: its idempotency key is free again."""
        await self._store.run("DEL", _idempotency_name(sender, key))

    # ------------------------------------------------------------------ fan-out

    async def progress(self, nid: NotificationId) -> Progress | None:
        names = ("body", "audience", "served", "after", "withdrawn", "cancels")
        values = await self._store.run("HMGET", keys.notification(nid), *names)
        if values[0] is None:
            return None
        return Progress(
            notification=Notification.from_json(orjson.loads(values[0])),
            audience=_everyone(orjson.loads(values[1])),
            served=int(values[2]),
            after=ConversationKey(values[3].decode()) or None,
            cancelled=values[4] is not None,
            withdrawn=int(values[4] or 0),
            cancels=int(values[5] or 0),
        )

    async def listed(self, nid: NotificationId, start: int, limit: int = PAGE) -> list[ConversationKey]:
        members = await self._store.run("LRANGE", keys.recipients(nid), start, start + limit - 1)
        return [ConversationKey(member.decode()) for member in members]

    async def enter(
        self, nid: NotificationId, start: int, conversations: Sequence[ConversationKey], status: Status
    ) -> list[ConversationKey]:
        """Enter deliveries ``start`` and following as ``status``.

        Where an earlier attempt has entered them already, what it entered stands and is answered.
        """
        entered = await self._store.call(
            _ENTER,
            [keys.notification(nid), keys.deliveries(nid)],
            [keys.NOTIFICATION_TTL, start, status.value, to_ms(self._clock()), *conversations],
        )
        if entered:
            return list(conversations)
        rows = await self._rows(nid, range(start, start + PAGE))
        return [row.conversation for row in rows]

    async def advance(self, nid: NotificationId, before: int, served: int, after: ConversationKey) -> bool:
        (advanced,) = await self._store.sequence(self.advancing(nid, before, served, after))
        return bool(advanced)

    @staticmethod
    def advancing(nid: NotificationId, before: int, served: int, after: ConversationKey) -> Command:
        """The command of :meth:`advance`, to leave together with others."""
        return scripted(_ADVANCE, [keys.notification(nid)], [before, served, after])

    async def spread(self, nid: NotificationId, served: int) -> None:
        """Note that nobody is left to be served: the recipients were these."""
        await self._store.call(_SPREAD, [keys.notification(nid)], [served])

    async def cancel(self, nid: NotificationId) -> int | None:
        """Have everything withdrawn that no channel has been asked to take: from now on none is asked.

        Answers for how many recipients; None for an unknown notification.
        """
        spared = int(await self._store.call(_CANCEL, [keys.notification(nid)], [to_ms(self._clock())]))
        if spared < 0:
            return None
        await self._fanout.wake(nid)
        return spared

    async def to_withdraw(self, nid: NotificationId, start: int) -> tuple[list[tuple[int, ConversationKey]], int]:
        """Of a page of recipients from number ``start`` those that are to be spared, and how many the page has."""
        return await self._withdraw(nid, start, PAGE, "")

    async def withdraw(self, nid: NotificationId, progress: Progress, count: int) -> None:
        """Cancel the next ``count`` deliveries, as far as no channel has been asked to take them."""
        before, after = progress.withdrawn, progress.withdrawn + count
        await self._withdraw(nid, before, count, to_ms(self._clock()))
        await self._store.call(_WITHDRAWN, [keys.notification(nid)], [before, after, progress.cancels])

    async def _withdraw(
        self, nid: NotificationId, start: int, count: int, at: Argument
    ) -> tuple[list[tuple[int, ConversationKey]], int]:
        names = [keys.notification(nid), keys.deliveries(nid)]
        there, *found = await self._store.call(_WITHDRAW, names, [start, count, at])
        pairs = zip(found[::2], found[1::2], strict=True)
        return [(int(index), ConversationKey(key.decode())) for index, key in pairs], int(there)

    async def wanted(self, shown: Sequence[Delivery], *, asking: bool) -> list[bool]:
        """Of each delivery whether it is wanted still; what is not has been withdrawn, and is never to be shown.

        ``asking``: a channel is about to be asked to take them. From then on they are not withdrawn, unless the channel
        says no: this is the one moment at which it is decided whether a cancellation comes before a send.
        """
        known = [delivery for delivery in shown if delivery.notification is not None]
        answers = await self._store.together(*(_asking(delivery, asking) for delivery in known))
        withdrawn = {delivery.id for delivery, wanted in zip(known, answers, strict=True) if not wanted}
        return [delivery.id not in withdrawn for delivery in shown]

    # ------------------------------------------------------------------ status

    @staticmethod
    def reporting(report: StatusReport) -> Command:
        """The command that records a change of status; one that comes after the delivery's end changes nothing."""
        assert report.notification is not None
        details: Json = {"at": to_ms(report.at)}
        if report.attempts:
            details["attempts"] = report.attempts
        if report.reason:
            details["reason"] = report.reason
        if report.activity_id:
            details["activityId"] = report.activity_id
        if report.may_be_repeated:
            details["mayBeRepeated"] = True
        return scripted(
            _REPORT,
            [keys.notification(report.notification), keys.deliveries(report.notification)],
            [report.index, str(report.status), orjson.dumps(details)],
        )

    @staticmethod
    def answering(nid: NotificationId, index: int, result: Any) -> Command:
        """The command that records what a user has answered to a delivery; what was answered first stands."""
        names = [keys.deliveries(nid), keys.results(nid)]
        return scripted(_ANSWER, names, [index, keys.NOTIFICATION_TTL, orjson.dumps(result)])

    async def reopen(
        self,
        nid: NotificationId,
        index: int,
        ended_at: datetime,
        guarantee: Guarantee = Guarantee.AT_LEAST_ONCE,
        *,
        unless_withdrawn: bool = False,
    ) -> tuple[Reopened, bool]:
        """Take a delivery up again that failed, or is unknown, at that time: it is pending, and its status may change
        once more. Also whether it was withdrawn meanwhile; from now on that does not count. What may have been shown
        says so, and what is to be shown at most once then stays as it is."""
        names = [keys.notification(nid), keys.deliveries(nid)]
        once = int(guarantee is Guarantee.AT_MOST_ONCE)
        args = [index, to_ms(ended_at), to_ms(self._clock()), once, int(unless_withdrawn)]
        outcome, withdrawn = await self._store.call(_REOPEN, names, args)
        return Reopened(outcome.decode()), bool(withdrawn)

    async def take_up(self, nid: NotificationId, seen: DeliveryRow) -> bool:
        """Have an open delivery pending again, as one that may be shown twice. False if it is not as it was seen."""
        names = [keys.notification(nid), keys.deliveries(nid)]
        args = [seen.index, seen.status.value, to_ms(seen.at), to_ms(self._clock())]
        return bool(await self._store.call(_TAKE_UP, names, args))

    async def glimpses(self, start: int, limit: int) -> list[Glimpse]:
        """Of the notifications from rank ``start`` on, newest first, whether they are over."""
        members = await self._store.run("ZREVRANGE", keys.notifications(), start, start + limit - 1)
        ids = [NotificationId(member.decode()) for member in members]
        rows = await self._store.together(*(Command(("HMGET", keys.notification(nid), *_GLIMPSED)) for nid in ids))
        return [_glimpse(nid, row) for nid, row in zip(ids, rows, strict=True)]

    async def rank(self, nid: NotificationId) -> int | None:
        """How many notifications are newer."""
        rank = await self._store.run("ZREVRANK", keys.notifications(), nid)
        return None if rank is None else int(rank)

    async def content(self, nid: NotificationId) -> Content | None:
        """What a notification says; None once its record is gone."""
        known = self._contents.get(nid)
        if known is not None:
            self._contents.move_to_end(nid)
            return known
        body = await self._store.run("HGET", keys.notification(nid), "body")
        if body is None:
            return None
        content = Notification.from_json(orjson.loads(body)).content
        self._contents[nid] = content
        if len(self._contents) > CACHED_CONTENTS:
            self._contents.popitem(last=False)
        return content

    async def get(self, nid: NotificationId) -> NotificationRecord | None:
        return _record(await self._store.run("HGETALL", keys.notification(nid)))

    async def look(
        self, nid: NotificationId, *, start: int = 0, limit: int = 100, status: Status | None = None
    ) -> Look | None:
        """The notification, and its deliveries from recipient number ``start``; those with ``status``, if it is given,
        of a bounded number. None if it is not known."""
        names = [keys.notification(nid), keys.deliveries(nid), keys.recipients(nid), keys.results(nid)]
        wanted = "" if status is None else f"{status.value} "
        answer = await self._store.call(_LOOK, names, [start, limit, LOOKED_AT_MOST, wanted])
        record = _record(answer[0]) if answer else None
        if record is None:
            return None
        _, rows, following, entered, unserved, last = answer
        return Look(
            record=record,
            rows=[_row(int(index), *row) for index, *row in zip(rows[::3], rows[1::3], rows[2::3], strict=True)],
            following=int(following),
            entered=int(entered),
            unserved=[ConversationKey(key.decode()) for key in unserved],
            last=_row(int(entered) - 1, last).conversation if last else None,
        )

    async def deliveries(
        self, nid: NotificationId, *, start: int = 0, limit: int = 100
    ) -> tuple[list[DeliveryRow], int | None]:
        """Deliveries that are entered from recipient number ``start``, and where the next page starts, None at the
        end."""
        found: list[DeliveryRow] = []
        size = int(await self._store.run("HLEN", keys.deliveries(nid)))
        stop = min(size, start + limit)
        for first in range(start, stop, PAGE):
            found += await self._rows(nid, range(first, min(stop, first + PAGE)))
        return found, (stop if stop < size else None)

    async def delivery(self, nid: NotificationId, index: int) -> DeliveryRow | None:
        """What became of the delivery to recipient number ``index``."""
        return next(iter(await self._rows(nid, range(index, index + 1))), None)

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
        records = [record for row in rows if (record := _record(row)) is not None]
        return records, (start + limit - forgotten if len(members) == limit else None)

    async def _rows(self, nid: NotificationId, indexes: range) -> list[DeliveryRow]:
        if not indexes:
            return []
        values, results = await self._store.sequence(
            Command(("HMGET", keys.deliveries(nid), *indexes)), Command(("HMGET", keys.results(nid), *indexes))
        )
        return [
            _row(index, value, result)
            for index, value, result in zip(indexes, values, results, strict=True)
            if value is not None
        ]


_GLIMPSED = ("total", "served", *(f"count:{status.value}" for status in Status if not status.final))


def _glimpse(nid: NotificationId, values: list[bytes | None]) -> Glimpse:
    total, served, *waiting = (int(value or 0) for value in values)
    return Glimpse(id=nid, unserved=served < total, waiting=sum(waiting) > 0)


def _asking(delivery: Delivery, asking: bool) -> Command:
    assert delivery.notification is not None
    names = [keys.notification(delivery.notification), keys.deliveries(delivery.notification)]
    return scripted(_ASK, names, [delivery.index, "1" if asking else ""])


# KEYS idempotency | entry, ttl -> the entry that was there before, or nil
_RESERVE = Script(
    """
local before = redis.call('GET', KEYS[1])
if before then return before end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return nil
"""
)


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
        audience=_everyone(audience),
        recipients=int(fields[b"total"]),
        served=int(fields[b"served"]),
        cancelled=b"withdrawn" in fields,
        cancelled_at=from_ms(int(fields[b"cancelled_at"])) if b"cancelled_at" in fields else None,
        counts=counts,
    )


def _everyone(audience: Json) -> Everyone | None:
    return None if audience.get("listed") else Everyone(channel_id=audience["channelId"])


def _row(index: int, value: bytes, result: bytes | None = None) -> DeliveryRow:
    head, _, conversation = value.partition(b"\n")
    status, _, details = head.partition(b" ")
    body: dict[str, Any] = orjson.loads(details)
    return DeliveryRow(
        index=index,
        conversation=ConversationKey(conversation.decode()),
        status=Status(status.decode()),
        at=from_ms(body["at"]),
        attempts=body.get("attempts", 0),
        reason=body.get("reason"),
        activity_id=body.get("activityId"),
        may_be_repeated=body.get("mayBeRepeated", False),
        over=body.get("over", 0),
        result=orjson.loads(result) if result else None,
    )


def _idempotency_name(sender: str, key: str) -> str:
    """Each sender's idempotency keys are its own."""
    return keys.idempotency(hashlib.sha256(f"{sender}\x00{key}".encode()).hexdigest())
