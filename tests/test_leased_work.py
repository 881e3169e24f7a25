"""Leased work: what is due is done by one at a time, by somebody else if that one dies, and no wake-up is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from state import keys
from state.store import Store
from state.work import Claim, Load, Work
from testkit.waiting import until

LEASE = 60.0
MOMENT = 0.001
"""A lease that has ended when the next call arrives."""


@pytest.fixture
async def another(store: Store, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """A second process's connection; with the store in memory, the same one."""
    if "server" not in request.node.callspec.id:
        yield store
        return
    other = Store.connect(request.getfixturevalue("real_url"))
    yield other
    await other.close()


def a_work(store: Store, lease: float = LEASE) -> Work:
    return Work(store, "conversations", lease=lease)


async def members(work: Work, limit: int = 100) -> list[str]:
    """Claims what is due; the members in their order."""
    return [claim.member for claim in (await work.claim(limit))[0]]


async def score(store: Store, member: str) -> float:
    return float(await store.run("ZSCORE", keys.work("conversations"), member))


async def claimed(work: Work, member: str) -> Claim:
    await work.wake(member)
    (claim,), _ = await work.claim(10)
    assert claim.member == member
    return claim


async def test_nothing_is_due_in_an_empty_queue(store: Store) -> None:
    assert await a_work(store).claim(10) == ([], None)


async def test_what_is_woken_is_claimed_oldest_first(store: Store) -> None:
    """In the order in which it became due, and at most as much as was asked for."""
    work = a_work(store)
    for member in ("c", "a", "b"):
        await work.wake(member)
    assert await members(work, 2) == ["c", "a"]
    assert await members(work) == ["b"]
    assert await members(work) == []


async def test_its_load_tells_what_waits_and_for_how_long(store: Store) -> None:
    """Apart from what is in hand, and from what is to be done later."""
    work = a_work(store)
    assert await work.load() == Load(length=0, due=0, overdue=0.0)
    await claimed(work, "in hand")
    await work.wake("later", delay=60)
    assert await work.load() == Load(length=2, due=0, overdue=0.0)
    await work.wake("due", "due too")
    await store.run("ZINCRBY", keys.work("conversations"), -30_000, "due")
    load = await work.load()
    assert (load.length, load.due) == (4, 2)
    assert 30 <= load.overdue < 60


class TestFairWork:
    """Whoever has least in hand is served first."""

    async def test_gives_everybody_a_part_before_anybody_a_second(self, store: Store) -> None:
        work = Work(store, "conversations", lease=LEASE, fair=True)
        for member in ("1~ann", "2~ann", "3~ann", "1~bob", "2~bob", "1~eve"):
            await work.wake(member)
        assert await members(work, 4) == ["1~ann", "1~bob", "1~eve", "2~ann"]
        assert await members(work) == ["2~bob", "3~ann"]

    async def test_counts_what_somebody_has_in_hand_already(self, store: Store) -> None:
        work = Work(store, "conversations", lease=LEASE, fair=True)
        await work.wake("1~ann", "2~ann", "3~ann")
        first, _ = await work.claim(2)
        await work.wake("1~bob")
        assert await members(work, 1) == ["1~bob"]
        await work.close(first[0])
        await work.close(first[1])
        assert await members(work, 1) == ["3~ann"]

    async def test_leaves_nobody_idle(self, store: Store) -> None:
        """Who is alone gets all of it, in order; what has no owner is its own."""
        work = Work(store, "conversations", lease=LEASE, fair=True)
        await work.wake("1~ann", "2~ann", "x", "y")
        assert await members(work, 3) == ["1~ann", "x", "y"]
        assert await members(work) == ["2~ann"]
        assert (await work.claim(10))[0] == []


async def test_waking_again_adds_nothing(store: Store) -> None:
    """A burst of wake-ups is one piece of work, and keeps the place of the first."""
    work = a_work(store)
    await work.wake("a")
    first = await score(store, "a")
    await work.wake("b")
    await asyncio.gather(*(work.wake("a", "a") for _ in range(10)))
    assert await score(store, "a") <= first
    assert await members(work) == ["a", "b"]


