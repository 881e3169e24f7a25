"""A dialog that learns everybody's name."""

from __future__ import annotations

from botbuilder.core import UserState
from botbuilder.dialogs import Dialog, DialogContext


class Names(Dialog):
    """The first thing that somebody says is their name."""

    def __init__(self, user_state: UserState):
        super().__init__("names")
        self.name = user_state.create_property("name")

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        name = await self.name.get(context)
        if name is None:
            name = context.activity.text
            await self.name.set(context, name)
        await context.send_activity(f"Hello {name}")
        return await dialog_context.end_dialog()
