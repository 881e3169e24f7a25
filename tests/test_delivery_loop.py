"""The loop over leased work: what is due is done, a little ahead of it is kept in hand, nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from delivery import loop as delivery_loop
from delivery.loop import AHEAD, Loop
from domain.errors import StoreUnavailable
from state.store import Store
from state.work import Claim, Work
from testkit.waiting import until

SEVERAL = 4


@pytest.fixture
def work(store: Store) -> Work:
    return Work(store, "conversations", lease=3600.0)


@asynccontextmanager
async def running(
    work: Work, do: Callable[[Claim], Awaitable[None]], concurrency: int = SEVERAL
) -> AsyncIterator[asyncio.Task[None]]:
    loop = Loop("test", work, do, concurrency=concurrency)
    task = asyncio.create_task(loop.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await loop.drain(0)


class Doer:
    """Does what it is given once it may: ``may`` is set."""

    def __init__(self, work: Work) -> None:
        self.may = asyncio.Event()
        self.begun: list[str] = []
        self.done: list[str] = []
        self.most = 0
        self._work = work

    async def __call__(self, claim: Claim) -> None:
        self.begun.append(claim.member)
        self.most = max(self.most, len(self.begun) - len(self.done))
        await self.may.wait()
        self.done.append(claim.member)
        await self._work.close(claim)


async def due(work: Work) -> int:
    """How many could be claimed by somebody else, who gives them back at once."""
    claims, _ = await work.claim(10_000)
    await work.wake(*(claim.member for claim in claims))
    return len(claims)


async def test_all_that_is_due_is_done_a_bounded_number_at_once(work: Work) -> None:
    """Whatever becomes due meanwhile is done too, without anybody asking again."""
    doer = Doer(work)
    async with running(work, doer):
        await work.wake(*(f"a{number}" for number in range(3 * AHEAD)))
        await until(lambda: len(doer.begun) == SEVERAL)
        doer.may.set()
        await until(lambda: len(doer.done) == 3 * AHEAD)
        await work.wake("later")
        await until(lambda: "later" in doer.done)
    assert doer.most == SEVERAL
    assert await work.length() == 0


async def test_a_few_are_claimed_before_they_can_run_and_the_rest_is_left_to_others(work: Work) -> None:
    """What ends is followed at once by what is in hand, and another process finds the rest."""
    doer, many = Doer(work), 500
    await work.wake(*(f"a{number}" for number in range(many)))
    async with running(work, doer, concurrency=AHEAD):
        await until(lambda: len(doer.begun) == AHEAD)
        left = await due(work)
        assert many - 3 * AHEAD <= left < many - AHEAD


async def test_nothing_is_claimed_ahead_of_more_than_runs_at_once(work: Work) -> None:
    """Where one thing takes long, another process has it sooner."""
    doer, many = Doer(work), 50
    await work.wake(*(f"a{number}" for number in range(many)))
    async with running(work, doer):
        await until(lambda: len(doer.begun) == SEVERAL)
        assert await due(work) >= many - 3 * SEVERAL


async def test_what_is_in_hand_at_the_end_is_given_back_at_once(work: Work) -> None:
    """Nobody waits for a lease to end that nobody needs: only what runs is kept."""
    doer, many = Doer(work), 50
    await work.wake(*(f"a{number}" for number in range(many)))
    async with running(work, doer) as task:
        await until(lambda: len(doer.begun) == SEVERAL)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await due(work) == many - SEVERAL


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a mistake")])
async def test_the_loop_outlives_errors_while_it_claims(
    work: Work, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It asks again, and what became due meanwhile is done."""
    monkeypatch.setattr(delivery_loop, "UNAVAILABLE_PAUSE", 0.0)
    doer, claim, asked = Doer(work), work.claim, []

    async def fails(limit: int) -> tuple[list[Claim], float | None]:
        asked.append(limit)
        if len(asked) < 3:
            raise error
        return await claim(limit)

    monkeypatch.setattr(work, "claim", fails)
    doer.may.set()
    await work.wake("a")
    async with running(work, doer):
        await until(lambda: doer.done == ["a"])


async def test_work_that_fails_does_not_end_the_loop(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    """Its claim is left open, so that it comes back when its lease ends; the log has it, and the next is done."""
    done: list[str] = []

    async def do(claim: Claim) -> None:
        if claim.member == "bad":
            raise RuntimeError("a mistake")
        done.append(claim.member)
        await work.close(claim)

    await work.wake("bad")
    await work.wake("good")
    async with running(work, do, concurrency=1):
        await until(lambda: done == ["good"])
    assert await work.length() == 1
    failures = [vars(record) for record in caplog.records if getattr(record, "action", "") == "work_failed"]
    assert [record["member"] for record in failures] == ["bad"]
