"""The connection to the store: one client, and calls that share round trips.

Calls that are made while a round trip is under way leave together in the next one. Everything that
is called this way can be repeated without harm (scripts recognise what they have done already), so a
call whose connection broke is tried again before it fails.

On a cluster the calls to each node share round trips of their own. A sequence whose keys are in several slots keeps
its order: it goes on to the next slot when the one before has answered, and stops where the store refuses.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
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
from state import keys
from state.clients import Client, client_of, close, doubt_master, wire_of
from state.cluster import Cluster, key_of
from state.fault_points import reached
from state.replicas import Replicas, TooFewReplicas
from state.scripts import Argument, Command, Script, in_one, scripted, writes
from state.wire import CLOSED, Wire

log = logging.getLogger("aside.store")

BATCH = 32
"""Calls in one round trip at most: a longer one would hold up those behind it."""
ROUND_TRIPS = 4
"""Round trips under way at once; beyond half of them only for calls that somebody waits for."""
ENOUGH = 24
"""Calls that leave although a round trip is under way. Fewer wait until it is over, and a moment longer: each round
trip costs both sides as much as several calls."""
GATHERING = 0.002
"""Seconds: that moment, while calls come in all the time."""
TOGETHER = 50
"""Commands of one call that may run in any order, and leave together: the server does nothing else meanwhile."""
TRIES = 4
"""Attempts of a round trip whose connection breaks, 50 ms, 100 ms and 200 ms apart."""
PROBE_SECONDS = 1.0
"""How long a server that was away has to say that it is back."""
BLOCK_SECONDS = 2
"""Blocking reads return at least this often: the client's socket time-out is 5 s."""

_TIME_OUTS = (RedisTimeoutError, TimeoutError)
_CONNECTION_ERRORS = (RedisConnectionError, ConnectionError, *_TIME_OUTS)
READ_ERRORS = (RedisError, RedisClusterException, OSError, *CLOSED)
"""What a blocking read on ``Store.redis`` may raise while the store cannot be reached."""
_REFUSALS = (OutOfMemoryError, ReadOnlyError, ClusterDownError, AskError, TryAgainError)
_REFUSING = ("BUSY ", "MISCONF ", "NOREPLICAS ")
"""How the other errors begin with which a server refuses for now: a script that hangs, a full disk, lost replicas."""

OVERTAKES = 4
"""Round trips for users before there is one for what else waits: leases are renewed there, and broadcasts accepted."""

BATCH_AMONG_USERS = 16
"""Calls in one round trip while users speak, of which then only one is under way: the server does one after the other,
and whoever comes in waits."""
AT_ONCE = 2
"""Calls that are answered, while users speak, before the event loop looks at what else there is. Otherwise it is a
whole round trip: what many turns do one after the other takes a twentieth less if it is the same step of each."""
FORGIVING = 10.0
"""Seconds after an outage in which leases count that ended meanwhile: as long as a turn's."""
LATELY = 1.0
"""Seconds after a user's last call in which users speak."""

HURRIED: ContextVar[bool] = ContextVar("hurried", default=False)
"""Whether a user waits for what the current task does: its calls leave at once, and before others."""


def asked_to_end() -> bool:
    """Whether the current task was cancelled: what it awaited may have swallowed that (``asyncio.wait_for`` before
    Python 3.12, with which redis-py sends, does where the send is done at that moment)."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _first_error(answers: list[Any]) -> Exception | None:
    for answer in answers:
        if isinstance(answer, Exception):
            return answer
    return None


def _refuses(result: Any) -> bool:
    return isinstance(result, Exception) and (isinstance(result, _REFUSALS) or str(result).startswith(_REFUSING))


def _unavailable(broken: Exception) -> StoreUnavailable:
    if isinstance(broken, _TIME_OUTS):
        return StoreUnavailable("The store does not answer.")
    return StoreUnavailable(f"The store cannot be reached: {type(broken).__name__}")


def _refusal(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"The store refuses to write: {str(error).partition(' script: ')[0]}")


class Outage:
    """When a server could not be reached, as far as this process has seen; ``clock`` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answered_at = clock()
        self._since = self._over_at = -math.inf
        self._goes_on = False

    def answered(self) -> None:
        self._answered_at = self._clock()
        if self._goes_on:
            self._goes_on, self._over_at = False, self._answered_at

    def broke(self) -> None:
        if not self._goes_on and self._clock() >= self._over_at + FORGIVING:
            self._since = self._answered_at
        self._goes_on = True

    def forgives(self) -> float:
        """Seconds for which a lease that has ended is still to count: since before the outage, until its holder has had
        time to say that it lives."""
        if not self._goes_on and self._clock() >= self._over_at + FORGIVING:
            return 0.0
        return self._clock() - self._since


