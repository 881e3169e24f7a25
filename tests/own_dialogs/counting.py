"""A dialog that counts its turns in both states, and does what a test of races or bounds needs; and its job."""

from __future__ import annotations

import os
from pathlib import Path

from botbuilder.core import ConversationState, UserState
from botbuilder.dialogs import Dialog, DialogContext

from jobs.context import JobContext
from jobs.registry import job
from proactive.services import Services
from testkit.waiting import until


class Counting(Dialog):
    """Answers with what it heard and how often it was spoken to. ``GATES`` names the folder of the gates."""

    def __init__(self, conversation_state: ConversationState, user_state: UserState, services: Services):
        super().__init__("counting")
        self.here = conversation_state.create_property("count")
        self.everywhere = user_state.create_property("count")
        self.services = services

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        heard = context.activity.text
        here = await self.here.get(context, int) + 1
        everywhere = await self.everywhere.get(context, int) + 1
        await self.here.set(context, here)
        await self.everywhere.set(context, everywhere)
        wish, _, name = heard.partition(" ")
        if wish == "wait":
            await self.wait(Path(os.environ["GATES"]), name)
        elif wish == "job":
            self.services.jobs.start(context, "answer", {"name": name}, asked=heard)
        await context.send_activity(f"{heard}: {here} here, {everywhere} everywhere")
        if wish == "babble":
            while True:
                await context.send_activity("and so on")
        if wish == "job" and name == "gated":
            await self.wait(Path(os.environ["GATES"]), name)
        return await dialog_context.end_dialog()

    async def wait(self, gates: Path, name: str):
        """Say in a file that the turn waits, until the gate is there."""
        (gates / f"{name}.waits").touch()
        await until((gates / name).exists, within=60)


@job("answer")
async def answer(context: JobContext, name: str) -> str:
    return f"answer {name}"
