"""Users go first: what nobody waits for pauses while the turn of a user is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from app import Service
from domain.ids import ConversationKey
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.own_dialogs.slow import gates
from tests.serving import serving
from turns import precedence
from turns.precedence import AT_A_TIME, Precedence


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


class TestAUserWhoSpeaksWhileTheirConversationHasAProactiveTurn:
    """They are answered after it, and it does not give way to somebody else meanwhile."""

    service = serving(ROOT_DIALOG="tests.own_dialogs.slow:Slow")

    @pytest.fixture(autouse=True)
    def endless_pauses(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(precedence, "LONGEST_PAUSE", 3600.0)
        gates.clear()
        yield
        for gate in gates.values():
            gate.set()

    async def test_ends_its_pause(self, ann: Person, bob: Person, sender: Sender, service: Service) -> None:
        await bob.says("quick")
        slow = asyncio.create_task(ann.posts(ann.activity(text="talk")))
        await ann.hears("one", "two")
        await sender.notifies(bob, "news")
        paused = service.pipeline.precedence._paused
        await until(lambda: bob.key in paused.values(), what="the turn pauses")
        assert await bob.says("quick") == ["news", "quick"]
        assert not slow.done()
        await ends(slow)

    async def test_leaves_it_no_pause(
        self, ann: Person, bob: Person, sender: Sender, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await bob.says("quick")
        begin, may, begins = service.turns.begin, asyncio.Event(), asyncio.Event()

        async def slowly(*args: Any, **kwargs: Any) -> Any:
            begins.set()
            await may.wait()
            return await begin(*args, **kwargs)

        monkeypatch.setattr(service.turns, "begin", slowly)
        await sender.notifies(bob, "news")
        await begins.wait()
        monkeypatch.setattr(service.turns, "begin", begin)
        slow = asyncio.create_task(ann.posts(ann.activity(text="talk")))
        await ann.hears("one", "two")
        speaking = asyncio.create_task(bob.posts(bob.activity(text="quick")))
        await until(lambda: service.pipeline._lines.awaited(ConversationKey(bob.key)), what="bob waits for his turn")
        may.set()
        assert (await speaking)[0] == 200
        assert bob.news() == ["news", "quick"]
        assert not slow.done()
        await ends(slow)


async def ends(slow: asyncio.Task[tuple[int, Json | None]]) -> None:
    for gate in ("more", "end"):
        gates[gate].set()
    assert (await slow)[0] == 200
