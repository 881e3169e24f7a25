"""Output before the commit: a turn that takes long shows that it is at work, and sends as it goes.

What is out cannot be taken back by a failure; that is the price, paid only by turns that take long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from botbuilder.schema import Activity, ActivityTypes, DeliveryModes

from bots.adapter import AsideAdapter
from bots.outbox import Outbox, postponed
from bots.references import outbound_frame
from domain.effect import Operation, Report, Send
from domain.notification import Guarantee
from domain.sending import Accepted, TryAgain
from state.turn import Turn
from state.turns import Turns

log = logging.getLogger("aside.turn")


class EarlyOutput:
    """Watches one turn. ``after``: how long its output is held back."""

    def __init__(self, turn: Turn, adapter: AsideAdapter, turns: Turns, outbox: Outbox, after: timedelta) -> None:
        self.turn = turn
        self.blocked_for = 0.0
        """Seconds for which the channel wants nothing more, as it said meanwhile."""
        self._adapter = adapter
        self._turns = turns
        self._outbox = outbox
        self._after = after.total_seconds()
        self._sending = asyncio.Lock()
        self._reports: list[Report] = []

    @asynccontextmanager
    async def watching(self, activity: Activity | None, *, blocked: bool) -> AsyncIterator[None]:
        """``blocked``: the channel wants nothing now, so nothing goes out early either."""
        answered_in_body = activity is not None and (
            activity.delivery_mode == DeliveryModes.expect_replies or activity.type == ActivityTypes.invoke
        )
        if blocked or answered_in_body:
            yield
            return
        watch = asyncio.create_task(self._watch(), name=f"early output {self.turn.conversation}")
        try:
            yield
        finally:
            async with self._sending:  # a send that is under way is waited for: it cannot be called back
                self.turn.send_early = None
                watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        await asyncio.sleep(self._after)
        frame = outbound_frame(self.turn)
        if frame is not None:
            await self._adapter.typing(self.turn, {**frame.activity, "type": "typing"}, frame.service_url)
        self.turn.send_early = self.send
        await self.send()

    async def send(self) -> None:
        """Send what the turn has collected so far, unless it lost its conversation or the channel says wait."""
        async with self._sending:
            turn = self.turn
            if turn.send_early is None:
                return
            for effect in [effect for effect in turn.effects if isinstance(effect, Send)]:
                if any(delivery.guarantee is Guarantee.AT_MOST_ONCE for delivery in effect.shows):
                    return  # a process that dies before the commit has it said again by another
                if not await self._turns.renew(turn.conversation, turn.token):
                    turn.send_early = None
                    return
                step, answer = await self._outbox.send(turn.conversation, effect, turn.sent_early)
                position = turn.effects.index(effect)
                if isinstance(step, TryAgain):
                    turn.effects[position] = postponed(effect, step, answer)
                    turn.send_early, self.blocked_for = None, step.pause
                    return
                reports = [Report(report=report) for report in self._outbox.reports(effect, step)]
                turn.effects[position : position + 1] = reports
                self._reports += reports
                if isinstance(step, Accepted) and step.activity_id and effect.operation is Operation.SEND:
                    turn.sent_early.append((effect.provisional, step.activity_id))
                elif not isinstance(step, Accepted):
                    ids = {"action": "early_send_failed", "conversation": turn.conversation}
                    log.warning("a send before the commit failed: %s", answer.detail, extra=ids)

    def carry_over(self, ended: Turn) -> set[str]:
        """Note what went out in the turn that takes this one's place after it failed, so that it is not said again.
        Answers the ids of the deliveries that were shown."""
        ended.sent_early = self.turn.sent_early
        ended.effects += self._reports
        shown: set[str] = {effect.report.delivery for effect in self._reports}
        inbox = ended.state.own.get("inbox", ())
        if any(delivery["id"] in shown for delivery in inbox):
            ended.state.own["inbox"] = [delivery for delivery in inbox if delivery["id"] not in shown]
        return shown
