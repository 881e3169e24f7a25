"""The bot: which part of a turn an activity is for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from botbuilder.core import ActivityHandler, BotState, TurnContext
from botbuilder.schema import ActivityEventNames, ActivityTypes, ChannelAccount

from proactive import welcoming
from proactive.beginning_anew import drop_dialogs, no_apology_due, say_dropped, takes_offer
from proactive.delivering import Delivering
from proactive.host import DialogHost
from proactive.services import Jobs
from state.turn import turn_of


class AsideBot(ActivityHandler):
    """The turn handler of both the user's turns and the proactive ones.

    A ``ContinueConversation`` event is never handed to the dialog that waits, and never begins the root dialog.
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

    async def on_turn(self, turn_context: TurnContext) -> None:
        self._give_states(turn_context)
        proactive = turn_context.activity.name == ActivityEventNames.continue_conversation
        if not proactive or await self._host.active(turn_context):
            await self._jobs.count(turn_context)
        await super().on_turn(turn_context)
        await self._end(turn_context)

    async def on_continued(self, logic: Callable[[TurnContext], Awaitable[None]], turn_context: TurnContext) -> None:
        """A turn that the bot's own code began: its callback takes the place of dialogs and notifications. What it
        says is no question of the dialog that waits."""
        self._give_states(turn_context)
        await self._jobs.count(turn_context)
        before = await self._host.stack(turn_context)
        await logic(turn_context)
        if await self._host.stack(turn_context) == before:
            turn_of(turn_context).said.clear()
        else:
            self._host.asks_anew(turn_context)
        await self._end(turn_context)

    def _give_states(self, turn_context: TurnContext) -> None:
        """Dialogs find these under their class names (the SDK's memory scopes look there)."""
        turn_context.turn_state["ConversationState"] = self._conversation_state
        turn_context.turn_state["UserState"] = self._user_state

    async def _end(self, turn_context: TurnContext) -> None:
        if self._host.ran(turn_context):
            no_apology_due(turn_of(turn_context))
        await self._delivering.conclude(turn_context)
        await self._conversation_state.save_changes(turn_context)
        await self._user_state.save_changes(turn_context)

    async def on_message_activity(self, turn_context: TurnContext) -> None:
        anew = takes_offer(turn_context)
        if anew:
            await drop_dialogs(turn_context, self._host, self._conversation_state)
        await self._delivering.before_reply(turn_context)
        if anew:
            await say_dropped(turn_context)
        elif not await self._delivering.open(turn_context) and not await self._delivering.answer(turn_context):
            await self._host.run(turn_context)
        await self._delivering.after_reply(turn_context)

    async def on_event_activity(self, turn_context: TurnContext) -> None:
        if turn_context.activity.name == ActivityEventNames.continue_conversation:
            await self._delivering.proactive(turn_context)
            return
        await self._host.continue_only(turn_context)
        await self._delivering.after_reply(turn_context)

    async def on_invoke_activity(self, turn_context: TurnContext) -> Any:
        await self._host.continue_only(turn_context)
        await self._delivering.after_reply(turn_context)
        if turn_context.turn_state.get(turn_context.adapter._INVOKE_RESPONSE_KEY) is not None:
            return None
        return await super().on_invoke_activity(turn_context)

    async def on_teams_signin_token_exchange(self, turn_context: TurnContext) -> None:
        """The SDK's handler calls this one and has none: where no dialog waits for it, nobody takes it."""
        await self.on_sign_in_invoke(turn_context)

    async def on_members_added_activity(
        self, members_added: list[ChannelAccount], turn_context: TurnContext
    ) -> None:
        await self._welcome(turn_context)

    async def on_members_removed_activity(
        self, members_removed: list[ChannelAccount], turn_context: TurnContext
    ) -> None:
        await self._welcome(turn_context)

    async def on_installation_update(self, turn_context: TurnContext) -> None:
        await self._welcome(turn_context)

    async def _welcome(self, turn_context: TurnContext) -> None:
        """Have the root dialog welcome whom this activity brings, if it wants to."""
        welcome = getattr(self._host.root, "welcome", None)
        if welcoming.due(turn_context) and welcome is not None:
            await welcome(turn_context)

    async def on_unrecognized_activity_type(self, turn_context: TurnContext) -> None:
        if turn_context.activity.type == ActivityTypes.typing:
            return
        await self._host.continue_only(turn_context)
