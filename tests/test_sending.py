"""What to do after a send, for everything that a channel may answer."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from domain.delivery import Failure
from domain.notification import Guarantee
from domain.sending import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_THROTTLE,
    PATIENCE,
    THROTTLED_PAUSE,
    TRIES,
    Accepted,
    Answer,
    ChannelAnswer,
    GiveUp,
    NextStep,
    TryAgain,
    Unknowable,
    next_step,
)

LEAST, MOST = Guarantee.AT_LEAST_ONCE, Guarantee.AT_MOST_ONCE
EVERY_ATTEMPT = range(TRIES + 2)


def step(
    answer: Answer,
    attempts: int = 0,
    guarantee: Guarantee = LEAST,
    *,
    jitter: float = 0.5,
    retry_after: float | None = None,
) -> NextStep:
    told = ChannelAnswer(answer=answer, activity_id="a1", retry_after=retry_after)
    return next_step(told, attempts=attempts, guarantee=guarantee, jitter=jitter)


@pytest.mark.parametrize(("attempts", "guarantee"), [*product(EVERY_ATTEMPT, Guarantee)])
def test_what_was_accepted_is_over(attempts: int, guarantee: Guarantee) -> None:
    """With the id that the channel gave."""
    assert step(Answer.ACCEPTED, attempts, guarantee) == Accepted("a1")


@pytest.mark.parametrize(("attempts", "guarantee"), [*product(EVERY_ATTEMPT, Guarantee)])
def test_a_channel_that_says_wait_is_waited_for(attempts: int, guarantee: Guarantee) -> None:
    """However often: it was not delivered, and being asked to wait uses up no attempt."""
    for retry_after, pause in ((None, THROTTLED_PAUSE), (0.0, 0.0), (7.0, 7.0), (1e9, LONGEST_THROTTLE)):
        again = step(Answer.THROTTLED, attempts, guarantee, retry_after=retry_after)
        assert isinstance(again, TryAgain)
        assert (again.counts, again.doubtful) == (False, False)
        assert pause <= again.pause <= pause + 0.25, "never before the channel's time"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer.BLOCKED, Failure.BLOCKED),
        (Answer.UNINSTALLED, Failure.UNINSTALLED),
        (Answer.REJECTED, Failure.REJECTED),
    ],
)
def test_what_is_final_is_given_up_at_once(answer: Answer, reason: Failure) -> None:
    for attempts, guarantee in product(EVERY_ATTEMPT, Guarantee):
        assert step(answer, attempts, guarantee) == GiveUp(reason)


@pytest.mark.parametrize(
    ("answer", "guarantee", "tries", "reason", "doubtful"),
    [
        (Answer.NOT_SENT, LEAST, TRIES, Failure.EXHAUSTED, False),
        (Answer.NOT_SENT, MOST, TRIES, Failure.EXHAUSTED, False),
        (Answer.UNAUTHORIZED, LEAST, TRIES, Failure.UNAUTHORIZED, False),
        (Answer.UNAUTHORIZED, MOST, TRIES, Failure.UNAUTHORIZED, False),
        (Answer.MISSING, LEAST, PATIENCE, Failure.GONE, False),
        (Answer.MISSING, MOST, PATIENCE, Failure.GONE, False),
        (Answer.DOUBTFUL, LEAST, TRIES, Failure.EXHAUSTED, True),
    ],
)
def test_what_may_pass_is_tried_again_so_often(
    answer: Answer, guarantee: Guarantee, tries: int, reason: Failure, doubtful: bool
) -> None:
    """Every attempt counts; the last one's failure is the delivery's."""
    for attempts in EVERY_ATTEMPT:
        outcome = step(answer, attempts, guarantee)
        if attempts + 1 < tries:
            assert isinstance(outcome, TryAgain)
            assert (outcome.counts, outcome.doubtful) == (True, doubtful)
        else:
            assert outcome == GiveUp(reason)


@pytest.mark.parametrize("attempts", EVERY_ATTEMPT)
def test_at_most_once_is_never_repeated_in_doubt(attempts: int) -> None:
    """Nobody knows whether it was delivered, and nobody will."""
    assert step(Answer.DOUBTFUL, attempts, MOST) == Unknowable()


def test_every_answer_leads_somewhere() -> None:
    for answer, attempts, guarantee in product(Answer, EVERY_ATTEMPT, Guarantee):
        assert isinstance(step(answer, attempts, guarantee), NextStep)


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    """A quarter to either side, so that a thousand sends that failed together do not come back together."""
    pauses = []
    for attempts in range(TRIES - 1):
        low, middle, high = (step(Answer.NOT_SENT, attempts, jitter=jitter) for jitter in (0.0, 0.5, 1.0))
        assert isinstance(low, TryAgain)
        assert isinstance(middle, TryAgain)
        assert isinstance(high, TryAgain)
        assert (low.pause, high.pause) == pytest.approx((0.75 * middle.pause, 1.25 * middle.pause))
        pauses.append(middle.pause)
    assert pauses[0] == FIRST_PAUSE
    assert all(later == min(2 * earlier, LONGEST_PAUSE) for earlier, later in pairwise(pauses))
