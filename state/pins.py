"""A user's state that others leave as it is while a turn goes on that has already said something.

A turn that another conversation of its user overtakes is run again, on what that one wrote. One that has said something
before its commit cannot be: what the user has read would be said again, or contradicted. So before it speaks it *pins*
the user's state, and turns of other conversations that want to write it wait for that one's commit. A turn that was
overtaken twice pins it too before it is run once more, so that it comes to its end however many others there are.

A pin guards nothing. Every commit compares versions all the same; a pin that is lost, or taken away from a turn that
takes too long (``PATIENCE``), costs that turn its commit and never an update. Turns that write no user's state neither
look at pins nor wait for them.

Decision: this, rather than a commit that merges what both have written. Two changes of one value cannot be merged
without losing one of them; and a turn that decided by an old value, and told its user so, is not mended by a merge.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from enum import Enum

from domain.ids import ConversationKey, UserKey
from state import keys
from state.scripts import Command, Script, scripted
from state.store import Store

log = logging.getLogger("aside.turn")

PATIENCE = 15.0
"""Seconds for which a turn waits for another that has the user's state pinned, before it takes the pin away."""
PAUSES = (0.005, 0.25)
"""First and longest pause, in seconds, of a turn that waits."""

Settle = Callable[[UserKey, str, ConversationKey], Awaitable[object]]
"""See to it that a write which is pending in a user's state is decided."""

# KEYS user pin | token, version as read or '', lease ms -> 1 pinned | 0 the state is another | 2 pinned by another turn
# | the write that is pending, and its conversation
_PIN = Script(
    """
local h = redis.call('HMGET', KEYS[1], 'version', 'pending', 'pending_in')
if ARGV[2] ~= '' and (h[1] or '0') ~= ARGV[2] then return 0 end
local pin = redis.call('GET', KEYS[2])
if pin and pin ~= ARGV[1] then return 2 end
if h[2] then return {h[2], h[3]} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return 1
"""
)

# KEYS pin | token, lease ms
_EXTEND = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 1")

# KEYS pin | token
_REMOVE = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1")


class Pin(Enum):
    """What became of the wish to pin a user's state."""

    CHANGED = 0
    """It is no longer what the turn has read: what the turn does may have to be done again."""
    HELD = 1
    TAKEN = 2
    """By another turn, for now."""


class Pins:
    """A pin ends after ``lease`` milliseconds unless its turn extends it. Every method raises
    :class:`StoreUnavailable`, and may be repeated then."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def pin(
        self, user: UserKey, token: str, version: int | None, *, lease: int, settle: Settle | None = None
    ) -> Pin:
        """Pin a state that was read as ``version``, None for one that is yet to be read. ``settle`` is needed where
        writes can be pending."""
        wanted = "" if version is None else version
        while True:
            answer = await self._store.call(_PIN, [keys.user(user), keys.pin(user)], [token, wanted, lease])
            if isinstance(answer, int):
                return Pin(answer)
            assert settle is not None
            await settle(user, answer[0].decode(), ConversationKey(answer[1].decode()))

    def extending(self, user: UserKey, token: str, lease: int) -> Command:
        """The command that makes a pin last for another lease."""
        return scripted(_EXTEND, [keys.pin(user)], [token, lease])

    async def remove(self, user: UserKey, token: str) -> None:
        """Let others write the state, unless they may already."""
        await self._store.call(_REMOVE, [keys.pin(user)], [token])

    def waiting(self, user: UserKey) -> Waiting:
        return Waiting(self, user)


class Waiting:
    """One turn's wait until nobody else has the user's state pinned."""

    def __init__(self, pins: Pins, user: UserKey) -> None:
        self._pins = pins
        self._user = user
        self._whose = b""
        self._until = 0.0
        self._pause = PAUSES[0]

    async def for_(self, token: bytes) -> None:
        """Let a moment pass for the turn of this token; when it has had enough of them, take its pin away."""
        now = time.monotonic()
        if token != self._whose:
            self._whose, self._until, self._pause = token, now + PATIENCE, PAUSES[0]
        if now >= self._until:
            ids = {"action": "pin_removed", "user": self._user}
            log.warning("a turn that has spoken early takes too long: others go before it", extra=ids)
            await self._pins.remove(self._user, token.decode())
            return
        await asyncio.sleep(self._pause * random.uniform(0.75, 1.25))
        self._pause = min(PAUSES[1], self._pause * 2)
