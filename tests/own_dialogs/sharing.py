"""Dialogs that the SDK finds through their parents, and one that fails when it is to ask again."""

from __future__ import annotations

from botbuilder.core import MessageFactory, TurnContext
from botbuilder.dialogs import ComponentDialog, Dialog, DialogInstance, WaterfallDialog, WaterfallStepContext
from botbuilder.dialogs.prompts import NumberPrompt, PromptOptions, TextPrompt


class Guest(ComponentDialog):
    """Asks with prompts that its parent holds."""

    def __init__(self):
        super().__init__("guest")
        self.add_dialog(WaterfallDialog("steps", [self.ask_count, self.finish]))
        self.initial_dialog_id = "steps"

    async def ask_count(self, step: WaterfallStepContext):
        asked = PromptOptions(prompt=MessageFactory.text("How many?"), retry_prompt=MessageFactory.text("A number!"))
        return await step.prompt("number", asked)

    async def finish(self, step: WaterfallStepContext):
        return await step.end_dialog(step.result)


class Hotel(ComponentDialog):
    def __init__(self):
        super().__init__("hotel")
        self.add_dialog(WaterfallDialog("flow", [self.begin_guest, self.finish]))
        self.add_dialog(NumberPrompt("number"))
        self.add_dialog(Guest())
        self.initial_dialog_id = "flow"

    async def begin_guest(self, step: WaterfallStepContext):
        return await step.begin_dialog("guest")

    async def finish(self, step: WaterfallStepContext):
        await step.context.send_activity(f"Booked for {step.result:g}")
        return await step.end_dialog()


class Round(ComponentDialog):
    """Replaces itself inside itself when a round is over, as bots that offer more to do are written."""

    def __init__(self):
        super().__init__("round")
        self.add_dialog(TextPrompt("text"))
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.again]))
        self.initial_dialog_id = "steps"

    async def ask(self, step: WaterfallStepContext):
        return await step.prompt("text", PromptOptions(prompt=MessageFactory.text(step.options or "What can I do?")))

    async def again(self, step: WaterfallStepContext):
        if step.result == "sink":
            raise RecursionError("deeper than Python goes")
        return await step.replace_dialog(self.id, "What else?")


class SaidBefore(ComponentDialog):
    """Says the question itself, and begins a prompt that has none."""

    def __init__(self):
        super().__init__("said_before")
        self.add_dialog(TextPrompt("text"))
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.finish]))
        self.initial_dialog_id = "steps"

    async def ask(self, step: WaterfallStepContext):
        await step.context.send_activity("Your name?")
        return await step.prompt("text", PromptOptions())

    async def finish(self, step: WaterfallStepContext):
        await step.context.send_activity(f"Hello {step.result}")
        return await step.end_dialog()


class Sulking(Dialog):
    """Raises when it is to ask again."""

    def __init__(self):
        super().__init__("sulking")

    async def begin_dialog(self, dialog_context, options: object = None):
        await dialog_context.context.send_activity("Your name?")
        return Dialog.end_of_turn

    async def continue_dialog(self, dialog_context):
        await dialog_context.context.send_activity(f"Hello {dialog_context.context.activity.text}")
        return await dialog_context.end_dialog()

    async def reprompt_dialog(self, context: TurnContext, instance: DialogInstance):
        await context.send_activity("half a question")
        raise RuntimeError("asked already")


class Booking(ComponentDialog):
    """Can be left, and explains itself, in every step: what it hears is looked at before its prompts see it."""

    def __init__(self):
        super().__init__("booking")
        self.add_dialog(TextPrompt("text"))
        self.add_dialog(NumberPrompt("nights"))
        self.add_dialog(WaterfallDialog("steps", [self.ask_where, self.ask_nights, self.finish]))
        self.initial_dialog_id = "steps"

    async def on_continue_dialog(self, inner_dc):
        said = inner_dc.context.activity.text
        if said == "help":
            await inner_dc.context.send_activity("I book rooms.")
            await inner_dc.reprompt_dialog()
            return Dialog.end_of_turn
        if said == "cancel":
            await inner_dc.context.send_activity("Cancelling")
            return await inner_dc.cancel_all_dialogs()
        return await super().on_continue_dialog(inner_dc)

    async def ask_where(self, step: WaterfallStepContext):
        return await step.prompt("text", PromptOptions(prompt=MessageFactory.text("Where to?")))

    async def ask_nights(self, step: WaterfallStepContext):
        step.values["where"] = step.result
        asked = PromptOptions(prompt=MessageFactory.text("Nights?"), retry_prompt=MessageFactory.text("A number!"))
        return await step.prompt("nights", asked)

    async def finish(self, step: WaterfallStepContext):
        return await step.end_dialog(f"{step.values['where']} for {step.result:g}")


class Desk(ComponentDialog):
    """A root that never ends: it offers more when a booking is over, by replacing itself inside itself."""

    def __init__(self):
        super().__init__("desk")
        self.add_dialog(TextPrompt("text"))
        self.add_dialog(Booking())
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.begin, self.again]))
        self.initial_dialog_id = "steps"

    async def ask(self, step: WaterfallStepContext):
        return await step.prompt("text", PromptOptions(prompt=MessageFactory.text(step.options or "What can I do?")))

    async def begin(self, step: WaterfallStepContext):
        return await step.begin_dialog("booking") if step.result == "book" else await step.next(None)

    async def again(self, step: WaterfallStepContext):
        if step.result:
            await step.context.send_activity(f"Booked {step.result}")
        return await step.replace_dialog(self.id, "What else?")
