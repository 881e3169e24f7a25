"""Send limits and pauses, shared by all processes: the generic cell rate algorithm, with a slot reserved for who has
to wait.

A send that is early is given the moment at which it may go; when it comes back then, it has its place. What users are
answered is counted against their tenant's limit, but does not stand in line behind a broadcast.

A tenant that the channel wants nothing from (``domain.throttling``) pauses: slots begin when the pause is over, one
after the other and without a burst, and a place from before counts for nothing. Answers go on, and prolong no pause.
"""

from __future__ import annotations

import random
import time

from domain.ids import ConversationKey
from domain.throttling import WINDOW, Throttled, tenant_waits_until
from state import keys
from state.scripts import Script, scripted
from state.store import Store

Limits = tuple[tuple[int, float], ...]
"""Each a count and the seconds in which at most so many are sent; empty for no limit."""

LOOK_AGAIN = 1.0
"""Seconds for which a process without a limit for tenants takes it that one which did not pause still does not."""
TENANTS = 10_000
"""Of so many it knows that at most."""

_PRELUDE = """
local t = redis.call('TIME'); local now = t[1] * 1000 + t[2] / 1000
local paused = tonumber(redis.call('HGET', KEYS[1], 'paused') or 0)
local function keep(ms)
  local seconds = math.max(tonumber(ARGV[1]), math.ceil(ms / 1000) + 60)
  if redis.call('TTL', KEYS[1]) < seconds then redis.call('EXPIRE', KEYS[1], seconds) end
end
"""

# KEYS rate | ttl in s, may wait, has a place, jitter from 0 to 1, (ms a send, sends at once)... -> ms to wait
_RESERVE = Script(
    _PRELUDE
    + """
local from = now
if ARGV[2] == '1' then from = math.max(now, paused) end
if from == now and (ARGV[3] == '1' or #ARGV == 4) then return 0 end
local wait = from - now
if #ARGV == 4 then wait = wait + ARGV[4] * math.max(1000, wait) end
for i = 5, #ARGV, 2 do
  local each, burst = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local used = math.max(from, tonumber(redis.call('HGET', KEYS[1], i) or 0))
  if from > now then used = math.max(used, from + each * (burst - 1)) end
  redis.call('HSET', KEYS[1], i, string.format('%.3f', used + each))
  wait = math.max(wait, used + each - each * burst - now)
end
keep(wait)
if ARGV[2] == '0' then return 0 end
return math.ceil(wait)
"""
)

# KEYS rate | nothing, nothing, nothing, nothing, (ms a send, sends at once)... : a place that was kept is not used
_GIVE_BACK = Script(
    """
local t = redis.call('TIME'); local now = t[1] * 1000 + t[2] / 1000
for i = 5, #ARGV, 2 do
  local used = tonumber(redis.call('HGET', KEYS[1], i) or 0)
  if used > now then
    redis.call('HSET', KEYS[1], i, string.format('%.3f', math.max(now, used - ARGV[i])))
  end
end
return 1
"""
)

# KEYS rate | ttl in s, window in ms, conversation, ms to wait, is an answer
# -> {now, conversation, when it was told, until when it waits, ...}, or {} for an answer during a pause
_TOLD = Script(
    _PRELUDE
    + """
if ARGV[5] == '1' and paused > now then return {} end
local mark = '429 '
redis.call('HSET', KEYS[1], mark .. ARGV[3], string.format('%.0f %.0f', now, now + ARGV[4]))
keep(tonumber(ARGV[4]))
local all, lately = redis.call('HGETALL', KEYS[1]), {string.format('%.0f', now)}
for i = 1, #all, 2 do
  if string.sub(all[i], 1, #mark) == mark then
    local at, till = string.match(all[i + 1], '(%d+) (%d+)')
    if tonumber(at) < now - ARGV[2] then redis.call('HDEL', KEYS[1], all[i])
    else
      lately[#lately + 1] = string.sub(all[i], #mark + 1)
      lately[#lately + 1] = at; lately[#lately + 1] = till
    end
  end
end
return lately
"""
)

