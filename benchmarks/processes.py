"""The processes of a measurement: each on its core and on a free port, ended when their block ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from benchmarks.machine import cores, hold_to, let_go
from state.embedded import find_server

ROOT = Path(__file__).resolve().parent.parent
SERVICE = (str(ROOT / "app.py"),)
START_SECONDS = 60.0
STOP_SECONDS = 30.0
SHOWN_OF_AN_ERROR = 60
"""Lines."""
_READY = re.compile(r"ready: (http://\S+)")
_INHERITED = ("PATH", "HOME", "TMPDIR", "LANG")


class Place(Enum):
    """Which core a process gets."""

    MEASURED = auto()
    AROUND = auto()
    """That of everything which is there for the sake of the measurement."""
    ANYWHERE = auto()


class DidNotStart(Exception):
    """The text is what the process printed last."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """``url`` is where it listens; ``started_in`` the seconds from its start until it was ready."""

    pid: int
    url: str
    started_in: float


@dataclass(frozen=True, kw_only=True)
class StoreServer:
    pid: int
    url: str
    client: Redis


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What every measurement of the service needs."""

    service: Process
    channel: Process
    store: StoreServer


@asynccontextmanager
async def staged(service: Sequence[str] = SERVICE, env: Mapping[str, str] | None = None) -> AsyncIterator[Stage]:
    """The service on its core; the channel and an empty store on the other."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(store_server())
        channel = await stack.enter_async_context(channel_process())
        process = await stack.enter_async_context(serving(store, service, env))
        yield Stage(service=process, channel=channel, store=store)


def serving(
    store: StoreServer,
    service: Sequence[str] = SERVICE,
    env: Mapping[str, str] | None = None,
    *,
    place: Place = Place.MEASURED,
) -> AbstractAsyncContextManager[Process]:
    """A process of the service, with ``env`` in its environment, on a store that others may share."""
    return started(service, {"PORT": "0", "REDIS_URL": store.url, **(env or {})}, place=place)


def channel_process(place: Place = Place.AROUND) -> AbstractAsyncContextManager[Process]:
    return started(("-m", "benchmarks.channel"), place=place)


@asynccontextmanager
async def started(
    arguments: Sequence[str], env: Mapping[str, str] | None = None, *, place: Place, ready: re.Pattern[str] = _READY
) -> AsyncIterator[Process]:
    """Python with ``arguments``, from when it prints that it is ready and where; SIGTERM when the block ends."""
    began = time.monotonic()
    process = await _spawn(arguments, env or {}, place, asyncio.subprocess.STDOUT)
    reading: asyncio.Task[None] | None = None
    try:
        url = await _until_ready(process, ready)
        started_in = time.monotonic() - began
        reading = asyncio.create_task(_discard(process))
        yield Process(pid=process.pid, url=url, started_in=started_in)
    finally:
        await _end(process)
        if reading is not None:
            await reading


async def outcome(arguments: Sequence[str]) -> Any:
    """What a process on the measured core prints as JSON, once it is done."""
    process = await _spawn(arguments, {}, Place.MEASURED, asyncio.subprocess.PIPE)
    try:
        output, errors = await process.communicate()
    finally:
        await _end(process)
    if process.returncode:
        raise DidNotStart(errors.decode(errors="replace")[-2000:])
    return json.loads(output.splitlines()[-1])


async def _spawn(
    arguments: Sequence[str], env: Mapping[str, str], place: Place, output: int
) -> asyncio.subprocess.Process:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(ROOT), **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=output,
    )
    _put(process.pid, place)
    return process


def _put(pid: int, place: Place) -> None:
    pair = cores()
    if place is Place.ANYWHERE:
        let_go(pid)
    else:
        hold_to(pid, pair and pair[0 if place is Place.MEASURED else 1])


async def _until_ready(process: asyncio.subprocess.Process, ready: re.Pattern[str]) -> str:
    assert process.stdout is not None
    printed: deque[str] = deque(maxlen=40)
    with suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            async for line in process.stdout:
                printed.append(line.decode(errors="replace"))
                if found := ready.search(printed[-1]):
                    return found[1]
    raise DidNotStart("".join(printed) or "nothing was printed")


async def _discard(process: asyncio.subprocess.Process) -> None:
    """Keep the pipe empty; the first error, with the lines that explain it, belongs on the screen."""
    assert process.stdout is not None
    left = 0
    shown = False
    async for line in process.stdout:
        if not shown and b" ERROR " in line:
            left, shown = SHOWN_OF_AN_ERROR, True
        if left:
            left -= 1
            sys.stderr.write(line.decode(errors="replace"))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def store_server(place: Place = Place.AROUND) -> AsyncIterator[StoreServer]:
    """The wheel's server on a socket of its own, in memory only."""
    with tempfile.TemporaryDirectory(prefix="aside-bench-") as folder:
        socket = f"{folder}/store.sock"
        options = ("--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", folder)
        process = await asyncio.create_subprocess_exec(
            *(find_server(None), *options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        _put(process.pid, place)
        url = f"unix://{socket}"
        client = Redis.from_url(url)
        try:
            await _until_answered(client, process)
            yield StoreServer(pid=process.pid, url=url, client=client)
        finally:
            await client.aclose()
            await _end(process)


async def _until_answered(client: Redis, process: asyncio.subprocess.Process) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            await client.ping()
            return
        except (RedisError, OSError) as error:
            if time.monotonic() > end or process.returncode is not None:
                raise DidNotStart(f"the store does not answer: {error}") from error
            await asyncio.sleep(0.02)
