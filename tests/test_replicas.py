"""What counts only once so many replicas have it: with fewer, writes are refused, reads are not, and all goes on by
itself when they are back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from app import Service
from domain.errors import StoreUnavailable
from state.scripts import READS, Command, Script, scripted, writes
from state.store import Store
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory
from tests.topologies import ClusterOfThree, Servers, Watched, ask, follows, watched

__all__ = ["watched"]  # the fixture

ADD = Script("redis.call('SADD', KEYS[1], ARGV[1]) return redis.call('SCARD', KEYS[1])")
REFUSED = "The store refuses to write: NOREPLICAS 0 of 1 replicas have it"


class Pair:
    """A server and its replica."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        alike = ["--save", "", "--repl-diskless-sync-delay", "0"]
        self.primary = servers.start(*alike)
        self.replica = servers.start(*alike, "--replicaof", f"127.0.0.1 {self.primary}")
        self.url = f"redis://127.0.0.1:{self.primary}"

    async def form(self) -> None:
        await until(lambda: follows(self.replica), what="the replica follows")

    def hold_replica(self) -> None:
        self._servers.hold(self.replica)

    def let_replica_go_on(self) -> None:
        self._servers.go_on(self.replica)

    async def keeps(self, name: str) -> bool:
        """Whether the replica has such a key."""
        return bool(await ask(self.replica, "EXISTS", name))


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Of this test alone: its replica is held."""
    with Servers() as servers:
        pair = Pair(servers)
        await pair.form()
        yield pair


async def written(store: Store, name: str) -> bool:
    with suppress(StoreUnavailable):
        return bool(await store.run("SET", name, "x"))
    return False


class TestAStoreWithAReplica:
    @pytest.fixture
    async def store(self, pair: Pair) -> AsyncIterator[Store]:
        store = Store.connect(pair.url, replicas=1)
        yield store
        await store.close()

    async def test_has_told_it_what_it_answered(self, pair: Pair, store: Store) -> None:
        """However many write at once: they wait together."""
        await asyncio.gather(*(store.call(ADD, [f"s{number}"], ["x"]) for number in range(200)))
        assert all([await pair.keeps(f"s{number}") for number in range(200)])
        assert store.round_trips < 100

    async def test_refuses_to_write_while_it_is_gone_and_goes_on_by_itself(self, pair: Pair, store: Store) -> None:
        assert await store.sequence(scripted(ADD, ["s"], ["x"]), Command(("GET", "s2"))) == [1, None]
        pair.hold_replica()
        for call in (
            store.run("SET", "a", "x"),
            store.call(ADD, ["s"], ["y"]),
            store.sequence(scripted(ADD, ["s"], ["z"]), scripted(ADD, ["s"], ["z"])),
            store.ready(),
        ):
            with pytest.raises(StoreUnavailable) as refused:
                await call
            assert str(refused.value) == REFUSED
        assert set(await store.run("SMEMBERS", "s")) == {b"x"}, "what is refused is not sent, once that is known"
        pair.let_replica_go_on()
        await until(lambda: written(store, "b"), what="it is written again")
        assert await pair.keeps("b")
        await store.ready()

    async def test_refuses_when_it_asks_for_more_than_there_are(self, pair: Pair) -> None:
        store = Store.connect(pair.url, replicas=2)
        with pytest.raises(StoreUnavailable, match="1 of 2 replicas have it"):
            await store.run("SET", "a", "x")
        assert await store.run("GET", "other") is None
        await store.close()


class TestTheWholeService:
    @pytest.fixture
    async def service(self, start_service: ServiceFactory, pair: Pair) -> Service:
        return await start_service(REDIS_URL=pair.url, STORE_REPLICAS="1")

    async def test_accepts_nothing_without_its_replica(self, pair: Pair, ann: Person, sender: Sender) -> None:
        """Messages and notifications are 503 and why, what was accepted can be read; all goes on by itself."""
        assert await ann.says("hello") == ["You sent: hello"]
        before = await sender.notifies(ann, "before", mode="queue")
        await sender.becomes(before, "queued")
        pair.hold_replica()
        note = {"id": "once", "to": {"conversation": ann.key}, "text": "during", "mode": "queue"}
        status, problem = await sender.posts(note)
        assert (status, problem["detail"]) == (503, REFUSED)
        activity = ann.activity(text="are you there?")
        assert (await ann.posts(activity))[0] == 503
        assert (await sender.gets("/health/ready"))[0] == 503
        assert (await sender.gets(f"/api/notifications/{before}"))[0] == 200
        pair.let_replica_go_on()

        async def accepted() -> bool:
            status, _ = await ann.posts(activity)
            assert status in (200, 503)
            return status == 200

        await until(accepted, within=30, what="the service answers again")
        await ann.hears("before", "You sent: are you there?")

        async def taken() -> bool:
            status, _ = await sender.posts(note)
            assert status in (202, 409, 503)
            return status == 202

        await until(taken, within=30, what="the notification is accepted")
        assert await ann.says("thanks") == ["during", "You sent: thanks"]


async def test_behind_sentinels(watched: Watched) -> None:
    store = Store.connect(watched.url, replicas=1)
    assert await store.call(ADD, ["s"], ["x"]) == 1
    assert await ask(watched.replica, "EXISTS", "s", password=watched.password)
    await store.close()


async def test_on_a_cluster_each_node_has_its_own() -> None:
    """Nodes that have none refuse; the one that has goes on."""
    with Servers() as servers:
        cluster = ClusterOfThree(servers, replica=True)
        await cluster.form()
        store = Store.connect(cluster.url, replicas=1)
        first, lonely = "name3", "name0"
        assert await store.call(ADD, [first], ["x"]) == 1
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas have it"):
            await store.call(ADD, [lonely], ["x"])
        assert await store.run("SMEMBERS", lonely) == {b"x"}
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas have it"):
            await store.ready()
        assert await store.call(ADD, [first], ["y"]) == 2
        await store.close()


async def test_what_counts_as_reading_writes_nothing(pair: Pair) -> None:
    """By the word of the server: all else waits for the replicas, whatever it does."""
    for name in READS - {"LPUSHX"}:
        (told,) = (await ask(pair.primary, "COMMAND", "INFO", name)).values()
        assert "write" not in told["flags"], name
    assert not writes(scripted(Script("return redis.call('GET', KEYS[1])"), ["k"]).parts)
    assert writes(scripted(Script("redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], 1)"), ["k"]).parts)
    assert writes(scripted(Script("return redis.call(ARGV[1], KEYS[1])"), ["k"], ["DEL"]).parts)
