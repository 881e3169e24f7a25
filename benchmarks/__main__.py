"""``python -m benchmarks``: every table but the long ones, in one run; ``--help`` says how to have others or fewer."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from benchmarks import (
    broadcast,
    credentials,
    crowd,
    hostile,
    other_tools,
    profile,
    resting,
    scaling,
    trials,
    trips,
    turns,
)
from benchmarks.machine import all_cores, allow_open_files, cores, described, fast_loop, hold_to
from benchmarks.page import NoPlace, Place
from benchmarks.processes import DidNotStart
from benchmarks.tables import Table, summary

PEOPLE = 5000
APART = ("million", "profile", "trials")
"""Parts that are run only if they are named."""
Part = Callable[[], Awaitable[Sequence[Table]]]


def _parts(people: int, rounds: int) -> dict[str, Part]:
    async def broadcasts() -> Sequence[Table]:
        return await broadcast.measure(people, rounds)

    async def users() -> Sequence[Table]:
        return await turns.measure(people * 3 // 5, rounds)

    async def round_trips() -> Sequence[Table]:
        return [await trips.measure(people * 2 // 5)]

    async def crowds() -> Sequence[Table]:
        return await crowd.measure((people // 5, people * 4), users=True)

    async def processes() -> Sequence[Table]:
        return [await scaling.measure(people * 2 // 5)]

    async def tokens() -> Sequence[Table]:
        return await credentials.measure(people * 3 // 5)

    async def strangers() -> Sequence[Table]:
        return [await hostile.measure()]

    async def at_rest() -> Sequence[Table]:
        return [await resting.starting(rounds), await resting.idle(people // 5, 5.0)]

    async def control() -> Sequence[Table]:
        return await other_tools.measure()

    async def million() -> Sequence[Table]:
        return await crowd.measure((people // 5, people * 200), users=False)

    async def profiled() -> Sequence[Table]:
        return await profile.measure(people * 2 // 5, broadcasts=5, turns=people * 8 // 5)

    async def tried() -> Sequence[Table]:
        return [await trials.measure(people * 2 // 5, rounds)]

    return {
        "broadcast": broadcasts,
        "turns": users,
        "trips": round_trips,
        "crowd": crowds,
        "processes": processes,
        "credentials": tokens,
        "hostile": strangers,
        "rest": at_rest,
        "tools": control,
        "million": million,
        "profile": profiled,
        "trials": tried,
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the service.")
    parts = _parts(0, 0)
    named = f"of {', '.join(parts)}; all but {', '.join(APART)} if none is named"
    parser.add_argument("part", nargs="*", help=named)
    parser.add_argument(
        "--people",
        type=int,
        default=PEOPLE,
        help="conversations of a broadcast, by which all else is chosen (default %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of what is repeated (default %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="put them also into this page, where it has a place")
    options = parser.parse_args(arguments)
    wanted = options.part or [name for name in parts if name not in APART]
    if unknown := set(wanted) - set(parts):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    try:
        place = Place(options.into, "-".join(options.part) or "bench") if options.into else None
    except (NoPlace, OSError) as error:
        parser.error(str(error))
    all_cores()  # as they are before the next lines
    allow_open_files()
    pair = cores()
    if pair:
        hold_to(0, pair[1])
    fast_loop()
    chosen = {name: part for name, part in _parts(options.people, options.rounds).items() if name in wanted}
    try:
        heads, tables = asyncio.run(_run(chosen, markdown=options.markdown))
        if place is not None:
            place.put(heads, tables)
        return 0
    except DidNotStart as error:
        sys.stderr.write(f"A process did not start:\n{error}\n")
        return 1
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


async def _run(parts: dict[str, Part], *, markdown: bool) -> tuple[list[str], list[Table]]:
    """What the machine is and every table, both already printed."""
    began = time.monotonic()
    running = asyncio.current_task()
    if running is not None and sys.platform != "win32":  # what was started ends with this, however this ends
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    heads = described()
    _say("\n".join(f"- {line}" if markdown else line for line in heads))
    tables: list[Table] = []
    for part in parts.values():
        found = await part()
        _show(found, markdown=markdown)
        tables += found
    if len(parts) > 1:
        tables += (found := summary(tables))
        _show(found, markdown=markdown)
    heads.append(f"the run took {time.monotonic() - began:.0f} s")
    _say(f"\n{'- ' if markdown else ''}{heads[-1]}")
    return heads, tables


def _show(tables: Sequence[Table], *, markdown: bool) -> None:
    for table in tables:
        if not (markdown and table.detail):
            _say(f"\n{table.markdown() if markdown else table.text()}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
