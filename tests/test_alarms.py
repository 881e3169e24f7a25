"""Alarms: many time-outs on few timers of the event loop."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref

import pytest

from bots.alarms import Alarms
from tests.waiting import until


@pytest.fixture
def rung() -> list[str]:
    return []


async def test_each_rings_once_and_in_the_order_of_their_times(rung: list[str]) -> None:
    """Those of one length as they were set; a longer one after a shorter."""
    alarms = Alarms()
    for name, seconds in (("late", 0.04), ("first", 0.02), ("second", 0.02)):
        alarms.set(seconds, lambda name=name: rung.append(name))  # type: ignore[misc]
    await until(lambda: len(rung) == 3)
    assert rung == ["first", "second", "late"]


async def test_what_is_called_off_does_not_ring(rung: list[str]) -> None:
    """The first, one in the middle or the last of those that wait; to do it again, or too late, does no harm."""
    alarms = Alarms()
    calls = {name: alarms.set(0.02, lambda name=name: rung.append(name)) for name in "abcde"}  # type: ignore[misc]
    for name in "ace":
        calls[name].call_off()
        calls[name].call_off()
    await until(lambda: len(rung) == 2)
    calls["b"].call_off()
    assert rung == ["b", "d"]


async def test_none_rings_before_its_time() -> None:
    """Though the timer that serves it was set for one before it."""
    alarms, loop = Alarms(), asyncio.get_running_loop()
    waited: list[float] = []
    for _ in range(20):
        due = loop.time() + 0.03
        alarms.set(0.03, lambda due=due: waited.append(loop.time() - due))  # type: ignore[misc]
        await asyncio.sleep(0)
    await until(lambda: len(waited) == 20)
    assert min(waited) >= 0


async def test_those_of_one_length_share_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are set while others wait, and however many of them are called off."""
    loop = asyncio.get_running_loop()
    timers = itertools.count()
    call_at = loop.call_at

    def counted(*args: object, **kwargs: object) -> asyncio.TimerHandle:
        next(timers)
        return call_at(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", counted)
    alarms = Alarms()
    for _ in range(1000):
        alarms.set(10, lambda: None).call_off()
    assert next(timers) == 1


async def test_one_that_raises_keeps_no_other_from_ringing(rung: list[str]) -> None:
    """What it raises goes to the event loop's handler."""
    alarms, loop = Alarms(), asyncio.get_running_loop()
    errors: list[object] = []
    loop.set_exception_handler(lambda _, context: errors.append(context.get("exception")))
    alarms.set(0.01, lambda: 1 // 0)  # type: ignore[arg-type]
    alarms.set(0.01, lambda: rung.append("next"))
    await until(lambda: rung)
    assert [type(error) for error in errors] == [ZeroDivisionError]


async def test_one_that_was_called_off_keeps_nothing_alive() -> None:
    """Not what it would have called, nor whoever set it, though they have each other."""

    class Caller:
        def ring(self) -> None:
            """Not reached."""

    alarms, caller = Alarms(), Caller()
    caller.alarm = alarms.set(10, caller.ring)  # type: ignore[attr-defined]
    caller.alarm.call_off()  # type: ignore[attr-defined]
    gone = weakref.ref(caller)
    gc.disable()
    try:
        del caller
        assert gone() is None
    finally:
        gc.enable()
