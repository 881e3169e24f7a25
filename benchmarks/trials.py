"""What else was tried: the service with one thing changed, beside the service as it is, by turns."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.broadcast import run
from benchmarks.effort import Effort, Meter
from benchmarks.people import connected
from benchmarks.population import Population
from benchmarks.processes import staged
from benchmarks.tables import Table, number, percent
from benchmarks.turns import WARM_UP, speak
from benchmarks.yardsticks import reset

TURNS = 2000
TRIALS: dict[str, str] = {
    "twice the calls in a round trip (64)": "state.store:BATCH=64",
    "a round trip for whatever there is, at once": "state.store:ENOUGH=1",
    "no moment for calls to gather": "state.store:GATHERING=0",
    "a longer moment for calls to gather (10 ms)": "state.store:GATHERING=0.01",
    "one round trip at once, two for users": "state.store:ROUND_TRIPS=2",
    "four round trips at once, eight for users": "state.store:ROUND_TRIPS=8",
    "four times as much in hand (256 claims)": "delivery.loop:AHEAD=256",
    "twice the lag before fewer run at once": "delivery.pace:UNHURRIED_LAG=0.024",
    "half the proactive turns at once (200)": "app:DELIVERY_CONCURRENCY=200",
    "twice the proactive turns at once (800)": "app:DELIVERY_CONCURRENCY=800",
    "a fifth of a page of the fan-out (100)": "state.delivery_rows:PAGE=100",
    "twice a page of the fan-out (1,000)": "state.delivery_rows:PAGE=1000",
    "garbage collected as often as Python does": "app:COLLECT_AFTER=(700,10,10)",
    "garbage collected four times as rarely as now": "app:COLLECT_AFTER=(200000,20,50)",
    "the standard event loop": "uvloop",
}


@dataclass(frozen=True, kw_only=True)
class _Found:
    delivery: Effort
    turn: Effort

    def against(self, other: _Found) -> tuple[float, float, float]:
        """Changes: CPU of a delivery, rate of the broadcast, CPU of a user's turn."""
        return (
            self.delivery.milliseconds / other.delivery.milliseconds - 1,
            self.delivery.rate / other.delivery.rate - 1,
            self.turn.milliseconds / other.turn.milliseconds - 1,
        )


async def measure(people: int, rounds: int) -> Table:
    bases: list[_Found] = []
    changes: dict[str, list[tuple[float, float, float]]] = {name: [] for name in TRIALS}
    for _ in range(rounds):
        base = await _once(people)
        bases.append(base)
        for name, order in TRIALS.items():
            changes[name].append((await _once(people, order)).against(base))
    return _table(bases, changes, people, rounds)


async def _once(people: int, *orders: str) -> _Found:
    async with staged(("-m", "benchmarks.altered", *orders)) as stage:
        population = Population(stage)
        await population.begin()
        await population.grow(people)
        async with connected(stage.service.url) as bot, connected(stage.channel.url) as channel:
            arguments = (stage.store, (stage.service,), bot, channel, 0.0, people)
            await run(*arguments)
            delivery = await run(*arguments)
            await reset(channel, 0.0)
        await speak(stage.service.url, stage.channel.url, WARM_UP)
        meter = Meter(stage.store, stage.service)
        await meter.start()
        seconds, _ = await speak(stage.service.url, stage.channel.url, TURNS)
        return _Found(delivery=delivery, turn=await meter.stop(TURNS, seconds))


def _table(
    bases: list[_Found], changes: dict[str, list[tuple[float, float, float]]], people: int, rounds: int
) -> Table:
    table = Table(
        f"One thing changed: a broadcast to {people:,} at 0 ms, and users' turns",
        ("", "CPU of a delivery", "rate of the broadcast", "CPU of a user's turn"),
        notes=[
            f"Each against the service as it is in the same round; medians of {rounds}. The first line has the largest"
            " change between two rounds of that, which is how much the machine makes of it.",
        ],
    )
    as_it_is = [other.against(bases[0]) for other in bases[1:]] or [(float("nan"),) * 3]
    spread = (max((each[column] for each in as_it_is), key=abs) for column in range(3))
    delivery = median(base.delivery.milliseconds for base in bases)
    turn = median(base.turn.milliseconds for base in bases)
    table.add(f"as it is ({number(delivery * 1e3)} and {number(turn * 1e3)} us)", *map(percent, spread))
    for name, found in changes.items():
        table.add(name, *(percent(median(each[column] for each in found)) for column in range(3)))
    return table
