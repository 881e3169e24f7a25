"""The connection to the store: one client, and calls that share round trips.

Calls that are made while a round trip is under way leave together in the next one. Everything that
is called this way can be repeated without harm (scripts recognise what they have done already), so a
call whose connection broke is tried again before it fails.

On a cluster the calls to each node share round trips of their own. A sequence whose keys are in several slots keeps
its order: it goes on to the next slot when the one before has answered, and stops where the store refuses.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import (
    AskError,
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from domain.errors import StoreUnavailable
from state.clients import Client, client_of, close, doubt_master
from state.cluster import Cluster

log = logging.getLogger("aside.store")

BATCH = 64
"""Calls in one round trip at most: a longer one would hold up those behind it."""
ROUND_TRIPS = 4
"""Round trips under way at once."""
TRIES = 4
"""Attempts of a round trip whose connection breaks, 50 ms, 100 ms and 200 ms apart."""
BLOCK_SECONDS = 2
"""Blocking reads return at least this often: the client's socket time-out is 5 s."""

_CONNECTION_ERRORS = (RedisConnectionError, RedisTimeoutError, ConnectionError, TimeoutError)
READ_ERRORS = (RedisError, RedisClusterException, OSError)
"""What a blocking read on ``Store.redis`` may raise while the store cannot be reached."""
_REFUSALS = (OutOfMemoryError, ReadOnlyError, ClusterDownError, AskError, TryAgainError)
_REFUSING = ("BUSY ", "MISCONF ", "NOREPLICAS ")
"""How the other errors begin with which a server refuses for now: a script that hangs, a full disk, lost replicas."""

Argument = str | bytes | int | float


class Script:
    """A Lua script and the digest by which the server knows it."""

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Command:
    """A command, and the script it runs if it runs one."""

    parts: tuple[Argument, ...]
    script: Script | None = None

    def with_source(self) -> tuple[Argument, ...]:
        """The command in a form that needs no script to be known."""
        return self.parts if self.script is None else ("EVAL", self.script.source, *self.parts[2:])


def scripted(script: Script, keys: Sequence[str], args: Sequence[Argument] = ()) -> Command:
    return Command(("EVALSHA", script.digest, len(keys), *keys, *args), script)


def _refuses(result: Any) -> bool:
    return isinstance(result, Exception) and (isinstance(result, _REFUSALS) or str(result).startswith(_REFUSING))


@dataclass(frozen=True)
class _Group:
    """Commands that stay together and in order, and who waits for their results."""

    commands: list[Command]
    future: asyncio.Future[list[Any]]

    def resolve(self, results: deque[Any]) -> None:
        mine = [results.popleft() for _ in self.commands]
        if self.future.done():
            return
        error = next((result for result in mine if isinstance(result, Exception)), None)
        if _refuses(error):
            self.future.set_exception(StoreUnavailable(f"The store refuses to write: {error}"))
        elif error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(mine)


def _to_run_again(groups: list[_Group], results: list[Any]) -> list[int]:
    """Of each group what comes from the first missing script on, so that it keeps its order; what did run of it
    recognises that it has. Other groups are done."""
    again: list[int] = []
    start = 0
    for group in groups:
        mine = range(start, start + len(group.commands))
        missing = next((i for i in mine if isinstance(results[i], NoScriptError)), mine.stop)
        again += range(missing, mine.stop)
        start = mine.stop
    return again


class _Lane:
    """Calls that share round trips: to the one server, or to one node of a cluster."""

    def __init__(self, send: Callable[[list[tuple[Argument, ...]]], Awaitable[list[Any]]]) -> None:
        self._send = send
        self._queue: list[_Group] = []
        self.flushes: set[asyncio.Task[None]] = set()

    def submit(self, commands: list[Command]) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Group(commands, future))
        if len(self.flushes) < ROUND_TRIPS:
            flush = asyncio.create_task(self._flush(), name="store-flush")
            self.flushes.add(flush)
            flush.add_done_callback(self.flushes.discard)
        return future

    async def _flush(self) -> None:
        while self._queue:
            groups = self._take()
            try:
                results = await self._round_trip(groups)
            except Exception as error:
                for group in groups:
                    if not group.future.done():
                        group.future.set_exception(error)
                continue
            for group in groups:
                group.resolve(results)

    def _take(self) -> list[_Group]:
        """The groups of the next round trip: as many as fit, and at least one."""
        size = count = 0
        for group in self._queue:
            if count and size + len(group.commands) > BATCH:
                break
            size += len(group.commands)
            count += 1
        groups, self._queue = self._queue[:count], self._queue[count:]
        return groups

    async def _round_trip(self, groups: list[_Group]) -> deque[Any]:
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(0.025 * 2**attempt)
            try:
                return deque(await self._execute(groups))
            except _CONNECTION_ERRORS as error:
                broken: Exception = error
        log.warning("store unreachable: %s", broken, extra={"action": "store_unreachable"})
        raise StoreUnavailable(f"The store cannot be reached: {type(broken).__name__}") from broken

    async def _execute(self, groups: list[_Group]) -> list[Any]:
        commands = [command for group in groups for command in group.commands]
        results = await self._send([command.parts for command in commands])
        again = _to_run_again(groups, results)
        if again:
            # The server forgot its scripts, or never had them.
            for i, result in zip(again, await self._send([commands[i].with_source() for i in again]), strict=True):
                results[i] = result
        return results


