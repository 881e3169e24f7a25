"""Round trips to one server: commands out in one piece, answers in as they come.

redis-py makes the connections (addresses, sentinels, TLS, passwords); hiredis packs what goes over them. Both are used
without redis-py's pipelines, which spend more time on a command than the server does: this way costs a third
(``benchmarks``), and ``tests/test_store.py`` runs against both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from state.replicas import Replicas
from state.scripts import Argument

PATIENCE = 5.0
"""Seconds that a server has for a round trip, with the connecting if need be."""
CLOSED = (RuntimeError, AttributeError)
"""What redis-py lets out where a connection is closed under its hands: by the transport, or for want of a reader."""


@contextmanager
def connections() -> Iterator[None]:
    """Around calls of redis-py: a connection that has closed raises what a broken connection raises."""
    try:
        yield
    except CLOSED as error:
        raise RedisConnectionError(f"a connection has closed: {error}") from error


class Wire(Protocol):
    async def exchange(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """Answers, or the server's errors, in the order of the commands. Raises what a broken connection raises."""

    async def hang_up(self) -> None:
        """Close what connections are not in use."""


class PooledWire:
    """Keeps the connections that it takes from the client's pool: to borrow one costs as much as a round trip."""

    def __init__(self, redis: Redis) -> None:
        self._pool = redis.connection_pool
        self._read_as = dict(redis.response_callbacks)  # which itself asks about upper and lower case each time
        self._idle: list[AbstractConnection] = []

    async def exchange(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        packed = _packed(commands)
        async with asyncio.timeout(PATIENCE):
            connection = await self._connection()
            try:
                with connections():
                    await connection.send_packed_command(packed, check_health=False)
                    return [await self._answer(connection, str(command[0])) for command in commands]
            finally:
                self._idle.append(connection)  # one that broke has been hung up, and will be made anew

    async def _connection(self) -> AbstractConnection:
        if not self._idle:
            with connections():
                connection: AbstractConnection = await self._pool.get_connection()
            connection.socket_timeout = None  # the whole round trip has one
            return connection
        connection = self._idle.pop()
        try:
            with connections():
                if connection.is_connected and await connection.can_read():
                    await connection.disconnect(nowait=True)  # nobody asked: it is the end, or out of step
                if not connection.is_connected:
                    await connection.connect()
        except BaseException:
            self._idle.append(connection)
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _answer(self, connection: AbstractConnection, name: str) -> Any:
        try:
            answer = await connection.read_response()
        except ResponseError as error:
            return error
        read_as = self._read_as.get(name)
        return answer if read_as is None else read_as(answer)

    async def hang_up(self) -> None:
        for connection in self._idle:
            await connection.disconnect(nowait=True)


def _packed(commands: Sequence[tuple[Argument, ...]]) -> bytes:
    return b"".join([hiredis.pack_command(command) for command in commands])  # type: ignore[arg-type] # of any length


class PipelinedWire:
    """redis-py's own way, for clients that have no wire (``memory://``)."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def exchange(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        with connections():
            results: list[Any] = await pipeline.execute(raise_on_error=False)
        for result in results:
            if isinstance(result, RedisConnectionError | OSError):
                raise result
        return results

    async def hang_up(self) -> None:
        """There is nothing to close."""


class WaitedFor:
    """A wire over which nothing that is written counts before so many replicas have it."""

    def __init__(self, wire: Wire, replicas: Replicas) -> None:
        self._wire = wire
        self._replicas = replicas

    async def exchange(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        wait = self._replicas.asked_after(commands)
        if wait is None:
            return await self._wire.exchange(commands)
        *answers, told = await self._wire.exchange([*commands, wait])
        return self._replicas.judged(commands, answers, told)

    async def hang_up(self) -> None:
        await self._wire.hang_up()
