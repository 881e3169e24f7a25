"""The store and the processes of a soak: started, watched, started again, and ended whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import IO

from redis.asyncio import Redis
from redis.exceptions import RedisError

from state.embedded import find_server
from testkit.waiting import until
from tests.faults.points import give
from tests.processes import ROOT, ServiceProcess, environment

WITHIN = 60.0
"""Seconds in which a process or the store has started or ended."""
LOOK = 0.02


class StoreServer:
    """A server that writes to disk before it answers, as the embedded store does. One trouble at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"unix://{folder}/store.sock"
        self.client = Redis.from_url(self.url, protocol=2)
        self.interruptions = 0
        """How often it was away, slow or full."""
        self._process: subprocess.Popen[bytes] | None = None
        self._trouble = asyncio.Lock()

    async def start(self) -> None:
        words = ["--port", "0", "--unixsocket", f"{self._folder}/store.sock", "--dir", str(self._folder)]
        words += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        with open(self._folder / "store.log", "ab") as log:  # noqa: ASYNC230 - as quick as any system call
            self._process = _started([find_server(None), *words], log)
        await until(self._answers, within=WITHIN, what="the store answers")

    @contextlib.asynccontextmanager
    async def _interrupted(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        async with self._trouble:
            assert self._process is not None
            self.interruptions += 1
            yield self._process

    async def restart(self, *, kill: bool) -> None:
        async with self._interrupted() as process:
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            await until(lambda: process.poll() is not None, within=WITHIN)
            await self.start()

    async def hold(self, seconds: float) -> None:
        """It takes connections and answers nobody."""
        async with self._interrupted() as process:
            process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                process.send_signal(signal.SIGCONT)

    async def slow(self, seconds: float, random: Random) -> None:
        """Every call takes up to half a second."""
        async with self._interrupted():
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                await self.client.execute_command("CLIENT", "PAUSE", random.randint(50, 500), "ALL")

    async def full(self, seconds: float) -> None:
        """It refuses to write."""
        async with self._interrupted():
            await self.client.config_set("maxmemory", 1)
            try:
                await asyncio.sleep(seconds)
            finally:
                await self.client.config_set("maxmemory", 0)

    async def forget_scripts(self) -> None:
        async with self._trouble:
            await self.client.script_flush()

    async def heal(self) -> None:
        """Whatever it was in the middle of, it is well again."""
        async with self._trouble:
            assert self._process is not None
            if self._process.poll() is None:
                await until(self._answers, within=WITHIN, what="the store answers")
            else:
                await self.start()

    async def end(self) -> None:
        await self.client.aclose()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def _answers(self) -> bool:
        try:
            return bool(await self.client.ping())
        except (RedisError, OSError):
            return False


def _started(command: list[str], output: IO[bytes], **variables: str) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(**variables), stdin=nothing, stdout=output, stderr=output
    )


class Slot:
    """One process of the service, and its successors. ``lease`` None is as the service is shipped."""

    def __init__(self, role: str, folder: Path, lease: float | None, **variables: str) -> None:
        self.role = role
        self.kills = 0
        self.holds = 0
        self.ended_by_itself: list[int] = []
        """Exit statuses, of processes that were ready and that nobody killed."""
        self.url: str | None = None
        """Where it listens, once it is ready."""
        self._order = folder / f"{role}.order"
        self._logs = (folder / f"{role}-{number}.log" for number in itertools.count(1))
        self._command = ["app.py"] if lease is None else ["-m", "soak.service"]
        self._variables = {
            **variables,
            "ASIDE_FAULTS": "tests.faults.points",
            "FAULT_ORDER": str(self._order),
            **({} if lease is None else {"SOAK_LEASE": str(lease)}),
        }
        self._process: ServiceProcess | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self.is_ready = False

    async def run(self) -> None:
        """Keep one running, until cancelled."""
        while True:
            self._launch()
            assert self._process is not None and self._popen is not None
            while self._popen.poll() is None:
                if not self.is_ready and (found := re.search(r"ready: (http://\S+|jobs only)", self._process.log)):
                    self.is_ready = True
                    self.url = found[1] if found[1].startswith("http") else None
                await asyncio.sleep(LOOK)
            if self._popen.returncode == -signal.SIGKILL:
                self.kills += 1
            elif self.is_ready:
                self.ended_by_itself.append(self._popen.returncode)
            self.is_ready, self.url = False, None

    def _launch(self) -> None:
        log = next(self._logs)
        with open(log, "wb") as output:
            self._popen = _started([sys.executable, *self._command, self.role], output, **self._variables)
        self._process = ServiceProcess(self._popen.pid, log, self._popen.poll)

    def kill(self) -> None:
        if self._popen is not None:
            self._popen.kill()

    async def hold(self, seconds: float) -> None:
        """As a machine that is suspended: it goes on later, and knows of nothing."""
        process = self._process
        if process is not None:
            process.hold()
            self.holds += 1
            await asyncio.sleep(seconds)
            process.go_on()

    def dies_at(self, point: str, times: int) -> None:
        give(self._order, point, times, "SIGKILL")

    async def holds_at(self, point: str, times: int, seconds: float) -> None:
        """Held when it gets to a point for the n-th time, if it does so soon."""
        process = self._process
        give(self._order, point, times, "SIGSTOP")
        with contextlib.suppress(AssertionError):
            await until(lambda: not self._order.exists(), within=seconds)
            self.holds += 1
            await asyncio.sleep(seconds)
        self.heal()
        if process is not None:
            process.go_on()

    def heal(self) -> None:
        """Whatever it was to do to itself, it does not."""
        self._order.unlink(missing_ok=True)
        if self._process is not None:
            self._process.go_on()

    def end(self) -> None:
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
