"""What something took: seconds by the clock and of the processors, and what the store was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.machine import processor_seconds
from benchmarks.processes import Process, StoreServer


@dataclass(frozen=True, kw_only=True)
class Effort:
    """For ``many`` messages or turns. Times are in seconds; ``reads`` are those of the store from its sockets."""

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

    @property
    def milliseconds(self) -> float:
        """Of the measured processor, for each."""
        return self.each(self.processor) * 1e3


def middle(efforts: Sequence[Effort]) -> Effort:
    """The one with the median rate."""
    rate = median(effort.rate for effort in efforts)
    return min(efforts, key=lambda effort: abs(effort.rate - rate))


class Meter:
    """Differences of the counters of services and their store since it was started."""

    def __init__(self, store: StoreServer, *services: Process) -> None:
        self._store, self._services = store, services
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
            "processor": sum(processor_seconds(service.pid) for service in self._services),
            "store_processor": processor_seconds(self._store.pid),
            "reads": float(stats.get("total_reads_processed", 0)),
            "scripts": float(commands.get("cmdstat_evalsha", {}).get("calls", 0)),
            "commands": float(sum(command["calls"] for command in commands.values())),
        }
