"""Clients for the URLs that a store is given by."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from state.replicas import Replicas
from state.store_url import ClusterUrl, SentinelUrl, parse
from state.wire import PipelinedWire, PooledWire, WaitedFor, Wire

CONNECTIONS = 32

Client = Redis | RedisCluster


def client_of(url: str) -> Client:
    """A client that connects on first use and retries nothing by itself. Raises :class:`ValueError`."""
    if url.startswith("memory://"):
        from fakeredis import FakeAsyncRedis, FakeServer

        return FakeAsyncRedis(server=FakeServer(), protocol=2)
    where = parse(url)
    if isinstance(where, SentinelUrl):
        return _master(where)
    if isinstance(where, ClusterUrl):
        nodes = [ClusterNode(host, port) for host, port in where.nodes]
        return RedisCluster(
            startup_nodes=nodes,
            username=where.username,
            password=where.password,
            ssl=where.tls,
            reinitialize_steps=0,  # what has moved is learnt slot by slot, without hanging up on everybody
            **_options(),
        )
    return Redis(connection_pool=BlockingConnectionPool.from_url(url, timeout=10, **_options()))


def wire_of(client: Redis, replicas: Replicas) -> Wire:
    """The way to a client's one server."""
    wire: Wire = PooledWire(client) if type(client) is Redis else PipelinedWire(client)
    return WaitedFor(wire, replicas) if replicas.count else wire


async def close(client: Client) -> None:
    """Close a client, and the sentinels that it asks."""
    if isinstance(client, RedisCluster):
        await client.aclose()
        return
    await client.aclose(close_connection_pool=True)
    if isinstance(client.connection_pool, SentinelConnectionPool):
        await client.connection_pool.sentinel_manager.aclose()


async def doubt_master(client: Client) -> None:
    """Have the sentinels asked again: a master that refuses may have been replaced without knowing it yet."""
    if isinstance(client, Redis) and isinstance(client.connection_pool, SentinelConnectionPool):
        await client.connection_pool.disconnect(inuse_connections=False)


def _master(where: SentinelUrl) -> Redis:
    """A client of the master that the sentinels agree on; asked anew whenever a connection is made."""
    own = {"username": where.sentinel_username, "password": where.sentinel_password}
    sentinels = Sentinel(list(where.sentinels), sentinel_kwargs={**_options(), **own})
    master: Redis = sentinels.master_for(
        where.service, db=where.database, username=where.username, password=where.password, **_options()
    )
    return master


def _options() -> dict[str, Any]:
    return {
        "max_connections": CONNECTIONS,
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
