"""Real servers in company: a cluster, and a master with its replica and sentinels; on free loopback ports."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from state.embedded import find_server
from testkit.waiting import until

SLOTS = 16384
SERVICE = "aside"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def ask(port: int, *command: Any, password: str | None = None) -> Any:
    """One command to one server; None if it cannot answer."""
    redis = Redis(port=port, password=password, protocol=2)
    try:
        return await redis.execute_command(*command)
    except (RedisError, OSError):
        return None
    finally:
        await redis.aclose()


class Servers:
    """Servers that end with the ``with``."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="aside-test-"))
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        shutil.rmtree(self._folder)

    def start(self, *options: str, file: str = "", port: int | None = None) -> int:
        """Start one; its port. ``file``: lines of a configuration file, for what needs one."""
        port = port or free_port()
        folder = self._folder / str(port)
        folder.mkdir(exist_ok=True)
        command = [find_server(None)]
        if file:
            (folder / "conf").write_text(file)
            command.append(str(folder / "conf"))
        command += ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *options]
        with open(folder / "log", "ab") as log:
            self._running[port] = subprocess.Popen(command, stdout=log, stderr=log)
        return port

    def kill(self, port: int) -> None:
        self._end(port, signal.SIGKILL)

    def stop(self, port: int) -> None:
        """In order; it refuses connections from then on."""
        self._end(port, signal.SIGTERM)

    def _end(self, port: int, number: signal.Signals) -> None:
        process = self._running.pop(port)
        process.send_signal(number)
        process.wait()

    def hold(self, port: int) -> None:
        """It stays connected and takes connections, and answers nothing."""
        self._running[port].send_signal(signal.SIGSTOP)

    def go_on(self, port: int) -> None:
        self._running[port].send_signal(signal.SIGCONT)


# --------------------------------------------------------------------- cluster


