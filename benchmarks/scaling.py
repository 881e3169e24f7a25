"""A broadcast by one process, by two and by three of them on one store."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

from benchmarks.broadcast import run
from benchmarks.effort import Effort
from benchmarks.machine import all_cores, cores, hold_to, let_go
from benchmarks.people import connected
from benchmarks.population import Population
from benchmarks.processes import Place, Process, Stage, channel_process, serving, store_server
from benchmarks.tables import HEADS_OF_A_TARGET, NO_TARGET, Table, Target, number, ratio

PROCESSES = 3
LATENCIES = (0.0, 0.100, 0.400)
ROUNDS = 2
TWO = Target(bound=1.6, at_least=True, form=ratio)


async def measure(people: int) -> Table:
    found: dict[tuple[float, int], Effort] = {}
    let_go(os.getpid())
    try:
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(store_server(Place.ANYWHERE))
            channel = await stack.enter_async_context(channel_process(Place.ANYWHERE))
            services: list[Process] = []
            for many in range(1, PROCESSES + 1):
                services.append(await stack.enter_async_context(serving(store, place=Place.ANYWHERE)))
                stage = Stage(service=services[0], channel=channel, store=store)
                if many == 1:
                    await _populate(stage, people)
                for latency in LATENCIES:
                    found[latency, many] = await _fastest(stage, services, latency, people)
    finally:
        hold_to(os.getpid(), (pair := cores()) and pair[1])
    return _table(found, people)


async def _populate(stage: Stage, people: int) -> None:
    population = Population(stage)
    await population.begin()
    await population.grow(people - 1)
    await population.check()


async def _fastest(stage: Stage, services: list[Process], latency: float, people: int) -> Effort:
    async with connected(stage.service.url) as bot, connected(stage.channel.url) as channel:
        arguments = (stage.store, tuple(services), bot, channel, latency, people)
        efforts = [await run(*arguments) for _ in range(ROUNDS)]
    return max(efforts, key=lambda effort: effort.rate)


def _table(found: dict[tuple[float, int], Effort], people: int) -> Table:
    table = Table(
        f"Broadcast to {people:,} by several processes of app.py on one store",
        ("channel latency", "processes", "msg/s", "CPU, all", "store CPU", "of one", *HEADS_OF_A_TARGET),
        ("", "", "", "ms/msg", "ms/msg", "", *NO_TARGET),
        notes=[
            f"The faster of {ROUNDS} runs. Nothing is held to a core here: {len(all_cores()) or os.cpu_count()} cores"
            " are for the processes, the store, the channel and what measures alike. Where there is less than one for"
            " each, the cores bound the rate at 0 ms; at 400 ms the 200 turns do that each process allows itself.",
        ],
    )
    for latency in LATENCIES:
        for many in range(1, PROCESSES + 1):
            effort = found[latency, many]
            times = effort.rate / found[latency, 1].rate
            verdict = NO_TARGET
            if many == 2:
                verdict = table.judge(f"2 processes against 1, at {latency * 1000:.0f} ms", times, TWO)
            table.add(
                f"{latency * 1000:.0f} ms" if many == 1 else "",
                str(many),
                number(effort.rate),
                number(effort.milliseconds),
                number(effort.each(effort.store_processor) * 1e3),
                ratio(times),
                *verdict,
            )
    return table
