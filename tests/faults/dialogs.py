"""A root dialog that takes as long as a test wants: to ``think`` takes until the file exists
that ``THINKS_UNTIL`` names, if it names one."""

from __future__ import annotations

import os

from botbuilder.dialogs import DialogContext, DialogTurnResult

from dialogs.main_dialog import MainDialog
from tests.waiting import until


class Thinker(MainDialog):
    async def on_begin_dialog(self, inner_dc: DialogContext, options: object) -> DialogTurnResult:
        if inner_dc.context.activity.text == "think":
            gate = os.environ.get("THINKS_UNTIL")
            await until(lambda: gate is None or os.path.exists(gate), within=60)
            await inner_dc.context.send_activity("thought")
            return await inner_dc.end_dialog()
        return await super().on_begin_dialog(inner_dc, options)
