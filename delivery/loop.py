"""A loop over leased work: claims what is due, has it done, a bounded number at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from domain.errors import LeaseLost, StoreUnavailable
from state.work import Claim, Work

log = logging.getLogger("aside.loop")

IDLE = 1.0
"""Seconds between looks at the store when nothing is due and no bell rings."""
UNAVAILABLE_PAUSE = 0.5


class Loop:
    """``do`` closes the claim it is given; a claim that is left open comes back when its lease ends."""

    def __init__(self, name: str, work: Work, do: Callable[[Claim], Awaitable[None]], *, concurrency: int) -> None:
        self.name = name
        self._work = work
        self._do = do
        self._concurrency = concurrency
        self._running: set[asyncio.Task[None]] = set()
        self._place = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        listener = asyncio.create_task(self._work.listen(), name=f"{self.name} bell")
        try:
            while True:
                try:
                    await self._step()
                except StoreUnavailable:
                    await asyncio.sleep(UNAVAILABLE_PAUSE)
                except Exception:
                    log.exception("the loop goes on after an error", extra={"action": "loop_error", "loop": self.name})
                    await asyncio.sleep(UNAVAILABLE_PAUSE)
        finally:
            listener.cancel()

    async def drain(self, seconds: float) -> None:
        """Let what is running finish, for so long; the rest is taken over elsewhere when its lease ends."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for running in self._running:
            running.cancel()

    async def _step(self) -> None:
        places = self._concurrency - len(self._running)
        if places <= 0:
            self._place.clear()
            await self._place.wait()
            return
        claims, next_due = await self._claim(places)
        for claim in claims:
            running = asyncio.create_task(self._guarded(claim), name=f"{self.name} {claim.member}")
            self._running.add(running)
            running.add_done_callback(self._finished)
        if not claims:
            await self._work.wait(min(IDLE, next_due) if next_due is not None else IDLE)

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

    def _finished(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._place.set()

    async def _guarded(self, claim: Claim) -> None:
        try:
            await self._do(claim)
        except (StoreUnavailable, LeaseLost) as error:
            ids = {"action": "work_interrupted", "loop": self.name, "member": claim.member}
            log.warning("work was interrupted: %s", error, extra=ids)
        except Exception:
            ids = {"action": "work_failed", "loop": self.name, "member": claim.member}
            log.exception("work failed and will be tried again", extra=ids)