@dataclass(slots=True)
class _Group:
    """Commands that stay together and in order, and who waits for their answers (or the errors in their place)."""

    commands: list[Command]
    future: asyncio.Future[list[Any]]


def _to_run_again(groups: list[_Group], results: list[Any]) -> list[int]:
    """Of each group what comes from the first missing script on, so that it keeps its order; what did run of it
    recognises that it has. Other groups are done."""
    again: list[int] = []
    if not any(isinstance(result, NoScriptError) for result in results):
        return again
    start = 0
    for group in groups:
        mine = range(start, start + len(group.commands))
        missing = next((i for i in mine if isinstance(results[i], NoScriptError)), mine.stop)
        again += range(missing, mine.stop)
        start = mine.stop
    return again


class _Lane:
    """Calls that share round trips: to the one server, or to one node of a cluster."""

    def __init__(
        self, send: Callable[[list[tuple[Argument, ...]]], Awaitable[list[Any]]], doubt: Callable[[], Awaitable[None]]
    ) -> None:
        self._send = send
        self._doubt = doubt
        self._loop = asyncio.get_running_loop()  # to ask for it at every call is a system call each time
        self._hurried: list[_Group] = []
        self._hurried_at = -math.inf
        self._queue: list[_Group] = []
        self._overtaken = 0
        """Round trips that left before what waits in ``_queue``."""
        self._probe: asyncio.Task[None] | None = None
        self.flushes: set[asyncio.Task[None]] = set()
        self.outage = Outage(self._loop.time)
        self.away = False
        """Whether the last round trip failed."""
        self.alone = False
        """Whether too few replicas had what was written last."""

    def submit(self, commands: list[Command]) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if HURRIED.get():
            self._hurried_at = self._loop.time()
            self._hurried.append(_Group(commands, future))
        else:
            self._queue.append(_Group(commands, future))
        if self._worth_another(len(self.flushes)):
            self.flushes.add(self._loop.create_task(self._flush(), name="store-flush"))
        return future

    def _worth_another(self, under_way: int) -> bool:
        """Whether a round trip is to begin while so many are under way."""
        if self._hurried:
            return under_way < ROUND_TRIPS
        if under_way == 0 or len(self._queue) < ENOUGH:
            return under_way == 0
        return under_way < (1 if self._users_speak() else ROUND_TRIPS // 2)

    def _users_speak(self) -> bool:
        return self._loop.time() - self._hurried_at < LATELY

    async def _flush(self) -> None:
        """Leaves ``flushes`` in the step in which it finds nothing to do that others of them will not do: nobody may
        count on it after that."""
        try:
            while self._hurried or self._queue:
                await self._carry(self._take())
                others = len(self.flushes) - 1
                if self._queue and not self._worth_another(others):
                    break
                if self._queue and not self._hurried and len(self._queue) < ENOUGH:
                    await asyncio.sleep(GATHERING)
        finally:
            this = asyncio.current_task()
            assert this is not None
            self.flushes.discard(this)

    async def _carry(self, groups: list[_Group]) -> None:
        try:
            results = await self._round_trip(groups)
        except Exception as error:
            if isinstance(error, StoreUnavailable):
                self.away = True
                groups += self._take_all()  # they would wait for as long, and find the same
            for group in groups:
                if not group.future.done():
                    group.future.set_exception(error)
            return
        start, at_once = 0, AT_ONCE if self._users_speak() else len(groups)
        for number, group in enumerate(groups, 1):
            end = start + len(group.commands)
            if not group.future.done():
                group.future.set_result(results[start:end])
            start = end
            if number % at_once == 0:
                await asyncio.sleep(0)  # who has come in meanwhile need not wait until all of these have gone on

    def _take(self) -> list[_Group]:
        """The groups of the next round trip: as many as fit, and at least one. Those that a user waits for leave alone:
        the server answers nobody until it has done all of a round trip. Every few times it is the others' turn."""
        hurried = bool(self._hurried) and (not self._queue or self._overtaken < OVERTAKES)
        self._overtaken = self._overtaken + 1 if hurried and self._queue else 0
        waiting = self._hurried if hurried else self._queue
        size, count, most = 0, 0, BATCH if hurried or not self._users_speak() else BATCH_AMONG_USERS
        for group in waiting:
            if count and size + len(group.commands) > most:
                break
            size += len(group.commands)
            count += 1
        groups = waiting[:count]
        del waiting[:count]
        return groups

    def _take_all(self) -> list[_Group]:
        waiting = self._hurried + self._queue
        self._hurried, self._queue = [], []
        return waiting

    async def open(self, commands: list[Command]) -> None:
        """Answers when a server that was away, or lacked replicas for what is to be written, is there again; those who
        ask at the same time ask once.

        A call that is not sent cannot be carried out after its caller has given up. Raises :class:`StoreUnavailable`.
        """
        if not self.away and not any(writes(command.parts) for command in commands):
            return
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._ask(commands[0].parts), name="store-probe")
        await asyncio.shield(self._probe)

    async def _ask(self, parts: tuple[Argument, ...]) -> None:
        name = str(key_of(parts) or "")
        probe: tuple[Argument, ...] = ("EXISTS", name) if name else ("PING",)
        if self.alone:
            probe = ("SET", keys.probe(name), "", "EX", keys.PROBE_TTL)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                (answer,) = await self._send([probe])
        except _CONNECTION_ERRORS as error:
            raise _unavailable(error) from error
        self.outage.answered()
        if self.alone and isinstance(answer, Exception):
            await self._doubt()
            raise _refusal(answer) from answer
        self.away = self.alone = False

    async def _round_trip(self, groups: list[_Group]) -> list[Any]:
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(0.025 * 2**attempt)
            try:
                results = await self._execute(groups)
                self.outage.answered()
                return results
            except _TIME_OUTS as error:
                broken: Exception = error
                self.outage.broke()
                await self._doubt()  # the other connections may lead to a machine that is gone, too
                break  # whoever asked has waited long enough
            except _CONNECTION_ERRORS as error:
                broken = error
                self.outage.broke()
        log.warning("store unreachable: %s", broken, extra={"action": "store_unreachable"})
        raise _unavailable(broken) from broken

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

    def __init__(self, redis: Client, replicas: int = 0) -> None:
        self.redis: Any = redis
        """For blocking reads of one key; they may raise :data:`READ_ERRORS`."""
        self.round_trips = 0
        self._replicas = Replicas(count=replicas)
        self._cluster: Cluster | None = None
        if isinstance(redis, RedisCluster):
            self._wire: Wire = (cluster := Cluster(redis, self._replicas))
            self._cluster = cluster
        else:
            self._wire = wire_of(redis, self._replicas)
        self._lanes: defaultdict[str, _Lane] = defaultdict(lambda: _Lane(self._send, self._doubt))

    @classmethod
    def connect(cls, url: str, *, replicas: int = 0) -> Store:
        """A store at ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://`` or ``redis+cluster://``;
        ``memory://`` for one that ends with the process. So many ``replicas`` have to have what is written before it
        counts: with fewer, writes are refused.

        Connects on first use.
        """
        return cls(client_of(url), replicas)

    @property
    def clustered(self) -> bool:
        """Whether keys with different hash tags may live on different servers."""
        return self._cluster is not None

    def forgives(self, key: str) -> float:
        """Seconds for which a lease beside ``key`` that has ended is still to count, as its server was away lately."""
        name = "" if self._cluster is None else self._cluster.node(("EXISTS", key))
        return self._lanes[name].outage.forgives()

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
        size = 1 if self._cluster is not None else TOGETHER
        parts = [list(commands[start : start + size]) for start in range(0, len(commands), size)]
        if len(parts) == 1:
            return await self._submit(parts[0])
        return [answer for answers in await asyncio.gather(*map(self._submit, parts)) for answer in answers]

    async def _submit(self, commands: list[Command]) -> list[Any]:
        if self._cluster is not None:
            return await self._in_order(self._cluster, commands)
        lane = self._lanes[""]
        if lane.away or lane.alone:
            await lane.open(commands)
        if (one := in_one(commands)) is None:
            return await self._checked(lane, commands)
        (answers,) = await self._checked(lane, [one])
        if (error := _first_error(answers)) is not None:
            raise await self._meant_by(error)
        return answers  # type: ignore[no-any-return] # it is a list

    async def _in_order(self, cluster: Cluster, commands: list[Command]) -> list[Any]:
        """Not as one script: the keys of a slot that is being moved are on two servers meanwhile."""
        results: list[Any] = []
        failed: Exception | None = None
        for _, run in groupby(commands, key=lambda command: cluster.slot(command.parts)):
            if results:
                reached("between_slots")
            of_one_slot = list(run)
            try:
                lane = self._lanes[cluster.node(of_one_slot[0].parts)]
                if lane.away or lane.alone:
                    await lane.open(of_one_slot)
                results += await self._checked(lane, of_one_slot)
            except StoreUnavailable:
                raise
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return results

    async def _checked(self, lane: _Lane, commands: list[Command]) -> list[Any]:
        """The answers, unless one of them is an error."""
        answers = await lane.submit(commands)
        if (error := _first_error(answers)) is not None:
            lane.alone = lane.alone or isinstance(error, TooFewReplicas)
            raise await self._meant_by(error)
        return answers

    async def _meant_by(self, error: Exception) -> Exception:
        """What an error among the answers is to the caller."""
        if not _refuses(error):
            return error
        await self._doubt()
        refused = _refusal(error)
        refused.__cause__ = error
        return refused

    async def _send(self, commands: list[tuple[Argument, ...]]) -> list[Any]:
        self.round_trips += 1
        return await self._wire.exchange(commands)

    async def _doubt(self) -> None:
        """A master that refuses may have been replaced without knowing it yet."""
        await doubt_master(self.redis)
        await self._wire.hang_up()

    async def ready(self) -> None:
        """Raises :class:`StoreUnavailable` unless the store takes writes, and enough replicas get them: each primary of
        a cluster. Writes nothing that stays."""
        try:
            if self._cluster is None:
                await self.run(*self._would_write(keys.nothing()))
            else:
                await self._each_ready(self._cluster)
        except RedisError as error:  # such as a user who may not write
            raise _refusal(error) from error

    async def _each_ready(self, cluster: Cluster) -> None:
        try:
            names = await cluster.one_key_each(keys.nothing())
        except READ_ERRORS as error:
            raise StoreUnavailable(f"The store cannot be reached: {type(error).__name__}") from error
        await self.together(*(Command(self._would_write(name)) for name in names))

    def _would_write(self, name: str) -> tuple[Argument, ...]:
        """``LPUSHX`` is nothing that a replica could have or not."""
        if self._replicas.count:
            return ("SET", keys.probe(name), "", "EX", keys.PROBE_TTL)
        return ("LPUSHX", name, "")

    async def close(self) -> None:
        flushes = [flush for lane in self._lanes.values() for flush in lane.flushes]
        if flushes:
            await asyncio.wait(flushes, timeout=5)
        await close(self.redis)
