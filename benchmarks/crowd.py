"""How answers, costs and memory hold up as the number of conversations grows, and while a broadcast runs."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from benchmarks.broadcast import arrived, patience, recorded, run
from benchmarks.effort import Effort, middle
from benchmarks.machine import resident_megabytes
from benchmarks.people import Connection, connected, introduce, notify, said, tell
from benchmarks.population import Population
from benchmarks.processes import Process, Stage, StoreServer, channel_process, serving, store_server
from benchmarks.tables import HEADS_OF_A_TARGET, NO_TARGET, Table, Target, number, percent, percentile, ratio
from benchmarks.yardsticks import reset
from state import keys

ACCEPTS = 200
BROADCASTS_OF = 5000
SMALL_BROADCASTS = 3
"""So often a smaller one is measured."""
SPEAKERS = 10
SPEAKING_EVERY = 0.2
UNLOADED_SECONDS = 8.0
UNDELIVERING = ("-m", "benchmarks.altered", "app:DELIVERY_CONCURRENCY=0")

ACCEPTED_IN = Target(bound=50, unit=" ms")
COST_GROWS = Target(bound=0.20, form=percent)
COST_SHRINKS = Target(bound=-0.20, at_least=True, form=percent)
MEMORY_GROWS = Target(bound=50, unit=" MB")
SLOWER = Target(bound=2, form=ratio)


@dataclass(frozen=True, kw_only=True)
class Sized:
    """What was found while so many conversations were known. Waits are in seconds, memory in megabytes."""

    size: int
    accepting: list[float]
    broadcast: Effort
    resident: tuple[float, float]
    """Before the broadcasts and after."""
    each_in_store: float
    """Bytes of a conversation that has said hello."""


async def measure(sizes: tuple[int, ...], *, users: bool) -> list[Table]:
    """``sizes`` ascend; everybody who is known stays known. ``users``: some talk during the last broadcast."""
    async with store_server() as store:
        async with channel_process() as channel, serving(store) as service:
            stage = Stage(service=service, channel=channel, store=store)
            found, spoken = await _with(stage, sizes, users=users)
        pending = await _pending(store)
    return [_accepting(found), _costs(found), _memory(found), *spoken, _stored(found, pending)]


async def _with(stage: Stage, sizes: tuple[int, ...], *, users: bool) -> tuple[list[Sized], list[Table]]:
    async with connected(stage.service.url) as bot, connected(stage.channel.url) as channel:
        population = Population(stage)
        await population.begin()
        found = [await _at(stage, population, bot, channel, size) for size in sizes]
        return found, [await _meanwhile(stage, population, bot, channel)] if users else []


async def _at(stage: Stage, population: Population, bot: Connection, channel: Connection, size: int) -> Sized:
    before, known = await _used(stage.store), population.size
    await population.grow(size - 1)
    await population.check()
    each = (await _used(stage.store) - before) / (size - known)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    accepting = [(await notify(bot, sendAt=tomorrow))[1] for _ in range(ACCEPTS)]
    resident = resident_megabytes(stage.service.pid)
    if known < 2:
        await run(stage.store, (stage.service,), bot, channel, 0.0, size)  # warms up
    times = SMALL_BROADCASTS if size < BROADCASTS_OF else 1
    efforts = [await run(stage.store, (stage.service,), bot, channel, 0.0, size) for _ in range(times)]
    return Sized(
        size=size,
        accepting=accepting,
        broadcast=middle(efforts),
        resident=(resident, resident_megabytes(stage.service.pid)),
        each_in_store=each,
    )


def _accepting(found: list[Sized]) -> Table:
    table = Table(
        f"Accepting a broadcast: from POST /api/notify to its 202, {ACCEPTS} requests one after the other",
        ("conversations", "p50", "p99", *HEADS_OF_A_TARGET),
        ("", "ms", "ms", *NO_TARGET),
        notes=["Those are for tomorrow, so that no delivery competes with them. The target is held against the p99."],
    )
    for sized in found:
        p50, p99 = (percentile(sized.accepting, share) * 1e3 for share in (0.5, 0.99))
        verdict = table.judge(f"accepting a broadcast to {sized.size:,}, p99", p99, ACCEPTED_IN)
        table.add(f"{sized.size:,}", number(p50), number(p99), *verdict)
    return table


def _costs(found: list[Sized]) -> Table:
    first = found[0]
    table = Table(
        "Broadcasts to more and more conversations at 0 ms, by one process",
        ("conversations", "msg/s", "CPU", "change", *HEADS_OF_A_TARGET),
        ("", "", "us/msg", "", *NO_TARGET),
        notes=[f"Below {BROADCASTS_OF:,} conversations the median of {SMALL_BROADCASTS}, above one."],
    )
    for sized in found:
        effort, cells = sized.broadcast, ("", *NO_TARGET)
        if sized is not first:
            change = effort.milliseconds / first.broadcast.milliseconds - 1
            figure = f"CPU of a delivery at {sized.size:,} conversations, against {first.size:,}"
            cells = (percent(change), *table.judge(figure, change, COST_GROWS if change > 0 else COST_SHRINKS))
        table.add(f"{sized.size:,}", number(effort.rate), number(effort.milliseconds * 1e3), *cells)
    return table


def _memory(found: list[Sized]) -> Table:
    first = found[0]
    table = Table(
        "Resident memory of that process",
        ("conversations", "before the broadcasts", "after", "growth", *HEADS_OF_A_TARGET),
        ("", "MB", "MB", "MB", *NO_TARGET),
        notes=[f"Growth is since the broadcasts to {first.size:,}."],
    )
    for sized in found:
        cells = ("", *NO_TARGET)
        if sized is not first:
            growth = sized.resident[1] - first.resident[1]
            figure = f"growth of the process, {first.size:,} to {sized.size:,} conversations"
            cells = (number(growth), *table.judge(figure, growth, MEMORY_GROWS))
        table.add(f"{sized.size:,}", *map(number, sized.resident), *cells)
    return table


# ---------------------------------------------------------------------- users, meanwhile


async def _meanwhile(stage: Stage, population: Population, bot: Connection, channel: Connection) -> Table:
    """Some people talk, at first while nothing else happens, then during a broadcast to everybody."""
    size = population.size
    table = Table(
        f"Users meanwhile: {SPEAKERS} people who say hello every {SPEAKING_EVERY * 1000:.0f} ms, and a broadcast to"
        f" {size:,} at 0 ms",
        ("", "turns", "p50", "p99", "worst", "p99 against unloaded", *HEADS_OF_A_TARGET),
        ("", "", "ms", "ms", "ms", "", *NO_TARGET),
    )
    async with channel_process() as theirs:  # so that what the channel counts is the broadcast's
        await introduce(stage.service.url, theirs.url, size + SPEAKERS, start=size)
        async with _speaking(stage.service, theirs, size) as unloaded:
            await asyncio.sleep(UNLOADED_SECONDS)
        await reset(channel, 0.0)
        async with _speaking(stage.service, theirs, size) as loaded:
            began = time.monotonic()
            accepted, _ = await notify(bot)
            tally = await arrived(channel, size)
            took = tally["last"] - began
        await recorded(bot, accepted["id"], size + SPEAKERS)
    calm, busy = percentile(unloaded, 0.99), percentile(loaded, 0.99)
    figure = f"p99 of users' replies during a broadcast to {size:,}, against unloaded"
    verdict = table.judge(figure, busy / calm, SLOWER)
    table.add("nothing else", *_waits(unloaded), "", *NO_TARGET)
    table.add(f"the broadcast, {number(size / took)} msg/s", *_waits(loaded), ratio(busy / calm), *verdict)
    return table


@asynccontextmanager
async def _speaking(service: Process, channel: Process, start: int) -> AsyncIterator[list[float]]:
    """People who speak on and on, each on a connection of their own, until the block ends; their waits in seconds.

    They speak when it is their time, one after the other, and their waits count from then: who spoke a while after the
    answer would fall into step with those who were answered at the same moment.
    """
    waits: list[float] = []
    began = time.monotonic()

    async def talk(number: int) -> None:
        async with connected(service.url) as person:
            for turn in itertools.count():
                speaks_at = began + SPEAKING_EVERY * (turn + number / SPEAKERS)
                await asyncio.sleep(max(0.0, speaks_at - time.monotonic()))
                await tell(person, said(start + number, channel.url, text="hello"))
                waits.append(time.monotonic() - speaks_at)

    talking = [asyncio.create_task(talk(number)) for number in range(SPEAKERS)]
    try:
        yield waits
    finally:
        for each in talking:
            each.cancel()
        await asyncio.wait(talking)
    for each in talking:
        if not each.cancelled() and (error := each.exception()) is not None:
            raise error


def _waits(waits: list[float]) -> tuple[str, ...]:
    return str(len(waits)), *(number(percentile(waits, share) * 1e3) for share in (0.5, 0.99, 1.0))


# ---------------------------------------------------------------------- the store's memory


@dataclass(frozen=True, kw_only=True)
class _Pending:
    many: int
    each: float
    """Bytes in the store."""
    seconds: float
    """From the request until all were pending."""


async def _pending(store: StoreServer) -> _Pending:
    """A broadcast by a service that delivers nothing, until everybody's is in their mailbox."""
    before = await _used(store)
    async with serving(store, UNDELIVERING) as service, connected(service.url) as bot:
        began = time.monotonic()
        accepted, _ = await notify(bot)
        recipients = accepted["recipients"]
        async with asyncio.timeout(patience(recipients)):
            while True:
                if await store.client.zcard(keys.work("conversations")) >= recipients:
                    break
                await asyncio.sleep(0.1)
        seconds = time.monotonic() - began
        each = (await _used(store) - before) / recipients
        return _Pending(many=recipients, each=each, seconds=seconds)


async def _used(store: StoreServer) -> float:
    """Bytes."""
    memory = await store.client.info("memory")
    return float(memory["used_memory"])


def _stored(found: list[Sized], pending: _Pending) -> Table:
    spread = number(pending.many / pending.seconds)
    table = Table(
        "What the store keeps of each (differences of used_memory)",
        ("", "bytes"),
        notes=[f"The fan-out put {spread} deliveries a second into their mailboxes meanwhile."],
    )
    for sized in found:
        table.add(f"conversation that has said hello, {sized.size:,} of them", number(sized.each_in_store))
    table.add(f"delivery that is pending, {pending.many:,} of them", number(pending.each))
    return table
