"""The users' turns: "hello" and its answer, with twenty people at once who speak as soon as they are answered."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.broadcast import Effort, Meter, reset
from benchmarks.machine import processor_seconds
from benchmarks.people import Connection, at_once, connected, said, tell
from benchmarks.processes import channel_process, staged, started
from benchmarks.tables import Table, number, percentile, ratio

PEOPLE = 20
LATENCIES = (0.0, 0.020)
WARM_UP = 200


@dataclass(frozen=True, kw_only=True)
class Spoken:
    effort: Effort
    waits: list[float]
    """Seconds from a person's words to the end of the turn, when the answer has arrived."""


async def speak(bot_url: str, channel_url: str, turns: int) -> tuple[float, list[float]]:
    """So many turns of everybody together; the seconds they took, and each wait."""
    waits: list[float] = []
    left = iter(range(turns))

    async def person(connection: Connection, number: int) -> None:
        waits.extend([await tell(connection, said(number, channel_url, text="hello")) for _ in left])

    began = time.perf_counter()
    await at_once(bot_url, PEOPLE, person)
    return time.perf_counter() - began, waits


async def measure(turns: int) -> Table:
    table = Table(
        f'Users\' turns: {PEOPLE} people at once say "hello" and are answered',
        ("", "turns/s", "CPU ms", "store CPU ms", "p50 ms", "p99 ms", "store reads", "scripts"),
        ("channel latency", "", "per turn", "per turn", "", "", "per turn", "per turn"),
    )
    ours = await _service(turns)
    for latency, spoken in ours.items():
        effort = spoken.effort
        table.add(
            f"service, {latency * 1000:.0f} ms",
            number(effort.rate),
            number(effort.each(effort.processor) * 1e3),
            number(effort.each(effort.store_processor) * 1e3),
            *_waits(spoken),
            number(effort.each(effort.reads)),
            number(effort.each(effort.scripts)),
        )
    for latency, spoken in (await _sdk(max(400, turns // 10))).items():
        effort = spoken.effort
        table.add(
            f"SDK echo, {latency * 1000:.0f} ms",
            number(effort.rate),
            number(effort.each(effort.processor) * 1e3),
            *("-", *_waits(spoken), "-", "-"),
        )
        table.notes.append(
            f"At {latency * 1000:.0f} ms: {ratio(ours[latency].effort.rate / effort.rate)} the turns of the SDK's"
            " echo sample, which keeps no state at all."
        )
    return table


def _waits(spoken: Spoken) -> tuple[str, str]:
    return number(percentile(spoken.waits, 0.5) * 1e3), number(percentile(spoken.waits, 0.99) * 1e3)


async def _service(turns: int) -> dict[float, Spoken]:
    found = {}
    async with staged() as stage, connected(stage.channel.url) as channel:
        await speak(stage.service.url, stage.channel.url, WARM_UP)
        meter = Meter(stage.service, stage.store)
        for latency in LATENCIES:
            await reset(channel, latency)
            await meter.start()
            seconds, waits = await speak(stage.service.url, stage.channel.url, turns)
            found[latency] = Spoken(effort=await meter.stop(turns, seconds), waits=waits)
            sample = await channel.ask("/bench/sample")
            tally = await channel.ask(f"/bench/wait?arrivals={turns}")
            if "You sent: hello" not in sample["body"] or tally["arrivals"] != turns:
                raise AssertionError(f"{turns} answers were due: {tally}, {sample}")
    return found


async def _sdk(turns: int) -> dict[float, Spoken]:
    found = {}
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(channel_process())
        bot = await stack.enter_async_context(started(("-m", "benchmarks.sdk_bot"), measured=True))
        control = await stack.enter_async_context(connected(channel.url))
        await speak(bot.url, channel.url, WARM_UP // 4)
        for latency in LATENCIES:
            await reset(control, latency)
            before = processor_seconds(bot.pid)
            seconds, waits = await speak(bot.url, channel.url, turns)
            effort = Effort(many=turns, seconds=seconds, processor=processor_seconds(bot.pid) - before)
            found[latency] = Spoken(effort=effort, waits=waits)
    return found