class ClusterOfThree:
    """Three primaries, and so many ``replicas`` of each; with ``replica`` one of the first."""

    def __init__(self, servers: Servers, *, replica: bool = False, replicas: tuple[int, ...] = ()) -> None:
        self._servers = servers
        self.ports = [self._start() for _ in range(3)]
        wanted = replicas or (int(replica),)
        self.replicas = [
            (self._start(), master) for master, count in zip(self.ports, wanted, strict=False) for _ in range(count)
        ]
        self.replica = self.replicas[0][0] if self.replicas else None

    def _start(self) -> int:
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", str(free_port())]
        return self._servers.start(*options, "--save", "", "--repl-diskless-sync-delay", "0")

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    async def form(self) -> None:
        everybody = [*self.ports, *(replica for replica, _ in self.replicas)]
        for port in everybody:
            await until(partial(ask, port, "PING"), what="the node answers")
        share = -(-SLOTS // 3)
        for number, port in enumerate(self.ports):
            last = min(SLOTS, (number + 1) * share) - 1
            await ask(port, "CLUSTER", "ADDSLOTSRANGE", number * share, last)
            await ask(port, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        bus = {port: await ask(port, "CONFIG", "GET", "cluster-port") for port in everybody}
        for port in everybody[1:]:
            await ask(everybody[0], "CLUSTER", "MEET", "127.0.0.1", port, dict(_paired(bus[port]))[b"cluster-port"])
        await until(lambda: self._agreed(everybody), what="the nodes agree")
        for replica, master in self.replicas:
            await until(partial(self._replicates, replica, master), what="the replica follows")
        await until(lambda: self._seen_by_all(everybody), what="all know the replicas")

    async def _agreed(self, everybody: list[int]) -> bool:
        for port in everybody:
            info = await ask(port, "CLUSTER", "INFO")
            if info is None or _field(info, "cluster_state") != "ok":
                return False
            if _field(info, "cluster_known_nodes") != str(len(everybody)):
                return False
        return True

    async def _replicates(self, replica: int, master: int) -> bool:
        await ask(replica, "CLUSTER", "REPLICATE", (await ask(master, "CLUSTER", "MYID")).decode())
        return await follows(replica)

    async def _seen_by_all(self, everybody: list[int]) -> bool:
        slots = [await ask(port, "CLUSTER", "SLOTS") for port in everybody]
        return all(shards and sum(len(shard) - 3 for shard in shards) == len(self.replicas) for shards in slots)

    @property
    def pair(self) -> tuple[int, int]:
        """The first primary and its replica."""
        assert self.replica is not None
        return self.ports[0], self.replica

    def kill_first(self) -> None:
        self._servers.kill(self.ports[0])

    @property
    def _of_first(self) -> list[int]:
        return [replica for replica, master in self.replicas if master == self.ports[0]]

    async def hold_replicas(self) -> None:
        """Those of the first primary get nothing more that it is told, not even when they go on."""
        for replica in self._of_first:
            self._servers.hold(replica)
        assert await ask(self.ports[0], "CLIENT", "KILL", "TYPE", "replica") == len(self._of_first)

    def let_replicas_go_on(self) -> None:
        for replica in self._of_first:
            self._servers.go_on(replica)

    async def flush(self) -> None:
        for port in self.ports:
            await until(partial(ask, port, "FLUSHALL"), what="the node is emptied")


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterOfThree]:
    """One cluster for this run of the tests."""
    with Servers() as servers:
        cluster = ClusterOfThree(servers)
        asyncio.run(cluster.form())
        yield cluster


@pytest.fixture
async def cluster_url(cluster: ClusterOfThree) -> str:
    """The cluster, empty."""
    await cluster.flush()
    return cluster.url


# --------------------------------------------------------------------- sentinel


class Watched:
    """A master, its replica, and three sentinels that watch them; both kinds have a password of their own."""

    password = "inner"
    sentinel_password = "outer"

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        alike = ["--save", "", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]
        alike += ["--requirepass", self.password, "--masterauth", self.password]
        self.master = servers.start(*alike)
        self.replica = servers.start(*alike, "--replicaof", f"127.0.0.1 {self.master}")
        self._sentinels: list[int] = []

    @property
    def url(self) -> str:
        sentinels = ",".join(f"127.0.0.1:{port}" for port in self._sentinels)
        return f"redis+sentinel://:{self.password}@{sentinels}/{SERVICE}?sentinel_password={self.sentinel_password}"

    async def form(self) -> None:
        await until(lambda: follows(self.replica, self.password), what="the replica follows")
        watch = (
            f"requirepass {self.sentinel_password}\n"
            f"sentinel sentinel-pass {self.sentinel_password}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master} 2\n"
            f"sentinel auth-pass {SERVICE} {self.password}\n"
            f"sentinel down-after-milliseconds {SERVICE} 500\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        for _ in range(3):
            self._sentinels.append(self._servers.start("--sentinel", file=watch))
        await until(self._watched, what="the sentinels know the replica and each other")

    async def _watched(self) -> bool:
        for port in self._sentinels:
            described = await self.ask_sentinel("SENTINEL", "MASTER", SERVICE, port=port)
            if not described:
                return False
            known = dict(_paired(described))
            if (known[b"num-slaves"], known[b"num-other-sentinels"]) != (b"1", b"2"):
                return False
        return True

    async def ask_sentinel(self, *command: str, port: int | None = None) -> Any:
        return await ask(port or self._sentinels[0], *command, password=self.sentinel_password)

    async def replicated(self) -> None:
        """Everything that was written is with the replica."""
        await until(lambda: replicated(self.master, self.replica, self.password), what="the replica has everything")

    def kill_master(self) -> None:
        self._servers.kill(self.master)


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    """Of this test alone: which of them is the master changes."""
    with Servers() as servers:
        watched = Watched(servers)
        await watched.form()
        yield watched


async def replicated(master: int, replica: int, password: str | None = None) -> bool:
    """Whether a replica has all that its master has."""
    told = [await ask(port, "INFO", "replication", password=password) for port in (master, replica)]
    offsets = [_field(info or b"", "master_repl_offset") for info in told]
    return bool(offsets[0]) and offsets[0] == offsets[1]


async def follows(replica: int, password: str | None = None) -> bool:
    """Whether a replica has its master's data and goes on receiving it."""
    info = await ask(replica, "INFO", "replication", password=password)
    return info is not None and _field(info, "master_link_status") == "up"


def _field(info: Any, name: str) -> str:
    if isinstance(info, dict):
        return str(info.get(name, ""))
    lines = (info.decode() if isinstance(info, bytes) else info).splitlines()
    return next((line.partition(":")[2] for line in lines if line.startswith(f"{name}:")), "")


def _paired(answer: Any) -> list[tuple[Any, Any]]:
    return list(answer.items()) if isinstance(answer, dict) else list(zip(answer[::2], answer[1::2], strict=True))