class Store:
    """Typed modules in this package are written on top of :meth:`call` and :meth:`run`."""

    def __init__(self, redis: Client) -> None:
        self.redis: Any = redis
        """For blocking reads of one key; they may raise :data:`READ_ERRORS`."""
        self.round_trips = 0
        self._cluster = Cluster(redis) if isinstance(redis, RedisCluster) else None
        self._lanes: defaultdict[str, _Lane] = defaultdict(lambda: _Lane(self._send))

    @classmethod
    def connect(cls, url: str) -> Store:
        """A store at ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://`` or ``redis+cluster://``;
        ``memory://`` for one that ends with the process.

        Connects on first use.
        """
        return cls(client_of(url))

    @property
    def clustered(self) -> bool:
        """Whether keys with different hash tags may live on different servers."""
        return self._cluster is not None

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()) -> Any:
        """Run a script that may be repeated. Raises :class:`StoreUnavailable`."""
        return (await self._submit([scripted(script, keys, args)]))[0]

    async def run(self, *command: Argument) -> Any:
        """Run a command that may be repeated. Raises :class:`StoreUnavailable`."""
        return (await self._submit([Command(command)]))[0]

    async def sequence(self, *commands: Command) -> list[Any]:
        """Run commands that may be repeated one after the other in a single round trip.

        Each runs whatever became of those before it; the first error is raised once all have run.
        """
        return await self._submit(list(commands)) if commands else []

    async def together(self, *commands: Command) -> list[Any]:
        """Run commands that may be repeated, in any order, in a single round trip (to each node of a cluster)."""
        if self._cluster is None:
            return await self.sequence(*commands)
        answers = await asyncio.gather(*(self._submit([command]) for command in commands))
        return [answer for (answer,) in answers]

    def _submit(self, commands: list[Command]) -> Awaitable[list[Any]]:
        if self._cluster is None:
            return self._lanes[""].submit(commands)
        return self._in_order(self._cluster, commands)

    async def _in_order(self, cluster: Cluster, commands: list[Command]) -> list[Any]:
        results: list[Any] = []
        failed: Exception | None = None
        for _, run in groupby(commands, key=lambda command: cluster.slot(command.parts)):
            of_one_slot = list(run)
            try:
                results += await self._lanes[cluster.node(of_one_slot[0].parts)].submit(of_one_slot)
            except StoreUnavailable:
                raise
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return results

    async def _send(self, commands: list[tuple[Argument, ...]]) -> list[Any]:
        self.round_trips += 1
        if self._cluster is not None:
            return await self._cluster.send(commands)
        results = await self._send_to_one(commands)
        if any(map(_refuses, results)):
            await doubt_master(self.redis)
        return results

    async def _send_to_one(self, commands: list[tuple[Argument, ...]]) -> list[Any]:
        if len(commands) == 1:
            try:
                return [await self.redis.execute_command(*commands[0])]
            except _CONNECTION_ERRORS:
                raise
            except RedisError as error:
                return [error]
        pipeline = self.redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        results = await pipeline.execute(raise_on_error=False)
        for result in results:
            if isinstance(result, _CONNECTION_ERRORS):
                raise result
        return list(results)

    async def ready(self) -> None:
        """Raises :class:`StoreUnavailable` unless the store answers: each primary of a cluster."""
        if self._cluster is None:
            await self.run("PING")
            return
        try:
            await self._cluster.ping()
        except READ_ERRORS as error:
            raise StoreUnavailable(f"The store cannot be reached: {type(error).__name__}") from error

    async def close(self) -> None:
        flushes = [flush for lane in self._lanes.values() for flush in lane.flushes]
        if flushes:
            await asyncio.wait(flushes, timeout=5)
        await close(self.redis)
