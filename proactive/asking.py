"""The open question: what it was is kept, and it is asked again when something was said in between.

Here is also what makes the service's own words invisible to dialogs: ``context.responded`` is what they make it, and
their hooks see what they send.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from botbuilder.core import TurnContext
from botbuilder.schema import ActivityTypes

from domain.effect import Report, Send
from domain.notification import Json
from proactive.host import DialogHost
from sdk.activities import activity_from_json, to_json
from state.turn import Turn, turn_of

log = logging.getLogger("aside.delivering")

_QUESTION = "question"
_MIDDLEWARES_HOOKS = "aside.hooks"
_ADDRESS = frozenset({"id", "channelId", "serviceUrl", "conversation", "from", "recipient", "replyToId", "timestamp"})
"""What every message is given anew when it is sent."""


@contextmanager
def unnoticed(context: TurnContext) -> Iterator[None]:
    """What is said within is no answer of the bot's, and no question. It leaves ``context.responded`` as it was:
    prompts ask again after a wrong answer only while nobody has responded, and many a bot excuses itself only then.
    (The SDK's setter takes True alone.)"""
    turn = turn_of(context)
    responded, aside = context._responded, turn.aside
    turn.aside = True
    said = len(context.buffered_reply_activities)
    try:
        yield
    finally:
        context._responded, turn.aside = responded, aside
        turn.replied_aside.update(map(id, context.buffered_reply_activities[said:]))


def hooks_so_far(context: TurnContext) -> None:
    """Note the hooks on what is sent that middleware has put there: all of them see what the service says, too."""
    context.turn_state[_MIDDLEWARES_HOOKS] = list(context._on_send_activities)


@contextmanager
def by_the_service(context: TurnContext) -> Iterator[None]:
    """What is said within is the service's own: hooks that the bot or its dialogs put on what is sent do not see it,
    those of middleware do."""
    hooks = context._on_send_activities
    context._on_send_activities = list(context.turn_state.get(_MIDDLEWARES_HOOKS, ()))
    try:
        with unnoticed(context):
            yield
    finally:
        context._on_send_activities = hooks


class Draft:
    """What a turn collects from now on, and may take back."""

    def __init__(self, context: TurnContext) -> None:
        self._turn = turn_of(context)
        self._replies = context.buffered_reply_activities
        self._replied = len(self._replies)
        self._sent_early = len(self._turn.sent_early)
        self._before = list(self._turn.effects)  # kept, so that nothing else is found under their identity
        self._known = {_name(effect) for effect in self._before}

    @property
    def says_something(self) -> bool:
        """Also what has gone out early."""
        if len(self._replies) > self._replied or len(self._turn.sent_early) > self._sent_early:
            return True
        return any(isinstance(effect, Send) and _name(effect) not in self._known for effect in self._turn.effects)

    def take_back(self) -> None:
        """All but what has gone out early, of which there are reports."""
        del self._replies[self._replied :]
        effects = self._turn.effects
        effects[:] = [effect for effect in effects if _name(effect) in self._known or isinstance(effect, Report)]


def _name(effect: Any) -> Any:
    return (effect.operation, effect.provisional) if isinstance(effect, Send) else id(effect)


async def keep_question(host: DialogHost, context: TurnContext, *, waiting: bool) -> None:
    """At the end of a turn: all that the bot has said in it is its question, if a dialog waits for the answer. A
    prompt that has only refused an answer still waits for that to the question before."""
    own = turn_of(context).state.own
    if not waiting:
        forget_question(turn_of(context))
    elif not host.ran(context):
        return  # whoever has spoken, it was none of the dialogs
    elif (said := _said(context)) and (_QUESTION not in own or not await host.asks_as_before(context)):
        own[_QUESTION] = said


def forget_question(turn: Turn) -> None:
    turn.state.own.pop(_QUESTION, None)


async def ask_again(host: DialogHost, context: TurnContext) -> None:
    """Repeat the open question, so that it is again the last thing on the screen.

    What a dialog cannot repeat (it asked with plain messages, or fails at it) is said again as it was. Nothing that
    was shown is lost by it.
    """
    turn = turn_of(context)
    question = _kept(turn)
    before = len(turn.effects)
    turn.hesitates = True
    try:
        with unnoticed(context):
            if not await _tried(context, host.ask_again(context)) and question:
                await _tried(context, _say_again(context, question))
        turn.say_only_after(before)
    finally:
        turn.hesitates = False
    if turn.send_early is not None:
        await turn.send_early()


async def _tried(context: TurnContext, asking: Awaitable[None]) -> bool:
    """Whether something was said. What was half said by what fails is taken back."""
    draft = Draft(context)
    try:
        await asking
    except Exception:
        ids = {"action": "question_not_repeated", "conversation": turn_of(context).conversation}
        log.exception("a dialog cannot repeat its question", extra=ids)
        draft.take_back()
    return draft.says_something


def _kept(turn: Turn) -> list[Json]:
    question = turn.state.own.get(_QUESTION) or []
    return question if isinstance(question, list) else [question]  # as it was kept when it was one message


async def _say_again(context: TurnContext, question: list[Json]) -> None:
    with by_the_service(context):
        await context.send_activities([activity_from_json(message) for message in question])


def _said(context: TurnContext) -> list[Json]:
    """The bot's own messages of this turn, also where the response to the request carries them."""
    turn = turn_of(context)
    replies = [
        to_json(reply)
        for reply in context.buffered_reply_activities
        if reply.type == ActivityTypes.message and id(reply) not in turn.replied_aside
    ]
    return [
        {field: value for field, value in message.items() if field not in _ADDRESS}
        for message in (*turn.said.values(), *replies)
    ]
