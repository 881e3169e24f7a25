"""Round trips to the store: of a delivery in a broadcast, and of a user's turn while nothing else happens."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from benchmarks.broadcast import run
from benchmarks.effort import Effort, Meter
from benchmarks.people import connected
from benchmarks.population import Population
from benchmarks.processes import Stage, staged
from benchmarks.profile import profiled
from benchmarks.tables import HEADS_OF_A_TARGET, Table, Target, number
from benchmarks.turns import COUNTING, WARM_UP, speak
from benchmarks.yardsticks import reset

TURNS = 200
REST_SECONDS = 3.0
IN_A_BROADCAST = Target(bound=0.15, form="{:.3f}".format)
LONE_TURN = Target(bound=3)


async def measure(people: int) -> Table:
    table = Table(
        "Round trips to the store",
        ("of each", "round trips", "requests the store read", "scripts", *HEADS_OF_A_TARGET),
        notes=[
            "Round trips are counted by the service's client (Store.round_trips), less those of an idle service. The"
            " store counts reads from its sockets, those included, and takes a long round trip in several."
        ],
    )
    with tempfile.TemporaryDirectory(prefix="aside-bench-") as folder:
        where = Path(folder) / "profile.json"
        service = ("-m", "benchmarks.sampled", str(where))
        async with staged(service) as stage:
            await _broadcasts(_Trips(table, stage, where), people)
        async with staged(service, {"ROOT_DIALOG": COUNTING}) as stage:
            await _turns(_Trips(table, stage, where))
    return table


class _Trips:
    """Rows of the table, of one stage."""

    def __init__(self, table: Table, stage: Stage, where: Path) -> None:
        self._table, self.stage, self._where = table, stage, where
        self._idle = 0.0
        """Round trips a second."""

    async def rest(self) -> None:
        """Find out what is asked while nothing happens."""
        profile, _ = await profiled(self.stage, self._where, lambda: asyncio.sleep(REST_SECONDS))
        self._idle = profile["roundTrips"] / REST_SECONDS

    async def add(self, name: str, target: Target, do: Callable[[], Awaitable[Effort]]) -> None:
        began = time.monotonic()
        profile, effort = await profiled(self.stage, self._where, do)
        trips = (profile["roundTrips"] - self._idle * (time.monotonic() - began)) / effort.many
        trips = round(trips, 3 if target is IN_A_BROADCAST else 2)  # an idle service's are not known better
        verdict = self._table.judge(f"round trips of a {name}", trips, target)
        asked = (effort.each(effort.reads), effort.each(effort.scripts))
        self._table.add(name, target.written(trips), *map(number, asked), *verdict)


async def _broadcasts(trips: _Trips, people: int) -> None:
    stage = trips.stage
    population = Population(stage)
    await population.begin()
    await population.grow(people)
    async with connected(stage.service.url) as bot, connected(stage.channel.url) as channel:

        async def broadcast(latency: float) -> Effort:
            return await run(stage.store, (stage.service,), bot, channel, latency, people)

        await broadcast(0.0)
        await trips.rest()
        for latency in (0.0, 0.1):
            name = f"delivery of a broadcast to {people:,} at {latency * 1000:.0f} ms"
            await trips.add(name, IN_A_BROADCAST, partial(broadcast, latency))


async def _turns(trips: _Trips) -> None:
    stage = trips.stage
    async with connected(stage.channel.url) as channel:
        await reset(channel, 0.0)
    meter = Meter(stage.store, stage.service)

    async def talk() -> Effort:
        await meter.start()
        seconds, _ = await speak(stage.service.url, stage.channel.url, TURNS, people=1)
        return await meter.stop(TURNS, seconds)

    await speak(stage.service.url, stage.channel.url, WARM_UP, people=1)
    await trips.rest()
    await trips.add("lone user's turn, both states written", LONE_TURN, talk)
