"""The users' turns: words and their answer, with twenty people at once who speak as soon as they are answered."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.effort import Effort, Meter
from benchmarks.machine import processor_seconds
from benchmarks.people import Connection, at_once, connected, said, tell
from benchmarks.processes import Place, channel_process, staged, started
from benchmarks.tables import HEADS_OF_A_TARGET, Table, Target, number, percentile, ratio
from benchmarks.yardsticks import Pace, pace, reset

PEOPLE = 20
LATENCIES = (0.0, 0.020)
WARM_UP = 200
COUNTING = "benchmarks.counting:Counting"
PROCESSOR = Target(bound=0.45, unit=" ms")
RATE = Target(bound=2200, at_least=True, unit="/s")

_DIALOGS = (
    ("form, both states", COUNTING, "What else?"),
    ("echo of the bot that ships", "dialogs.main_dialog:MainDialog", "You sent: hello"),
)
"""Each with the root dialog, and what its answer has in it."""


@dataclass(frozen=True, kw_only=True)
class Spoken:
    effort: Effort
    waits: list[float]
    """Seconds from a person's words to the end of the turn, when the answer has arrived."""

    def cells(self) -> tuple[str, ...]:
        waits = (number(percentile(self.waits, share) * 1e3) for share in (0.5, 0.99))
        return number(self.effort.rate), number(self.effort.milliseconds), *waits


async def speak(
    bot_url: str, channel_url: str, turns: int, people: int = PEOPLE, token: str | None = None
) -> tuple[float, list[float]]:
    """So many turns of everybody together; the seconds they took, and each wait."""
    waits: list[float] = []
    left = iter(range(turns))

    async def person(connection: Connection, number: int) -> None:
        waits.extend([await tell(connection, said(number, channel_url, text="hello")) for _ in left])

    began = time.perf_counter()
    await at_once(bot_url, people, person, token=token)
    return time.perf_counter() - began, waits


async def measure(turns: int, rounds: int) -> tuple[Table, Table]:
    table = Table(
        f"Users' turns: {PEOPLE} people at once say something and are answered",
        ("who, channel latency", "turns/s", "CPU", "p50", "p99", "store CPU", "store reads", "scripts"),
        ("", "", "ms/turn", "ms", "ms", "ms/turn", "per turn", "per turn"),
    )
    ours = {name: await _service(turns, root, answer) for name, root, answer in _DIALOGS}
    for name, found in ours.items():
        for latency, spoken in found.items():
            effort = spoken.effort
            asked = (effort.each(effort.store_processor) * 1e3, effort.each(effort.reads), effort.each(effort.scripts))
            table.add(f"{name}, {latency * 1000:.0f} ms", *spoken.cells(), *map(number, asked))
    echo = ours[_DIALOGS[1][0]]
    for latency, spoken in (await _sdk(max(200, turns // 8))).items():
        table.add(f"the SDK's echo sample, {latency * 1000:.0f} ms", *spoken.cells(), "-", "-", "-")
        times = ratio(echo[latency].effort.rate / spoken.effort.rate)
        table.notes.append(
            f"At {latency * 1000:.0f} ms the echo has {times} the rate of the SDK's sample, which keeps no state."
        )
    return table, _judged(ours[_DIALOGS[0][0]][0.0].effort, await pace(rounds))


def _judged(effort: Effort, machine: Pace) -> Table:
    table = Table(
        "A user's turn (a form, both states written) without channel latency, against its targets",
        ("figure", "measured", *HEADS_OF_A_TARGET),
        notes=[machine.told()],
    )
    for name, value, target in (
        ("a user's turn: CPU", effort.milliseconds, PROCESSOR),
        (f"users' turns a second, {PEOPLE} at once", effort.rate, RATE),
    ):
        table.add(name, target.written(value), *table.judge(name, value, target))
        scaled = machine.scaled(target)
        label = f"{name}, target scaled to this machine"
        table.add(label, target.written(value), *table.judge(label, value, scaled))
    return table


async def _service(turns: int, root: str, answer: str) -> dict[float, Spoken]:
    found = {}
    async with staged(env={"ROOT_DIALOG": root}) as stage, connected(stage.channel.url) as channel:
        await speak(stage.service.url, stage.channel.url, WARM_UP)
        meter = Meter(stage.store, stage.service)
        for latency in LATENCIES:
            await reset(channel, latency)
            await meter.start()
            seconds, waits = await speak(stage.service.url, stage.channel.url, turns)
            found[latency] = Spoken(effort=await meter.stop(turns, seconds), waits=waits)
            sample = await channel.ask("/bench/sample")
            tally = await channel.ask(f"/bench/wait?arrivals={turns}")
            if answer not in sample["body"] or tally["arrivals"] != turns:
                raise AssertionError(f"{turns} answers were due: {tally}, {sample}")
    return found


async def _sdk(turns: int) -> dict[float, Spoken]:
    found = {}
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(channel_process())
        bot = await stack.enter_async_context(started(("-m", "benchmarks.sdk_bot"), place=Place.MEASURED))
        control = await stack.enter_async_context(connected(channel.url))
        await speak(bot.url, channel.url, WARM_UP // 4)
        for latency in LATENCIES:
            await reset(control, latency)
            before = processor_seconds(bot.pid)
            seconds, waits = await speak(bot.url, channel.url, turns)
            effort = Effort(many=turns, seconds=seconds, processor=processor_seconds(bot.pid) - before)
            found[latency] = Spoken(effort=effort, waits=waits)
    return found
