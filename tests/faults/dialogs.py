"""A root dialog that takes as long as a test wants, and in which processes can die.

To ``think`` takes until the file exists that ``THINKS_UNTIL`` names, if it names one; to ``think aloud`` says so first,
and to ``think hard`` ends the process then.
``mid_run`` is reached when a turn has changed the dialogs' state and has something to say, or is offered a
notification. To ``announce pi`` speaks before it starts the job.
"""

from __future__ import annotations

import os

from botbuilder.dialogs import DialogContext, DialogEvent, DialogTurnResult

from dialogs.main_dialog import MainDialog
from proactive.host import NOTIFICATION_EVENT
from testkit.waiting import until
from tests.faults.points import reached


class Thinker(MainDialog):
    async def on_begin_dialog(self, inner_dc: DialogContext, options: object) -> DialogTurnResult:
        if inner_dc.context.activity.text in ("think", "think aloud", "think hard"):
            if inner_dc.context.activity.text == "think aloud":
                await inner_dc.context.send_activity("let me think")
            gate = os.environ.get("THINKS_UNTIL")
            await until(lambda: gate is None or os.path.exists(gate), within=60)
            if inner_dc.context.activity.text == "think hard":
                os._exit(3)
            await inner_dc.context.send_activity("thought")
            return await inner_dc.end_dialog()
        if inner_dc.context.activity.text == "announce pi":
            await inner_dc.context.send_activity("pi is next")
            self._services.jobs.start(inner_dc.context, "pi", {"text": "7"}, asked="announce pi")
            return await inner_dc.end_dialog()
        return await super().on_begin_dialog(inner_dc, options)

    async def on_continue_dialog(self, inner_dc: DialogContext) -> DialogTurnResult:
        result = await super().on_continue_dialog(inner_dc)
        reached("mid_run")
        return result

    async def on_dialog_event(self, dialog_context: DialogContext, dialog_event: DialogEvent) -> bool:
        if dialog_event.name == NOTIFICATION_EVENT:
            reached("mid_run")
        return bool(await super().on_dialog_event(dialog_context, dialog_event))
