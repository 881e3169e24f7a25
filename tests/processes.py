"""The service as operators run it: processes of ``python app.py``, to be stopped, held and killed."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from testkit.channel import FakeChannel
from testkit.people import Person
from testkit.waiting import until
from tests.faults.points import give

ROOT = Path(__file__).resolve().parent.parent
SOON = 40.0
"""Seconds within which a process has started or ended, on a machine that has much to do."""


def environment(**variables: str) -> dict[str, str]:
    """Nothing of the developer's shell but what any program needs, and ``variables``."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {**keep, "PORT": "0", "PYTHONPATH": str(ROOT), **variables}


def sends(channel: FakeChannel, person: Person, text: str) -> bool:
    """Whether this text was given to the channel, whatever the channel did with it."""
    return any(
        conversation == person.conversation and (body or {}).get("text") == text
        for _, conversation, _, body in channel.requests
    )


class ServiceProcess:
    """One process. ``status`` is asked for its exit status, None while it runs (0 if it cannot be known)."""

    def __init__(self, pid: int, log: Path, status: Callable[[], int | None]) -> None:
        self.pid = pid
        self._log = log
        self._status = status

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def url(self) -> str:
        """Where it listens."""
        found = re.search(r"ready: (http://\S+)", self.log)
        assert found, self.log
        return found[1]

    @property
    def running(self) -> bool:
        return self._status() is None

    async def ready(self) -> ServiceProcess:
        def is_ready() -> bool:
            assert self.running, self.log
            return re.search(r"ready: (http://\S+|jobs only)", self.log) is not None

        await until(is_ready, within=SOON, what="the service is ready")
        return self

    async def says(self, text: str) -> None:
        """Wait until its log has this."""
        await until(lambda: text in self.log, within=SOON, what=f"the log says {text!r}")

    async def ends(self) -> int:
        """Wait for its end; the exit status."""
        await until(lambda: not self.running, within=SOON, what="the process ends")
        status = self._status()
        assert status is not None
        return status

    async def kill(self) -> None:
        """``kill -9``."""
        self._send(signal.SIGKILL)
        await self.ends()

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.terminate()
        return await self.ends()

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def hold(self) -> None:
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    # ------------------------------------------------------------------ faults

    def dies_at(self, point: str, times: int = 1) -> None:
        """Have it send itself SIGKILL when it reaches a point (``state.fault_points``) for the n-th time from now."""
        give(self._order, point, times, "SIGKILL")

    def stops_at(self, point: str, times: int = 1) -> None:
        give(self._order, point, times, "SIGSTOP")

    @property
    def has_obeyed(self) -> bool:
        return not self._order.exists()

    @property
    def _order(self) -> Path:
        return order_beside(self._log)


def order_beside(log: Path) -> Path:
    return log.with_suffix(".order")


class Processes:
    """Processes of ``python app.py``, none of which outlives the ``with``."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self._folder = folder
        self._variables = variables
        self._numbers = itertools.count(1)
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()
            process.wait()

    def launch(self, role: str = "serve", *, cwd: Path | None = None, **variables: str) -> ServiceProcess:
        """Start one, without waiting until it is ready."""
        log = self._folder / f"{role}-{next(self._numbers)}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "app.py"), role],
                cwd=cwd or self._folder,
                env=environment(**{**self._variables, **variables}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._started.append(process)
        return ServiceProcess(process.pid, log, process.poll)

    async def start(self, role: str = "serve", *, cwd: Path | None = None, **variables: str) -> ServiceProcess:
        return await self.launch(role, cwd=cwd, **variables).ready()


class Nursery:
    """Processes of the service that start at once, take over soon and fail where they are told to.

    They are forked from one that has imported everything (``tests.faults.nursery``).
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._children: list[int] = []
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=ROOT,
            env=environment(ASIDE_FAULTS="tests.faults.points", **variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parent.communicate()  # the end of its orders: it ends its children, and then itself

    async def end_all(self) -> None:
        """``kill -9`` for every process that still runs."""
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await until(lambda: not any(map(_lives, self._children)), within=SOON, what="the processes end")
        self._children.clear()

    async def start(self, role: str = "serve", **variables: str) -> ServiceProcess:
        assert self._parent.stdin and self._parent.stdout
        log = self._folder / f"{role}-{next(self._numbers)}.log"
        order = {"role": role, "environment": {"FAULT_ORDER": str(order_beside(log)), **variables}, "log": str(log)}
        self._parent.stdin.write(json.dumps(order).encode() + b"\n")
        self._parent.stdin.flush()
        pid = int(self._parent.stdout.readline())
        self._children.append(pid)
        return await ServiceProcess(pid, log, lambda: None if _lives(pid) else 0).ready()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
