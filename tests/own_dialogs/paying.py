"""A dialog that calls a payment system within its turn, and keeps something in the user's state."""

from __future__ import annotations

import asyncio

from botbuilder.dialogs import ComponentDialog, Dialog, DialogContext, DialogEvent

calls: list[tuple[str, str]] = []
"""What was paid for, and the key that the payment system was given."""
holding: dict[str, asyncio.Event] = {}
"""What is paid for only once its event is set."""


class Shop(ComponentDialog):
    def __init__(self, user_state, services):
        super().__init__("shop")
        self.orders = user_state.create_property("orders")
        self.services = services
        self.add_dialog(Paying(self.pay))

    async def pay(self, context, item: str):
        orders = await self.orders.get(context, list)
        calls.append((item, self.services.turn_key(context)))
        if item in holding:
            await holding[item].wait()
        orders.append(item)
        await context.send_activity(f"paid: {', '.join(orders)}")

    async def on_dialog_event(self, dialog_context: DialogContext, event: DialogEvent) -> bool:
        if event.name != "aside.notification":
            return await super().on_dialog_event(dialog_context, event)
        await self.pay(dialog_context.context, event.value["content"]["activity"]["text"])
        return True


class Paying(Dialog):
    def __init__(self, pay):
        super().__init__("paying")
        self.pay = pay

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        return await self.continue_dialog(dialog_context)

    async def continue_dialog(self, dialog_context: DialogContext):
        await self.pay(dialog_context.context, dialog_context.context.activity.text)
        return Dialog.end_of_turn
