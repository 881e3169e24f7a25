"""Dialogs that want to know what their user has answered to a notification."""

from __future__ import annotations

from botbuilder.core import MessageFactory
from botbuilder.dialogs import ComponentDialog, DialogContext, DialogEvent, WaterfallDialog
from botbuilder.dialogs.prompts import PromptOptions, TextPrompt


class Clerk(ComponentDialog):
    """Asks for a name, and takes approvals in passing."""

    def __init__(self):
        super().__init__("Clerk")
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.greet]))
        self.add_dialog(TextPrompt("name"))
        self.initial_dialog_id = "steps"

    async def ask(self, step):
        return await step.prompt("name", PromptOptions(prompt=MessageFactory.text("Your name?")))

    async def greet(self, step):
        await step.context.send_activity(f"Hello {step.result}")
        return await step.end_dialog()

    async def on_dialog_event(self, dialog_context: DialogContext, dialog_event: DialogEvent) -> bool:
        if dialog_event.name != "aside.answer" or not dialog_event.value["value"].startswith("approve"):
            return await super().on_dialog_event(dialog_context, dialog_event)
        answer = dialog_event.value
        await dialog_context.context.send_activity(f"{answer['title']}: {answer['value']}, first: {answer['first']}")
        return True
