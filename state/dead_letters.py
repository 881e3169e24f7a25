"""Dead letters: deliveries that were given up on, kept for inspection and replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson

from domain.clock import Clock, from_ms, to_ms
from domain.delivery import Status, StatusReport
from domain.ids import ConversationKey, DeliveryId, JobId, NotificationId, derived_id
from domain.notification import Json
from state import keys
from state.readable import readable
from state.scripts import Command, Script, scripted
from state.store import Store

UNKNOWN = "unknown"
"""Stands for the reason where nobody knows whether it was shown."""

# KEYS letter | at ms -> 1
_REMOVE = Script(
    """
local body = redis.call('GET', KEYS[1])
if body and string.find(body, '"at":' .. ARGV[1] .. ',', 1, true) then redis.call('DEL', KEYS[1]) end
return 1
"""
)

# KEYS letters | at ms, id -> 1
_REMOVE_FROM_LIST = Script(
    """
local at = redis.call('ZSCORE', KEYS[1], ARGV[2])
if at and tonumber(at) == tonumber(ARGV[1]) then redis.call('ZREM', KEYS[1], ARGV[2]) end
return 1
"""
)


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """``reason`` is the delivery's, or :data:`UNKNOWN`; ``history`` what became of each attempt, oldest first, for the
    operator."""

    id: DeliveryId
    conversation: ConversationKey
    reason: str
    at: datetime
    attempts: int
    history: tuple[str, ...] = ()
    notification: NotificationId | None = None
    index: int = 0
    job: JobId | None = None
    said: Json | None = None
    """The activity, where nobody else keeps what was said."""

    @property
    def replayed_for(self) -> str:
        """What a replay of it is known by: another end of the same delivery is another letter."""
        return f"again:{self.id}:{to_ms(self.at)}"


class DeadLetters:
    """Kept for ``keys.DEAD_LETTER_TTL``, at most ``keys.DEAD_LETTERS`` of them: the oldest make room."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @staticmethod
    def recording(key: ConversationKey, report: StatusReport, history: Sequence[str]) -> list[Command]:
        """Commands that keep a delivery that failed or is unknown; repeating them does no harm."""
        return DeadLetters._keeping(key, report, history, None)

    @staticmethod
    def putting_aside(
        key: ConversationKey,
        what: str,
        at: datetime,
        reason: str,
        history: Sequence[str],
        job: JobId | None = None,
        said: Json | None = None,
    ) -> list[Command]:
        """Commands that keep what was given up and is no delivery: an effect, or what a user said, whose name in its
        conversation is ``what``. Repeating them does no harm."""
        letter = DeliveryId(derived_id("put", key, what))
        report = StatusReport(delivery=letter, status=Status.FAILED, at=at, reason=reason, job=job)
        return DeadLetters._keeping(key, report, history, said)

    @staticmethod
    def _keeping(
        key: ConversationKey, report: StatusReport, history: Sequence[str], said: Json | None
    ) -> list[Command]:
        body: Json = {
            "conversation": key,
            "reason": UNKNOWN if report.status is Status.UNKNOWN else report.reason,
            "at": to_ms(report.at),
            "attempts": report.attempts,
            "history": list(history),
            "notification": report.notification,
            "index": report.index,
            "job": report.job,
            "said": said,
        }
        oldest = -keys.DEAD_LETTERS - 1
        return [
            Command(("SET", keys.dead_letter(report.delivery), orjson.dumps(body), "EX", keys.DEAD_LETTER_TTL)),
            Command(("ZADD", keys.dead_letters(), to_ms(report.at), report.delivery)),
            Command(("ZREMRANGEBYRANK", keys.dead_letters(), 0, oldest)),
        ]

    async def get(self, letter: DeliveryId) -> DeadLetter | None:
        return _letter(letter, await self._store.run("GET", keys.dead_letter(letter)))

    async def page(self, start: int, limit: int) -> tuple[list[DeadLetter], int | None]:
        """Newest first, from rank ``start``; and the rank of the next page, None at the end."""
        too_old = self._clock() - timedelta(seconds=keys.DEAD_LETTER_TTL)
        await self._store.run("ZREMRANGEBYSCORE", keys.dead_letters(), "-inf", to_ms(too_old))
        members = await self._store.run("ZREVRANGE", keys.dead_letters(), start, start + limit - 1)
        ids = [DeliveryId(member.decode()) for member in members]
        bodies = await self._store.together(*(Command(("GET", keys.dead_letter(letter))) for letter in ids))
        letters = [_letter(letter, body) for letter, body in zip(ids, bodies, strict=True)]
        return [letter for letter in letters if letter is not None], (start + limit if len(ids) == limit else None)

    async def remove(self, letter: DeadLetter) -> None:
        """Remove a letter, unless the delivery has failed anew since."""
        at = to_ms(letter.at)
        await self._store.together(
            scripted(_REMOVE, [keys.dead_letter(letter.id)], [at]),
            scripted(_REMOVE_FROM_LIST, [keys.dead_letters()], [at, letter.id]),
        )

    async def count(self) -> int:
        too_old = self._clock() - timedelta(seconds=keys.DEAD_LETTER_TTL)
        return int(await self._store.run("ZCOUNT", keys.dead_letters(), f"({to_ms(too_old)}", "+inf"))


def _letter(letter: DeliveryId, data: bytes | None) -> DeadLetter | None:
    return None if data is None else readable("dead letter", letter, partial(_read, letter, data))


def _read(letter: DeliveryId, data: bytes) -> DeadLetter:
    body: dict[str, Any] = orjson.loads(data)
    return DeadLetter(
        id=letter,
        conversation=ConversationKey(body["conversation"]),
        reason=body["reason"] or "",
        at=from_ms(body["at"]),
        attempts=body["attempts"],
        history=tuple(body["history"]),
        notification=body["notification"],
        index=body["index"],
        job=body["job"],
        said=body.get("said"),
    )
