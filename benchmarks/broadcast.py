"""A broadcast: from the request to the last arrival at the channel, beside the yardsticks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from benchmarks.effort import Effort, Meter, middle
from benchmarks.people import Connection, Json, connected, introduce, notify
from benchmarks.processes import Process, Stage, StoreServer, staged
from benchmarks.tables import HEADS_OF_A_TARGET, NO_TARGET, Table, Target, number, ratio
from benchmarks.yardsticks import limit, reset, sdk_loop

RECORDED_WITHIN = 120.0
"""Seconds, and more for many."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """``latency``: seconds that the channel takes for an answer. ``at_once``: requests of the limit under way at once;
    the service allows itself 200 turns in each. The rest are targets."""

    latency: float
    at_once: int
    of_cloud: float
    of_classic: float
    of_limit: float

    def __str__(self) -> str:
        return f"{self.latency * 1000:.0f} ms"


SETTINGS = (
    Setting(latency=0.0, at_once=50, of_cloud=25, of_classic=3.5, of_limit=0.30),
    Setting(latency=0.020, at_once=200, of_cloud=90, of_classic=75, of_limit=0.40),
    Setting(latency=0.100, at_once=200, of_cloud=170, of_classic=160, of_limit=0.85),
)


def patience(many: int) -> float:
    """Seconds after which a broadcast to so many has failed."""
    return RECORDED_WITHIN + many / 20


async def arrived(channel: Connection, many: int) -> Json:
    """What the channel has counted, once so many activities have arrived."""
    async with asyncio.timeout(patience(many)):
        tally: Json = await channel.ask(f"/bench/wait?arrivals={many}")
        return tally


async def recorded(bot: Connection, notification: str, many: int) -> None:
    """Return once every delivery of a notification is recorded as delivered."""
    async with asyncio.timeout(patience(many)):
        while True:
            record = await bot.ask(f"/api/notifications/{notification}?limit=1")
            if record["counts"].get("delivered", 0) >= many:
                return
            await asyncio.sleep(0.05)


async def run(
    store: StoreServer, services: tuple[Process, ...], bot: Connection, channel: Connection, latency: float, many: int
) -> Effort:
    """One broadcast to everybody known, who are ``many``; it fails unless it reaches and records each."""
    await reset(channel, latency)
    meter = Meter(store, *services)
    await meter.start()
    began = time.monotonic()
    accepted, _ = await notify(bot)
    tally = await arrived(channel, many)
    await recorded(bot, accepted["id"], many)
    effort = await meter.stop(many, tally["last"] - began)
    if tally["conversations"] != many or accepted["recipients"] != many:
        raise AssertionError(f"{many} conversations are known; {accepted}, {tally}")
    return effort


async def measure(people: int, rounds: int) -> tuple[Table, Table]:
    """The broadcast at each latency, and what it costs at the store."""
    async with staged() as stage, connected(stage.service.url) as bot, connected(stage.channel.url) as channel:
        await introduce(stage.service.url, stage.channel.url, people)
        await run(stage.store, (stage.service,), bot, channel, 0.0, people)  # warms up
        sample = await channel.ask("/bench/sample")
        rows = [await _at(stage, bot, channel, setting, people, rounds, sample) for setting in SETTINGS]
    return _rates(rows, people, rounds), _costs(rows)


@dataclass(frozen=True, kw_only=True)
class _Row:
    setting: Setting
    service: Effort
    cloud: Effort
    classic: Effort
    limit: Effort


async def _at(
    stage: Stage, bot: Connection, channel: Connection, setting: Setting, people: int, rounds: int, sample: Json
) -> _Row:
    """The median run of each by its rate; they take turns, so that a slow minute slows all of them."""
    ours, limits = [], []
    latency, url = setting.latency, stage.channel.url
    for _ in range(rounds):
        ours.append(await run(stage.store, (stage.service,), bot, channel, latency, people))
        many = max(people, 2000)
        limits.append(await limit(url, channel, latency, many, setting.at_once, sample["path"], sample["body"]))
    return _Row(
        setting=setting,
        service=middle(ours),
        limit=middle(limits),
        cloud=await sdk_loop("cloud", url, channel, latency),
        classic=await sdk_loop("classic", url, channel, latency),
    )


def _rates(rows: list[_Row], people: int, rounds: int) -> Table:
    table = Table(
        f"Broadcast to {people:,} conversations: from POST /api/notify to the last arrival at the channel",
        ("channel latency", "who", "msg/s", "CPU", "the service is", *HEADS_OF_A_TARGET),
        ("", "", "", "ms/msg", "", *NO_TARGET),
        notes=[f"Service and plain aiohttp: the median of {rounds} runs, by turns. The sample loops: one run each."],
        names=2,
    )
    for row in rows:
        table.add(str(row.setting), "service", *_pace(row.service), "", *NO_TARGET)
        for name, effort, bound in (
            ("sample loop on CloudAdapter", row.cloud, row.setting.of_cloud),
            ("sample loop on BotFrameworkAdapter", row.classic, row.setting.of_classic),
            (f"plain aiohttp, {row.setting.at_once} at once", row.limit, row.setting.of_limit),
        ):
            times = row.service.rate / effort.rate
            target = Target(bound=bound, at_least=True, form=ratio)
            verdict = table.judge(f"broadcast at {row.setting}, of the rate of {name}", times, target)
            table.add("", name, *_pace(effort), ratio(times), *verdict)
    return table


def _pace(effort: Effort) -> tuple[str, str]:
    return number(effort.rate), number(effort.milliseconds)


def _costs(rows: list[_Row]) -> Table:
    table = Table(
        "What a delivery of that broadcast costs",
        ("channel latency", "service CPU", "store CPU", "requests the", "scripts", "commands, also"),
        ("", "us", "us", "store read", "", "inside scripts"),
    )
    for row in rows:
        effort = row.service
        table.add(
            str(row.setting),
            number(effort.each(effort.processor) * 1e6),
            number(effort.each(effort.store_processor) * 1e6),
            number(effort.each(effort.reads)),
            number(effort.each(effort.scripts)),
            number(effort.each(effort.commands)),
        )
    return table
