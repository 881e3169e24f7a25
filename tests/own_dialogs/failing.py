"""Dialogs with mistakes in them."""

from __future__ import annotations

import asyncio
import sys

from botbuilder.core import ConversationState, MessageFactory, UserState
from botbuilder.dialogs import ComponentDialog, Dialog, DialogContext, DialogEvents, WaterfallDialog
from botbuilder.dialogs.prompts import PromptOptions, TextPrompt
from botbuilder.schema import Activity, ConversationReference


class Counting(Dialog):
    """Counts in both states and says so; then may fail."""

    def __init__(self, conversation_state: ConversationState, user_state: UserState, services):
        super().__init__("counting")
        self.here = conversation_state.create_property("count")
        self.everywhere = user_state.create_property("count")
        self.kept = user_state.create_property("kept")
        self.services = services

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        here = await self.here.get(context, int) + 1
        everywhere = await self.everywhere.get(context, int) + 1
        await self.here.set(context, here)
        await self.everywhere.set(context, everywhere)
        await context.send_activity(f"count {here} {everywhere}")
        if context.activity.text == "fail":
            self.services.jobs.start(context, "wait", {"text": "0"}, asked="wait 0")
            raise RuntimeError("secret: the password is hunter2")
        if context.activity.text == "exit":
            sys.exit("secret: enough")
        if context.activity.text == "cancelled":
            raise asyncio.CancelledError
        if context.activity.text == "lambda":
            await self.kept.set(context, {"orders": [{"price": lambda: 1}]})
        return Dialog.end_of_turn if context.activity.text == "stay" else await dialog_context.end_dialog()

    async def continue_dialog(self, dialog_context: DialogContext):
        return await self.begin_dialog(dialog_context)


class Changing(Dialog):
    """Changes messages in ways that cannot be carried out, and says what it is told."""

    def __init__(self):
        super().__init__("changing")

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        said = await context.send_activity("said")
        unaddressed = Activity(type="message", id="act-1", text="changed")
        asked = {
            "no id": lambda: context.update_activity(MessageFactory.text("changed")),
            "a number": lambda: context.delete_activity(ConversationReference(activity_id=7)),
            "its own": lambda: context.update_activity(Activity(type="message", id=said.id, text="changed")),
            "delete its own": lambda: context.delete_activity(said.id),
            "no address": lambda: context.adapter.update_activity(context, unaddressed),
            "nowhere": lambda: context.adapter.send_activities(context, [unaddressed]),
            "no conversation": lambda: context.delete_activity(ConversationReference(activity_id="act-1")),
        }.get(context.activity.text)
        if asked is not None:
            try:
                await asked()
            except Exception as error:
                await context.send_activity(type(error).__name__)
        return await dialog_context.end_dialog()


class Mute(TextPrompt):
    """Asks once; asking again fails."""

    async def reprompt_dialog(self, context, instance):
        raise RuntimeError("secret: no second time")


class AskingOnce(ComponentDialog):
    def __init__(self):
        super().__init__("asking_once")
        self.add_dialog(Mute("name"))
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.finish]))
        self.initial_dialog_id = "steps"

    async def ask(self, step):
        return await step.prompt("name", PromptOptions(prompt=MessageFactory.text("Your name?")))

    async def finish(self, step):
        await step.context.send_activity(f"Hello {step.result}")
        return await step.end_dialog()


class Startled(TextPrompt):
    """Fails over every notification that it is offered, in the middle of a sentence."""

    async def on_dialog_event(self, dialog_context, dialog_event):
        if dialog_event.name != "aside.notification":
            return await super().on_dialog_event(dialog_context, dialog_event)
        await dialog_context.context.send_activity("Oh, and")
        raise LookupError("secret: never heard of it")


class Booking(ComponentDialog):
    def __init__(self):
        super().__init__("booking")
        self.add_dialog(Startled("day"))
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.finish]))
        self.initial_dialog_id = "steps"

    async def ask(self, step):
        return await step.prompt("day", PromptOptions(prompt=MessageFactory.text("Which day?")))

    async def finish(self, step):
        await step.context.send_activity(f"Booked: {step.result}")
        return await step.end_dialog()


class Stuck(ComponentDialog):
    """Asks, and fails over every answer but one."""

    def __init__(self, user_state: UserState):
        super().__init__("stuck")
        self.visits = user_state.create_property("visits")
        self.add_dialog(TextPrompt("name"))
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.fail]))
        self.initial_dialog_id = "steps"

    async def ask(self, step):
        visits = await self.visits.get(step.context, int) + 1
        await self.visits.set(step.context, visits)
        return await step.prompt("name", PromptOptions(prompt=MessageFactory.text(f"Visit {visits}: your name?")))

    async def fail(self, step):
        if step.result == "nobody":
            await step.context.send_activity("Good bye.")
            return await step.replace_dialog("steps")
        raise RuntimeError("always")


class Spoilt(Dialog):
    """Has spoilt what it keeps of the conversation, and fails before it has begun."""

    def __init__(self, conversation_state: ConversationState):
        super().__init__("spoilt")
        self.kept = conversation_state.create_property("kept")

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        if await self.kept.get(context) == "spoilt":
            raise RuntimeError("spoilt")
        await self.kept.set(context, context.activity.text)
        await context.send_activity("kept")
        return await dialog_context.end_dialog()


class Forgiving(ComponentDialog):
    """Takes care of the errors of the dialogs inside it, as the SDK lets it."""

    def __init__(self):
        super().__init__("forgiving")
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.fail]))
        self.initial_dialog_id = "steps"

    async def ask(self, step):
        await step.context.send_activity("Which file?")
        return Dialog.end_of_turn

    async def fail(self, step):
        raise FileNotFoundError(step.context.activity.text)

    async def on_dialog_event(self, dialog_context, dialog_event):
        if dialog_event.name == DialogEvents.error:
            await dialog_context.context.send_activity("There is no such file.")
            await dialog_context.cancel_all_dialogs()
            return True
        return False
