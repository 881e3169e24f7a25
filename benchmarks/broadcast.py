"""A broadcast: from the request to the last arrival at the channel, beside the yardsticks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.machine import processor_seconds
from benchmarks.people import Connection, Json, connected, introduce, notify
from benchmarks.processes import Process, Stage, StoreServer, outcome, staged
from benchmarks.tables import Table, number, ratio

LATENCIES = (0.0, 0.020, 0.100)
"""Seconds that the channel takes for an answer."""
AT_ONCE = 200
"""Requests under way at once in the limit's run; the service allows itself as many turns."""
SDK_SECONDS = 4.0
"""So long a run of the SDK takes, about; it sends one by one, so its rate does not depend on how many there are."""
RECORDED_WITHIN = 120.0


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What something took: seconds by the clock, and of the processors; round trips and commands at the store."""

    many: int
    seconds: float
    processor: float
    store_processor: float = 0.0
    reads: int = 0
    scripts: int = 0
    commands: int = 0

    @property
    def rate(self) -> float:
        return self.many / self.seconds

    def each(self, amount: float) -> float:
        return amount / self.many


class Meter:
    """Differences of a service's and its store's counters since it was made."""

    def __init__(self, service: Process, store: StoreServer) -> None:
        self._service, self._store = service, store
        self._before: dict[str, float] = {}

    async def start(self) -> None:
        self._before = await self._read()

    async def stop(self, many: int, seconds: float) -> Effort:
        now = await self._read()
        used = {name: value - self._before.get(name, 0.0) for name, value in now.items()}
        return Effort(
            many=many,
            seconds=seconds,
            processor=used["processor"],
            store_processor=used["store_processor"],
            reads=round(used["reads"]),
            scripts=round(used["scripts"]),
            commands=round(used["commands"]),
        )

    async def _read(self) -> dict[str, float]:
        stats: dict[str, Any] = await self._store.client.info("stats")
        commands: dict[str, Any] = await self._store.client.info("commandstats")
        return {
            "processor": processor_seconds(self._service.pid),
            "store_processor": processor_seconds(self._store.pid),
            "reads": float(stats.get("total_reads_processed", 0)),
            "scripts": float(commands.get("cmdstat_evalsha", {}).get("calls", 0)),
            "commands": float(sum(command["calls"] for command in commands.values())),
        }


async def reset(channel: Connection, latency: float) -> None:
    await channel.ask(f"/bench/reset?latency={latency}")


async def recorded(bot: Connection, notification: str, many: int) -> None:
    """Return once every delivery of a notification is recorded as delivered."""
    async with asyncio.timeout(RECORDED_WITHIN):
        while True:
            record = await bot.ask(f"/api/notifications/{notification}?limit=1")
            if record["counts"].get("delivered", 0) >= many:
                return
            await asyncio.sleep(0.05)


async def run(stage: Stage, bot: Connection, channel: Connection, latency: float, many: int) -> Effort:
    """One broadcast to everybody known, who are ``many``."""
    await reset(channel, latency)
    meter = Meter(stage.service, stage.store)
    await meter.start()
    began = time.monotonic()
    accepted, _ = await notify(bot)
    tally = await channel.ask(f"/bench/wait?arrivals={many}")
    await recorded(bot, accepted["id"], many)
    effort = await meter.stop(many, tally["last"] - began)
    if tally["conversations"] != many or accepted["recipients"] != many:
        raise AssertionError(f"{many} conversations are known; {accepted}, {tally}")
    return effort


async def measure(people: int, rounds: int) -> tuple[Table, Table]:
    """The broadcast at each latency, and what it costs at the store."""
    async with staged() as stage, connected(stage.service.url) as bot, connected(stage.channel.url) as channel:
        await introduce(stage.service.url, stage.channel.url, people, text="hello")
        await run(stage, bot, channel, 0.0, people)  # warms up
        sample = await channel.ask("/bench/sample")
        rows = [await _at(stage, bot, channel, latency, people, rounds, sample) for latency in LATENCIES]
    return _rates(rows, people), _costs(rows)


@dataclass(frozen=True, kw_only=True)
class _Row:
    latency: float
    service: Effort
    cloud: Effort
    classic: Effort
    limit: Effort


async def _at(
    stage: Stage, bot: Connection, channel: Connection, latency: float, people: int, rounds: int, sample: Json
) -> _Row:
    """The median run of each by its rate; they take turns, so that a slow minute slows all of them."""
    runs: dict[str, list[Effort]] = {"service": [], "limit": []}
    for _ in range(rounds):
        runs["service"].append(await run(stage, bot, channel, latency, people))
        arguments = (stage.channel.url, str(max(people, 2000)), str(AT_ONCE), sample["path"], sample["body"])
        runs["limit"].append(await _yardstick(channel, latency, "raw_broadcast", max(people, 2000), *arguments))
    for adapter, rate in (("cloud", 130.0), ("classic", 900.0)):
        many = max(20, round(SDK_SECONDS / (1 / rate + latency * 1.1)))
        loop = (adapter, stage.channel.url, str(many))
        runs[adapter] = [await _yardstick(channel, latency, "sdk_broadcast", many, *loop)]
    return _Row(latency=latency, **{name: _median(efforts) for name, efforts in runs.items()})


async def _yardstick(channel: Connection, latency: float, module: str, many: int, *arguments: str) -> Effort:
    await reset(channel, latency)
    answer = await outcome(("-m", f"benchmarks.{module}", *arguments))
    return Effort(many=many, seconds=answer["seconds"], processor=answer["processor"])


def _median(efforts: list[Effort]) -> Effort:
    middle = median(effort.rate for effort in efforts)
    return min(efforts, key=lambda effort: abs(effort.rate - middle))


def _rates(rows: list[_Row], people: int) -> Table:
    table = Table(
        f"Broadcast to {people} conversations: from POST /api/notify to the last arrival at the channel",
        ("channel", "service", "CPU", "SDK Cloud", "CPU", "SDK classic", "CPU", "limit", "CPU", "/Cloud", "/classic",
         "/limit"),
        ("latency", "msg/s", "ms/msg", "msg/s", "ms/msg", "msg/s", "ms/msg", "msg/s", "ms/msg", "times", "times",
         "share"),
    )
    for row in rows:
        cells = [f"{row.latency * 1000:.0f} ms"]
        for effort in (row.service, row.cloud, row.classic, row.limit):
            cells += [number(effort.rate), number(effort.each(effort.processor) * 1e3)]
        rate = row.service.rate
        table.add(*cells, ratio(rate / row.cloud.rate), ratio(rate / row.classic.rate), ratio(rate / row.limit.rate))
    return table


def _costs(rows: list[_Row]) -> Table:
    table = Table(
        "What a delivery of that broadcast costs",
        ("channel", "service CPU", "store CPU", "requests the", "scripts", "commands, also"),
        ("latency", "us", "us", "store read", "", "inside scripts"),
    )
    for row in rows:
        effort = row.service
        table.add(
            f"{row.latency * 1000:.0f} ms",
            number(effort.each(effort.processor) * 1e6),
            number(effort.each(effort.store_processor) * 1e6),
            number(effort.each(effort.reads)),
            number(effort.each(effort.scripts)),
            number(effort.each(effort.commands)),
        )
    return table