@pytest.mark.parametrize(("first", "second", "due"), [(60, 30, 30), (30, 60, 30), (60, 0, 0), (0, 60, 0)])
async def test_of_two_wake_ups_the_earlier_holds(store: Store, first: float, second: float, due: float) -> None:
    """Waking never puts off what was to happen sooner."""
    work = a_work(store)
    await work.wake("a", delay=first)
    await work.wake("a", delay=second)
    claims, wait = await work.claim(10)
    if due:
        assert claims == []
        assert wait is not None
        assert due - 20 < wait <= due
    else:
        assert [claim.member for claim in claims] == ["a"]


async def test_a_claimer_learns_when_the_next_is_due(store: Store) -> None:
    """A lease counts: when it ends there may be something to take over."""
    work = a_work(store)
    await work.wake("later", delay=1000)
    assert await claimed(work, "now")
    wait = (await work.claim(10))[1]
    assert wait is not None
    assert LEASE - 20 < wait <= LEASE


async def test_work_in_hand_is_not_claimed_again(store: Store) -> None:
    """Until its lease ends: then whoever asks next has it, and the old ticket is worth nothing."""
    work = a_work(store)
    await claimed(work, "a")
    assert await members(work) == []
    dying = a_work(store, MOMENT)
    lost = await claimed(dying, "b")
    taken = (await until(lambda: _claims(work), what="the lease ended"))[0]
    assert taken.member == "b"
    assert not await dying.close(lost)
    assert await dying.extend(lost) is None
    assert await work.close(taken)


async def _claims(work: Work) -> list[Claim]:
    return (await work.claim(10))[0]


async def test_what_is_closed_is_gone(store: Store) -> None:
    work = a_work(store)
    claim = await claimed(work, "a")
    assert await work.close(claim)
    assert await work.length() == 0
    assert not await work.close(claim), "closing again finds nothing"
    assert await work.claim(10) == ([], None)


async def test_a_wake_up_during_the_work_is_kept(store: Store) -> None:
    """Closing says so and leaves it due; nothing that came in between is lost."""
    work = a_work(store)
    for again_in in (None, 50.0):
        claim = await claimed(work, "a")
        await work.wake("a")
        assert not await work.close(claim, again_in=again_in)
        (again,), _ = await work.claim(10)
        assert again.member == "a"
        assert await work.close(again)


async def test_a_later_wake_up_during_the_work_does_not_shorten_it(store: Store) -> None:
    """But it is not closed with the work either: it is looked at again when the lease ends."""
    work = a_work(store)
    claim = await claimed(work, "a")
    await work.wake("a", delay=10 * LEASE)
    assert await members(work) == []
    assert not await work.close(claim)
    assert await work.length() == 1


async def test_a_claim_whose_lease_has_ended_does_not_close_what_was_woken(store: Store) -> None:
    """Though nobody else has claimed it yet, and it was due already."""
    work = a_work(store)
    claim = await work.open("a", lease=MOMENT)
    await until(lambda: _is_due(store, "a"), what="its lease ended")
    await work.wake("a")
    assert not await work.close(claim)
    assert await members(work) == ["a"]


async def _is_due(store: Store, member: str) -> bool:
    seconds, micros = await store.run("TIME")
    return bool(await score(store, member) <= int(seconds) * 1000 + int(micros) / 1000)


async def test_closing_can_make_it_due_again_later(store: Store) -> None:
    work = a_work(store)
    assert await work.close(await claimed(work, "a"), again_in=30)
    claims, wait = await work.claim(10)
    assert claims == []
    assert wait is not None
    assert 10 < wait <= 30
    assert await work.close(await claimed(work, "b"), again_in=0)
    assert await members(work) == ["b"]


async def test_what_nobody_woke_can_be_taken_in_hand(store: Store) -> None:
    """So that it is looked at again if this process dies; closing it leaves nothing behind."""
    work = a_work(store)
    claim = await work.open("a")
    assert await members(work) == []
    assert await work.close(claim)
    assert await work.length() == 0
    await work.open("b", lease=MOMENT)
    assert await until(lambda: members(work), what="its lease ended") == ["b"]


