"""Users go first: what nobody waits for pauses while the turn of a user is under way."""

from __future__ import annotations

import asyncio

import pytest

from bots import precedence
from bots.precedence import AT_A_TIME, Precedence
from tests.waiting import until


async def steps(of: Precedence, done: list[int]) -> None:
    """A proactive turn of three steps."""
    for step in range(3):
        await of.give_way()
        done.append(step)


async def test_nobody_gives_way_to_nobody() -> None:
    """Without a user's turn no step waits for anything: it is all done in one go."""
    done: list[int] = []
    turn = asyncio.create_task(steps(Precedence(), done))
    await asyncio.sleep(0)
    assert done == [0, 1, 2]
    await turn


async def test_steps_wait_for_the_last_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two users' turns under way, the next step comes when both are over."""
    one, done = Precedence(), list[int]()
    monkeypatch.setattr(precedence, "LONGEST_PAUSE", 3600.0)
    with one.of_user():
        with one.of_user():
            turn = asyncio.create_task(steps(one, done))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert one.taken and not done
    assert not one.taken
    await turn
    assert done == [0, 1, 2]


async def test_a_pause_has_an_end() -> None:
    """However long a user's turn takes, the others go on, step by step."""
    one, done = Precedence(), list[int]()
    with one.of_user():
        turn = asyncio.create_task(steps(one, done))
        await until(lambda: done == [0, 1, 2], what="all steps are done")
    await turn


async def test_a_turn_that_is_cancelled_while_it_pauses_is_forgotten() -> None:
    """Nothing is left of it for the user's turn to trip over."""
    one = Precedence()
    with one.of_user():
        turn = asyncio.create_task(steps(one, []))
        await asyncio.sleep(0)
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        assert not one._paused


async def test_those_that_paused_go_on_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who comes in meanwhile finds the others waiting again, and not all of them at work."""
    one, done = Precedence(), list[int]()
    monkeypatch.setattr(precedence, "LONGEST_PAUSE", 3600.0)
    with one.of_user():
        turns = [asyncio.create_task(steps(one, done)) for _ in range(5 * AT_A_TIME)]
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    with one.of_user():
        for _ in range(3):
            await asyncio.sleep(0)
        went_on = done.count(0)
        assert AT_A_TIME <= went_on <= 2 * AT_A_TIME
    await asyncio.gather(*turns)
    assert done.count(2) == 5 * AT_A_TIME
