"""Trouble at random: processes die and stop, the store is away, slow, full, or forgets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import get_args

from soak.plan import Plan
from soak.world import Slot, StoreServer
from state.fault_points import Point

POINTS = [point for point in get_args(Point) if point != "between_slots"]
"""Those that are reached where there is one server."""


class Trouble:
    """``kinds`` counts what was done, by its name."""

    def __init__(self, plan: Plan, slots: Sequence[Slot], store: StoreServer) -> None:
        self.kinds: Counter[str] = Counter()
        self._plan = plan
        self._slots = slots
        self._store = store
        self._random = plan.random("trouble")

    async def run(self) -> None:
        """Until cancelled. Several may be under way at once."""
        async with asyncio.TaskGroup() as troubles:
            while True:
                await asyncio.sleep(self._random.expovariate(1 / self._plan.trouble_pause))
                kinds = self._kinds()
                ((name, (_, start)),) = self._random.choices(
                    list(kinds.items()), [weight for weight, _ in kinds.values()]
                )
                self.kinds[name] += 1
                troubles.create_task(_done(start()), name=name)

    def _kinds(self) -> dict[str, tuple[int, Callable[[], Awaitable[None] | None]]]:
        """Each kind by its name: how often, compared with the others, and what it is."""
        random, store = self._random, self._store
        slot = random.choice(self._slots)
        point, times = random.choice(POINTS), random.randint(1, 8)
        pause = self._plan.lease_seconds * random.choice((0.3, 1.5))
        away = self._plan.store_away * random.uniform(0.1, 1.0)
        return {
            "killed": (3, slot.kill),
            "killed at a point": (5, lambda: slot.dies_at(point, times)),
            "paused": (2, lambda: slot.hold(pause)),
            "paused at a point": (3, lambda: slot.holds_at(point, times, pause)),
            "store restarted": (1, lambda: store.restart(kill=random.random() < 0.5)),
            "store unreachable": (1, lambda: store.hold(away)),
            "store slow": (1, lambda: store.slow(away, random)),
            "store full": (1, lambda: store.full(away / 3)),
            "scripts forgotten": (1, store.forget_scripts),
        }


async def _done(step: Awaitable[None] | None) -> None:
    if step is not None:
        await step
