"""Ways to ask: any activity, a time, an attachment, and a plain message that no prompt knows of."""

from __future__ import annotations

from botbuilder.core import MessageFactory
from botbuilder.dialogs import ComponentDialog, Dialog, WaterfallDialog, WaterfallStepContext
from botbuilder.dialogs.prompts import (
    ActivityPrompt,
    AttachmentPrompt,
    DateTimePrompt,
    PromptOptions,
    PromptValidatorContext,
)


async def accept_button(prompt: PromptValidatorContext) -> bool:
    """Takes whatever comes, so that what should not come would be seen."""
    return True


class AnyActivity(ComponentDialog):
    def __init__(self):
        super().__init__("any")
        self.add_dialog(ActivityPrompt("activity", accept_button))
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.finish]))
        self.initial_dialog_id = "steps"

    async def ask(self, step: WaterfallStepContext):
        return await step.prompt("activity", PromptOptions(prompt=MessageFactory.text("Press the button.")))

    async def finish(self, step: WaterfallStepContext):
        await step.context.send_activity(f"pressed: {step.result.type} {step.result.name or step.result.text}")
        return await step.end_dialog()


class Appointment(ComponentDialog):
    def __init__(self):
        super().__init__("appointment")
        self.add_dialog(DateTimePrompt("when"))
        self.add_dialog(AttachmentPrompt("picture"))
        self.add_dialog(WaterfallDialog("steps", [self.ask_when, self.ask_picture, self.finish]))
        self.initial_dialog_id = "steps"

    async def ask_when(self, step: WaterfallStepContext):
        return await step.prompt("when", PromptOptions(prompt=MessageFactory.text("When?")))

    async def ask_picture(self, step: WaterfallStepContext):
        step.values["when"] = step.result
        return await step.prompt("picture", PromptOptions(prompt=MessageFactory.text("A picture, please.")))

    async def finish(self, step: WaterfallStepContext):
        when, pictures = step.values["when"], step.result
        await step.context.send_activity(f"{when[0].timex}: {pictures[0].name}")
        return await step.end_dialog()


class InPassing(ComponentDialog):
    """Asks with plain messages; the next step takes what the user says."""

    def __init__(self):
        super().__init__("in_passing")
        self.add_dialog(WaterfallDialog("steps", [self.ask_name, self.ask_colour, self.finish]))
        self.initial_dialog_id = "steps"

    async def ask_name(self, step: WaterfallStepContext):
        await step.context.send_activity("Welcome to the survey.")
        await step.context.send_activity("What is your name?")
        return Dialog.end_of_turn

    async def ask_colour(self, step: WaterfallStepContext):
        step.values["name"] = step.context.activity.text
        await step.context.send_activity("Your favourite colour?")
        return Dialog.end_of_turn

    async def finish(self, step: WaterfallStepContext):
        await step.context.send_activity(f"{step.values['name']} likes {step.context.activity.text}")
        return await step.end_dialog()
