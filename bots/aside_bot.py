"""The bot that ships: the root dialog in every turn of the user's, and its welcome to who is new."""

from __future__ import annotations

from typing import Any

from botbuilder.core import ActivityHandler, TurnContext
from botbuilder.dialogs import Dialog
from botbuilder.schema import ActivityTypes, ChannelAccount

from proactive import welcoming
from proactive.services import Services


class AsideBot(ActivityHandler):
    """Runs ``dialog``. If that has a coroutine method ``welcome(context)``, it is awaited once for each newcomer."""

    def __init__(self, dialog: Dialog, services: Services) -> None:
        self._dialog = dialog
        self._services = services

    async def on_message_activity(self, turn_context: TurnContext) -> None:
        await self._services.run_dialog(turn_context)

    async def on_event_activity(self, turn_context: TurnContext) -> None:
        await self._services.continue_dialog(turn_context)

    async def on_invoke_activity(self, turn_context: TurnContext) -> Any:
        await self._services.continue_dialog(turn_context)
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
        welcome = getattr(self._dialog, "welcome", None)
        if welcoming.due(turn_context) and welcome is not None:
            await welcome(turn_context)

    async def on_unrecognized_activity_type(self, turn_context: TurnContext) -> None:
        if turn_context.activity.type != ActivityTypes.typing:
            await self._services.continue_dialog(turn_context)
