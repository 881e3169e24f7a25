"""A dialog that is slow: it waits until it is let on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta

from botbuilder.core import MessageFactory, UserState
from botbuilder.dialogs import Dialog, DialogContext, DialogEvent

gates = defaultdict(asyncio.Event)
"""What a turn waits for, by the word it was given."""


class Slow(Dialog):
    def __init__(self, services):
        super().__init__("slow")
        self.services = services

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        await getattr(self, context.activity.text.split()[0])(context)
        return await dialog_context.end_dialog()

    async def quick(self, context):
        await context.send_activity("quick")

    async def talk(self, context):
        """Says something, waits, says more, waits, and may fail."""
        await context.send_activity("one")
        await context.send_activity("two")
        await gates["more"].wait()
        await context.send_activity("three")
        await gates["end"].wait()
        if context.activity.text == "talk and fail":
            raise RuntimeError("secret")
        await context.send_activity("four")

    async def change(self, context):
        sent = await context.send_activity("50 %")
        await gates["end"].wait()
        done = MessageFactory.text("100 %")
        done.id = sent.id
        await context.update_activity(done)

    async def remind(self, context):
        """Two reminders, with a message in between that goes out early."""
        await context.send_activity("first")
        self.services.remind(context, "reminder one", timedelta(seconds=0.1))
        await gates["end"].wait()
        self.services.remind(context, "reminder two", timedelta(seconds=0.1))


class Pondering(Slow):
    """The same, but it goes on for ever, and ponders over each notification until it is let on."""

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        await getattr(self, dialog_context.context.activity.text)(dialog_context.context)
        return Dialog.end_of_turn

    async def continue_dialog(self, dialog_context: DialogContext):
        return await self.begin_dialog(dialog_context)

    async def on_dialog_event(self, dialog_context: DialogContext, dialog_event: DialogEvent) -> bool:
        gates["pondering"].set()
        await gates["end"].wait()
        return False


class Counts(Dialog):
    """Counts in the user's state, says the number and waits at the gate that is named. May only look at the count."""

    def __init__(self, user_state: UserState):
        super().__init__("counts")
        self.count = user_state.create_property("count")

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        what, *gate = context.activity.text.split()
        number = await self.count.get(context) or 0  # without a default, which would be kept
        if what == "count":
            number += 1
            await self.count.set(context, number)
        await context.send_activity(f"{what} {number}")
        for name in gate:
            await gates[name].wait()
        if what == "fail":
            raise RuntimeError("secret")
        return await dialog_context.end_dialog()
