"""A user's state on a cluster, where it is in another slot than the conversation whose turn changes it.

One server commits both in one script. Here the turn's commit stays the one script in the conversation's slot, and
decides for both:

1. *Prepare*, in the user's slot: if the state is still as the turn read it, the new one is put beside it as pending.
2. *Commit*, in the conversation's slot: the field ``confirm`` names the prepared write, in the script that commits.
3. *Confirm*, in the user's slot: what is pending becomes the state. Only then is ``confirm`` cleared, along with
   the outbox.

Whoever meets a write that is pending asks the conversation, and only the conversation, what became of it:

- ``confirm`` names it: it is committed, and is confirmed in place of whoever did not get that far.
- The turn that prepared it has begun anew, or does not have the lock: it can never be committed and is dropped.
- Otherwise it is about to be committed. Reading, it is as if it had not happened yet. Writing, it is waited for; a
  turn that is not done within ``PATIENCE`` is refused the commit of this write (the field ``refused``) and will be
  run again. It keeps its lock: nobody waits for the lease of a process that was killed between 1 and 2.

A write is named by its turn's token and fence, which no two attempts at a commit share; so each of these steps may be
repeated, late as well. A conversation confirms what an earlier turn of its own has left before it begins another.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from enum import Enum
from typing import Any

from domain.ids import ConversationKey, UserKey
from state import keys
from state.pins import Pins
from state.scripts import Command, Script
from state.store import Store

PATIENCE = 0.25
"""Seconds for which a turn waits for another's commit before it has that refused; a commit takes a round trip."""
FIRST_PAUSE = 0.002

# KEYS user pin | version as read, write, conversation, state, token -> '' prepared | whose turn has the state pinned |
# the write that is pending, and its conversation | 0 the state is another
_PREPARE = Script(
    """
local pin = redis.call('GET', KEYS[2])
if pin and pin ~= ARGV[5] then return {pin} end
local h = redis.call('HMGET', KEYS[1], 'version', 'pending', 'pending_in')
if (h[1] or '0') ~= ARGV[1] then return 0 end
if h[2] and h[2] ~= ARGV[2] then return {h[2], h[3]} end
redis.call('HSET', KEYS[1], 'pending', ARGV[2], 'pending_in', ARGV[3], 'pending_state', ARGV[4])
return ''
"""
)

_DISCARD = "redis.call('HDEL', KEYS[1], 'pending', 'pending_in', 'pending_state')\n"

# KEYS user | write
_CONFIRM = Script(
    """
local h = redis.call('HMGET', KEYS[1], 'pending', 'pending_state', 'version')
if h[1] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'state', h[2], 'version', (h[3] or 0) + 1)
"""
    + _DISCARD
    + "return 1"
)

# KEYS user | write
_DROP = Script("if redis.call('HGET', KEYS[1], 'pending') ~= ARGV[1] then return 0 end\n" + _DISCARD + "return 1")

# KEYS conversation | write, whether to refuse it -> 1 committed | 0 never to be committed | 2 about to be
_ASK = Script(
    """
local h = redis.call('HMGET', KEYS[1], 'confirm', 'lock', 'fence', 'refused')
if h[1] and string.sub(h[1], 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then return 1 end
if not h[2] or h[2] .. '.' .. h[3] ~= ARGV[1] or h[4] == ARGV[1] then return 0 end
if ARGV[2] == '0' then return 2 end
redis.call('HSET', KEYS[1], 'refused', ARGV[1])
return 0
"""
)

# KEYS conversation | what is confirmed
_CLEAR = Script(
    "if redis.call('HGET', KEYS[1], 'confirm') == ARGV[1] then redis.call('HDEL', KEYS[1], 'confirm') end return 1"
)


class _Fate(Enum):
    NEVER = 0
    COMMITTED = 1
    OPEN = 2


