"""Calls to the store: few round trips, kept in order, and repeated where that does no harm."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from domain.errors import StoreUnavailable
from state.embedded import find_server
from state.scripts import Command, Script, scripted
from state.store import (
    BATCH,
    BATCH_AMONG_USERS,
    ENOUGH,
    FORGIVING,
    HURRIED,
    OVERTAKES,
    ROUND_TRIPS,
    Outage,
    Store,
)
from testkit.waiting import until

ADD = Script("redis.call('SADD', KEYS[1], ARGV[1]) return redis.call('SCARD', KEYS[1])")
SEEN = Script("return redis.call('SMEMBERS', KEYS[1])")
FAIL = Script("return redis.error_reply('NO this script never works')")


async def warmed(store: Store, *scripts: Script) -> Store:
    """The store, once the server knows the scripts."""
    for script in scripts:
        await store.run("SCRIPT", "LOAD", script.source)
    store.round_trips = 0
    return store


async def test_calls_of_one_moment_share_a_round_trip(store: Store) -> None:
    """All coroutines that call at once wait for one answer of the server, and each gets its own."""
    await warmed(store)
    answers = await asyncio.gather(*(store.run("ECHO", f"{number}") for number in range(BATCH)))
    assert answers == [b"%d" % number for number in range(BATCH)]
    assert store.round_trips == 1


async def test_calls_during_a_round_trip_leave_together_in_the_next(store: Store) -> None:
    """However many there are, they take a few round trips and not one each."""
    await warmed(store, ADD)
    sizes = await asyncio.gather(*(store.call(ADD, ["s"], [number]) for number in range(10 * BATCH)))
    assert sorted(sizes) == list(range(1, 10 * BATCH + 1))
    assert store.round_trips == 10


async def test_a_sequence_runs_in_its_order(store: Store) -> None:
    """Whatever others run at the same time."""
    await warmed(store)

    async def climb(name: str) -> list[Any]:
        commands = [Command(("SET", name, number)) for number in range(5)]
        reads = [Command(("GET", name))] * 5
        return await store.sequence(*(one for pair in zip(commands, reads, strict=True) for one in pair))

    for answers in await asyncio.gather(*(climb(f"k{number}") for number in range(30))):
        assert answers[1::2] == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_sequence_is_one_round_trip_however_long(store: Store) -> None:
    """It is never split, even where it is longer than a round trip should be."""
    await warmed(store)
    answers = await store.sequence(*(Command(("ECHO", number)) for number in range(BATCH + 10)))
    assert len(answers) == BATCH + 10
    assert store.round_trips == 1
    assert await store.sequence() == []


async def test_a_server_that_forgot_its_scripts_is_told_them_again(store: Store) -> None:
    """With everything that came after in the same round trip, so that order holds."""
    await warmed(store, ADD)
    await store.run("SCRIPT", "FLUSH")
    answers = await store.sequence(
        Command(("SADD", "s", "first")),
        scripted(ADD, ["s"], ["second"]),
        scripted(SEEN, ["s"]),
        Command(("SCARD", "s")),
    )
    assert answers[:2] == [1, 2]
    assert set(answers[2]) == {b"first", b"second"}
    assert answers[3] == 2
    assert await store.call(ADD, ["s"], ["third"]) == 3


async def test_scripts_forgotten_while_many_call_are_told_again(store: Store) -> None:
    """Nobody hears of it."""
    await warmed(store, ADD)

    async def forget() -> Any:
        return await store.run("SCRIPT", "FLUSH")

    calls = [store.call(ADD, ["s"], [number]) for number in range(40)]
    sizes = await asyncio.gather(*calls[:20], forget(), *calls[20:])
    assert await store.run("SCARD", "s") == 40
    assert max(size for size in sizes if isinstance(size, int)) == 40


async def test_an_error_is_the_callers_own(store: Store) -> None:
    """Others in the same round trip get their answers, and so does a sequence's rest run."""
    await warmed(store)
    answers = await asyncio.gather(
        store.run("ECHO", "a"),
        store.run("INCRBY", "k", "no number"),
        store.call(FAIL, []),
        store.sequence(Command(("LPUSH", "list", "x")), Command(("INCR", "list")), Command(("SET", "after", 1))),
        store.run("ECHO", "b"),
        return_exceptions=True,
    )
    assert (answers[0], answers[4]) == (b"a", b"b")
    for answer in answers[1:4]:
        assert isinstance(answer, ResponseError)
    assert await store.run("GET", "after") == b"1"


