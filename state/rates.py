"""Send limits, shared by all processes: the generic cell rate algorithm, with a slot reserved for who has to wait.

A send that is early is given the moment at which it may go; when it comes back then, it does not ask again. What
users are answered is counted against their tenant's limit, but does not stand in line behind a broadcast.
"""

from __future__ import annotations

from domain.ids import ConversationKey
from state import keys
from state.store import Script, Store, scripted

Limits = tuple[tuple[int, float], ...]
"""Each a count and the seconds in which at most so many are sent; empty for no limit."""

# KEYS rate | ttl in s, may wait, (ms a send, sends at once)... -> ms to wait
_RESERVE = Script(
    """
local t = redis.call('TIME'); local now = t[1] * 1000 + t[2] / 1000
local wait = 0
for i = 3, #ARGV, 2 do
  local each, burst = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local at = math.max(now, tonumber(redis.call('HGET', KEYS[1], i) or 0)) + each
  redis.call('HSET', KEYS[1], i, string.format('%.3f', at))
  wait = math.max(wait, at - each * burst - now)
end
redis.call('EXPIRE', KEYS[1], math.max(tonumber(ARGV[1]), math.ceil(wait / 1000) + 60))
if ARGV[2] == '0' then return 0 end
return math.ceil(wait)
"""
)


class Rates:
    """``per_conversation`` and ``per_tenant`` limit what leaves for the channel."""

    def __init__(self, store: Store, *, per_conversation: Limits, per_tenant: Limits) -> None:
        self._store = store
        self._per_conversation = _cells(per_conversation)
        self._per_tenant = _cells(per_tenant)

    async def reserve(self, key: ConversationKey, tenant: str, *, answer: bool) -> float:
        """Reserve a send; the seconds after which it may go. ``answer``: it is said in reply to the user."""
        commands = []
        if self._per_conversation:
            commands.append(scripted(_RESERVE, [keys.rate(key)], [keys.RATE_TTL, 1, *self._per_conversation]))
        if self._per_tenant:
            arguments = [keys.RATE_TTL, int(not answer), *self._per_tenant]
            commands.append(scripted(_RESERVE, [keys.tenant_rate(tenant)], arguments))
        return max(await self._store.together(*commands), default=0) / 1000


def _cells(limits: Limits) -> list[float]:
    """For each limit the milliseconds that a send takes of it, and how many may go at once."""
    return [number for count, seconds in limits for number in (seconds * 1000 / count, count)]
