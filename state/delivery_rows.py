"""What became of each delivery of a notification: a row for each recipient, by the recipient's number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

import orjson

from domain.clock import Clock, from_ms, to_ms
from domain.delivery import Delivery, Status, StatusReport
from domain.ids import ConversationKey, NotificationId
from domain.notification import Guarantee, Json
from state import keys
from state.readable import readable
from state.scripts import Command, Script, scripted
from state.store import Store

PAGE = 500

# A row is a status, a space, details as JSON, a newline and the conversation. Counts are kept in the record while it
# is there: it goes before its rows. ``asked`` in the details: a channel was asked to take it and has not said no;
# ``over``: by how many cancellations it is not meant any more, since it was replayed after them.
ENTERING = """
local function row_of(status, details, conversation) return status .. ' ' .. details .. '\\n' .. conversation end
local function entered(status, at, conversation) return row_of(status, '{"at":' .. at .. '}', conversation) end
local function count(status, by, before)
  if redis.call('EXISTS', KEYS[1]) == 0 then return end
  redis.call('HINCRBY', KEYS[1], 'count:' .. status, by)
  if before then redis.call('HINCRBY', KEYS[1], 'count:' .. before, -by) end
end
"""
"""Lua that writes a new row, and counts it."""

FINAL = f"local final = {{{', '.join(f'{status.value} = true' for status in Status if status.final)}}}\n"
"""Lua that knows which statuses are final."""

CHANGING = (
    ENTERING
    + FINAL
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
  redis.call('HSET', KEYS[2], index, row_of(status, details, conversation))
  if before ~= status then count(status, 1, before) end
  if asked(old) ~= asked(details) and redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('HINCRBY', KEYS[1], 'asked', asked(details) and 1 or -1)
  end
end
"""
)
"""Lua that reads a row, and writes it anew."""

# KEYS notification deliveries | index, status, details -> 1 recorded | 0 it had ended already.
# That what was delivered may have been repeated is recorded then, too: whoever delivered it died before it was off
# the outbox. Once it may have been shown, that stays. And what was cancelled while a turn showed it without a send (in
# the answer to a request) was shown.
_REPORT = Script(
    CHANGING
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
    CHANGING
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

# KEYS notification deliveries | index, at ms of its end, at ms, 1 if it is to be shown at most once, 1 to leave what
# was withdrawn
# -> {what of ``Reopened``, 1 if it was withdrawn}
_REOPEN = Script(
    CHANGING
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
    CHANGING
    + """
local row = redis.call('HGET', KEYS[2], ARGV[1])
if not row then return 0 end
local before, old, conversation = parsed(row)
if before ~= ARGV[2] or string.match(old, '"at":(%d+)') ~= ARGV[3] then return 0 end
write(ARGV[1], before, old, 'pending', '{"at":' .. ARGV[4] .. ',"mayBeRepeated":true}', conversation)
return 1
"""
)


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


class DeliveryRows:
    """The rows of all notifications."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

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

    async def wanted(self, shown: Sequence[Delivery], *, asking: bool) -> list[bool]:
        """Of each delivery whether it is wanted still; what is not has been withdrawn, and is never to be shown.

        ``asking``: a channel is about to be asked to take them. From then on they are not withdrawn, unless the channel
        says no: this is the one moment at which it is decided whether a cancellation comes before a send.
        """
        known = [delivery for delivery in shown if delivery.notification is not None]
        answers = await self._store.together(*(_asking(delivery, asking) for delivery in known))
        withdrawn = {delivery.id for delivery, wanted in zip(known, answers, strict=True) if not wanted}
        return [delivery.id not in withdrawn for delivery in shown]

    async def page(
        self, nid: NotificationId, *, start: int = 0, limit: int = 100
    ) -> tuple[list[DeliveryRow], int | None]:
        """Deliveries that are entered from recipient number ``start``, and where the next page starts, None at the
        end."""
        found: list[DeliveryRow] = []
        size = int(await self._store.run("HLEN", keys.deliveries(nid)))
        stop = min(size, start + limit)
        for first in range(start, stop, PAGE):
            found += await self.at(nid, range(first, min(stop, first + PAGE)))
        return found, (stop if stop < size else None)

    async def one(self, nid: NotificationId, index: int) -> DeliveryRow | None:
        """What became of the delivery to recipient number ``index``."""
        return next(iter(await self.at(nid, range(index, index + 1))), None)

    async def at(self, nid: NotificationId, indexes: range) -> list[DeliveryRow]:
        """The rows of these recipients that are entered."""
        if not indexes:
            return []
        values, results = await self._store.sequence(
            Command(("HMGET", keys.deliveries(nid), *indexes)), Command(("HMGET", keys.results(nid), *indexes))
        )
        return parsed_of(nid, indexes, values, results)


def _asking(delivery: Delivery, asking: bool) -> Command:
    assert delivery.notification is not None
    names = [keys.notification(delivery.notification), keys.deliveries(delivery.notification)]
    return scripted(_ASK, names, [delivery.index, "1" if asking else ""])


def parsed_of(
    nid: NotificationId, indexes: Sequence[int], values: Sequence[bytes | None], results: Sequence[bytes | None]
) -> list[DeliveryRow]:
    """Rows as the store has them: those that are there and can be read."""
    rows = [
        readable("delivery", f"{nid}.{index}", partial(_parsed, index, value, result))
        for index, value, result in zip(indexes, values, results, strict=True)
        if value
    ]
    return [row for row in rows if row is not None]


def _parsed(index: int, value: bytes, result: bytes | None) -> DeliveryRow:
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
