"""What begins after a while: in its own context, and not at all if it was called off."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar, copy_context

from testkit.waiting import until
from turns.later import Later

WHOSE = ContextVar("whose", default="nobody's")


async def test_runs_in_the_context_of_whoever_wanted_it() -> None:
    """However many are due at once."""
    seen: list[tuple[str, str]] = []

    async def look(name: str) -> None:
        seen.append((name, WHOSE.get()))

    def want(name: str) -> None:
        WHOSE.set(name)
        Later(0.01, lambda: look(name), name)

    for name in ("ann", "bob", "cem"):
        copy_context().run(want, name)
    await until(lambda: len(seen) == 3)
    assert sorted(seen) == [("ann", "ann"), ("bob", "bob"), ("cem", "cem")]


async def test_does_not_begin_once_it_is_called_off() -> None:
    """And one that has begun ends there."""
    begun: list[str] = []

    async def go_on(name: str) -> None:
        begun.append(name)
        await asyncio.Event().wait()

    early, late = Later(0.01, lambda: go_on("early"), "early"), Later(0.02, lambda: go_on("late"), "late")
    early.call_off()
    await until(lambda: begun)
    assert (begun, early.begun, late.begun) == (["late"], False, True)
    late.call_off()
    await asyncio.wait_for(late.over(), 5)


async def test_keeps_nothing_alive_that_was_called_off() -> None:
    """Not what it would have called, nor whoever wanted it, though they have each other."""

    class Turn:
        def __init__(self) -> None:
            self.later = Later(60, self.go_on, "later")

        async def go_on(self) -> None:
            """Not reached."""

    turn = Turn()
    turn.later.call_off()
    gone = weakref.ref(turn)
    turn_later = weakref.ref(turn.later)
    del turn
    gc.collect()
    assert (gone(), turn_later()) == (None, None)
