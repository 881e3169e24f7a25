"""A root dialog that takes as long as a test wants: a user who says ``think`` waits until ``THINKS`` is not set."""

from __future__ import annotations

import asyncio
import os

from botbuilder.dialogs import DialogContext, DialogTurnResult

from dialogs.main_dialog import MainDialog


class Thinker(MainDialog):
    async def on_begin_dialog(self, inner_dc: DialogContext, options: object) -> DialogTurnResult:
        if inner_dc.context.activity.text == "think":
            while gate := os.environ.get("THINKS_UNTIL"):
                if os.path.exists(gate):
                    break
                await asyncio.sleep(0.01)
            await inner_dc.context.send_activity("thought")
            return await inner_dc.end_dialog()
        return await super().on_begin_dialog(inner_dc, options)
