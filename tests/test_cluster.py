"""On a cluster, where keys live on several nodes: the same promises, and a user's state that is never half written."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest
from redis.crc import key_slot

from app import Service
from domain.effect import Send
from domain.errors import LeaseLost, StoreUnavailable
from domain.ids import ConversationKey
from state import keys
from state.codec import Codec
from state.pins import Pin, Waiting
from state.prepared import PreparedWrites, Write
from state.scripts import Command, scripted
from state.store import Store
from state.transcripts import Transcripts
from state.turn import Turn
from state.turns import Begun, Turns, UserStateChanged
from testkit.people import Person, Sender
from testkit.waiting import until
from tests import test_jobs_store, test_leased_work, test_notification_records, test_turns
from tests.conftest import ServiceFactory
from tests.own_dialogs.slow import gates
from tests.test_store import ADD, CLOSINGS
from tests.test_turns import ANN, NOW, say
from tests.topologies import ClusterOfThree, Servers, ask, cluster, cluster_url, replicated

__all__ = ["cluster", "cluster_url"]  # the fixtures

HERE, THERE = ConversationKey("msteams/here"), ConversationKey("msteams/there")

Promise = Callable[[Any], Awaitable[None]]


@pytest.fixture
async def store(cluster_url: str) -> AsyncIterator[Store]:
    store = Store.connect(cluster_url)
    yield store
    await store.close()


@pytest.fixture
async def other_store(cluster_url: str) -> AsyncIterator[Store]:
    store = Store.connect(cluster_url)
    yield store
    await store.close()


def slot(name: str) -> int:
    return int(key_slot(name.encode()))


# --------------------------------------------------------------------- the same promises


def promises(module: ModuleType, *wants: str) -> Any:
    """The tests of a module that want these fixtures and nothing else."""
    found = {
        name: member
        for name, member in vars(module).items()
        if name.startswith("test_") and tuple(inspect.signature(member).parameters) == wants
    }
    assert found
    return pytest.mark.parametrize("promise", found.values(), ids=found)


@promises(test_turns, "bench")
async def test_turns_keep_their_promises(store: Store, promise: Promise) -> None:
    await promise(test_turns.Bench(store))


@promises(test_leased_work, "store")
async def test_leased_work_keeps_its_promises(store: Store, promise: Promise) -> None:
    await promise(store)


@promises(test_leased_work, "store", "another")
async def test_leased_work_keeps_its_promises_between_processes(
    store: Store, other_store: Store, promise: Callable[[Store, Store], Awaitable[None]]
) -> None:
    await promise(store, other_store)


@promises(test_jobs_store, "bench")
async def test_jobs_keep_their_promises(store: Store, promise: Promise) -> None:
    await promise(test_jobs_store.Bench(store))


@promises(test_notification_records, "bench")
async def test_notifications_keep_their_promises(store: Store, promise: Promise) -> None:
    await promise(test_notification_records.Bench(store))


async def test_what_one_process_appends_to_a_transcript_another_streams(store: Store, other_store: Store) -> None:
    """It hears the bell of all transcripts, which is on another node than most of them."""
    here, there = Transcripts(store), Transcripts(other_store)
    await here.create("c1", "ann")
    rung = asyncio.Event()
    there._waiting["c1"] = {rung}
    there._listen()

    async def heard() -> bool:
        await here.append("c1", {"type": "message", "text": "hi"})
        return rung.is_set()

    await until(heard, what="the bell is heard")
    assert (await there.read("c1")).activities[0]["text"] == "hi"
    await there.close()


# --------------------------------------------------------------------- commands


def names_of_each_node(count: int) -> list[str]:
    """Names in slots of all three nodes, in turn."""
    found: list[list[str]] = [[], [], []]
    number = 0
    while min(map(len, found)) < count:
        node = found[slot(f"name{number}") * 3 // 16384]
        node.append(f"name{number}")
        number += 1
    return [name for three in zip(*(node[:count] for node in found), strict=True) for name in three]


async def test_a_sequence_keeps_its_order_over_nodes(store: Store, cluster: ClusterOfThree) -> None:
    """A command in another slot is not sent before the one ahead of it has answered; others are not held up."""
    first, second, third = names_of_each_node(1)
    assert await ask(cluster.ports[1], "CLIENT", "PAUSE", 10_000, "WRITE")
    climbing = asyncio.create_task(store.sequence(*(scripted(ADD, [name], ["x"]) for name in (first, second, third))))
    await until(lambda: store.run("EXISTS", first), what="the first node has answered")
    for number in range(20):
        assert await store.call(ADD, [third], [f"{number}"]) == number + 1
    assert not climbing.done()
    await ask(cluster.ports[1], "CLIENT", "UNPAUSE")
    assert await climbing == [1, 1, 21]


async def test_calls_to_all_nodes_at_once_are_answered_each(store: Store) -> None:
    names = names_of_each_node(4)
    answers = await asyncio.gather(*(store.call(ADD, [name], [number]) for name in names for number in range(50)))
    assert sorted(answers) == sorted(number for number in range(1, 51) for _ in names)


async def test_an_error_does_not_stop_a_sequence(store: Store) -> None:
    first, second, third, *_ = names_of_each_node(1)
    commands = [Command(("SET", first, "x")), Command(("INCR", first)), Command(("SET", third, "y"))]
    with pytest.raises(Exception, match="integer"):
        await store.sequence(*commands)
    assert await store.together(Command(("GET", third)), Command(("GET", second))) == [b"y", None]


async def test_nodes_that_forgot_a_script_are_told_it_again(store: Store, cluster: ClusterOfThree) -> None:
    """Each by itself, as it happens."""
    names = names_of_each_node(1)
    for port in cluster.ports:
        await ask(port, "SCRIPT", "FLUSH")
    assert await store.together(*(scripted(ADD, [name], ["x"]) for name in names)) == [1, 1, 1]


@CLOSINGS
async def test_connections_that_have_closed_are_broken_ones(store: Store, closes: Callable[[Any], None]) -> None:
    """To any node, whatever redis-py's pipeline raises or answers of it: they are made anew, and nobody hears of it."""
    names = names_of_each_node(1)
    assert await asyncio.gather(*(store.call(ADD, [name], ["x"]) for name in names)) == [1, 1, 1]
    for node in store.redis.get_nodes():
        for connection in node._connections:
            closes(connection)
    assert await asyncio.gather(*(store.call(ADD, [name], ["y"]) for name in names)) == [2, 2, 2]


