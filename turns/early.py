"""Output before the commit: a turn that takes long shows that it is at work, and sends as it goes.

What is out cannot be taken back by a failure; that is the price, paid only by turns that take long. What else could
spoil it is kept away beforehand: other conversations of the user let the turn commit first (``state.pins``), and
should this process die, whoever runs the turn again knows what may have been shown (``state.doubts``).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

from botbuilder.schema import Activity

from domain.effect import Operation, Report, Send
from domain.notification import Guarantee
from domain.sending import Accepted, GiveUp, Outdated, TryAgain
from sdk.adapter import AsideAdapter
from sdk.presence import note
from sdk.references import outbound_frame
from state.doubts import doubtful, mark
from state.fault_points import reached
from state.pins import PAUSES, Pin
from state.turn import Turn
from state.turns import Turns
from turns.heard import answered_in_body
from turns.later import Later
from turns.outbox import UNREACHABLE, Outbox, postponed

log = logging.getLogger("aside.turn")


class EarlyOutput:
    """Watches one run of a turn, as an async context manager. ``after``: how long its output is held back.
    ``activity``: what the user said. ``blocked``: the channel wants nothing now, so nothing goes out early either."""

    def __init__(
        self,
        turn: Turn,
        adapter: AsideAdapter,
        turns: Turns,
        outbox: Outbox,
        *,
        after: timedelta,
        activity: Activity | None,
        blocked: bool,
    ) -> None:
        self.turn = turn
        self.blocked_for = 0.0
        """Seconds for which the channel wants nothing more, as it said meanwhile."""
        self.accepted = 0
        """How many sends the channel has accepted before the commit."""
        self._adapter = adapter
        self._turns = turns
        self._outbox = outbox
        self._after = after.total_seconds()
        self._answering = activity is not None
        self._silent = blocked or (activity is not None and answered_in_body(activity))
        self._watch: Later | None = None
        self._sending = asyncio.Lock()
        self._waits = asyncio.Event()
        self._marked: set[str] = set()
        self._reports: list[Report] = []

    async def __aenter__(self) -> None:
        if not self._silent:
            self.turn.begin_early = self.begin
            self._watch = Later(self._after, self._go_on, f"early output {self.turn.conversation}")

    async def __aexit__(self, *_: object) -> None:
        self.turn.begin_early = None
        watch, self._watch = self._watch, None  # which knows this: a cycle for each turn is what collections are for
        if watch is None:
            return
        if not watch.begun:
            watch.call_off()
            return
        async with self._sending:  # a send that is under way is waited for: it cannot be called back
            self.turn.send_early = None
            watch.call_off()
        await watch.over()

    async def begin(self) -> None:
        """Send what the turn has collected so far, and from now on what comes: there is a pause that is to be seen."""
        if self._watch is not None and not self._watch.begun:
            self.turn.send_early = self.send
            self._watch.now()
        await self.send()

    async def _go_on(self) -> None:
        frame = outbound_frame(self.turn)
        if frame is not None and self.turn.send_early is None:
            await self._adapter.typing(self.turn, {**frame.activity, "type": "typing"}, frame.service_url)
        self.turn.send_early = self.send
        await self.send()
        while True:
            await self._waits.wait()
            self._waits.clear()
            await asyncio.sleep(PAUSES[1])
            await self.send()

    async def send(self) -> None:
        """Send what the turn has collected so far, as far as it may go out now."""
        async with self._sending:
            for effect in [effect for effect in self.turn.effects if isinstance(effect, Send)]:
                if self.turn.send_early is None or self.turn.hesitates or not await self._may_go(effect):
                    return
                reached("before_early_send")
                await self._send(effect)
                reached("early_answered")

    async def _may_go(self, effect: Send) -> bool:
        """Make sure of the turn's hold on its user's state and on its conversation, and mark what goes out there."""
        turn = self.turn
        if not turn.standing.active:
            return False  # what is sent there at all, and in what order, is seen to after the commit
        if any(delivery.guarantee is Guarantee.AT_MOST_ONCE for delivery in effect.shows):
            return False  # a process that dies before the commit has it said again by another
        pinned = await self._turns.pin(turn)
        if pinned is Pin.TAKEN:
            self._waits.set()
        elif pinned is Pin.CHANGED:
            turn.send_early = None  # the turn may have to be run again: nothing of it is said before it is committed
        if pinned is not Pin.HELD:
            return False
        self._marked |= {delivery.id for delivery in effect.shows}
        early = mark(turn.token, self._marked | turn.doubted)
        if not await self._turns.renew(turn.conversation, turn.token, early=early):
            turn.send_early = None
            return False
        turn.spoke_early = True
        return True

    async def _send(self, effect: Send) -> None:
        turn = self.turn
        collected = effect
        effect = replace(doubtful(effect, turn), answer=self._answering)
        step, answer = await self._outbox.send(turn.conversation, effect, turn.sent_early)
        place = _place(turn, collected)
        if isinstance(step, TryAgain):
            turn.effects[place] = [postponed(effect, step, answer)]
            turn.send_early, self.blocked_for = None, step.pause
            return
        if isinstance(step, Outdated):
            turn.send_early = None  # what else it shows is said anew; that takes a commit
            return
        reports = [Report(report=report) for report in self._outbox.reports(effect, step)]
        turn.effects[place] = reports
        self._reports += reports
        if isinstance(step, Accepted):
            self.accepted += 1
            if step.activity_id and effect.operation is Operation.SEND:
                turn.sent_early.append((effect.provisional, step.activity_id))
        else:
            ids = {"action": "early_send_failed", "conversation": turn.conversation}
            log.warning("a send before the commit failed: %s", answer.detail, extra=ids)
            if isinstance(step, GiveUp) and step.reason in UNREACHABLE:
                note(turn, UNREACHABLE[step.reason], answer.detail)

    def carry_over(self, ended: Turn) -> set[str]:
        """Note what went out in the turn that takes this one's place after it failed, so that it is not said again.
        Answers the ids of the deliveries that were shown."""
        ended.sent_early = self.turn.sent_early
        ended.effects += self._reports
        shown: set[str] = {effect.report.delivery for effect in self._reports}
        ended.doubted -= shown
        inbox = ended.state.own.get("inbox", ())
        if any(delivery["id"] in shown for delivery in inbox):
            ended.state.own["inbox"] = [delivery for delivery in inbox if delivery["id"] not in shown]
        return shown


def _place(turn: Turn, collected: Send) -> slice:
    """Where a turn has an effect by now; the end if it has taken it back meanwhile."""
    ends = len(turn.effects)
    at = next((at for at, effect in enumerate(turn.effects) if effect is collected), ends)
    return slice(at, at + 1)
