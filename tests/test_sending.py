"""What to do with a send, for everything that a channel may answer, however often."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice, pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.delivery import Delivery, Failure
from domain.effect import Operation, Send, effect_from_json, effect_to_json
from domain.ids import DeliveryId
from domain.notification import Guarantee, Mode
from domain.sending import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_THROTTLE,
    PATIENCE,
    THROTTLED_PAUSE,
    THROTTLED_TRIES,
    TRIES,
    Accepted,
    Answer,
    ChannelAnswer,
    Expired,
    GiveUp,
    NextStep,
    Outdated,
    TryAgain,
    Unknowable,
    before_send,
    next_step,
)
from domain.throttling import CONVERSATIONS, WINDOW, Throttled, tenant_waits_until
from turns.outbox import postponed

LEAST, MOST = Guarantee.AT_LEAST_ONCE, Guarantee.AT_MOST_ONCE
EVERY_ATTEMPT = range(TRIES + 2)
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def showing(*guarantees: Guarantee, expires: timedelta = timedelta(days=1)) -> tuple[Delivery, ...]:
    return tuple(
        Delivery(
            id=DeliveryId(f"d{number}"),
            mode=Mode.INTERJECT,
            created_at=NOW,
            expires_at=NOW + expires,
            guarantee=guarantee,
        )
        for number, guarantee in enumerate(guarantees)
    )


def send(*guarantees: Guarantee, **so_far: int) -> Send:
    return Send(
        operation=Operation.SEND,
        provisional="aside.1",
        activity={"type": "message"},
        service_url="https://channel.example/",
        shows=showing(*(guarantees or (LEAST,))),
        **so_far,  # type: ignore[arg-type]
    )


def step(
    answer: Answer, before: Send | None = None, *, jitter: float = 0.5, retry_after: float | None = None
) -> NextStep:
    told = ChannelAnswer(answer=answer, activity_id="a1", retry_after=retry_after)
    return next_step(told, before or send(), jitter=jitter)


@pytest.mark.parametrize(("attempts", "guarantee"), [*product(EVERY_ATTEMPT, Guarantee)])
def test_what_was_accepted_is_over(attempts: int, guarantee: Guarantee) -> None:
    """With the id that the channel gave."""
    assert step(Answer.ACCEPTED, send(guarantee, attempts=attempts)) == Accepted("a1")


@pytest.mark.parametrize(("attempts", "guarantee"), [*product(EVERY_ATTEMPT, Guarantee)])
def test_a_channel_that_says_wait_is_waited_for(attempts: int, guarantee: Guarantee) -> None:
    """However often it failed before: it was not delivered, and being asked to wait uses up no attempt."""
    for retry_after, pause in ((None, THROTTLED_PAUSE), (0.0, 0.0), (7.0, 7.0), (1e9, LONGEST_THROTTLE)):
        again = step(Answer.THROTTLED, send(guarantee, attempts=attempts), retry_after=retry_after)
        assert isinstance(again, TryAgain)
        assert (again.counts, again.doubtful) == (False, False)
        assert pause <= again.pause <= max(pause + 0.25, pause * 1.25), "never before the channel's time"


def test_a_channel_that_says_wait_again_and_again_is_asked_less_and_less_often() -> None:
    """Whatever it says: with ``Retry-After: 0`` it would be asked for ever, without a pause. And not for ever."""
    for told in (None, 0.0, 1.0):
        again = [step(Answer.THROTTLED, send(throttled=n), retry_after=told) for n in range(THROTTLED_TRIES - 1)]
        pauses = [one.pause for one in again if isinstance(one, TryAgain)]
        assert len(pauses) == len(again)
        assert all(later >= earlier for earlier, later in pairwise(pauses))
        assert pauses[-1] >= LONGEST_PAUSE
        assert sum(pauses) > 3 * 3600
        last = step(Answer.THROTTLED, send(throttled=THROTTLED_TRIES - 1), retry_after=told)
        assert last == GiveUp(Failure.EXHAUSTED)


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
        assert step(answer, send(guarantee, attempts=attempts)) == GiveUp(reason)


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
    effect = send(guarantee)
    for _ in range(tries - 1):
        outcome = step(answer, effect)
        assert isinstance(outcome, TryAgain)
        assert (outcome.counts, outcome.doubtful) == (True, doubtful)
        effect = postponed(effect, outcome, ChannelAnswer(answer=answer))
    assert step(answer, effect) == GiveUp(reason)


def test_other_failures_are_no_sign_that_a_conversation_is_gone() -> None:
    """It takes as many answers that say so; a channel that has trouble may well not find a conversation for once."""
    effect = send()
    for answer in (Answer.DOUBTFUL, Answer.NOT_SENT, Answer.MISSING, Answer.DOUBTFUL, Answer.MISSING):
        outcome = step(answer, effect)
        assert isinstance(outcome, TryAgain), answer
        effect = postponed(effect, outcome, ChannelAnswer(answer=answer))
    assert step(Answer.DOUBTFUL, effect) == TryAgain(32.0, doubtful=True)
    assert step(Answer.MISSING, effect) == GiveUp(Failure.GONE)
    assert step(Answer.MISSING, send(attempts=TRIES - 1)) == GiveUp(Failure.EXHAUSTED)


@pytest.mark.parametrize("attempts", EVERY_ATTEMPT)
def test_at_most_once_is_never_repeated_in_doubt(attempts: int) -> None:
    """Nobody knows whether it was delivered, and nobody will. One such delivery in a digest is enough."""
    assert step(Answer.DOUBTFUL, send(MOST, attempts=attempts)) == Unknowable()
    assert step(Answer.DOUBTFUL, send(LEAST, MOST, attempts=attempts)) == Unknowable()


@pytest.mark.parametrize("retry_after", [0.0, 7.0, 1e9])
def test_a_channel_that_fails_and_says_for_how_long_is_believed(retry_after: float) -> None:
    """503 often comes with ``Retry-After``. Up to the longest pause: the number of attempts is to bound the time."""
    again = step(Answer.DOUBTFUL, retry_after=retry_after)
    assert again == TryAgain(min(max(FIRST_PAUSE, retry_after), LONGEST_PAUSE), doubtful=True)


def test_every_answer_leads_somewhere() -> None:
    for answer, attempts, guarantee in product(Answer, EVERY_ATTEMPT, Guarantee):
        assert isinstance(step(answer, send(guarantee, attempts=attempts)), NextStep)


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    """A quarter to either side, so that a thousand sends that failed together do not come back together."""
    pauses = []
    for attempts in range(TRIES - 1):
        low, middle, high = (
            step(Answer.NOT_SENT, send(attempts=attempts), jitter=jitter) for jitter in (0.0, 0.5, 1.0)
        )
        assert isinstance(low, TryAgain)
        assert isinstance(middle, TryAgain)
        assert isinstance(high, TryAgain)
        assert (low.pause, high.pause) == pytest.approx((0.75 * middle.pause, 1.25 * middle.pause))
        pauses.append(middle.pause)
    assert pauses[0] == FIRST_PAUSE
    assert all(later == min(2 * earlier, LONGEST_PAUSE) for earlier, later in pairwise(pauses))


ANSWERS = st.tuples(
    st.sampled_from([answer for answer in Answer if answer is not Answer.ACCEPTED]),
    st.none() | st.floats(min_value=0.0),
    st.floats(0.0, 1.0),
)


@given(told=st.lists(ANSWERS, min_size=1, max_size=12), guarantee=st.sampled_from(Guarantee))
def test_nothing_is_tried_for_ever(told: list[tuple[Answer, float | None, float]], guarantee: Guarantee) -> None:
    """Whatever a channel answers, over and over: no pause is negative or longer than it says here, and in the
    end a send is given up, after so many attempts and so much time."""
    effect = send(guarantee)
    failed: list[float] = []
    waited: list[float] = []
    for answer, retry_after, jitter in islice(cycle(told), TRIES + THROTTLED_TRIES):
        outcome = step(answer, effect, jitter=jitter, retry_after=retry_after)
        if not isinstance(outcome, TryAgain):
            assert isinstance(outcome, GiveUp | Unknowable)
            break
        (failed if outcome.counts else waited).append(outcome.pause)
        effect = postponed(effect, outcome, ChannelAnswer(answer=answer))
    else:
        pytest.fail("it was never given up")
    assert len(failed) < TRIES
    assert len(waited) < THROTTLED_TRIES
    assert all(0 < pause <= 1.25 * LONGEST_PAUSE for pause in failed)
    assert all(0 <= pause <= 1.25 * LONGEST_THROTTLE for pause in waited)
    assert len(effect.history) == effect.attempts == len(failed)
    assert effect.throttled == len(waited)


@given(
    answer=st.sampled_from([Answer.NOT_SENT, Answer.DOUBTFUL, Answer.MISSING, Answer.UNAUTHORIZED, Answer.THROTTLED]),
    so_far=st.integers(0, PATIENCE - 2),
    retry_after=st.none() | st.floats(0.0, 60.0),
    jitters=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
)
def test_every_pause_is_spread(
    answer: Answer, so_far: int, retry_after: float | None, jitters: tuple[float, float]
) -> None:
    """More jitter, a longer pause; and the whole of it makes at least an eighth of a second of difference, unless
    the channel has said when to come back after a failure."""
    effect = send(attempts=so_far, throttled=so_far, missing=so_far)
    told = retry_after if answer is Answer.THROTTLED else None
    less, more = sorted(jitters)
    pauses = [step(answer, effect, jitter=jitter, retry_after=told) for jitter in (0.0, less, more, 1.0)]
    lengths = [pause.pause for pause in pauses if isinstance(pause, TryAgain)]
    assert len(lengths) == 4
    assert lengths == sorted(lengths)
    assert lengths[-1] - lengths[0] >= 0.125


class TestBeforeASend:
    """What is not tried at all."""

    def test_what_nobody_needs_any_more_has_expired(self) -> None:
        """What else it shows is said anew, without that. What shows nothing (an answer) does not expire."""
        soon = NOW + timedelta(days=1)
        assert before_send(send(LEAST, LEAST), soon - timedelta(milliseconds=1)) is None
        assert before_send(send(LEAST, LEAST), soon) == Expired()
        late = replace(send(), shows=showing(LEAST) + showing(LEAST, expires=timedelta(days=2)))
        assert before_send(late, soon) == Outdated()
        assert before_send(replace(send(), shows=()), soon + timedelta(days=365)) is None

    def test_what_may_have_been_shown_and_must_not_be_repeated_stays_unknown(self) -> None:
        """Also once it has expired: it may have been shown in time."""
        for now in (NOW, NOW + timedelta(days=2)):
            assert before_send(replace(send(MOST), doubtful=True), now) == Unknowable()
        assert before_send(replace(send(LEAST), doubtful=True), NOW) is None
        assert before_send(send(MOST), NOW) is None


TOLD = [("a", 0.0, 9.0), ("b", 1.0, 4.0), ("c", 2.0, 5.0)]


@pytest.mark.parametrize(
    ("told", "now", "until"),
    [
        ([], 2.0, None),
        (TOLD[:2], 2.0, None),
        (TOLD, 2.0, 9.0),
        ([("a", 0.0, 9.0), ("a", 1.0, 4.0), ("b", 2.0, 5.0)], 2.0, None),
        (TOLD, WINDOW, 9.0),
        (TOLD, WINDOW + 0.5, None),
        ([*TOLD, ("d", 4.0, 6.0)], WINDOW + 0.5, 6.0),
        ([(str(n), 2.0, 2.0 + n) for n in range(CONVERSATIONS)], 2.0, 1.0 + CONVERSATIONS),
    ],
    ids=["none", "two", "three", "two, one of them twice", "at the last moment", "too late", "another", "at once"],
)
def test_a_tenant_waits_if_several_of_its_conversations_are_told_to(
    told: list[tuple[str, float, float]], now: float, until: float | None
) -> None:
    """As long as the one that was told to wait longest; one or two, however often, wait for themselves."""
    lately = [Throttled(conversation=name, at=at, until=end) for name, at, end in told]
    assert tenant_waits_until(lately, now) == until


def test_what_became_of_a_send_so_far_is_stored_with_it() -> None:
    """And what was stored before there was so much to know is read as nothing of it."""
    effect = replace(
        send(MOST, attempts=2, missing=1, throttled=3),
        doubtful=True,
        reserved=True,
        held_back=True,
        answer=True,
        history=("500", "404"),
    )
    body = effect_to_json(effect)
    assert effect_from_json(body) == effect
    bare = {name: body[name] for name in ("kind", "operation", "provisional", "activity", "serviceUrl")}
    assert effect_from_json(bare) == replace(send(), shows=())
    assert effect_to_json(replace(send(), shows=())) == bare
