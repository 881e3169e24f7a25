"""Dead letters: deliveries that were given up on, kept for inspection and replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from domain.clock import Clock, from_ms, to_ms
from domain.delivery import Status, StatusReport
from domain.ids import ConversationKey, DeliveryId, JobId, NotificationId, derived_id
from domain.notification import Json
from state import keys
from state.scripts import Command
from state.store import Store


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """``reason`` is the delivery's; ``history`` what became of each attempt, oldest first, for the operator."""

    id: DeliveryId
    conversation: ConversationKey
    reason: str
    at: datetime
    attempts: int
    history: tuple[str, ...] = ()
    notification: NotificationId | None = None
    index: int = 0
    job: JobId | None = None


class DeadLetters:
    """Kept for ``keys.DEAD_LETTER_TTL``, at most ``keys.DEAD_LETTERS`` of them: the oldest make room."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @staticmethod
    def recording(key: ConversationKey, report: StatusReport, history: Sequence[str]) -> list[Command]:
        """Commands that keep a delivery that failed; repeating them does no harm."""
        return DeadLetters._keeping(key, report, history)

    @staticmethod
    def putting_aside(
        key: ConversationKey, what: str, at: datetime, reason: str, history: Sequence[str], job: JobId | None = None
    ) -> list[Command]:
        """Commands that keep what was given up and is no delivery: an effect, or what a user said, whose name in its
        conversation is ``what``. Repeating them does no harm."""
        letter = DeliveryId(derived_id("put", key, what))
        report = StatusReport(delivery=letter, status=Status.FAILED, at=at, reason=reason, job=job)
        return DeadLetters._keeping(key, report, history)

    @staticmethod
    def _keeping(key: ConversationKey, report: StatusReport, history: Sequence[str]) -> list[Command]:
        body: Json = {
            "conversation": key,
            "reason": report.reason,
            "at": to_ms(report.at),
            "attempts": report.attempts,
            "history": list(history),
            "notification": report.notification,
            "index": report.index,
            "job": report.job,
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

    async def remove(self, letter: DeliveryId) -> None:
        await self._store.sequence(
            Command(("DEL", keys.dead_letter(letter))), Command(("ZREM", keys.dead_letters(), letter))
        )

    async def count(self) -> int:
        return int(await self._store.run("ZCARD", keys.dead_letters()))


def _letter(letter: DeliveryId, data: bytes | None) -> DeadLetter | None:
    if data is None:
        return None
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
    )
