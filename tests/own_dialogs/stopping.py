"""A dialog that starts a job and stops it."""

from __future__ import annotations

from botbuilder.dialogs import Dialog, DialogContext

from proactive.services import Services


class Foreman(Dialog):
    """``start``s a job, ``stop``s it and says what came of it, or stops it and ``fail``s."""

    def __init__(self, services: Services):
        super().__init__("foreman")
        self.jobs = services.jobs

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        if context.activity.text == "start":
            self.jobs.start(context, "pi", {"text": "7"}, asked="pi 7")
        else:
            job = await self.jobs.cancel(context, 1)
            listed = [one.status.value for one in await self.jobs.list(context)]
            await context.send_activity(f"{job.status.value if job else 'no such job'} {listed}")
        if context.activity.text == "fail":
            raise RuntimeError("it stays as it was")
        return await dialog_context.end_dialog()
