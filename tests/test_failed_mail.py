"""Mail whose turns fail is tried again, each by itself, and never at once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from domain.delivery import Delivery
from state.store import Store
from tests.test_turns import Bench
from turns.failed_turns import FAILED_PAUSE, blame, set_aside_what_failed


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


async def fails(bench: Bench, token: str) -> tuple[Sequence[Delivery], float | None]:
    """A proactive turn that fails: what it looked at, and the seconds until the next look."""
    turn = await bench.turn(token)
    set_aside_what_failed(turn, user=False)
    ended = await bench.turn(token)
    blame(ended, turn, (), LookupError())
    await bench.acknowledge(token, [entry.id for entry in await bench.commit(ended)])
    return turn.mail, ended.look_again()


async def test_two_that_fail_are_tried_in_turn_with_pauses(bench: Bench) -> None:
    """The first time together, then each alone; a pause before each try, the longer the more often it was tried."""
    await bench.put("a")
    await bench.put("b")
    tries: list[tuple[list[str], float | None]] = []
    while (await bench.turn("probe")).mail:
        await bench.acknowledge("probe", [])
        looked_at, pause = await fails(bench, f"t{len(tries)}")
        tries.append(([delivery.id for delivery in looked_at], pause))
    first, second = FAILED_PAUSE, 2 * FAILED_PAUSE
    assert tries == [(["a", "b"], first), (["a"], first), (["a"], first), (["b"], second), (["b"], None)]


async def test_what_comes_meanwhile_is_looked_at_first(bench: Bench) -> None:
    """What failed before waits for its pause all the same."""
    await bench.put("a")
    await fails(bench, "t1")
    await bench.put("b")
    turn = await bench.turn("t2")
    set_aside_what_failed(turn, user=False)
    assert [delivery.id for delivery in turn.mail] == ["b"]
    assert turn.look_again() == FAILED_PAUSE
