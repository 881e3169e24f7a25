"""Dialogs that want to know of notifications: as the dialog event ``aside.notification``."""

from __future__ import annotations

from botbuilder.core import ConversationState, MessageFactory
from botbuilder.dialogs import ComponentDialog, Dialog, DialogContext, DialogEvent, WaterfallDialog
from botbuilder.dialogs.prompts import PromptOptions, TextPrompt


class Prices(TextPrompt):
    """A prompt that puts new prices on its own message, rings for alarms as well, and swallows spam."""

    def __init__(self, shown):
        super().__init__("prices")
        self.shown = shown

    async def on_prompt(self, turn_context, state, options, is_retry):
        await turn_context.send_activity("Buy or sell?")

    async def on_dialog_event(self, dialog_context: DialogContext, dialog_event: DialogEvent) -> bool:
        context = dialog_context.context
        if dialog_event.name != "aside.notification":
            return await super().on_dialog_event(dialog_context, dialog_event)
        category = dialog_event.value["category"]
        text = dialog_event.value["content"]["activity"].get("text", "")
        if category in ("price", "alarm"):
            activity = MessageFactory.text(f"price: {text}")
            activity.id = await self.shown.get(context)
            if activity.id is None:
                await self.shown.set(context, (await context.send_activity(activity)).id)
            else:
                await context.update_activity(activity)
        if category == "alarm":
            await context.send_activity("Look!")
        if category == "hint":
            await context.send_activity("Psst.")
        return category in ("price", "alarm", "spam")


class Market(ComponentDialog):
    def __init__(self, conversation_state: ConversationState):
        super().__init__("market")
        self.add_dialog(Prices(conversation_state.create_property("shown")))
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.finish]))
        self.initial_dialog_id = "steps"

    async def ask(self, step):
        return await step.prompt("prices", PromptOptions())

    async def finish(self, step):
        await step.context.send_activity(f"order: {step.result}")
        return await step.end_dialog()


class Witness(Dialog):
    """Tells what it was told of, and every time it was begun."""

    def __init__(self, conversation_state: ConversationState):
        super().__init__("witness")
        self.begun = conversation_state.create_property("begun")

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        begun = await self.begun.get(context, int) + 1
        await self.begun.set(context, begun)
        await context.send_activity(f"begun {begun}: {context.activity.type}")
        return Dialog.end_of_turn if context.activity.text == "stay" else await dialog_context.end_dialog()

    async def continue_dialog(self, dialog_context: DialogContext):
        await dialog_context.context.send_activity(f"continued: {dialog_context.context.activity.type}")
        return await dialog_context.end_dialog()

    async def on_dialog_event(self, dialog_context: DialogContext, dialog_event: DialogEvent) -> bool:
        activity = dialog_context.context.activity
        if dialog_event.name == "aside.notification":
            told = [one["category"] for one in activity.value["deliveries"]]
            same = activity.relates_to.conversation.id == activity.conversation.id
            await dialog_context.context.send_activity(
                f"{activity.type} {activity.name} {activity.locale} {activity.from_property.id} {told} {same}"
            )
            return True
        return False
