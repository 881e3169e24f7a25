"""Delivering as middleware: around whatever bot, which part of a turn is the bot's and which is the notifications'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from botbuilder.core import BotAdapter, BotState, Middleware, TurnContext
from botbuilder.schema import ActivityEventNames, ActivityTypes

from proactive.asking import hooks_so_far
from proactive.beginning_anew import drop_dialogs, no_apology_due, say_dropped, takes_offer
from proactive.delivering import Delivering
from proactive.host import WAITS, DialogHost
from proactive.services import Jobs
from state.turn import turn_of

Handler = Callable[[TurnContext], Awaitable[None]]
_DIALOGS_GO_ON = (ActivityTypes.message, ActivityTypes.event, ActivityTypes.invoke)


class DeliveringMiddleware(Middleware):
    """The innermost middleware of every turn, the user's and the proactive ones.

    A ``ContinueConversation`` event goes no further than this, unless ``bot`` has an attribute
    ``handles_notifications = True``: then the bot is offered the event first.
    """

    def __init__(
        self,
        host: DialogHost,
        delivering: Delivering,
        jobs: Jobs,
        conversation_state: BotState,
        user_state: BotState,
    ) -> None:
        self._host = host
        self._jobs = jobs
        self._delivering = delivering
        self._conversation_state = conversation_state
        self._user_state = user_state
        self.bot: Any = None
        """What has ``on_turn``; set once it is made, which may need the adapter that this middleware is part of."""

    async def handler(self, context: TurnContext) -> None:
        """The handler of every turn that is not of the bot's own making."""
        await self.bot.on_turn(context)

    async def on_turn(self, context: TurnContext, logic: Callable[[], Awaitable[None]]) -> None:
        hooks_so_far(context)
        if context.turn_state.get(BotAdapter.BOT_CALLBACK_HANDLER_KEY) != self.handler:
            await logic()  # a turn of the bot's own code, or one inside this turn
            return
        self._give_states(context)
        activity = context.activity
        proactive = activity.type == ActivityTypes.event and activity.name == ActivityEventNames.continue_conversation
        if not proactive or self._offers_all or await self._host.active(context):
            await self._jobs.count(context)
        if activity.type == ActivityTypes.message:
            await self._message(context, logic)
        elif proactive:
            await self._proactive(context, logic)
        else:
            await self._other(context, logic)
        await self._end(context)

    async def continued(self, logic: Handler, context: TurnContext) -> None:
        """A turn that the bot's own code began: its callback takes the place of dialogs and notifications. What it
        says is no question of the dialog that waits."""
        self._give_states(context)
        await self._jobs.count(context)
        await self._beside_dialogs(context, lambda: logic(context))
        await self._end(context)

    def _give_states(self, context: TurnContext) -> None:
        """Dialogs find these under their class names (the SDK's memory scopes look there)."""
        context.turn_state["ConversationState"] = self._conversation_state
        context.turn_state["UserState"] = self._user_state

    @property
    def _offers_all(self) -> bool:
        return getattr(self.bot, "handles_notifications", False) is True

    async def _message(self, context: TurnContext, logic: Callable[[], Awaitable[None]]) -> None:
        anew = takes_offer(context)
        if anew:
            await drop_dialogs(context, self._host, self._conversation_state)
        await self._delivering.before_reply(context)
        if anew:
            await say_dropped(context)
        elif not await self._delivering.open(context) and not await self._delivering.answer(context):
            await self._run(context, logic)
        await self._delivering.after_reply(context)

    async def _proactive(self, context: TurnContext, logic: Callable[[], Awaitable[None]]) -> None:
        if self._offers_all:
            await self._delivering.offer_to_bot(context, logic)
        await self._delivering.proactive(context)

    async def _other(self, context: TurnContext, logic: Callable[[], Awaitable[None]]) -> None:
        """What is nobody's opening words. Dialogs may wait for events and invokes; a word of welcome is no question."""
        if context.activity.type in _DIALOGS_GO_ON:
            await self._run(context, logic)
            await self._delivering.after_reply(context)
        else:
            await self._beside_dialogs(context, logic)

    async def _run(self, context: TurnContext, logic: Callable[[], Awaitable[None]]) -> None:
        turn_of(context).state.own.pop(WAITS, None)
        await self._host.begins(context)
        await logic()

    async def _beside_dialogs(self, context: TurnContext, logic: Callable[[], Awaitable[None]]) -> None:
        before = await self._host.stack(context)
        await logic()
        if await self._host.stack(context) == before:
            turn_of(context).said.clear()
        else:
            self._host.asks_anew(context)

    async def _end(self, context: TurnContext) -> None:
        if self._host.ran(context):
            no_apology_due(turn_of(context))
        await self._delivering.conclude(context)
        await self._conversation_state.save_changes(context)
        await self._user_state.save_changes(context)
