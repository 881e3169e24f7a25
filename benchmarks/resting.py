"""What the service costs before it does anything: the time until it is ready, and its needs while nothing happens."""

from __future__ import annotations

import asyncio
import tempfile
import time
from statistics import median

from benchmarks.broadcast import Meter
from benchmarks.machine import resident_megabytes
from benchmarks.people import introduce
from benchmarks.processes import SERVICE, outcome, staged, started, store_server
from benchmarks.tables import Table, number

_IMPORT = "import time; t = time.perf_counter(); import app; print(time.perf_counter() - t)"


async def starting(rounds: int) -> Table:
    table = Table("From its start until it is ready", ("", "seconds"), notes=[f"Medians of {rounds}."])
    imports = [float(await outcome(("-c", _IMPORT))) for _ in range(rounds)]
    given, own = [], []
    async with store_server() as store:
        for _ in range(rounds):
            async with started(SERVICE, measured=True, PORT="0", REDIS_URL=store.url) as service:
                given.append(service.started_in)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="aside-bench-") as folder:
            async with started(SERVICE, measured=True, PORT="0", DATA_DIR=folder) as service:
                own.append(service.started_in)
    table.add("importing app.py", number(median(imports)))
    table.add("python app.py, REDIS_URL given", number(median(given)))
    table.add("python app.py, embedded store", number(median(own)))
    return table


async def idle(people: int, seconds: float) -> Table:
    table = Table(
        f"Idle for {seconds:.0f} s, with {people} conversations known",
        ("", "CPU", "store CPU", "store requests", "resident"),
        ("", "ms/s", "ms/s", "per s", "MB"),
    )
    async with staged() as stage:
        await introduce(stage.service.url, stage.channel.url, people, text="hello")
        await asyncio.sleep(1)
        meter = Meter(stage.service, stage.store)
        await meter.start()
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        effort = await meter.stop(1, time.perf_counter() - began)
        table.add(
            "service",
            number(effort.processor / effort.seconds * 1e3),
            number(effort.store_processor / effort.seconds * 1e3),
            number(effort.reads / effort.seconds),
            number(resident_megabytes(stage.service.pid)),
        )
    return table
