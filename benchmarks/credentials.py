"""With an app id: how often a token is asked for, and how long the loop keeps others waiting during a broadcast."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import quote

from benchmarks.broadcast import run
from benchmarks.identity import APP_ID, ISSUER, LOGIN_SECONDS, PASSWORD
from benchmarks.people import connected
from benchmarks.population import Population
from benchmarks.processes import Place, Process, Stage, channel_process, serving, started, store_server
from benchmarks.tables import HEADS_OF_A_TARGET, Table, Target, number, percentile
from benchmarks.turns import speak

API_KEY = "only-for-measuring"
TURNS = 400
BEATS_EVERY = 0.005
LATENCIES = (0.0, 0.1)
LOGINS = Target(bound=1)
LONGEST = Target(bound=50, unit=" ms")
_LAG = re.compile(r"^(aside_\w*lag\w*?)(?:_max)?(?:\{[^}]*\})? ([\d.e+-]+)$", re.MULTILINE)


async def measure(people: int) -> tuple[Table, Table]:
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(started(("-m", "benchmarks.identity"), place=Place.AROUND))
        store = await stack.enter_async_context(store_server())
        channel = await stack.enter_async_context(channel_process())
        service = await stack.enter_async_context(serving(store, env=settings(identity)))
        return await _measured(identity, Stage(service=service, channel=channel, store=store), people)


def settings(identity: Process) -> dict[str, str]:
    return {
        "MicrosoftAppId": APP_ID,
        "MicrosoftAppPassword": PASSWORD,
        "OPENID_METADATA_URL": f"{identity.url}/metadata",
        "TOKEN_ISSUER": ISSUER,
        "LOGIN_URL": identity.url,
        "NOTIFY_API_KEYS": f"benchmarks:{API_KEY}",
        "SERVICE_URL_ALLOW": "http://127.0.0.1:*",
        "RATE_PER_CONVERSATION": "0",
        "RATE_GLOBAL": "0",
    }


async def _measured(identity: Process, stage: Stage, people: int) -> tuple[Table, Table]:
    began = time.monotonic()
    waits: dict[float, tuple[list[float], list[float]]] = {}
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(connected(identity.url))
        bot = await stack.enter_async_context(connected(stage.service.url, API_KEY))
        channel = await stack.enter_async_context(connected(stage.channel.url))
        token = (await issuer.ask(f"/bench/token?serviceUrl={quote(stage.channel.url, safe='')}"))["token"]
        population = Population(stage, token)
        await population.begin()
        await population.grow(people - 1)
        await population.check()
        for latency in LATENCIES:
            async with beating(stage.service) as service, beating(stage.channel, "/bench/alive") as other:
                await run(stage.store, (stage.service,), bot, channel, latency, people)
            waits[latency] = (service, other)
        _, turns = await speak(stage.service.url, stage.channel.url, TURNS, token=token)
        if not (await channel.ask("/bench/sample"))["token"]:
            raise AssertionError("the channel was sent no token")
        logins: dict[str, int] = await issuer.ask("/bench/logins")
        _, metrics = await bot.request("GET", "/metrics")
    sends = people * len(LATENCIES) + len(turns) + 2
    return _logins(logins, sends, time.monotonic() - began), _lag(waits, people, metrics.decode(errors="replace"))


@asynccontextmanager
async def beating(process: Process, path: str = "/health/live") -> AsyncIterator[list[float]]:
    """Light requests one after the other until the block ends; the seconds until each was answered."""
    waits: list[float] = []

    async def beat() -> None:
        async with connected(process.url) as connection:
            while True:
                asked = time.perf_counter()
                await connection.request("GET", path)
                waits.append(time.perf_counter() - asked)
                await asyncio.sleep(BEATS_EVERY)

    beating = asyncio.create_task(beat())
    try:
        yield waits
    finally:
        beating.cancel()
        await asyncio.wait([beating])
    if not beating.cancelled() and (error := beating.exception()) is not None:
        raise error


def _logins(logins: dict[str, int], sends: int, seconds: float) -> Table:
    table = Table(
        "With an app id and a secret: requests for the bot's own token",
        ("tenant", "requests", "sends", "in seconds", *HEADS_OF_A_TARGET),
        notes=[
            f"A login takes {LOGIN_SECONDS * 1000:.0f} ms here and its token holds for an hour. The run is shorter, so"
            " that one request is the most.",
        ],
    )
    for tenant, requests in logins.items():
        verdict = table.judge(f"token requests of tenant {tenant}", requests, LOGINS)
        table.add(tenant, str(requests), f"{sends:,}", number(seconds), *verdict)
    return table


def _lag(waits: dict[float, tuple[list[float], list[float]]], people: int, metrics: str) -> Table:
    table = Table(
        f"How long the loop keeps a light request waiting during a broadcast to {people:,}, with credentials",
        ("asked", "answers", "p50 ms", "p99 ms", "longest ms", *HEADS_OF_A_TARGET),
        notes=[
            "What measures shares its core with the store and the channel. The channel computes nothing: its line shows"
            " how long one waits for that core.",
            *(f"The service says of itself: {name} {value}." for name, value in _LAG.findall(metrics)),
        ],
    )
    for latency, (ours, other) in waits.items():
        at = f"{latency * 1000:.0f} ms"
        longest = max(ours) * 1e3
        verdict = table.judge(f"longest wait for /health/live during a broadcast at {at}", longest, LONGEST)
        table.add(f"the service's /health/live, {at}", *_cells(ours), *verdict)
        table.add(f"the channel, {at}", *_cells(other), "", "")
    return table


def _cells(waits: list[float]) -> tuple[str, ...]:
    return f"{len(waits):,}", *(number(percentile(waits, share) * 1e3) for share in (0.5, 0.99, 1.0))
