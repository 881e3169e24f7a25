"""``python -m benchmarks``: every table, in a few minutes; with ``--help``, how to have less, or a profile."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from benchmarks import broadcast, crowd, other_tools, profile, resting, turns
from benchmarks.machine import allow_open_files, cores, described, fast_loop, hold_to
from benchmarks.processes import DidNotStart
from benchmarks.tables import Table, show

PEOPLE = 2000
Part = Callable[[], Awaitable[Sequence[Table]]]


def _parts(people: int, rounds: int) -> dict[str, Part]:
    async def broadcasts() -> Sequence[Table]:
        return await broadcast.measure(people, rounds)

    async def users() -> Sequence[Table]:
        return [await turns.measure(4000)]

    async def crowds() -> Sequence[Table]:
        return await crowd.measure((1_000, 20_000))

    async def at_rest() -> Sequence[Table]:
        return [await resting.starting(rounds), await resting.idle(people, 5.0)]

    async def profiled() -> Sequence[Table]:
        return await profile.measure(people, broadcasts=5, turns=8000)

    async def control() -> Sequence[Table]:
        return await other_tools.measure()

    return {
        "broadcast": broadcasts,
        "turns": users,
        "crowd": crowds,
        "rest": at_rest,
        "tools": control,
        "profile": profiled,
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the service.")
    parts = _parts(0, 0)
    parser.add_argument("part", nargs="*", help=f"of {', '.join(parts)}; all but profile if none is named")
    parser.add_argument("--people", type=int, default=PEOPLE, help="conversations of a broadcast (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of what is repeated (default %(default)s)")
    options = parser.parse_args(arguments)
    wanted = options.part or [name for name in parts if name != "profile"]
    if unknown := set(wanted) - set(parts):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    allow_open_files()
    pair = cores()
    if pair:
        hold_to(0, pair[1])
    fast_loop()
    try:
        return asyncio.run(_run(wanted, options.people, options.rounds))
    except DidNotStart as error:
        sys.stderr.write(f"A process did not start:\n{error}\n")
        return 1
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


async def _run(wanted: Sequence[str], people: int, rounds: int) -> int:
    began = time.monotonic()
    running = asyncio.current_task()
    if running is not None and sys.platform != "win32":  # what was started ends with this, however this ends
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    sys.stdout.write("\n".join(described()) + "\n")
    parts = _parts(people, rounds)
    for name in wanted:
        show(*await parts[name]())
    sys.stdout.write(f"\nIt took {time.monotonic() - began:.0f} s.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