@dataclass(frozen=True, kw_only=True)
class Write:
    """A change of a user's state by one attempt at a commit; ``fence`` is that of the turn."""

    user: UserKey
    token: str
    fence: int

    @property
    def id(self) -> str:
        return f"{self.token}.{self.fence}"

    def encoded(self) -> str:
        """As the conversation keeps it in ``confirm``."""
        return f"{self.id} {self.user}"

    @classmethod
    def decode(cls, confirm: bytes) -> Write:
        write, _, user = confirm.decode().partition(" ")
        token, _, fence = write.rpartition(".")
        return cls(user=UserKey(user), token=token, fence=int(fence))


class PreparedWrites:
    """Users' states on a cluster. Every method raises :class:`StoreUnavailable`, and may be repeated then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pins = Pins(store)

    async def read(self, user: UserKey) -> list[Any]:
        """State and version of a user as they stand, whatever is pending, and how many jobs are listed as theirs."""
        while True:
            fields = ("state", "version", "pending", "pending_in")
            reads = Command(("HMGET", keys.user(user), *fields)), Command(("ZCARD", keys.user_jobs(user)))
            answer, jobs = await self._store.together(*reads)
            if answer[2] is None or answer[3] is None:
                return [*answer[:2], jobs]
            pending, conversation = answer[2].decode(), ConversationKey(answer[3].decode())
            fate = await self._ask(conversation, pending, refuse=False)
            if fate is _Fate.COMMITTED:
                await self._confirm(user, pending)
            elif fate is _Fate.NEVER:
                await self._drop(user, pending)
            else:
                return [*answer[:2], jobs]

    async def prepare(self, key: ConversationKey, write: Write, version: int, state: bytes) -> bool:
        """Put a state beside the one that was read as ``version``. False if that is another by now."""
        names = [keys.user(write.user), keys.pin(write.user)]
        waiting = self._pins.waiting(write.user)
        while True:
            answer = await self._store.call(_PREPARE, names, [version, write.id, key, state, write.token])
            if answer == 0:
                return False
            if not answer:
                return True
            if len(answer) == 1:
                await waiting.for_(answer[0])
            elif await self.settle(write.user, answer[0].decode(), ConversationKey(answer[1].decode())):
                return False

    async def settle(self, user: UserKey, pending: str, conversation: ConversationKey) -> bool:
        """Wait until a write of another's is decided, and carry that out. True if it is the user's state now."""
        if await self._fate(conversation, pending) is _Fate.COMMITTED:
            await self._confirm(user, pending)
            return True
        await self._drop(user, pending)
        return False

    async def confirm(self, write: Write) -> None:
        """Make what was committed the user's state."""
        await self._confirm(write.user, write.id)

    async def drop(self, write: Write) -> None:
        """Forget a write whose commit was refused."""
        await self._drop(write.user, write.id)

    async def catch_up(self, key: ConversationKey, write: Write) -> None:
        """Confirm what an earlier turn of this conversation has committed, and note that it is."""
        await self.confirm(write)
        await self._store.call(_CLEAR, [keys.conversation(key)], [write.encoded()])

    async def has_committed(self, key: ConversationKey, token: str) -> bool:
        """Whether the conversation's last commit was this turn's."""
        return bool(await self._store.run("HGET", keys.conversation(key), "committed") == token.encode())

    async def _fate(self, conversation: ConversationKey, pending: str) -> _Fate:
        """What became of a write, once it is decided."""
        pause, waited = FIRST_PAUSE, 0.0
        while (fate := await self._ask(conversation, pending, refuse=waited >= PATIENCE)) is _Fate.OPEN:
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))
            waited += pause
            pause *= 2
        return fate

    async def _ask(self, conversation: ConversationKey, pending: str, *, refuse: bool) -> _Fate:
        return _Fate(await self._store.call(_ASK, [keys.conversation(conversation)], [pending, int(refuse)]))

    async def _confirm(self, user: UserKey, pending: str) -> None:
        await self._store.call(_CONFIRM, [keys.user(user)], [pending])

    async def _drop(self, user: UserKey, pending: str) -> None:
        await self._store.call(_DROP, [keys.user(user)], [pending])
