"""Whether the process lives, whether it can serve, and what it has counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from aiohttp import web

from domain.errors import StoreUnavailable
from state.dead_letters import DeadLetters
from state.store import Store
from state.work import Work
from web.metrics import Metrics
from web.problems import unavailable
from web.reading import json_answer
from web.services import Ready

log = logging.getLogger("aside.web")

READY_WITHIN = 5.0
"""Seconds for which dependencies are waited for."""
STORE_WITHIN = 3.0
"""Seconds for which the store is waited for."""
NOT_READY_RETRY = 2
OK = "ok"


def store_ready(store: Store) -> Ready:
    async def ready() -> Mapping[str, str]:
        try:
            async with asyncio.timeout(STORE_WITHIN):
                await store.ready()
        except StoreUnavailable as error:
            return {"store": str(error)}
        except TimeoutError:
            return {"store": "The store does not answer."}
        return {"store": OK}

    return ready


class Health:
    """``draining`` tells whether the service is shutting down, and so is not to be sent anything more."""

    def __init__(
        self,
        ready: Ready,
        metrics: Metrics,
        works: Mapping[str, Work],
        dead_letters: DeadLetters,
        draining: Callable[[], bool],
    ) -> None:
        self._dead_letters = dead_letters
        self._ready = ready
        self._draining = draining
        self._metrics = metrics
        self._works = works

    async def live(self, request: web.Request) -> web.StreamResponse:
        return json_answer({"status": OK})

    async def ready(self, request: web.Request) -> web.StreamResponse:
        """200 if every dependency is ``ok``, else a problem (503); each is named with its state."""
        try:
            dependencies = dict(await asyncio.wait_for(self._ready(), READY_WITHIN))
        except TimeoutError:
            dependencies = {"dependencies": f"no answer within {READY_WITHIN:g} s"}
        if self._draining():
            dependencies["service"] = "shutting down"
        if wrong := [f"{name}: {state}" for name, state in dependencies.items() if state != OK]:
            raise unavailable("; ".join(wrong), NOT_READY_RETRY, dependencies=dependencies)
        return json_answer({"status": OK, "dependencies": dependencies})

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """What this process has counted, whether or not the store can be asked how much there is to do."""
        works = (self._measure(queue, work) for queue, work in self._works.items())
        await asyncio.gather(*works, self._count_dead_letters())
        return web.Response(
            body=self._metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _measure(self, queue: str, work: Work) -> None:
        try:
            async with asyncio.timeout(STORE_WITHIN):
                self._metrics.work_load(queue, await work.load())
        except (StoreUnavailable, TimeoutError):
            log.warning("the length of %s cannot be measured", queue, extra={"action": "work_unmeasured"})

    async def _count_dead_letters(self) -> None:
        try:
            async with asyncio.timeout(STORE_WITHIN):
                self._metrics.dead_letters(await self._dead_letters.count())
        except (StoreUnavailable, TimeoutError):
            log.warning("dead letters cannot be counted", extra={"action": "work_unmeasured"})
