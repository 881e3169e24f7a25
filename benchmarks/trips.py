"""Round trips to the store: of a delivery in a broadcast, and of a user's turn while nothing else happens."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from benchmarks.broadcast import run
from benchmarks.effort import Effort, Meter
from benchmarks.people import connected, introduce
from benchmarks.processes import Stage, staged
from benchmarks.profile import profiled
from benchmarks.tables import HEADS_OF_A_TARGET, Table, Target, number
from benchmarks.turns import COUNTING, WARM_UP, speak
from benchmarks.yardsticks import reset

TURNS = 200
IN_A_BROADCAST = Target(bound=0.15)
LONE_TURN = Target(bound=3)


async def measure(people: int) -> Table:
    table = Table(
        "Round trips to the store",
        ("of each", "round trips", "requests the store read", "scripts", *HEADS_OF_A_TARGET),
        notes=[
            "Round trips are counted by the service's client (Store.round_trips). The store counts reads from its"
            " sockets: a round trip of much is several, one that many calls share is one.",
        ],
    )
    with tempfile.TemporaryDirectory(prefix="aside-bench-") as folder:
        where = Path(folder) / "profile.json"
        service = ("-m", "benchmarks.sampled", str(where))
        async with staged(service) as stage:
            await _broadcasts(table, stage, where, people)
        async with staged(service, {"ROOT_DIALOG": COUNTING}) as stage:
            await _turns(table, stage, where)
    return table


async def _broadcasts(table: Table, stage: Stage, where: Path, people: int) -> None:
    await introduce(stage.service.url, stage.channel.url, people)
    async with connected(stage.service.url) as bot, connected(stage.channel.url) as channel:

        async def broadcast(latency: float) -> Effort:
            return await run(stage.store, (stage.service,), bot, channel, latency, people)

        await broadcast(0.0)
        for latency in (0.0, 0.1):
            name = f"delivery of a broadcast to {people:,} at {latency * 1000:.0f} ms"
            await _add(table, stage, where, name, IN_A_BROADCAST, partial(broadcast, latency))


async def _turns(table: Table, stage: Stage, where: Path) -> None:
    async with connected(stage.channel.url) as channel:
        await reset(channel, 0.0)
    meter = Meter(stage.store, stage.service)

    async def talk() -> Effort:
        began = time.monotonic()
        await meter.start()
        await speak(stage.service.url, stage.channel.url, TURNS, people=1)
        return await meter.stop(TURNS, time.monotonic() - began)

    await speak(stage.service.url, stage.channel.url, WARM_UP, people=1)
    await _add(table, stage, where, "lone user's turn, both states written", LONE_TURN, talk)


async def _add(
    table: Table, stage: Stage, where: Path, name: str, target: Target, do: Callable[[], Awaitable[Effort]]
) -> None:
    profile, effort = await profiled(stage, where, do)
    trips = profile["roundTrips"] / effort.many
    verdict = table.judge(f"round trips of a {name}", trips, target)
    table.add(name, number(trips), number(effort.each(effort.reads)), number(effort.each(effort.scripts)), *verdict)