async def test_a_caller_that_goes_away_disturbs_nobody(store: Store) -> None:
    await warmed(store)
    going = asyncio.create_task(store.run("ECHO", "gone"))
    staying = asyncio.create_task(store.run("ECHO", "stays"))
    await asyncio.sleep(0)
    going.cancel()
    assert await staying == b"stays"
    assert going.cancelled() or going.cancelling()


@pytest.mark.parametrize("url", ["unix:///nonexistent/aside.sock", "redis://127.0.0.1:1"])
async def test_a_store_that_is_not_there_is_unavailable(url: str) -> None:
    """Every caller is told, in words that name no address, when it is worth another try."""
    store = Store.connect(url)
    outcomes = await asyncio.gather(store.ready(), store.run("GET", "k"), return_exceptions=True)
    for outcome in outcomes:
        assert isinstance(outcome, StoreUnavailable)
        assert outcome.retry_after > 0
        assert "aside.sock" not in str(outcome)
    await store.close()


@pytest.fixture
async def real(real_url: str) -> AsyncIterator[Store]:
    store = Store.connect(real_url)
    yield store
    for setting, value in (("maxmemory", "0"), ("min-replicas-to-write", "0")):
        await store.run("CONFIG", "SET", setting, value)
    await store.close()


@pytest.mark.parametrize(("setting", "value"), [("maxmemory", "1"), ("min-replicas-to-write", "1")])
async def test_a_store_that_refuses_writes_is_unavailable(real: Store, setting: str, value: str) -> None:
    """Full, or without the replicas it must have: commands and scripts fail alike; what reads goes on."""
    await real.run("SET", "k", "1")
    await real.run("CONFIG", "SET", setting, value)
    writes = (real.run("SET", "k", "2"), real.call(ADD, ["s"], ["x"]), real.sequence(Command(("LPUSH", "l", 1))))
    for outcome in await asyncio.gather(*writes, return_exceptions=True):
        assert isinstance(outcome, StoreUnavailable)
    assert await real.run("GET", "k") == b"1"
    await real.run("CONFIG", "SET", setting, "0")
    assert await real.call(ADD, ["s"], ["x"]) == 1


