"""A form in components two deep, with prompts of several kinds and a validator that counts attempts."""

from __future__ import annotations

from botbuilder.dialogs import ComponentDialog, WaterfallDialog, WaterfallStepContext
from botbuilder.dialogs.choices import Choice
from botbuilder.dialogs.prompts import (
    ChoicePrompt,
    ConfirmPrompt,
    NumberPrompt,
    PromptOptions,
    PromptValidatorContext,
)
from botbuilder.schema import Activity, ActivityTypes


def _message(text: str) -> Activity:
    return Activity(type=ActivityTypes.message, text=text)


class Guests(ComponentDialog):
    def __init__(self):
        super().__init__("guests")
        self.add_dialog(WaterfallDialog("guest_steps", [self.ask_number, self.ask_meal, self.finish]))
        self.add_dialog(NumberPrompt("number", self.check_number))
        self.add_dialog(ChoicePrompt("meal"))
        self.initial_dialog_id = "guest_steps"

    async def ask_number(self, step: WaterfallStepContext):
        return await step.prompt("number", PromptOptions(prompt=_message("How many guests?")))

    async def check_number(self, prompt: PromptValidatorContext) -> bool:
        if prompt.recognized.succeeded and 1 <= prompt.recognized.value <= 9:
            return True
        await prompt.context.send_activity(f"From 1 to 9, please (try {prompt.options.number_of_attempts + 1}).")
        return False

    async def ask_meal(self, step: WaterfallStepContext):
        step.values["guests"] = step.result
        choices = [Choice("fish"), Choice("salad")]
        return await step.prompt("meal", PromptOptions(prompt=_message("Which meal?"), choices=choices))

    async def finish(self, step: WaterfallStepContext):
        return await step.end_dialog((step.values["guests"], step.result.value))


class Trip(ComponentDialog):
    def __init__(self):
        super().__init__("trip")
        self.add_dialog(Guests())
        self.add_dialog(ConfirmPrompt("sure"))
        self.add_dialog(WaterfallDialog("trip_steps", [self.ask_guests, self.ask_sure, self.finish]))
        self.initial_dialog_id = "trip_steps"

    async def ask_guests(self, step: WaterfallStepContext):
        return await step.begin_dialog("guests")

    async def ask_sure(self, step: WaterfallStepContext):
        step.values["booking"] = step.result
        return await step.prompt("sure", PromptOptions(prompt=_message("Book it?")))

    async def finish(self, step: WaterfallStepContext):
        guests, meal = step.values["booking"]
        await step.context.send_activity(f"{'Booked' if step.result else 'Not booked'}: {guests} x {meal}")
        return await step.end_dialog()


class Agency(ComponentDialog):
    """The root: the trip is two components below it."""

    def __init__(self):
        super().__init__("agency")
        self.add_dialog(Trip())
        self.initial_dialog_id = "trip"
