"""Behind sentinels: the service finds the master, and the next one when that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from app import Service
from domain.errors import StoreUnavailable
from state.scripts import Script
from state.store import Store
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory
from tests.topologies import SERVICE, Servers, Watched, ask, watched

__all__ = ["watched"]  # the fixture

ADD = Script("redis.call('SADD', KEYS[1], ARGV[1]) return redis.call('SCARD', KEYS[1])")


@pytest.fixture
async def store(watched: Watched) -> AsyncIterator[Store]:
    store = Store.connect(watched.url)
    yield store
    await store.close()


async def test_a_master_that_was_replaced_unknowingly_is_left(watched: Watched, store: Store) -> None:
    """It refuses writes, as it has lost its replica; the sentinels are asked again and know the new master."""
    await ask(watched.master, "CONFIG", "SET", "min-replicas-to-write", "1", password=watched.password)
    await store.call(ADD, ["s"], ["before"])
    await watched.replicated()
    await watched.ask_sentinel("SENTINEL", "FAILOVER", SERVICE)

    async def replaced() -> bool:
        role = await ask(watched.replica, "ROLE", password=watched.password)
        known = await watched.ask_sentinel("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return bool(role) and role[0] == b"master" and int(known[1]) == watched.replica

    await until(replaced, what="the replica is the master")

    async def accepted() -> bool:
        try:
            return bool(await store.call(ADD, ["s"], ["after"]))
        except StoreUnavailable:
            return False

    await until(accepted, what="the new master is written to")
    assert (await ask(watched.master, "ROLE", password=watched.password))[0] == b"master", "it does not know yet"
    assert await ask(watched.replica, "SMEMBERS", "s", password=watched.password) == {b"before", b"after"}


async def test_a_master_that_is_handed_over_together_loses_nothing(watched: Watched, store: Store) -> None:
    """As the pages advise for an upgrade: what is written while it happens is with the new master."""
    accepted: list[int] = []
    over = asyncio.Event()

    async def writes() -> None:
        number = 0
        while not over.is_set():
            number += 1
            with suppress(StoreUnavailable):
                await store.call(ADD, ["s"], [number])
                accepted.append(number)

    writing = asyncio.create_task(writes())
    await until(lambda: len(accepted) > 20, what="it is written to")
    assert await watched.ask_sentinel("SENTINEL", "FAILOVER", SERVICE, "COORDINATED") == b"OK"

    async def replaced() -> bool:
        role = await ask(watched.replica, "ROLE", password=watched.password)
        return bool(role) and role[0] == b"master"

    await until(replaced, what="the replica is the master")
    before = len(accepted)
    await until(lambda: len(accepted) > before + 20, within=20, what="the new master is written to")
    over.set()
    await writing
    there = await ask(watched.replica, "SMEMBERS", "s", password=watched.password)
    assert {b"%d" % number for number in accepted} <= set(there)


async def test_without_a_master_the_store_is_unavailable() -> None:
    """The sentinel knows none by that name, or there is no sentinel: callers are told, without any password."""
    with Servers() as servers:
        sentinel = servers.start("--sentinel", file="\n")
        await until(lambda: ask(sentinel, "PING"), what="the sentinel answers")
        for port in (sentinel, 1):
            store = Store.connect(f"redis+sentinel://:hunter2@127.0.0.1:{port}/aside")
            with pytest.raises(StoreUnavailable) as caught:
                await store.ready()
            assert "hunter2" not in str(caught.value)
            await store.close()


class TestTheWholeService:
    @pytest.fixture
    async def service(self, start_service: ServiceFactory, watched: Watched) -> Service:
        return await start_service(REDIS_URL=watched.url, ROOT_DIALOG="tests.own_dialogs.failing:Counting")

    async def test_goes_on_by_itself_when_the_master_is_killed(
        self, watched: Watched, ann: Person, bob: Person, sender: Sender
    ) -> None:
        """Users are told to try again (503) until there is a new master; what was accepted before is there."""
        assert await ann.says("count") == ["count 1 1"]
        assert await bob.says("stay") == ["count 1 1"]
        held = await sender.notifies(bob, "for later", mode="queue")
        await sender.becomes(held, "queued")
        await watched.replicated()
        watched.kill_master()
        activity = ann.activity(text="count")

        async def accepted() -> bool:
            status, _ = await ann.posts(activity)
            assert status in (200, 503)
            return status == 200

        await until(accepted, within=30, what="the service answers again")
        await ann.hears("count 2 2")
        assert await bob.says("thanks") == ["for later", "count 2 2"]
        await sender.becomes(held, "delivered")
        assert (await sender.gets("/health/ready"))[0] == 200
        assert await ann.elsewhere("a:ann:2").says("count") == ["count 1 3"]
