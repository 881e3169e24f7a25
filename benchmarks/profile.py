"""Where the processor time of a delivery and of a user's turn goes, by library and by function of ours."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.broadcast import run
from benchmarks.people import connected, introduce
from benchmarks.processes import ROOT, Stage, staged
from benchmarks.tables import Table, number
from benchmarks.turns import WARM_UP, speak

SHOWN = 16
SHOWN_IN_DETAIL = 40
NEGLIGIBLE = 0.004
WRITTEN_WITHIN = 20.0
_SITE = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
_STANDARD = sysconfig.get_path("stdlib")
_LOOP = "the event loop itself (uvloop, sockets)"

Frame = tuple[str, str, int]
Done = TypeVar("Done")


async def measure(people: int, *, broadcasts: int, turns: int) -> list[Table]:
    with tempfile.TemporaryDirectory(prefix="aside-bench-") as folder:
        where = Path(folder) / "profile.json"
        async with staged(("-m", "benchmarks.sampled", str(where))) as stage:
            await introduce(stage.service.url, stage.channel.url, people)
            async with connected(stage.service.url) as bot, connected(stage.channel.url) as channel:

                async def broadcast(times: int = 1) -> None:
                    for _ in range(times):
                        await run(stage.store, (stage.service,), bot, channel, 0.0, people)

                await broadcast()
                delivery, _ = await profiled(stage, where, lambda: broadcast(broadcasts))
                await speak(stage.service.url, stage.channel.url, WARM_UP)
                turn, _ = await profiled(stage, where, lambda: speak(stage.service.url, stage.channel.url, turns))
    views = [View.of("delivery", delivery, people * broadcasts), View.of("user's turn", turn, turns)]
    return [_by_part(views), *(_by_function(view) for view in views), *(_by_work(view) for view in views)]


async def profiled(stage: Stage, where: Path, do: Callable[[], Awaitable[Done]]) -> tuple[dict[str, Any], Done]:
    """What ``benchmarks.sampled`` found while something was done, and what came of that."""
    os.kill(stage.service.pid, signal.SIGUSR1)
    done = await do()
    os.kill(stage.service.pid, signal.SIGUSR2)
    return await asyncio.to_thread(_written, where), done


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


@dataclass(frozen=True, kw_only=True)
class View:
    """A profile's samples, counted by who ran, by function of ours with all it calls, and by both."""

    what: str
    samples: int
    each: float
    """Microseconds."""
    round_trips: float
    parts: Counter[str]
    functions: Counter[str]
    work: Counter[str]

    @classmethod
    def of(cls, what: str, profile: dict[str, Any], many: int) -> View:
        parts: Counter[str] = Counter()
        functions: Counter[str] = Counter()
        work: Counter[str] = Counter()
        for frames, count in profile["stacks"]:
            parts[_part(frames)] += count
            ours = [_named(frame) for frame in frames if _is_ours(frame)]
            work[f"{ours[0] if ours else '(none of ours)'} -> {_part(frames)}"] += count
            for name in set(ours):
                functions[name] += count
        samples = sum(count for _, count in profile["stacks"])
        each = profile["processor"] / many * 1e6
        trips = profile["roundTrips"] / many
        return cls(
            what=what, samples=samples, each=each, round_trips=trips, parts=parts, functions=functions, work=work
        )

    def cells(self, count: int) -> tuple[str, str]:
        share = count / self.samples
        return (number(share * self.each), f"{100 * share:.1f}") if share >= NEGLIGIBLE else ("", "")

    def told(self) -> str:
        return (
            f"A {self.what}: {number(self.each)} us of processor time, {number(self.round_trips)} round trips;"
            f" {self.samples:,} samples, so that a share of 2 % is good to about"
            f" {200 * math.sqrt(0.02 / self.samples):.1f} points."
        )


def _by_part(views: list[View]) -> Table:
    heads = [cell for view in views for cell in (view.what, "")]
    units = [cell for _ in views for cell in ("us", "%")]
    table = Table(
        "Where the processor time goes, by who runs", ("", *heads), ("", *units), notes=[view.told() for view in views]
    )
    names = Counter(dict.fromkeys((name for view in views for name in view.parts), 0))
    for view in views:
        names.update({name: round(1e6 * count / view.samples) for name, count in view.parts.items()})
    for name, _ in names.most_common():
        cells = [cell for view in views for cell in view.cells(view.parts[name])]
        if any(cells):
            table.add(name, *cells)
    table.add("all", *(cell for view in views for cell in (number(view.each), "100")))
    return table


def _by_function(view: View) -> Table:
    return _table(f"A {view.what}, by function of ours, with all it calls", view, view.functions, most=SHOWN)


def _by_work(view: View) -> Table:
    title = f"A {view.what}, by function of ours and whom it has do the work"
    return _table(title, view, view.work, most=SHOWN_IN_DETAIL, detail=True)


def _table(title: str, view: View, counts: Counter[str], *, most: int, detail: bool = False) -> Table:
    table = Table(title, ("", "us", "%"), detail=detail)
    for name, count in counts.most_common(most):
        if count / view.samples >= NEGLIGIBLE:
            table.add(name, *view.cells(count))
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
