"""Requests that are sent again: the same idempotency key and body get the first answer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

import orjson

from domain.clock import Clock, to_ms
from domain.ids import NotificationId, new_id
from domain.notification import Json
from state import keys
from state.scripts import Script
from state.store import Store

IN_PROGRESS = timedelta(seconds=5)
"""How long a request with an idempotency key may take before another may carry on in its place. That does no harm (it
accepts the same notification), and one that was answered 503 because the store went away is not to block the key."""

# KEYS idempotency | entry, ttl -> the entry that was there before, or nil
_RESERVE = Script(
    """
local before = redis.call('GET', KEYS[1])
if before then return before end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return nil
"""
)


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


class IdempotencyKeys:
    """Each sender's keys, and what was answered under them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

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


def _idempotency_name(sender: str, key: str) -> str:
    """Each sender's idempotency keys are its own."""
    return keys.idempotency(hashlib.sha256(f"{sender}\x00{key}".encode()).hexdigest())
