"""Leased work: what is to be done, when, and who has it in hand, in one sorted set.

A member is due at its score (milliseconds). To *claim* it is to push its score a lease into the future,
so that a claimer that dies is followed by another without anybody sweeping; to *wake* a member is to pull
its score down to now, or to a time in the future at which it is to be due. Waking is idempotent: a burst of ten
wake-ups of one conversation is one member.

The score is also the claim's ticket: :meth:`close` removes a member only while its score is the one that
the claimer was given. A wake-up always changes the score, so that one that arrived in between is kept.

Used three times: for conversations that need a turn, for notifications to be fanned out, for jobs.
"""

from __future__ import annotations

import asyncio
import contextlib

from domain.value import value
from state import keys
from state.scripts import Command, Script, scripted
from state.store import BLOCK_SECONDS, READ_ERRORS, Store, asked_to_end

LOOKED_AT = 500
"""Members that are due, and in hand, that a fair claim looks at."""

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + t[2] / 1000\n"

_REST = """
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wait = -1
if head[2] then wait = math.max(0, math.ceil(head[2] - now)) end
if #out > 0 and wait == 0 and redis.call('LLEN', KEYS[2]) == 0 then
  redis.call('LPUSH', KEYS[2], 1); redis.call('EXPIRE', KEYS[2], 60)
end
table.insert(out, 1, wait)
return out
"""

# KEYS work bell | limit, lease in ms -> {ms to the next (or -1), member, ticket, member, ticket, ...}
_CLAIM = Script(
    _NOW
    + """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local out = {}
for i, member in ipairs(due) do
  local ticket = string.format('%.3f', now + ARGV[2] + i / 1000)
  redis.call('ZADD', KEYS[1], ticket, member)
  out[#out + 1] = member; out[#out + 1] = ticket
end
"""
    + _REST
)

# As CLAIM, but who has least in hand is served first. The owner of a member stands behind its last "~".
_CLAIM_FAIRLY = Script(
    _NOW
    + """
local function owner(member) return string.match(member, '~([^~]*)$') or member end
local held, queues, order = {}, {}, {}
local later = '(' .. string.format('%.3f', now)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], later, '+inf', 'LIMIT', 0, ARGV[3])) do
  held[owner(member)] = (held[owner(member)] or 0) + 1
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[3])) do
  local whose = owner(member)
  if not queues[whose] then queues[whose] = {}; order[#order + 1] = whose end
  table.insert(queues[whose], member)
end
local out, taken = {}, {}
for i = 1, tonumber(ARGV[1]) do
  local next = nil
  for _, whose in ipairs(order) do
    local waits = (taken[whose] or 0) < #queues[whose]
    if waits and (not next or (held[whose] or 0) < (held[next] or 0)) then next = whose end
  end
  if not next then break end
  taken[next] = (taken[next] or 0) + 1
  held[next] = (held[next] or 0) + 1
  local member = queues[next][taken[next]]
  local ticket = string.format('%.3f', now + ARGV[2] + i / 1000)
  redis.call('ZADD', KEYS[1], ticket, member)
  out[#out + 1] = member; out[#out + 1] = ticket
end
"""
    + _REST
)

# KEYS work bell | delay in ms, member... : due then, or earlier if it already is; by a microsecond, so that no ticket
# outlives a wake-up
_WAKE = Script(
    _NOW
    + """
local at = string.format('%.3f', now + ARGV[1])
for i = 2, #ARGV do
  local before = redis.call('ZSCORE', KEYS[1], ARGV[i])
  local due = at
  if before and tonumber(before) <= tonumber(at) then due = string.format('%.3f', before - 0.001) end
  redis.call('ZADD', KEYS[1], due, ARGV[i])
end
if tonumber(ARGV[1]) <= 0 and redis.call('LLEN', KEYS[2]) == 0 then
  redis.call('LPUSH', KEYS[2], 1); redis.call('EXPIRE', KEYS[2], 60)
end
return 1
"""
)

# KEYS work | member, ms from now -> ticket: taken in hand without having been due
_OPEN = Script(
    _NOW
    + """
local ticket = string.format('%.3f', now + ARGV[2])
redis.call('ZADD', KEYS[1], ticket, ARGV[1])
return ticket
"""
)

# KEYS work | member, ticket, ms from now or '' -> 1 closed or moved, 0 woken or taken over meanwhile
_CLOSE = Script(
    """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then redis.call('ZREM', KEYS[1], ARGV[1]); return 1 end
"""
    + _NOW
    + """
redis.call('ZADD', KEYS[1], string.format('%.3f', now + ARGV[3]), ARGV[1])
return 1
"""
)

# KEYS work | member, ticket, ms from now -> the new ticket, or '' if woken or taken over meanwhile
_EXTEND = Script(
    _NOW
    + """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return '' end
local ticket = string.format('%.3f', now + ARGV[3])
redis.call('ZADD', KEYS[1], ticket, ARGV[1])
return ticket
"""
)