async def test_a_lease_can_be_extended(store: Store) -> None:
    """The new ticket closes, the old one does not; what was woken meanwhile is not put off again."""
    work = a_work(store)
    claim = await claimed(work, "a")
    longer = await a_work(store, 1000).extend(claim)
    assert longer is not None
    assert await score(store, "a") > float(claim.ticket) + 500_000
    assert not await work.close(claim)
    await work.wake("a")
    assert await work.extend(longer) is None
    assert await members(work) == ["a"]


async def test_claims_of_many_never_overlap(store: Store, another: Store) -> None:
    """Whoever claims, and however many at once: each piece of work is in one hand."""
    works = [a_work(store), a_work(another)]
    wanted = [f"k{number}" for number in range(200)]
    await works[0].wake(*wanted)
    order = random.Random(1)
    claims = await asyncio.gather(*(order.choice(works).claim(order.randint(1, 9)) for _ in range(100)))
    found = [claim.member for taken, _ in claims for claim in taken]
    assert sorted(found) == sorted(wanted)
    tickets = [claim.ticket for taken, _ in claims for claim in taken]
    assert len(set(tickets)) == len(tickets)


async def test_closing_with_other_commands_is_closing(store: Store) -> None:
    """The command can leave with others, and run twice does nothing more."""
    work = a_work(store)
    claim = await claimed(work, "a")
    assert await store.sequence(work.closing(claim), work.closing(claim)) == [1, 0]


async def test_a_wake_up_ends_the_waiting(store: Store) -> None:
    """At once in the process that woke; one that came before the waiting counts too, and counts once."""
    work = a_work(store)
    waiting = asyncio.create_task(work.wait(1000))
    await work.wake("a")
    await until(waiting.done, what="the waiting ended")
    await work.wake("b")
    await work.wait(1000)
    waiting = asyncio.create_task(work.wait(0.01))
    await work.wake("c", delay=1000)
    await until(waiting.done)
    assert await members(work) == ["a", "b"]


async def test_a_wake_up_is_heard_in_another_process(store: Store, another: Store) -> None:
    """Its listener hears the bell, whichever process rang it."""
    here, there = a_work(store), a_work(another)
    listening = asyncio.create_task(there.listen())
    waiting = asyncio.create_task(there.wait(1000))
    await here.wake("a")
    await until(waiting.done, what="the bell was heard")
    assert await members(there) == ["a"]
    listening.cancel()
    await asyncio.wait([listening])


async def test_what_one_claimer_leaves_rings_for_another(store: Store, another: Store) -> None:
    """A burst rings once; whoever takes a part of it rings for the rest."""
    here, there = a_work(store), a_work(another)
    await here.wake(*(f"k{number}" for number in range(5)))
    assert await store.run("DEL", keys.bell("conversations")) == 1
    assert len(await members(here, 2)) == 2
    waiting = asyncio.create_task(there.wait(1000))
    listening = asyncio.create_task(there.listen())
    await until(waiting.done, what="the bell was heard")
    assert len(await members(there, 9)) == 3
    assert await store.run("LLEN", keys.bell("conversations")) == 0, "nothing is left to ring for"
    listening.cancel()
    await asyncio.wait([listening])


async def test_bells_do_not_pile_up(store: Store) -> None:
    """A thousand wake-ups that nobody hears are one bell, and it falls silent by itself."""
    work = a_work(store)
    await asyncio.gather(*(work.wake(f"k{number}") for number in range(100)))
    assert await store.run("LLEN", keys.bell("conversations")) == 1
    assert 0 < await store.run("TTL", keys.bell("conversations")) <= keys.BELL_TTL


async def test_a_listener_outlives_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks again instead of ending the process that it listens for."""
    store = Store.connect("unix:///nonexistent/aside.sock")
    asked: list[object] = []
    ask = store.redis.blpop

    async def counted(*args: Any, **kwargs: Any) -> Any:
        asked.append(args)
        return await ask(*args, **kwargs)

    monkeypatch.setattr(store.redis, "blpop", counted)
    listening = asyncio.create_task(a_work(store).listen())
    await until(lambda: len(asked) == 2, what="it asks a second time")
    listening.cancel()
    await asyncio.wait([listening])
    await store.close()
