"""Where the processor time of a delivery and of a user's turn goes, by library and by function of ours."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.broadcast import run
from benchmarks.people import connected, introduce
from benchmarks.processes import ROOT, Stage, staged
from benchmarks.tables import Table, number
from benchmarks.turns import WARM_UP, speak

SHOWN = 40
WRITTEN_WITHIN = 20.0
_SITE = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
_STANDARD = sysconfig.get_path("stdlib")
_LOOP = "the event loop itself (uvloop, sockets)"

Frame = tuple[str, str, int]


async def measure(people: int, *, broadcasts: int, turns: int) -> list[Table]:
    with tempfile.TemporaryDirectory(prefix="aside-bench-") as folder:
        where = Path(folder) / "profile.json"
        async with staged(("-m", "benchmarks.sampled", str(where))) as stage:
            await introduce(stage.service.url, stage.channel.url, people, text="hello")
            async with connected(stage.service.url) as bot, connected(stage.channel.url) as channel:

                async def broadcast() -> None:
                    for _ in range(broadcasts):
                        await run(stage, bot, channel, 0.0, people)

                async def talk() -> None:
                    await speak(stage.service.url, stage.channel.url, turns)

                await run(stage, bot, channel, 0.0, people)
                one = await _profiled(stage, where, broadcast)
                await speak(stage.service.url, stage.channel.url, WARM_UP)
                other = await _profiled(stage, where, talk)
    return [*_tables("delivery", one, people * broadcasts), *_tables("user's turn", other, turns)]


async def _profiled(stage: Stage, where: Path, do: Callable[[], Awaitable[None]]) -> dict[str, Any]:
    os.kill(stage.service.pid, signal.SIGUSR1)
    await do()
    os.kill(stage.service.pid, signal.SIGUSR2)
    return await asyncio.to_thread(_written, where)


def _written(where: Path) -> dict[str, Any]:
    """The profile, once it is there; it is moved into place when it is whole."""
    end = time.monotonic() + WRITTEN_WITHIN
    while not where.exists():
        if time.monotonic() > end:
            raise TimeoutError("the service has not written its profile")
        time.sleep(0.05)
    body: dict[str, Any] = json.loads(where.read_text())
    where.unlink()
    return body


def _tables(what: str, profile: dict[str, Any], many: int) -> list[Table]:
    samples = sum(count for _, count in profile["stacks"])
    each = profile["processor"] / many * 1e6
    parts: Counter[str] = Counter()
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for frames, count in profile["stacks"]:
        parts[_part(frames)] += count
        ours = [_named(frame) for frame in frames if _is_ours(frame)]
        own[f"{ours[0] if ours else '(none of ours)'} -> {_part(frames)}"] += count
        for name in set(ours):
            inclusive[name] += count
    told = f"{number(each)} us of processor time, {profile['roundTrips'] / many:.2f} round trips; {samples} samples"
    return [
        _table(f"A {what}, by who runs: {told}", parts, samples, each),
        _table(f"A {what}, by function of ours and whom it has do the work", own, samples, each),
        _table(f"A {what}, by function of ours, with all it calls", inclusive, samples, each),
    ]


def _table(title: str, counts: Counter[str], samples: int, each: float) -> Table:
    table = Table(title, ("", "us", "%"))
    for name, count in counts.most_common(SHOWN):
        if count / samples >= 0.004:
            table.add(name, number(count / samples * each), f"{100 * count / samples:.1f}")
    return table


def _part(frames: list[Frame]) -> str:
    """The library that was running; the standard library counts for whoever called it, except asyncio."""
    for path, _, _ in frames:
        if path.startswith(str(ROOT)) and not path.startswith(_SITE):
            return "ours: " + Path(path).relative_to(ROOT).parts[0]
        if path.startswith(_SITE):
            return _library(Path(path).relative_to(_SITE[0] if path.startswith(_SITE[0]) else _SITE[1]))
        if path.startswith(_STANDARD) and "/asyncio/" in path:
            return _LOOP if path.endswith(("runners.py", "base_events.py")) else "asyncio"
    return "start-up and signals"


def _library(path: Path) -> str:
    if path.parts[0] == "aiohttp":
        return "aiohttp server" if path.name.startswith("web") else "aiohttp client"
    return path.parts[0]


def _is_ours(frame: Frame) -> bool:
    path = frame[0]
    return path.startswith(str(ROOT)) and not path.startswith((*_SITE, str(ROOT / "benchmarks"), str(ROOT / "app.py")))


def _named(frame: Frame) -> str:
    path = Path(frame[0]).relative_to(ROOT)
    return f"{path.with_suffix('')}: {frame[1]}"