# KEYS work -> {members, those that are due, ms for which the first of them has been}
_MEASURE = Script(
    _NOW
    + """
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local overdue = head[2] and math.max(0, math.floor(now - head[2])) or 0
return {redis.call('ZCARD', KEYS[1]), redis.call('ZCOUNT', KEYS[1], '-inf', now), overdue}
"""
)


@value
class Load:
    """How much work there is: ``due`` waits for somebody to take it, the rest is in hand or to be done later."""

    length: int
    due: int
    overdue: float
    """Seconds for which the first that is due has been."""


@value
class Claim:
    """A member that is in this process's hand until its lease ends."""

    member: str
    ticket: bytes


class Work:
    """One queue of leased work. ``lease`` is in seconds: how soon the work of a process that died is taken over.

    ``fair``: members end with ``~`` and who they are for, and whoever has least in hand is served first; otherwise
    what has been due for longest is.
    """

    def __init__(self, store: Store, queue: str, *, lease: float, fair: bool = False) -> None:
        self._store = store
        self._key = keys.work(queue)
        self._bell = keys.bell(queue)
        self._lease_ms = round(lease * 1000)
        self._claiming = _CLAIM_FAIRLY if fair else _CLAIM
        self._rung = asyncio.Event()

    async def wake(self, *members: str, delay: float = 0.0) -> None:
        """Make members due in ``delay`` seconds, or leave them due earlier. Repeating it does no harm."""
        if members:
            await self._store.sequence(self.waking(*members, delay=delay))
            if delay <= 0:
                self.ring()

    def waking(self, *members: str, delay: float = 0.0) -> Command:
        """The command of :meth:`wake`, to leave together with others; :meth:`ring` when it has been run."""
        return scripted(_WAKE, [self._key, self._bell], [max(0, round(delay * 1000)), *members])

    def ring(self) -> None:
        """Something has become due: have this process look."""
        self._rung.set()

    async def claim(self, limit: int) -> tuple[list[Claim], float | None]:
        """Take up to ``limit`` due members in hand; also the seconds until the next is due, None for never."""
        wait, *rest = await self._store.call(
            self._claiming, [self._key, self._bell], [limit, self._lease_ms, LOOKED_AT]
        )
        claims = [
            Claim(member=member.decode(), ticket=ticket) for member, ticket in zip(rest[::2], rest[1::2], strict=True)
        ]
        return claims, (None if wait < 0 else wait / 1000)

    async def open(self, member: str, *, lease: float | None = None) -> Claim:
        """Take a member in hand that nobody woke, so that it is looked at again should this process die."""
        (ticket,) = await self._store.sequence(self.opening(member, lease=lease))
        return Claim(member=member, ticket=ticket)

    def opening(self, member: str, *, lease: float | None = None) -> Command:
        """The command of :meth:`open`, to leave together with others; its answer is the ticket."""
        return scripted(_OPEN, [self._key], [member, self._lease_ms if lease is None else round(lease * 1000)])

    async def extend(self, claim: Claim) -> Claim | None:
        """Keep a member in hand for another lease. None if it was woken or taken over: the claim still stands
        in the first case, and either way :meth:`close` of the old ticket does nothing."""
        ticket = await self._store.call(_EXTEND, [self._key], [claim.member, claim.ticket, self._lease_ms])
        return Claim(member=claim.member, ticket=ticket) if ticket else None

    async def close(self, claim: Claim, *, again_in: float | None = None) -> bool:
        """Done with it; with ``again_in`` seconds, due again then. False if it was woken or taken over meanwhile."""
        (closed,) = await self._store.sequence(self.closing(claim, again_in=again_in))
        if again_in is not None and again_in <= 0:
            self._rung.set()
        return bool(closed)

    def closing(self, claim: Claim, *, again_in: float | None = None) -> Command:
        """The command of :meth:`close`, to leave together with others."""
        delay = "" if again_in is None else str(max(0, round(again_in * 1000)))
        return scripted(_CLOSE, [self._key], [claim.member, claim.ticket, delay])

    async def knows(self, member: str) -> bool:
        """Whether a member is due some time, or in somebody's hand."""
        return await self._store.run("ZSCORE", self._key, member) is not None

    async def length(self) -> int:
        return int(await self._store.run("ZCARD", self._key))

    async def load(self) -> Load:
        length, due, overdue = await self._store.call(_MEASURE, [self._key], [])
        return Load(length=int(length), due=int(due), overdue=int(overdue) / 1000)

    async def wait(self, seconds: float) -> None:
        """Return when something may have become due, here or (while :meth:`listen` runs) in another process,
        or after ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self._rung.clear()

    async def listen(self) -> None:
        """Hear the wake-ups of other processes, until cancelled. They ring a bell that one listener answers."""
        while not asked_to_end():
            try:
                if await self._store.redis.blpop([self._bell], timeout=BLOCK_SECONDS):
                    self._rung.set()
            except READ_ERRORS:
                await asyncio.sleep(BLOCK_SECONDS / 4)
