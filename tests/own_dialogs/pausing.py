"""A dialog that spaces what it says with ``delay`` activities."""

from __future__ import annotations

from botbuilder.core import MessageFactory
from botbuilder.dialogs import Dialog, DialogContext
from botbuilder.schema import Activity


def pause(milliseconds) -> Activity:
    return Activity(type="delay", value=milliseconds)


class Pausing(Dialog):
    def __init__(self):
        super().__init__("pausing")

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        if context.activity.text == "at once":
            await context.send_activities([MessageFactory.text("one"), pause(600), MessageFactory.text("two")])
        elif context.activity.text == "one by one":
            await context.send_activity("one")
            await context.send_activity(pause("600"))
            await context.send_activity("two")
        elif context.activity.text == "fail":
            await context.send_activity(pause(10))
            await context.send_activity("never said")
            raise RuntimeError("no luck")
        else:
            await context.send_activities([pause("soon"), pause(-5), pause(1)])
            await context.send_activity("hello")
        return await dialog_context.end_dialog()
