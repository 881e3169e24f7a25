"""A root dialog whose every turn reads and writes both states: ``ROOT_DIALOG=benchmarks.counting:Counting``.

It asks for more again and again, and counts what it was told in the conversation and by the user.
"""

from __future__ import annotations

from botbuilder.core import ConversationState, MessageFactory, UserState
from botbuilder.dialogs import ComponentDialog, DialogTurnResult, WaterfallDialog, WaterfallStepContext
from botbuilder.dialogs.prompts import PromptOptions, TextPrompt


class Counting(ComponentDialog):
    def __init__(self, conversation_state: ConversationState, user_state: UserState) -> None:
        super().__init__("counting")
        self._here = conversation_state.create_property("Counted")
        self._everywhere = user_state.create_property("Counted")
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.count]))
        self.add_dialog(TextPrompt("words"))
        self.initial_dialog_id = "steps"

    async def ask(self, step: WaterfallStepContext) -> DialogTurnResult:
        said = step.options if isinstance(step.options, str) else "Tell me something."
        return await step.prompt("words", PromptOptions(prompt=MessageFactory.text(said)))

    async def count(self, step: WaterfallStepContext) -> DialogTurnResult:
        here = (await self._here.get(step.context) or 0) + 1
        everywhere = (await self._everywhere.get(step.context) or 0) + 1
        await self._here.set(step.context, here)
        await self._everywhere.set(step.context, everywhere)
        return await step.replace_dialog("steps", f"{here} here, {everywhere} in all. What else?")