# KEYS rate | ttl in s, the time in ms until which it pauses -> ms by which that prolongs the pause, 0 if it does not
_PAUSE = Script(
    _PRELUDE
    + """
local longer = ARGV[2] - math.max(now, paused)
if longer <= 0 then return 0 end
redis.call('HSET', KEYS[1], 'paused', ARGV[2])
keep(ARGV[2] - now)
return math.ceil(longer)
"""
)


class Rates:
    """``per_conversation`` and ``per_tenant`` limit what leaves for the channel."""

    def __init__(self, store: Store, *, per_conversation: Limits, per_tenant: Limits) -> None:
        self._store = store
        self._per_conversation = _cells(per_conversation)
        self._per_tenant = _cells(per_tenant)
        self._goes_on_until: dict[str, float] = {}
        """By tenant, on this process's monotonic clock."""

    async def reserve(
        self, key: ConversationKey, tenant: str, *, answer: bool, has_place: bool = False
    ) -> tuple[float, float]:
        """Reserve a send; the seconds after which it may go for the conversation's sake, and for the tenant's.

        ``answer``: it is said in reply to the user. ``has_place``: it has waited, or was tried, and only a pause can
        still be in its way.
        """
        commands = []
        ask_conversation = bool(self._per_conversation) and not has_place
        if ask_conversation:
            arguments = [keys.RATE_TTL, 1, 0, 0, *self._per_conversation]
            commands.append(scripted(_RESERVE, [keys.rate(key)], arguments))
        ask_tenant = self._has_to_ask(tenant, answer, has_place)
        if ask_tenant:
            arguments = [keys.RATE_TTL, int(not answer), int(has_place), random.random(), *self._per_tenant]
            commands.append(scripted(_RESERVE, [keys.tenant_rate(tenant)], arguments))
        if not commands:
            return 0.0, 0.0
        waits = [wait / 1000 for wait in await self._store.together(*commands)]
        own = waits.pop(0) if ask_conversation else 0.0
        shared = waits.pop(0) if ask_tenant else 0.0
        if ask_tenant and not self._per_tenant and not shared:
            if len(self._goes_on_until) >= TENANTS:
                self._goes_on_until.clear()
            self._goes_on_until[tenant] = time.monotonic() + LOOK_AGAIN
        return own, shared

    async def give_back(self, key: ConversationKey, tenant: str) -> None:
        """A send that has its place does not leave: whoever comes next has not to wait for it."""
        used = ((keys.rate(key), self._per_conversation), (keys.tenant_rate(tenant), self._per_tenant))
        await self._store.together(
            *(scripted(_GIVE_BACK, [name], ["", "", "", "", *limits]) for name, limits in used if limits)
        )

    def _has_to_ask(self, tenant: str, answer: bool, has_place: bool) -> bool:
        """Whether a limit of the tenant is to be counted or waited for, or a pause may be in the way."""
        if self._per_tenant:
            return not (answer and has_place)
        return not answer and time.monotonic() >= self._goes_on_until.get(tenant, 0.0)

    async def told_to_wait(self, key: ConversationKey, tenant: str, seconds: float, *, answer: bool) -> float:
        """Note a channel's 429; the seconds by which the whole tenant's pause grew for it, 0 for not at all."""
        name = keys.tenant_rate(tenant)
        told = await self._store.call(
            _TOLD, [name], [keys.RATE_TTL, round(WINDOW * 1000), key, round(seconds * 1000), int(answer)]
        )
        if not told:
            return 0.0
        now, *rest = told
        lately = [
            Throttled(conversation=conversation.decode(), at=int(at) / 1000, until=int(until) / 1000)
            for conversation, at, until in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
        ]
        until = tenant_waits_until(lately, int(now) / 1000)
        if until is None:
            return 0.0
        longer: int = await self._store.call(_PAUSE, [name], [keys.RATE_TTL, round(until * 1000)])
        self._goes_on_until.pop(tenant, None)
        return longer / 1000


def _cells(limits: Limits) -> list[float]:
    """For each limit the milliseconds that a send takes of it, and how many may go at once."""
    return [number for count, seconds in limits for number in (seconds * 1000 / count, count)]
