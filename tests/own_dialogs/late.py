"""A dialog that answers late, from tasks that outlive their turn; and that asks too much of a turn that is over."""

from __future__ import annotations

import asyncio

from botbuilder.core import MessageFactory, TurnContext
from botbuilder.dialogs import Dialog, DialogContext

start: asyncio.Event = None
go_on: asyncio.Event = None
"""Events that the test sets; tasks wait for them."""
tasks: list[asyncio.Task] = []
begun: list[str] = []
"""Callbacks that have begun."""


class Late(Dialog):
    def __init__(self, conversation_state, services):
        super().__init__("late")
        self.state = conversation_state
        self.answered = conversation_state.create_property("answered")
        self.services = services

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        what, _, about = context.activity.text.partition(" ")
        reference = TurnContext.get_conversation_reference(context.activity)
        adapter = context.adapter

        async def tell(later: TurnContext):
            begun.append(about)
            count = await self.answered.get(later, int) + 1
            await self.answered.set(later, count)
            await later.send_activity(f"{about} is ready ({count})")
            if what == "slowly":
                await go_on.wait()
            if what == "badly":
                raise ValueError("no luck")
            await self.state.save_changes(later)

        async def late(event):
            await event.wait()
            await adapter.continue_conversation(reference, tell, "")

        if what in ("later", "badly"):
            tasks.append(asyncio.create_task(late(go_on)))
            await context.send_activity("I will see")
        elif what == "slowly":
            tasks.append(asyncio.create_task(late(start)))
            await context.send_activity("I will see")
        elif what == "now":
            await adapter.continue_conversation(reference, tell, "")
            await context.send_activity("that was all")
        elif what == "together":
            await asyncio.create_task(adapter.continue_conversation(reference, tell, ""))
        elif what == "hold":
            await context.send_activity("holding")
            begun.append("hold")
            await go_on.wait()
        elif what == "await":
            go_on.set()
            try:
                await tasks[-1]
            except TimeoutError:
                await context.send_activity("never mind")
        elif what == "tell":
            reference.conversation.id = about
            await adapter.continue_conversation(reference, tell, "")
            await context.send_activity("Told. Which colour?")
            return Dialog.end_of_turn
        elif what == "ask":
            await context.send_activity("Which colour?")
            return Dialog.end_of_turn
        elif what == "count":
            await context.send_activity(f"answered {await self.answered.get(context, int)}")
        else:
            await self.answered.get(context, int)
            tasks.append(asyncio.create_task(self.too_late(what, context)))
        return await dialog_context.end_dialog()

    async def continue_dialog(self, dialog_context: DialogContext):
        await dialog_context.context.send_activity(f"{dialog_context.context.activity.text} it is")
        return await dialog_context.end_dialog()

    async def too_late(self, what: str, context: TurnContext):
        await go_on.wait()
        if what == "send":
            await context.send_activity("too late")
        elif what == "update":
            await context.update_activity(MessageFactory.text("too late"))
        elif what == "delete":
            await context.delete_activity("x")
        elif what == "read":
            await self.answered.get(context, int)
        elif what == "save":
            await self.state.save_changes(context)
        elif what == "clear":
            await self.state.clear_state(context)
        elif what == "remind":
            from datetime import timedelta

            self.services.remind(context, "too late", timedelta(seconds=1))
        elif what == "begin":
            await context.adapter.create_conversation("", lambda _: None, None)