async def test_a_slot_that_moves_is_followed(store: Store, cluster: ClusterOfThree) -> None:
    """Key by key while it moves, and for good afterwards; order holds, and nobody hears of it."""
    name, other = "a{moving}", "b{moving}"
    number = slot("moving")
    owner = cluster.ports[number * 3 // 16384]
    there = next(port for port in cluster.ports if port != owner)
    ids = {port: (await ask(port, "CLUSTER", "MYID")).decode() for port in cluster.ports}

    async def moves(source: int, target: int) -> None:
        await ask(target, "CLUSTER", "SETSLOT", number, "IMPORTING", ids[source])
        await ask(source, "CLUSTER", "SETSLOT", number, "MIGRATING", ids[target])

    async def carry(source: int, target: int, *moved: str) -> None:
        assert await ask(source, "MIGRATE", "127.0.0.1", target, "", 0, 1000, "KEYS", *moved) == b"OK"

    async def settle(target: int) -> None:
        for port in cluster.ports:
            assert await ask(port, "CLUSTER", "SETSLOT", number, "NODE", ids[target]) == b"OK"

    async def adds(member: str) -> list[Any]:
        return await store.sequence(*(scripted(ADD, [key], [member]) for key in (name, other, name)))

    assert await adds("1") == [1, 1, 1]
    await moves(owner, there)
    await carry(owner, there, name)
    assert await asyncio.gather(*(adds("2") for _ in range(20))) == [[2, 2, 2]] * 20
    await carry(owner, there, other)
    await settle(there)
    assert await asyncio.gather(*(adds("3") for _ in range(20))) == [[3, 3, 3]] * 20
    await moves(there, owner)
    await carry(there, owner, name, other)
    await settle(owner)
    assert await adds("4") == [4, 4, 4]


async def test_a_node_that_is_lost_is_replaced_by_its_replica() -> None:
    """Calls for it fail meanwhile, in words that ask for another try, and succeed by themselves afterwards."""
    with Servers() as servers:
        cluster = ClusterOfThree(servers, replica=True)
        await cluster.form()
        store = Store.connect(cluster.url)
        lost, kept = names_of_each_node(1)[:2]
        await store.run("SET", lost, "x")
        await until(lambda: replicated(*cluster.pair), what="the replica has it")
        servers.kill(cluster.ports[0])

        async def answers() -> Any:
            try:
                return await store.run("GET", lost)
            except StoreUnavailable:
                return None

        assert await store.run("SET", kept, "x")
        assert await until(answers, what="the replica has taken over") == b"x"
        await until(lambda: succeeds(store.ready()), what="the store is ready")
        await store.close()


async def succeeds(call: Awaitable[None]) -> bool:
    try:
        await call
    except StoreUnavailable:
        return False
    return True


# --------------------------------------------------------------------- the user's state


class Process:
    """A process of the service, as far as turns go. What it does not call, it did not live to do."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.turns = Turns(store, Codec(), lambda: NOW)
        self.prepared = PreparedWrites(store)

    async def begin(self, key: ConversationKey, token: str) -> Turn:
        begun = await self.turns.begin(key, token, user=ANN)
        assert isinstance(begun, Begun)
        return begun.turn

    async def counts(self, key: ConversationKey, token: str) -> Turn:
        """A turn that adds one in both states and says the number; not committed yet."""
        turn = await self.begin(key, token)
        assert turn.user_state is not None
        turn.state.own["n"] = turn.state.own.get("n", 0) + 1
        count = turn.user_state.load().get("n", 0) + 1
        turn.user_state.keep({"n": count})
        turn.fields["record"] = "{}"
        say(turn, str(count))
        return turn

    async def ends(self, turn: Turn) -> None:
        """Commits, acknowledges and lets go."""
        committed = await self.turns.commit(turn)
        assert not isinstance(committed, UserStateChanged)
        await self.acknowledges(turn, [entry.id for entry in committed])

    async def acknowledges(self, turn: Turn, done: list[str]) -> None:
        command = self.turns.acknowledgement(turn.conversation, turn.token, done, release=True)
        self.turns.acknowledged((await self.store.sequence(command))[0], turn.conversation)

    async def whole_turn(self, key: ConversationKey, token: str) -> None:
        """Run again until it is committed."""
        while isinstance(committed := await self.turns.commit(turn := await self.counts(key, token)), UserStateChanged):
            pass
        await self.acknowledges(turn, [entry.id for entry in committed])

    async def counted(self) -> int:
        return int((await self.turns.read_user(ANN)).load().get("n", 0))

    async def counted_in(self, key: ConversationKey) -> int:
        """By the conversation itself."""
        state = await self.store.run("HGET", keys.conversation(key), "state")
        return int(state.split(b"\n")[1].partition(b":")[2].rstrip(b"}")) if state else 0

    async def let_lease_end(self, key: ConversationKey) -> None:
        await self.store.run("HSET", keys.conversation(key), "until", 1)

    async def only_prepares(self, turn: Turn) -> Write:
        """Dies between the prepared write and the commit."""
        assert turn.user_state is not None
        write = Write(user=ANN, token=turn.token, fence=turn.fence)
        state = turn.user_state.encoded()
        assert state is not None
        assert await self.prepared.prepare(turn.conversation, write, turn.user_state.version, state)
        return write

    async def only_commits(self, turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
        """Dies between the commit and its confirmation."""

        async def die(_: object, write: Write) -> None:
            raise Died

        with monkeypatch.context() as patch, pytest.raises(Died):
            patch.setattr(PreparedWrites, "confirm", die)
            await self.turns.commit(turn)


class Died(Exception):
    """The process was killed at this point."""


@pytest.fixture
def process(store: Store) -> Process:
    return Process(store)


@pytest.fixture
def another(store: Store) -> Process:
    return Process(store)


def test_the_users_state_is_on_another_node() -> None:
    """Otherwise these tests would show nothing."""
    assert slot(keys.user(ANN)) * 3 // 16384 != slot(keys.conversation(HERE)) * 3 // 16384
    assert len({slot(name) for name in (*map(keys.conversation, (HERE, THERE)), keys.user(ANN))}) == 3


async def test_a_write_that_was_only_prepared_never_happened(process: Process, another: Process) -> None:
    """Its process died before the commit: others read what was there, and write without waiting for its lease."""
    await process.whole_turn(HERE, "t1")
    await process.only_prepares(await process.counts(HERE, "t2"))
    assert await another.counted() == 1
    await another.whole_turn(THERE, "t3")
    assert (await another.counted(), await another.counted_in(HERE)) == (2, 1)
    await another.let_lease_end(HERE)
    await another.whole_turn(HERE, "t4")
    assert (await another.counted(), await another.counted_in(HERE)) == (3, 2)


async def test_a_paused_turn_whose_write_was_refused_is_run_again(process: Process, another: Process) -> None:
    """It was held between the two steps for so long that another turn went on without it; nothing of it is written."""
    turn = await process.counts(HERE, "t1")
    await process.only_prepares(turn)
    await another.whole_turn(THERE, "t2")
    assert isinstance(await process.turns.commit(turn), UserStateChanged)
    assert await process.counted_in(HERE) == 0
    await process.whole_turn(HERE, "t1")
    assert (await process.counted(), await process.counted_in(HERE), await process.counted_in(THERE)) == (2, 1, 1)


async def test_a_refusal_reaches_a_commit_that_is_on_its_way(
    process: Process, another: Process, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit's own script finds that its write was refused, although the lock is held and the state unchanged."""
    turn = await process.counts(HERE, "t1")
    prepare = PreparedWrites.prepare

    async def slowly(self: PreparedWrites, *args: Any) -> bool:
        done = await prepare(self, *args)
        if args[1].token == "t1":
            await another.whole_turn(THERE, "t2")
        return done

    monkeypatch.setattr(PreparedWrites, "prepare", slowly)
    assert isinstance(await process.turns.commit(turn), UserStateChanged)
    assert (await process.counted(), await process.counted_in(HERE)) == (1, 0)


async def test_a_turn_that_lost_its_conversation_writes_neither_state(
    process: Process, another: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease ended after it had prepared: the next turn of the conversation drops what was prepared."""
    turn = await process.counts(HERE, "t1")
    await process.only_prepares(turn)
    await another.let_lease_end(HERE)
    winner = await another.counts(HERE, "t2")
    with pytest.raises(LeaseLost):
        await process.turns.commit(turn)
    await another.ends(winner)
    assert (await another.counted(), await another.counted_in(HERE)) == (1, 1)


async def test_what_was_committed_is_confirmed_by_the_users_next_turn_elsewhere(
    process: Process, another: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process died before it could; nobody waits for its lease."""
    await process.only_commits(await process.counts(HERE, "t1"), monkeypatch)
    assert await another.counted() == 1
    await another.whole_turn(THERE, "t2")
    assert (await another.counted(), await another.counted_in(HERE)) == (2, 1)


async def test_a_turn_that_is_about_to_commit_confirms_what_another_has_committed(
    process: Process, another: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had read before: it is overtaken, and runs again on what is there now."""
    late = await another.counts(THERE, "t2")
    await process.only_commits(await process.counts(HERE, "t1"), monkeypatch)
    assert isinstance(await another.turns.commit(late), UserStateChanged)
    await another.whole_turn(THERE, "t2")
    assert await another.counted() == 2


async def test_what_was_committed_is_confirmed_by_the_conversations_next_turn(
    process: Process, another: Process, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if that has no user; then it is noted, and the field is gone."""
    await process.only_commits(await process.counts(HERE, "t1"), monkeypatch)
    assert await store.run("HGET", keys.conversation(HERE), "confirm") is not None
    await another.let_lease_end(HERE)
    begun = await another.turns.begin(HERE, "t2")
    assert isinstance(begun, Begun)
    assert [entry.effect.activity["text"] for entry in begun.leftovers if isinstance(entry.effect, Send)] == ["1"]
    assert await store.run("HGET", keys.conversation(HERE), "confirm") is None
    assert await store.run("HMGET", keys.user(ANN), "version", "pending") == [b"1", None]
    assert await another.counted() == 1


async def test_what_is_confirmed_is_noted_with_the_acknowledgement(process: Process, store: Store) -> None:
    turn = await process.counts(HERE, "t1")
    await process.turns.commit(turn)
    assert await store.run("HGET", keys.conversation(HERE), "confirm") is not None
    await process.acknowledges(turn, [])
    assert await store.run("HGET", keys.conversation(HERE), "confirm") is None


async def test_a_commit_whose_confirmation_fails_stands(
    process: Process, another: Process, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's node went away in between: the turn goes on, and its acknowledgement leaves the note."""

    async def fail(*_: object) -> None:
        raise StoreUnavailable("The store cannot be reached")

    turn = await process.counts(HERE, "t1")
    with monkeypatch.context() as patch:
        patch.setattr(PreparedWrites, "confirm", fail)
        await process.ends(turn)
    assert await store.run("HGET", keys.conversation(HERE), "confirm") is not None
    await another.whole_turn(HERE, "t2")
    assert (await another.counted(), await another.counted_in(HERE)) == (2, 2)


async def test_late_repetitions_change_nothing(process: Process, another: Process, store: Store) -> None:
    """Packets of each step that arrive again after everything is over."""
    turn = await process.counts(HERE, "t1")
    write = await process.only_prepares(turn)
    await process.ends(turn)
    await another.whole_turn(THERE, "t2")
    before = await store.run("HGETALL", keys.user(ANN))
    assert not await process.prepared.prepare(HERE, write, 0, b"1\n{}\n{}")
    await process.prepared.confirm(write)
    await process.prepared.catch_up(HERE, write)
    assert not isinstance(await process.turns.commit(turn), UserStateChanged)
    assert await store.run("HGETALL", keys.user(ANN)) == before


async def test_a_state_is_pinned_once_what_is_pending_is_decided(
    process: Process, another: Process, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was only prepared never happened; what was committed has changed the state."""
    turn = await process.begin(HERE, "t1")
    await another.only_prepares(await another.counts(THERE, "t2"))
    assert await process.turns.pin(turn) is Pin.HELD
    assert await store.run("HEXISTS", keys.user(ANN), "pending") == 0
    await process.ends(turn)
    turn = await process.begin(HERE, "t3")
    await another.let_lease_end(THERE)
    await another.only_commits(await another.counts(THERE, "t4"), monkeypatch)
    assert await process.turns.pin(turn) is Pin.CHANGED
    assert await another.counted() == 1


async def test_a_turn_that_was_refused_in_favour_of_a_pin_is_run_again(process: Process, another: Process) -> None:
    """Its write was prepared when the other pinned the state, and its commit came after that."""
    late = await another.counts(THERE, "t1")
    await another.only_prepares(late)
    turn = await process.counts(HERE, "t2")
    assert await process.turns.pin(turn) is Pin.HELD
    waits = asyncio.create_task(another.turns.commit(late))
    await process.ends(turn)
    assert isinstance(await waits, UserStateChanged)
    await another.whole_turn(THERE, "t1")
    assert (await process.counted(), await process.counted_in(HERE), await process.counted_in(THERE)) == (2, 1, 1)


async def test_no_update_is_lost_whoever_dies_where(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four conversations of one user count at once, and processes die at random points of their commits.

    What the user's state counted is the sum of what the conversations counted, always.
    """
    chances = random.Random(7)
    conversations = [ConversationKey(f"msteams/c{number}") for number in range(4)]
    committed = 0

    async def counts(number: int, key: ConversationKey) -> None:
        nonlocal committed
        for turn_number in range(12):
            process = Process(store)
            turn = await process.counts(key, f"t{number}-{turn_number}")
            fate = chances.random()
            if fate < 0.15:
                await process.prepared.prepare(
                    *(key, Write(user=ANN, token=turn.token, fence=turn.fence)),
                    *(turn.user_state.version, turn.user_state.encoded()),  # type: ignore[union-attr,arg-type]
                )
                await process.let_lease_end(key)
            elif fate < 0.3:
                process.turns._prepared.confirm = _die  # type: ignore[union-attr,method-assign]
                try:
                    if isinstance(await process.turns.commit(turn), UserStateChanged):
                        await process.let_lease_end(key)
                except Died:
                    committed += 1
                    await process.let_lease_end(key)
            elif isinstance(done := await process.turns.commit(turn), UserStateChanged):
                await process.let_lease_end(key)
            else:
                committed += 1
                await process.acknowledges(turn, [entry.id for entry in done])

    await asyncio.gather(*(counts(number, key) for number, key in enumerate(conversations)))
    process = Process(store)
    by_conversation = [await process.counted_in(key) for key in conversations]
    assert await process.counted() == sum(by_conversation) == committed
    assert committed > 10


async def _die(*_: object) -> None:
    raise Died


# --------------------------------------------------------------------- the service


@pytest.fixture
async def service(start_service: ServiceFactory, cluster_url: str) -> Service:
    return await start_service(REDIS_URL=cluster_url)


class TestTheWholeService:
    async def test_delivers_in_every_mode(self, ann: Person, sender: Sender) -> None:
        """Said now, said before the next reply, and held until the form is done."""
        await ann.says("hello")
        await sender.becomes(await sender.notifies(ann, "now", mode="interject"), "delivered")
        await ann.hears("now")
        queued = await sender.notifies(ann, "later", mode="queue")
        await sender.becomes(queued, "queued")
        assert await ann.says("thanks") == ["later", "You sent: thanks"]
        await sender.becomes(queued, "delivered")
        await ann.says("report")
        held = await sender.notifies(ann, "when you are free", mode="resume")
        await sender.becomes(held, "held")
        assert await ann.says("cancel") == ["All right, I dropped the form.", "when you are free"]
        await sender.becomes(held, "delivered")

    async def test_reaches_everybody(self, ann: Person, bob: Person, sender: Sender) -> None:
        """A broadcast finds conversations on every node."""
        others = [ann.elsewhere(f"a:{number}") for number in range(10)]
        for person in (ann, bob, *others):
            await person.says("hello")
        notification = await sender.notifies({"all": True}, "news")
        for person in (ann, bob, *others):
            await person.hears("news")
        for index in range(12):
            await sender.becomes(notification, "delivered", index)

    async def test_says_what_the_bot_computed(self, ann: Person) -> None:
        """The answer of a job is mail in the conversation's own slot."""
        (told,) = await ann.says("compute factor 360")
        assert "360" in told
        (answer,) = await ann.next(1)
        assert "2^3" in answer

    async def test_is_ready(self, service: Service, sender: Sender) -> None:
        assert await sender.gets("/health/ready") == (200, {"status": "ok", "dependencies": {"store": "ok"}})


class TestATurnThatTakesLong:
    @pytest.fixture
    async def service(self, start_service: ServiceFactory, cluster_url: str) -> Service:
        gates.clear()
        return await start_service(
            REDIS_URL=cluster_url, ROOT_DIALOG="tests.own_dialogs.slow:Counts", FLUSH_AFTER="0.1"
        )

    async def test_is_let_commit_first(self, ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        """It has said something already; the other conversation of its user counts on from there."""
        waits, wait = asyncio.Event(), Waiting.for_

        async def noted(self: Waiting, token: bytes) -> None:
            waits.set()
            await wait(self, token)

        monkeypatch.setattr(Waiting, "for_", noted)
        elsewhere = ann.elsewhere("a:elsewhere")
        turn = asyncio.create_task(ann.says("count end"))
        await ann.sees(lambda texts: texts == ["count 1"])
        other = asyncio.create_task(elsewhere.says("count"))
        await waits.wait()
        assert elsewhere.shows() == []
        gates["end"].set()
        assert (await turn, await other) == (["count 1"], ["count 2"])


class TestTwoConversationsOfOneUser:
    @pytest.fixture
    async def service(self, start_service: ServiceFactory, cluster_url: str) -> Service:
        return await start_service(REDIS_URL=cluster_url, ROOT_DIALOG="tests.own_dialogs.failing:Counting")

    async def test_lose_no_update(self, ann: Person) -> None:
        """Both count at once; every number is said exactly once, and in each conversation they grow."""
        people = [ann.elsewhere(f"a:{number}") for number in range(2)]

        async def counts(person: Person) -> list[int]:
            return [int((await person.says("count"))[0].split()[2]) for _ in range(15)]

        said = await asyncio.gather(*map(counts, people))
        assert sorted(number for numbers in said for number in numbers) == list(range(1, 31))
        assert all(numbers == sorted(numbers) for numbers in said)


class TestTheWholeServiceWhenANodeIsLost:
    @pytest.fixture
    async def lossy(self) -> AsyncIterator[ClusterOfThree]:
        """Of this test alone: one of its nodes is killed."""
        with Servers() as servers:
            cluster = ClusterOfThree(servers, replica=True)
            await cluster.form()
            yield cluster

    @pytest.fixture
    async def service(self, lossy: ClusterOfThree, start_service: ServiceFactory) -> Service:
        return await start_service(REDIS_URL=lossy.url)

    async def test_goes_on_by_itself(self, lossy: ClusterOfThree, ann: Person, sender: Sender) -> None:
        """Users whose conversation it had are told to try again (503) until its replica has taken its place; what was
        accepted before is there."""
        there = next(
            person
            for person in (ann.elsewhere(f"a:{number}") for number in range(100))
            if slot(keys.conversation(ConversationKey(person.key))) * 3 < 16384
        )
        await there.says("hello")
        queued = await sender.notifies(there, "for later", mode="queue")
        await sender.becomes(queued, "queued")
        await until(lambda: replicated(*lossy.pair), what="the replica has it")
        lossy.kill_first()
        activity = there.activity(text="thanks")
        assert (await there.posts(activity))[0] == 503

        async def accepted() -> bool:
            status, _ = await there.posts(activity)
            assert status in (200, 503)
            return status == 200

        await until(accepted, within=30, what="the service answers again")
        await there.hears("for later", "You sent: thanks")
        await sender.becomes(queued, "delivered")
        await sender.becomes(await sender.notifies(there, "and now", mode="interject"), "delivered")
        assert (await sender.gets("/health/ready"))[0] == 200
