"""Dead letters: what was given up or is unknown, with what was said and to whom, and another try for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Annotated, Protocol

from aiohttp import web
from pydantic import Field

from domain.errors import ConversationFull, NothingToReplay
from domain.ids import DeliveryId
from domain.notification import Content, Json
from state.conversations import Conversations, Known
from state.dead_letters import DeadLetter, DeadLetters
from web.access import SENDER
from web.problems import Problem, not_found
from web.reading import cursor_number, cursor_text, json_answer, parse_query
from web.records_model import Moment, Query, UserView, View, user_of

log = logging.getLogger("aside.web")

LOOKED_AT = 2000
"""Letters that one request for many looks at, and so replays at most."""
TOGETHER = 50
"""Of these so many at once."""


class Replayed(Protocol):
    """A letter that was replayed. ``withdrawn``: it was cancelled after it had failed."""

    @property
    def letter(self) -> DeadLetter: ...
    @property
    def withdrawn(self) -> bool: ...


class Replay(Protocol):
    """Gives dead letters another try, and knows what they say."""

    async def __call__(self, letter_id: DeliveryId, *, unless_withdrawn: bool = False) -> Replayed | None:
        """None if there is none. Raises :class:`NothingToReplay` and :class:`ConversationFull`."""

    async def said(self, letters: Sequence[DeadLetter]) -> list[Content | None]:
        """What each says; None where it is no longer kept."""


class DeadLettersQuery(Query):
    pass


class ReplayQuery(Query):
    reason: Annotated[str, Field(min_length=1, max_length=200)]
    """The reason of those that are to be replayed, as the list of dead letters has it."""
    limit: Annotated[int, Field(ge=1, le=LOOKED_AT)] = LOOKED_AT
    """Letters that are looked at."""


class DeadLetterView(View):
    id: str
    """The delivery's id."""
    conversation: str
    user: UserView | None
    text: str | None
    """What was said: its text, or its title."""
    content: Json | None
    """What was said: the activity. Null, and the text too, where it is no longer kept."""
    notification: str | None
    job: str | None
    reason: str
    """The reason of a delivery that failed; `unknown` if nobody knows whether it was shown."""
    attempts: int
    at: Moment
    history: list[str]
    """What became of each attempt, oldest first."""

    @classmethod
    def of(cls, letter: DeadLetter, content: Content | None, known: Known | None) -> DeadLetterView:
        names = ("id", "conversation", "notification", "job", "reason", "attempts", "at")
        return cls(
            **{name: getattr(letter, name) for name in names},
            user=user_of(known.reference) if known is not None else None,
            text=(content.activity.get("text") or content.title) if content is not None else None,
            content=content.activity if content is not None else None,
            history=list(letter.history),
        )


class DeadLetterPage(View):
    dead_letters: list[DeadLetterView]
    next: str | None


class ReplayedView(DeadLetterView):
    withdrawn: bool
    """Its notification was cancelled after it had failed. It is shown all the same, unless that is cancelled again."""


class LeftView(View):
    id: str
    detail: str
    """Why it is not replayed."""


class ManyReplayed(View):
    replayed: int
    left: list[LeftView]
    """Those with the reason that are not replayed."""
    next: str | None
    """Where to go on: there are more letters."""


class DeadLetterRecords:
    def __init__(self, dead_letters: DeadLetters, replay: Replay, conversations: Conversations) -> None:
        self._dead_letters = dead_letters
        self._replay = replay
        self._conversations = conversations

    async def page(self, request: web.Request) -> web.StreamResponse:
        query = parse_query(DeadLettersQuery, request)
        letters, following = await self._dead_letters.page(cursor_number(query.cursor), query.limit)
        views = await self._views(letters)
        return json_answer(DeadLetterPage(dead_letters=views, next=cursor_text(following)))

    async def replay(self, request: web.Request) -> web.StreamResponse:
        letter_id = DeliveryId(request.match_info["id"])
        try:
            replayed = await self._replay(letter_id)
        except NothingToReplay as error:
            raise Problem(409, "nothing-to-replay", "Nothing to replay", str(error)) from error
        if replayed is None:
            raise not_found("No dead letter has this id: it may have been replayed already, or is no longer kept.")
        _log_replayed(replayed.letter, request)
        (view,) = await self._views([replayed.letter])
        return json_answer(ReplayedView(**dict(view), withdrawn=replayed.withdrawn), status=202)

    async def replay_many(self, request: web.Request) -> web.StreamResponse:
        """Of a bounded number of letters those with the reason. What was withdrawn since is left as it is."""
        query = parse_query(ReplayQuery, request)
        start = cursor_number(query.cursor)
        letters, following = await self._dead_letters.page(start, query.limit)
        wanted = [letter for letter in letters if letter.reason == query.reason]
        left: list[LeftView] = []
        for first in range(0, len(wanted), TOGETHER):
            some = wanted[first : first + TOGETHER]
            details = await asyncio.gather(*(self._replay_one(letter, request) for letter in some))
            pairs = zip(some, details, strict=True)
            left += [LeftView(id=letter.id, detail=detail) for letter, detail in pairs if detail is not None]
        replayed = len(wanted) - len(left)
        if following is not None:
            following -= replayed  # they are gone from the list
        return json_answer(ManyReplayed(replayed=replayed, left=left, next=cursor_text(following)), status=202)

    async def _replay_one(self, letter: DeadLetter, request: web.Request) -> str | None:
        """Why a letter is not replayed, None if it is."""
        try:
            replayed = await self._replay(letter.id, unless_withdrawn=True)
        except (NothingToReplay, ConversationFull) as error:
            return str(error)
        if replayed is None:
            return "It was replayed meanwhile."
        _log_replayed(letter, request)
        return None

    async def _views(self, letters: Sequence[DeadLetter]) -> list[DeadLetterView]:
        said, known = await asyncio.gather(
            self._replay.said(letters), self._conversations.get_many([letter.conversation for letter in letters])
        )
        return [DeadLetterView.of(*each) for each in zip(letters, said, known, strict=True)]


def _log_replayed(letter: DeadLetter, request: web.Request) -> None:
    ids = {"action": "dead_letter_replayed", "delivery": letter.id, "conversation": letter.conversation}
    log.info("a dead letter is replayed", extra={**ids, "sender": request[SENDER]})
