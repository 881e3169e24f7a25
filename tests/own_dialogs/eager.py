"""A dialog that starts as many jobs as it is told to, and does not ask whether it may."""

from __future__ import annotations

from botbuilder.dialogs import Dialog, DialogContext, DialogEvent, DialogTurnResult

from domain.errors import TooManyJobs
from proactive.services import Services


class Eager(Dialog):
    """``3`` starts three jobs, ``try 3`` says what it has got when it may start no more; ``wait`` waits."""

    def __init__(self, services: Services):
        super().__init__("eager")
        self.jobs = services.jobs

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        word, _, number = context.activity.text.rpartition(" ")
        if number == "wait":
            await context.send_activity("Waiting.")
            return Dialog.end_of_turn
        try:
            self.start(dialog_context, int(number))
            await context.send_activity(f"{number} more.")
        except TooManyJobs as error:
            if word != "try":
                raise
            await context.send_activity(f"{error.limit} are enough.")
        return await dialog_context.end_dialog()

    async def continue_dialog(self, dialog_context: DialogContext) -> DialogTurnResult:
        return await self.begin_dialog(dialog_context)

    async def on_dialog_event(self, dialog_context: DialogContext, event: DialogEvent) -> bool:
        if event.name != "aside.notification":
            return False
        self.start(dialog_context, int(event.value["content"]["activity"]["text"]))
        return True

    def start(self, dialog_context: DialogContext, many: int) -> None:
        for number in range(many):
            self.jobs.start(dialog_context.context, "pi", {"text": str(number)}, asked=str(number))
