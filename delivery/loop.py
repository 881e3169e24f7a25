"""A loop over leased work: claims what is due, has it done, a bounded number at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from delivery.pace import Pace
from domain.errors import LeaseLost, StoreUnavailable
from state.work import Claim, Work

log = logging.getLogger("aside.loop")

IDLE = 1.0
"""Seconds between looks at the store when nothing is due and no bell rings."""
UNAVAILABLE_PAUSE = 0.5
PULSE = 0.002
"""Seconds between looks at how the loop is doing, while there is work."""
AHEAD = 64
"""Claims taken at a time, and kept in hand: what runs would otherwise wait for the next round trip. No more than a
moment's worth of a broadcast, so that little lies here while another process has time for it."""


class Loop:
    """``do`` closes the claim it is given; a claim that is left open comes back when its lease ends.

    ``concurrency``: how many run at once at most. ``hurried`` tells whether somebody waits for what else this
    process does."""

    def __init__(
        self,
        name: str,
        work: Work,
        do: Callable[[Claim], Awaitable[None]],
        *,
        concurrency: int,
        hurried: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self._work = work
        self._do = do
        self._pace = Pace(concurrency)
        self._ahead = min(AHEAD, concurrency)
        self._hurried = hurried
        self._in_hand: deque[Claim] = deque()
        self._came = asyncio.Event()
        """There is something in hand."""
        self._wanted = asyncio.Event()
        """There is room in hand."""
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        listener = asyncio.create_task(self._work.listen(), name=f"{self.name} bell")
        supply = asyncio.create_task(self._supply(), name=f"{self.name} supply")
        try:
            while True:
                await self._step()
        finally:
            listener.cancel()
            supply.cancel()
            await asyncio.wait([supply])
            given_back = [claim.member for claim in self._in_hand]
            self._in_hand.clear()
            with suppress(StoreUnavailable):
                await self._work.wake(*given_back)

    async def drain(self, seconds: float) -> None:
        """Let what is running finish, for so long; the rest is taken over elsewhere when its lease ends."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for running in self._running:
            running.cancel()

    async def _supply(self) -> None:
        """Keep something in hand as long as anything is due."""
        while True:
            try:
                claims, next_due = await self._claim(self._ahead)
            except Exception as error:
                if not isinstance(error, StoreUnavailable):
                    ids = {"action": "loop_error", "loop": self.name}
                    log.exception("the loop goes on after an error", extra=ids)
                await asyncio.sleep(UNAVAILABLE_PAUSE)
                continue
            if not claims:
                await self._work.wait(min(IDLE, next_due) if next_due is not None else IDLE)
                continue
            self._in_hand.extend(claims)
            self._came.set()
            while len(self._in_hand) >= self._ahead:
                self._wanted.clear()
                await self._wanted.wait()

    async def _step(self) -> None:
        """Start as many as may run, and feel what that does to the event loop."""
        await self._came.wait()
        for _ in range(min(self._pace.allowed - len(self._running), len(self._in_hand))):
            running = asyncio.create_task(self._one_after_the_other(), name=self.name)
            self._running.add(running)
            running.add_done_callback(self._running.discard)
        began = time.monotonic()
        await asyncio.sleep(PULSE)
        self._pace.feel(time.monotonic() - began - PULSE, hurried=self._hurried())

    async def _one_after_the_other(self) -> None:
        """A task for many claims: to make one for each costs a twentieth of what a delivery does."""
        while self._in_hand and len(self._running) <= self._pace.allowed:
            claim = self._in_hand.popleft()
            if len(self._in_hand) < self._ahead:
                self._wanted.set()
            if not self._in_hand:
                self._came.clear()
            await self._guarded(claim)

    async def _claim(self, places: int) -> tuple[list[Claim], float | None]:
        """What is due. A claim that is cut off at a shutdown gives back what it took, for others to take at once."""
        claiming = asyncio.ensure_future(self._work.claim(places))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            with suppress(StoreUnavailable):
                claims, _ = await claiming
                await self._work.wake(*(claim.member for claim in claims))
            raise

    async def _guarded(self, claim: Claim) -> None:
        try:
            await self._do(claim)
        except (StoreUnavailable, LeaseLost) as error:
            ids = {"action": "work_interrupted", "loop": self.name, "member": claim.member}
            log.warning("work was interrupted: %s", error, extra=ids)
        except Exception:
            ids = {"action": "work_failed", "loop": self.name, "member": claim.member}
            log.exception("work failed and will be tried again", extra=ids)
