"""Dialogs whose question no prompt knows, and dialogs that mind who has spoken before them."""

from __future__ import annotations

import asyncio

from botbuilder.core import CardFactory, MessageFactory
from botbuilder.dialogs import ComponentDialog, Dialog, DialogTurnResult, DialogTurnStatus, WaterfallDialog
from botbuilder.dialogs.choices import Choice
from botbuilder.dialogs.prompts import ActivityPrompt, ChoicePrompt, PromptOptions, TextPrompt
from botbuilder.schema import Activity, ActivityTypes

FORM = {"type": "AdaptiveCard", "version": "1.3", "body": [{"type": "TextBlock", "text": "Fill in"}]}


async def any_text(prompt) -> bool:
    return bool(prompt.context.activity.text)


async def not_short(prompt) -> bool:
    return len(prompt.recognized.value or "") > 2


class Form(ComponentDialog):
    """Asks in one step, and takes the answer in the next."""

    def __init__(self):
        super().__init__(type(self).__name__)
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.finish]))
        self.add_dialog(TextPrompt("text"))
        self.add_dialog(TextPrompt("longer", not_short))
        self.add_dialog(ChoicePrompt("choice"))
        self.add_dialog(ActivityPrompt("activity", any_text))
        self.initial_dialog_id = "steps"

    async def ask(self, step):
        raise NotImplementedError

    async def finish(self, step):
        answer = step.result if isinstance(step.result, str) else step.context.activity.text
        await step.context.send_activity(f"Got {answer}")
        return await step.end_dialog()


class CardThenPrompt(Form):
    """A card is the question; the prompt has none."""

    async def ask(self, step):
        await step.context.send_activity(MessageFactory.attachment(CardFactory.adaptive_card(FORM)))
        return await step.prompt("activity", PromptOptions())


class ChoicesAlone(Form):
    """The question is said, and the prompt has the choices alone."""

    async def ask(self, step):
        await step.context.send_activity("Which colour?")
        return await step.prompt("choice", PromptOptions(choices=[Choice("red"), Choice("blue")]))


class Leaf(ComponentDialog):
    """A component without dialogs in it."""

    def __init__(self):
        super().__init__("leaf")

    async def on_begin_dialog(self, inner_dc, options):
        await inner_dc.context.send_activity("Your name?")
        return Dialog.end_of_turn

    async def on_continue_dialog(self, inner_dc):
        await inner_dc.context.send_activity(f"Got {inner_dc.context.activity.text}")
        return DialogTurnResult(DialogTurnStatus.Complete)


class QuestionAndHint(Form):
    async def ask(self, step):
        await step.context.send_activity("Your name?")
        await step.context.send_activity("(Say cancel to leave.)")
        return Dialog.end_of_turn


class Corrected(Form):
    """Takes back one message of its turn, and changes another."""

    async def ask(self, step):
        gone = await step.context.send_activity("One moment.")
        asked = await step.context.send_activity("Your nam?")
        await step.context.delete_activity(gone.id)
        better = MessageFactory.text("Your name?")
        better.id = asked.id
        await step.context.update_activity(better)
        return Dialog.end_of_turn


class Patient(Form):
    """The question is said, and the prompt refuses short answers in other words."""

    async def ask(self, step):
        await step.context.send_activity("Your name?")
        retry = MessageFactory.text("Longer, please.")
        return await step.prompt("longer", PromptOptions(retry_prompt=retry))


class Welcoming(Dialog):
    """Asks or just listens, and greets whoever joins meanwhile."""

    def __init__(self):
        super().__init__("welcoming")

    async def welcome(self, context):
        await context.send_activity("Welcome!")

    async def begin_dialog(self, dialog_context, options: object = None):
        if dialog_context.context.activity.text == "ask":
            await dialog_context.context.send_activity("Your name?")
        return Dialog.end_of_turn

    async def continue_dialog(self, dialog_context):
        return Dialog.end_of_turn


class Apologetic(Dialog):
    """Says that it did not understand where nobody has answered."""

    def __init__(self):
        super().__init__("apologetic")

    async def begin_dialog(self, dialog_context, options: object = None):
        context = dialog_context.context
        if context.activity.text == "weather":
            await context.send_activity("Sunny")
        if not context.responded:
            await context.send_activity("Sorry, I did not understand.")
        return await dialog_context.end_dialog()


class Shouting(Form):
    """Shouts from its first word on, in every turn."""

    async def on_begin_dialog(self, inner_dc, options):
        inner_dc.context.on_send_activities(_shout)
        return await super().on_begin_dialog(inner_dc, options)

    async def on_continue_dialog(self, inner_dc):
        inner_dc.context.on_send_activities(_shout)
        return await super().on_continue_dialog(inner_dc)

    async def ask(self, step):
        return await step.prompt("text", PromptOptions(prompt=MessageFactory.text("Your name?")))


async def _shout(context, activities: list[Activity], send):
    for activity in activities:
        if activity.type == ActivityTypes.message:
            activity.text = (activity.text or "").upper()
    return await send()


class Halting(TextPrompt):
    def __init__(self, dialog_id: str, breath: float):
        super().__init__(dialog_id)
        self.breath = breath

    async def reprompt_dialog(self, context, instance):
        await context.send_activity("Your na")
        await asyncio.sleep(self.breath)
        raise RuntimeError("out of breath")


class HalfSaid(Form):
    """Raises in the middle of repeating its question."""

    breath = 0.0

    def __init__(self):
        super().__init__()
        self.add_dialog(Halting("halting", self.breath))

    async def ask(self, step):
        return await step.prompt("halting", PromptOptions(prompt=MessageFactory.text("Your name?")))


class SlowlyHalfSaid(HalfSaid):
    breath = 0.3


class Bare(Dialog):
    """No component, no waterfall: a dialog that keeps what it has heard."""

    def __init__(self):
        super().__init__("bare")

    async def begin_dialog(self, dialog_context, options: object = None):
        dialog_context.active_dialog.state["heard"] = []
        await dialog_context.context.send_activity("Your name?")
        return Dialog.end_of_turn

    async def continue_dialog(self, dialog_context):
        heard = dialog_context.active_dialog.state["heard"]
        heard.append(dialog_context.context.activity.text)
        if len(heard) < 2:
            await dialog_context.context.send_activity("And your age?")
            return Dialog.end_of_turn
        await dialog_context.context.send_activity(f"Got {' '.join(heard)}")
        return await dialog_context.end_dialog()
