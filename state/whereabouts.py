"""Where in its conversation a delivery lies, as the store has it; and whose turn it is to look for what it has lost."""

from __future__ import annotations

from datetime import datetime

import orjson

from domain.clock import from_ms
from domain.ids import ConversationKey, DeliveryId
from domain.value import value
from state import keys
from state.scripts import Script
from state.store import Store
from state.turn import FORMATS

# KEYS conversation mailbox outbox | delivery, the same as JSON -> {in the mailbox, in the outbox, format of the state,
# what the service itself keeps there, whether the conversation is known}
_LOOK = Script(
    """
local found = 0
for _, entry in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do
  if string.find(entry, ARGV[2], 1, true) then found = 1 end
end
local state = redis.call('HGET', KEYS[1], 'state')
local form, own = string.match(state or '', '^([^\\n]*)\\n([^\\n]*)')
return {redis.call('HEXISTS', KEYS[2], ARGV[1]), found, form or '', own or '', redis.call('HEXISTS', KEYS[1], 'record')}
"""
)

# KEYS sweep | ms, ttl -> how far it has come, or nil: it is another's turn
_TAKE_TURN = Script(
    """
local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)
local h = redis.call('HMGET', KEYS[1], 'until', 'cursor')
if h[1] and tonumber(h[1]) > now then return nil end
redis.call('HSET', KEYS[1], 'until', now + ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return h[2] or ''
"""
)


@value
class Whereabouts:
    """``lies``: it waits in the mailbox, the inbox or the outbox. ``said_at``: when a turn said it that committed."""

    lies: bool
    said_at: datetime | None = None
    known: bool
    """Whether the conversation is."""


class Lookout:
    """Looks for deliveries, in all processes together one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, key: ConversationKey, delivery: DeliveryId) -> Whereabouts:
        names = [keys.conversation(key), keys.mailbox(key), keys.outbox(key)]
        mailbox, outbox, form, own, known = await self._store.call(_LOOK, names, [delivery, orjson.dumps(delivery)])
        if form not in (b"", *FORMATS):
            return Whereabouts(lies=True, known=True)  # in a state that only newer processes can read
        state = orjson.loads(own or b"{}")
        inbox = any(entry["id"] == delivery for entry in state.get("inbox", ()))
        said = [from_ms(entry["at"]) for entry in state.get("recent", ()) if entry["id"] == delivery]
        lies = bool(mailbox or outbox or inbox)
        return Whereabouts(lies=lies, said_at=max(said, default=None), known=bool(known))

    async def turn(self, seconds: float) -> str | None:
        """How far the last look has come, '' for nowhere, if nobody else looks for so many seconds; None otherwise."""
        cursor = await self._store.call(_TAKE_TURN, [keys.sweep()], [round(seconds * 1000), keys.SWEEP_TTL])
        return None if cursor is None else cursor.decode()

    async def come_to(self, cursor: str) -> None:
        await self._store.run("HSET", keys.sweep(), "cursor", cursor)
