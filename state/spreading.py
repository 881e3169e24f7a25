"""How far a notification is spread over its recipients' mailboxes, or taken back from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from domain.audience import Everyone
from domain.clock import Clock, to_ms
from domain.delivery import Status
from domain.ids import ConversationKey, NotificationId
from domain.notification import Notification
from state import keys
from state.audience_codec import everyone
from state.delivery_rows import CHANGING, ENTERING, FINAL, PAGE, DeliveryRows
from state.readable import readable
from state.scripts import Argument, Command, Script, scripted
from state.store import Store
from state.work import Work

# KEYS notification deliveries | ttl, first index, status, at ms, conversations... -> 1 entered | 0 were there already
_ENTER = Script(
    ENTERING
    + """
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 0 end
for i = 5, #ARGV do
  redis.call('HSET', KEYS[2], ARGV[2] + i - 5, entered(ARGV[3], ARGV[4], ARGV[i]))
end
redis.call('EXPIRE', KEYS[2], math.max(ARGV[1], redis.call('TTL', KEYS[1])))
count(ARGV[3], #ARGV - 4)
return 1
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

# KEYS notification | served : they were all
_SPREAD = Script(
    """
if redis.call('HGET', KEYS[1], 'served') == ARGV[1] then redis.call('HSET', KEYS[1], 'total', ARGV[1]) end
return 1
"""
)

# KEYS notification | at ms -> deliveries that are spared by it, -1 for an unknown notification
_CANCEL = Script(
    FINAL
    + """
if redis.call('HEXISTS', KEYS[1], 'body') == 0 then return -1 end
redis.call('HSET', KEYS[1], 'withdrawn', 0)
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
local spared = math.max(entered, tonumber(h[1])) - ended - (h[2] or 0)
if spared > 0 then redis.call('HSETNX', KEYS[1], 'cancelled_at', ARGV[1]) end
return spared
"""
)

# KEYS notification deliveries | start, rows, at ms or '' to look only
# -> {rows that are there, index, conversation of each that has not ended...}; those that no channel was asked to take
# are cancelled from now on
_WITHDRAW = Script(
    CHANGING
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

# KEYS notification | withdrawn before, withdrawn, cancellations -> 1 | 0 cancelled once more, or somebody is ahead
_WITHDRAWN = Script(
    """
local h = redis.call('HMGET', KEYS[1], 'withdrawn', 'cancels')
if h[1] ~= ARGV[1] or (h[2] or '1') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'withdrawn', ARGV[2])
return 1
"""
)


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


class Spreading:
    """``fanout`` is the work of spreading notifications over mailboxes."""

    def __init__(self, store: Store, fanout: Work, rows: DeliveryRows, clock: Clock) -> None:
        self._store = store
        self._fanout = fanout
        self._rows = rows
        self._clock = clock

    async def progress(self, nid: NotificationId) -> Progress | None:
        """None for a notification that is unknown, or cannot be read."""
        names = ("body", "audience", "served", "after", "withdrawn", "cancels")
        values = await self._store.run("HMGET", keys.notification(nid), *names)
        return None if values[0] is None else readable("notification", nid, partial(_progress, values))

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
        rows = await self._rows.at(nid, range(start, start + PAGE))
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


def _progress(values: Sequence[Any]) -> Progress:
    return Progress(
        notification=Notification.from_json(orjson.loads(values[0])),
        audience=everyone(orjson.loads(values[1])),
        served=int(values[2]),
        after=ConversationKey(values[3].decode()) or None,
        cancelled=values[4] is not None,
        withdrawn=int(values[4] or 0),
        cancels=int(values[5] or 0),
    )