async def test_a_replica_is_unavailable_for_writes(real: Store) -> None:
    """After a fail-over the old primary says that it is read-only: the caller is to try again elsewhere."""
    await real.run("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable):
            await real.run("SET", "k", "1")
    finally:
        await real.run("REPLICAOF", "NO", "ONE")


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    """A server of the test's own that writes every command to its disk, on ``folder/s``."""
    command = [find_server(None), "--port", "0", "--unixsocket", str(folder / "s"), "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.kill()


async def test_a_server_that_was_killed_and_came_back_is_used_again(tmp_path: Path) -> None:
    """Its scripts are gone and every connection is broken; the next call finds what was written before."""
    store = Store.connect(f"unix://{tmp_path / 's'}")

    async def answers() -> bool:
        try:
            await store.ready()
        except StoreUnavailable:
            return False
        return True

    with serving(tmp_path):
        await until(answers, what="the server answers")
        assert await store.call(ADD, ["s"], ["a"]) == 1
    with pytest.raises(StoreUnavailable):
        await store.call(ADD, ["s"], ["b"])
    with serving(tmp_path):
        await until((tmp_path / "s").exists, what="the socket is there")
        await until(answers, what="the server answers again")
        sizes = await asyncio.gather(*(store.call(ADD, ["s"], [member]) for member in "abc"))
        assert sorted(sizes) == [1, 2, 3]
    await store.close()


async def test_a_connection_that_breaks_is_not_noticed(real: Store) -> None:
    """The server hangs up on everybody between two calls: the next one connects anew and succeeds."""
    await asyncio.gather(*(real.call(ADD, ["s"], [number]) for number in range(5)))
    other = Store.connect(f"unix://{real.redis.connection_pool.connection_kwargs['path']}")
    await other.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await other.close()
    assert await real.call(ADD, ["s"], ["again"]) == 6


async def test_a_connection_that_breaks_under_a_call_is_not_noticed_either(real: Store) -> None:
    """Nobody knows whether it was carried out; it is made again, which does no harm."""
    await real.call(ADD, ["s"], ["warm"])
    url = f"unix://{real.redis.connection_pool.connection_kwargs['path']}"
    other = Store.connect(url)
    await other.run("CLIENT", "PAUSE", 60_000, "WRITE")
    calling = asyncio.create_task(real.call(ADD, ["s"], ["x"]))

    async def held_up() -> bool:
        clients = await other.run("CLIENT", "LIST")
        text = clients if isinstance(clients, str) else repr(clients)
        return "evalsha" in text and not calling.done()

    await until(held_up, what="the server has the call")
    await other.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await other.run("CLIENT", "UNPAUSE")
    assert await calling == 2
    await other.close()


class Slow:
    """A store that answers when it is told to."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.answers = asyncio.Event()
        self.sizes: list[int] = []
        """How many calls each round trip carried."""
        self.carried: list[int] = []
        """The calls in the order in which they left."""
        self.calls: list[asyncio.Task[Any]] = []
        self._send = store._send
        monkeypatch.setattr(store, "_send", self._slowly)

    async def _slowly(self, commands: list[Any]) -> list[Any]:
        self.sizes.append(len(commands))
        self.carried += [int(number) for _, number in commands]
        await self.answers.wait()
        return await self._send(commands)

    async def calls_come(self, many: int, *, hurried: bool = False) -> None:
        """One after the other, each once those before it are on their way."""

        async def call(number: int) -> Any:
            HURRIED.set(hurried)
            return await self.store.run("ECHO", f"{number}")

        for _ in range(many):
            self.calls.append(asyncio.create_task(call(len(self.calls))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def all_answered(self) -> None:
        self.answers.set()
        assert await asyncio.gather(*self.calls) == [b"%d" % number for number in range(len(self.calls))]


@pytest.fixture
async def slow(store: Store, monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(await warmed(store), monkeypatch)


async def test_calls_wait_for_the_round_trip_that_is_under_way(slow: Slow) -> None:
    """And leave together when it is over, in the order in which they came."""
    await slow.calls_come(1 + ENOUGH - 1)
    assert slow.sizes == [1]
    await slow.all_answered()
    assert slow.sizes == [1, ENOUGH - 1]


async def test_many_calls_do_not_wait_for_a_slow_store(slow: Slow) -> None:
    """They leave together as soon as they are enough; but few round trips are under way at once."""
    await slow.calls_come(1 + 3 * ENOUGH)
    assert slow.sizes == [1, ENOUGH]
    assert len(slow.sizes) == ROUND_TRIPS // 2
    await slow.all_answered()
    assert slow.sizes[:2] == [1, ENOUGH]
    assert sum(slow.sizes) == 1 + 3 * ENOUGH
    assert len(slow.sizes) <= 5


async def test_while_users_speak_other_calls_take_less(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of their round trips is under way, with fewer calls: a user's call waits for what is before it."""
    monkeypatch.setattr("state.store.LATELY", 3600.0)
    await slow.calls_come(1 + 5 * BATCH)
    assert slow.sizes == [1] + [ENOUGH] * (ROUND_TRIPS // 2 - 1)
    await slow.calls_come(1, hurried=True)
    await slow.all_answered()
    user = ROUND_TRIPS // 2
    assert slow.sizes[user] == 1
    assert max(slow.sizes[user:]) == BATCH_AMONG_USERS
    assert sum(slow.sizes) == 1 + 5 * BATCH + 1


async def test_calls_that_a_user_waits_for_leave_at_once(slow: Slow) -> None:
    """Whatever else is under way or waits, and without it; of these, too, few are under way at once."""
    await slow.calls_come(ENOUGH)
    await slow.calls_come(5, hurried=True)
    assert slow.sizes == [1] * ROUND_TRIPS
    await slow.all_answered()
    assert slow.sizes[ROUND_TRIPS] == 5 - (ROUND_TRIPS - 1)
    assert sum(slow.sizes) == ENOUGH + 5


async def test_users_do_not_keep_other_calls_waiting_for_ever(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come, one that nobody waits for leaves after a few of their round trips."""
    monkeypatch.setattr("state.store.BATCH", 1)
    await slow.calls_come(2)
    await slow.calls_come(50, hurried=True)
    assert 1 not in slow.carried
    await slow.all_answered()
    assert slow.carried.index(1) <= ROUND_TRIPS + OVERTAKES


async def test_a_call_that_comes_as_the_last_round_trip_ends_is_sent(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is answered by the last round trip under way, and at once calls again, is not left waiting."""
    monkeypatch.setattr("state.store.ROUND_TRIPS", 1)
    for number in range(3):
        assert await asyncio.wait_for(store.run("ECHO", f"{number}"), 5) == f"{number}".encode()

    async def one_after_the_other(name: str) -> None:
        for number in range(3):
            assert await store.run("ECHO", f"{name}{number}") == f"{name}{number}".encode()

    await asyncio.wait_for(one_after_the_other("again"), 5)


def test_an_outage_is_forgiven_from_its_last_answer_on_and_a_while_after() -> None:
    """Leases that ended before it are not; nor is anything once their holders have had time to renew them."""
    now = 100.0
    outage = Outage(lambda: now)
    assert outage.forgives() == 0
    now = 103.0
    outage.answered()
    now = 105.0
    outage.broke()
    now = 120.0
    outage.broke()
    assert outage.forgives() == 17
    outage.answered()
    now = 125.0
    outage.answered()
    assert outage.forgives() == 22
    outage.broke()  # once more, before anybody had the time
    now = 126.0
    outage.answered()
    assert outage.forgives() == 23
    now = 126.0 + FORGIVING
    assert outage.forgives() == 0
    outage.broke()
    assert outage.forgives() == FORGIVING


class ReaderGone:
    """As redis-py's parser is when its connection was closed while it read."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"'NoneType' object has no attribute {name!r}")


def closes_its_writer(connection: Any) -> None:
    """As uvloop does, and redis-py does not know it yet."""

    def closed(_: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    connection._writer.writelines = closed


def loses_its_reader(connection: Any) -> None:
    connection._parser._reader = ReaderGone()


CLOSINGS = pytest.mark.parametrize("closes", [closes_its_writer, loses_its_reader])


@CLOSINGS
async def test_a_connection_that_has_closed_is_a_broken_one(real_url: str, closes: Callable[[Any], None]) -> None:
    """Whatever redis-py raises of it: it is tried again, and nobody hears of it."""
    store = Store.connect(real_url)
    assert await store.call(ADD, ["s"], ["x"]) == 1
    for connection in store._wire._idle:  # type: ignore[attr-defined]
        closes(connection)
    assert await asyncio.gather(*(store.call(ADD, ["s"], [number]) for number in range(5))) == [2, 3, 4, 5, 6]
    await store.close()


async def test_a_user_who_may_not_write_is_a_refusal(real_url: str) -> None:
    """So that a process that starts waits for it to be set right, and a check tells it."""
    owner = Store.connect(real_url)
    await owner.run("ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@read", "+@connection")
    reader = Store.connect(real_url.replace("unix://", "unix://reader:any@"))
    try:
        with pytest.raises(StoreUnavailable, match=r"refuses to write: .*no permissions"):
            await reader.ready()
    finally:
        await reader.close()
        await owner.run("ACL", "DELUSER", "reader")
        await owner.close()
