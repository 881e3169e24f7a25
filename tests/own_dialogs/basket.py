"""A shop that keeps classes of its own in the user's state and in the values of its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from botbuilder.core import ConversationState, UserState
from botbuilder.dialogs import ComponentDialog, WaterfallDialog, WaterfallStepContext
from botbuilder.dialogs.prompts import PromptOptions, TextPrompt
from botbuilder.schema import Activity, ActivityTypes


class Basket:
    """A plain class, without defaults that would help anybody to make one."""

    def __init__(self, first):
        self.items = [first]
        self.size = {"large", "small"}


@dataclass
class Order:
    item: str
    due: date
    notes: list = field(default_factory=list)


class Address:
    def __init__(self, street):
        self.street = street


class Shop(ComponentDialog):
    def __init__(self, user_state: UserState, conversation_state: ConversationState):
        super().__init__("shop")
        self.baskets = user_state.create_property("basket")
        self.visits = conversation_state.create_property("visits")
        self.add_dialog(TextPrompt("text"))
        self.add_dialog(WaterfallDialog("steps", [self.ask_item, self.ask_street, self.finish]))
        self.initial_dialog_id = "steps"

    async def ask_item(self, step: WaterfallStepContext):
        visits = await self.visits.get(step.context, int)
        await self.visits.set(step.context, visits + 1)
        return await step.prompt("text", _question("Which item?"))

    async def ask_street(self, step: WaterfallStepContext):
        step.values["order"] = Order(step.result, date(2026, 3, 1), [("gift", 1)])
        step.values["address"] = Address("?")
        return await step.prompt("text", _question("Which street?"))

    async def finish(self, step: WaterfallStepContext):
        order, address = step.values["order"], step.values["address"]
        address.street = step.result
        basket = await self.baskets.get(step.context)
        if basket is None:
            basket = Basket(order.item)
            await self.baskets.set(step.context, basket)
        else:
            basket.items.append(order.item)
        visits = await self.visits.get(step.context)
        await step.context.send_activity(
            f"{order.item} to {address.street} on {order.due:%d %B}, {order.notes[0][0]}; "
            f"basket: {', '.join(basket.items)} ({len(basket.size)} sizes); visit {visits}"
        )
        return await step.end_dialog()


def _question(text: str) -> PromptOptions:
    return PromptOptions(prompt=Activity(type=ActivityTypes.message, text=text))
