"""Dead letters: what was given up, and another try for it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from domain.errors import NothingToReplay
from domain.ids import DeliveryId
from state.dead_letters import DeadLetter, DeadLetters
from web.access import SENDER
from web.problems import Problem, not_found
from web.reading import cursor_number, cursor_text, json_answer, parse_query
from web.records_model import Moment, Query, View

log = logging.getLogger("aside.web")

Replay = Callable[[DeliveryId], Awaitable[DeadLetter | None]]
"""Gives a dead letter another try; None if there is none, raises :class:`NothingToReplay`."""


class DeadLettersQuery(Query):
    pass


class DeadLetterView(View):
    id: str
    """The delivery's id."""
    conversation: str
    notification: str | None
    job: str | None
    reason: str
    attempts: int
    at: Moment
    history: list[str]
    """What became of each attempt, oldest first."""

    @classmethod
    def of(cls, letter: DeadLetter) -> DeadLetterView:
        fields: dict[str, Any] = {name: getattr(letter, name) for name in cls.model_fields}
        return cls(**fields | {"history": list(letter.history)})


class DeadLetterPage(View):
    dead_letters: list[DeadLetterView]
    next: str | None


class DeadLetterRecords:
    def __init__(self, dead_letters: DeadLetters, replay: Replay) -> None:
        self._dead_letters = dead_letters
        self._replay = replay

    async def page(self, request: web.Request) -> web.StreamResponse:
        query = parse_query(DeadLettersQuery, request)
        letters, following = await self._dead_letters.page(cursor_number(query.cursor), query.limit)
        views = [DeadLetterView.of(letter) for letter in letters]
        return json_answer(DeadLetterPage(dead_letters=views, next=cursor_text(following)))

    async def replay(self, request: web.Request) -> web.StreamResponse:
        letter_id = DeliveryId(request.match_info["id"])
        try:
            letter = await self._replay(letter_id)
        except NothingToReplay as error:
            raise Problem(409, "nothing-to-replay", "Nothing to replay", str(error)) from error
        if letter is None:
            raise not_found("No dead letter has this id, or it is no longer kept.")
        ids = {"action": "dead_letter_replayed", "delivery": letter_id, "conversation": letter.conversation}
        log.info("a dead letter is replayed", extra={**ids, "sender": request[SENDER]})
        return json_answer(DeadLetterView.of(letter), status=202)
