"""What the service costs before it does anything: the time until it is ready, and its needs while nothing happens."""

from __future__ import annotations

import asyncio
import tempfile
import time
from statistics import median

from benchmarks.effort import Meter
from benchmarks.machine import resident_megabytes
from benchmarks.people import introduce
from benchmarks.processes import SERVICE, Place, outcome, serving, staged, started, store_server
from benchmarks.tables import HEADS_OF_A_TARGET, NO_TARGET, Table, Target, number
from benchmarks.yardsticks import pace

READY_IN = Target(bound=1.5, unit=" s")
IDLE = Target(bound=1, unit=" %")
_IMPORT = "import time; t = time.perf_counter(); import app; print(time.perf_counter() - t)"


async def starting(rounds: int) -> Table:
    machine = await pace(rounds)
    table = Table(
        "From its start until it is ready",
        ("", "seconds", *HEADS_OF_A_TARGET, *HEADS_OF_A_TARGET),
        notes=[f"Medians of {rounds}. The embedded store runs on the service's core.", machine.told()],
    )
    imports = [float(await outcome(("-c", _IMPORT))) for _ in range(rounds)]
    given, own = [], []
    async with store_server() as store:
        for _ in range(rounds):
            async with serving(store) as service:
                given.append(service.started_in)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="aside-bench-") as folder:
            async with started(SERVICE, {"PORT": "0", "DATA_DIR": folder}, place=Place.MEASURED) as service:
                own.append(service.started_in)
    table.add("importing app.py", number(median(imports)), *NO_TARGET, *NO_TARGET)
    for name, found in (("python app.py, REDIS_URL given", given), ("python app.py, embedded store", own)):
        seconds = median(found)
        as_set = table.judge(f"{name}: from its start to ready", seconds, READY_IN)
        scaled = table.judge(f"{name}: the same, target scaled", seconds, machine.scaled(READY_IN))
        table.add(name, number(seconds), *as_set, *scaled)
    return table


async def idle(people: int, seconds: float) -> Table:
    table = Table(
        f"Idle for {seconds:.0f} s, with {people:,} conversations known",
        ("", "CPU", "store CPU", "store requests", "resident", *HEADS_OF_A_TARGET),
        ("", "%", "%", "per s", "MB", *NO_TARGET),
    )
    async with staged() as stage:
        await introduce(stage.service.url, stage.channel.url, people)
        await asyncio.sleep(1)
        meter = Meter(stage.store, stage.service)
        await meter.start()
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        effort = await meter.stop(1, time.perf_counter() - began)
        share = 100 * effort.processor / effort.seconds
        table.add(
            "service",
            number(share),
            number(100 * effort.store_processor / effort.seconds),
            number(effort.reads / effort.seconds),
            number(resident_megabytes(stage.service.pid)),
            *table.judge("idle: CPU", share, IDLE),
        )
    return table
