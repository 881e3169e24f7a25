"""The dialog that is soaked: it keeps what it has heard, so that everything lost or doubled shows."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from botbuilder.core import ConversationState, TurnContext, UserState
from botbuilder.dialogs import Dialog, DialogContext, DialogInstance, DialogTurnResult

from proactive.services import Services

HEARD = "heard"
"""The property of both states: numbers in a conversation's, ``conversation number`` in a user's."""
QUESTION = "And?"


class CountingDialog(Dialog):
    """Hears ``NUMBER``, ``NUMBER wait`` (and then waits for the user), ``NUMBER job`` (and then starts one) and
    ``NUMBER slow`` (and then takes the ``SLOWLY`` seconds of the environment)."""

    def __init__(self, conversation_state: ConversationState, user_state: UserState, services: Services) -> None:
        super().__init__("counting")
        self._heard = conversation_state.create_property(HEARD)
        self._heard_of_user = user_state.create_property(HEARD)
        self._services = services

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None) -> DialogTurnResult:
        return await self.continue_dialog(dialog_context)

    async def continue_dialog(self, dialog_context: DialogContext) -> DialogTurnResult:
        context = dialog_context.context
        number, _, wish = context.activity.text.partition(" ")
        heard: list[Any] = await self._heard.get(context, list)
        heard.append(int(number))
        of_user: list[Any] = await self._heard_of_user.get(context, list)
        of_user.append(f"{context.activity.conversation.id} {number}")
        await context.send_activity(f"heard {number}, {len(heard)} so far")
        if wish == "slow":
            await asyncio.sleep(float(os.environ["SLOWLY"]))
            await context.send_activity("That took a while.")
        if wish == "job":
            self._services.jobs.start(context, "answer", {"number": int(number)}, asked="an answer")
        if wish == "wait":
            await context.send_activity(QUESTION)
            return Dialog.end_of_turn
        return await dialog_context.end_dialog()

    async def reprompt_dialog(self, context: TurnContext, instance: DialogInstance) -> None:
        await context.send_activity(QUESTION)
