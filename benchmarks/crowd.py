"""How answers hold up as the number of conversations grows, and while a broadcast runs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from benchmarks.broadcast import Meter, recorded, reset
from benchmarks.people import Connection, connected, introduce, notify, said, tell
from benchmarks.processes import Stage, staged
from benchmarks.tables import Table, number, percentile

ACCEPTS = 200
SPEAKING_EVERY = 0.05


async def measure(sizes: tuple[int, ...]) -> tuple[Table, Table]:
    """``sizes`` ascend; everybody who is known stays known."""
    accepting = Table(
        f"Accepting a broadcast: from POST /api/notify to its 202, {ACCEPTS} requests one after the other",
        ("conversations", "p50 ms", "p99 ms"),
        notes=["Those are for tomorrow, so that no delivery competes with them."],
    )
    meanwhile = Table(
        "Meanwhile: a broadcast to everybody at 0 ms, and one person who says hello every 50 ms",
        ("conversations", "accepted in", "msg/s", "CPU us", "turns", "p50 ms", "p99 ms"),
        ("", "ms", "", "per msg", "meanwhile", "", ""),
    )
    async with staged() as stage, connected(stage.service.url) as bot, connected(stage.channel.url) as channel:
        known = 0
        for size in sizes:
            await introduce(stage.service.url, stage.channel.url, size, text=None, start=known)
            known = size
            accepting.add(f"{size:,}", *await _accepting(bot))
            meanwhile.add(f"{size:,}", *await _meanwhile(stage, bot, channel, size))
    return accepting, meanwhile


async def _accepting(bot: Connection) -> tuple[str, str]:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    waits = [(await notify(bot, sendAt=tomorrow))[1] for _ in range(ACCEPTS)]
    return number(percentile(waits, 0.5) * 1e3), number(percentile(waits, 0.99) * 1e3)


async def _meanwhile(stage: Stage, bot: Connection, channel: Connection, size: int) -> tuple[str, ...]:
    await reset(channel, 0.0)
    waits: list[float] = []

    async def talk() -> None:
        async with connected(stage.service.url) as person:
            while True:
                waits.append(await tell(person, said(0, stage.channel.url, text="hello")))
                await asyncio.sleep(SPEAKING_EVERY)

    meter = Meter(stage.service, stage.store)
    await meter.start()
    began = asyncio.get_running_loop().time()
    talking = asyncio.create_task(talk())
    try:
        accepted, wait = await notify(bot)
        await recorded(bot, accepted["id"], size)
    finally:
        talking.cancel()
        await asyncio.wait([talking])
    effort = await meter.stop(size, asyncio.get_running_loop().time() - began)
    if not talking.cancelled() and (error := talking.exception()) is not None:
        raise error
    return (
        number(wait * 1e3),
        number(effort.rate),
        number(effort.each(effort.processor) * 1e6),
        str(len(waits)),
        number(percentile(waits, 0.5) * 1e3),
        number(percentile(waits, 0.99) * 1e3),
    )
