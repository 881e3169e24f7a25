"""How many deliveries run at once: many while nobody waits, few while users do."""

from __future__ import annotations

import pytest

from delivery.pace import HURRIED_LAG, LEAST, UNHURRIED_LAG, Pace

MOST = 200


def after(*passes: tuple[float, bool], most: int = MOST) -> int:
    """How many are allowed after so many passes: each its lag, and whether a user waited."""
    pace = Pace(most)
    for lag, hurried in passes:
        pace.feel(lag, hurried=hurried)
    return pace.allowed


def test_a_loop_that_is_quick_is_given_more_up_to_the_most() -> None:
    """A slow channel is no reason to go slow: what waits for it costs nothing."""
    assert LEAST < after(*[(UNHURRIED_LAG / 2, False)] * 10) < MOST
    assert after(*[(UNHURRIED_LAG / 2, False)] * 1000) == MOST


def test_a_loop_that_falls_behind_is_given_less_but_never_nothing() -> None:
    """However much else there is to do, a broadcast goes on."""
    many = [(0.0, False)] * 10
    assert after(*many, (UNHURRIED_LAG * 2, False)) < after(*many)
    assert after(*many, *[(1.0, False)] * 1000) == LEAST


@pytest.mark.parametrize("lag", [HURRIED_LAG * 1.5, UNHURRIED_LAG * 0.9])
def test_while_a_user_waits_a_shorter_lag_is_too_long(lag: float) -> None:
    """What would be let pass otherwise holds up whoever waits for an answer."""
    many = [(0.0, False)] * 10
    assert after(*many, (lag, True)) < after(*many) < after(*many, (lag, False))


def test_few_at_most_are_no_more_than_that() -> None:
    """Where one may run, one runs."""
    assert after(most=1) == 1
    assert after(*[(1.0, True)] * 10, *[(0.0, False)] * 10, most=1) == 1
