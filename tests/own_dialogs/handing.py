"""A dialog that hands its job something that cannot be stored."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from botbuilder.dialogs import Dialog, DialogContext

from proactive.services import Services

THINGS = {
    "a time": datetime(2026, 1, 5, tzinfo=UTC),
    "a set": {1, 2},
    "a deep one": {"prices": [1, Decimal("2.5")]},
    "a number as key": {1: "one"},
    "no number": float("nan"),
    "bytes": b"1",
    "a large number": 2**70,
}


class Careless(Dialog):
    """Says what it is told when it starts a job with the thing that the user names."""

    def __init__(self, services: Services):
        super().__init__("careless")
        self.jobs = services.jobs

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        thing = THINGS[dialog_context.context.activity.text]
        try:
            self.jobs.start(dialog_context.context, "pi", {"text": "7", "thing": thing}, asked="pi 7")
        except TypeError as error:
            await dialog_context.context.send_activity(str(error))
        return await dialog_context.end_dialog()
