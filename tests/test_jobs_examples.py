"""The jobs that ship compute exactly, and say so in a sentence when they cannot."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.ids import JobId
from jobs.context import CpuJobContext, JobContext, JobFailed
from jobs.examples import factor, pi, primes, wait

Told = list[tuple[float, str]]


def run(function: Callable[[CpuJobContext, str], str], text: str, told: Told | None = None) -> str:
    def report(share: float, note: str) -> None:
        if told is not None:
            told.append((share, note))

    return function(CpuJobContext(job_id=JobId("j"), attempt=1, report=report), text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("600851475143", "600851475143 = 71 × 839 × 1471 × 6857"),
        ("360", "360 = 2^3 × 3^2 × 5"),
        ("600,851,475,143", "600851475143 = 71 × 839 × 1471 × 6857"),
        ("10^18", "1000000000000000000 = 2^18 × 5^18"),
        (" 97 ", "97 is prime."),
        ("1", "1 has no prime factors."),
    ],
)
def test_factor(text: str, answer: str) -> None:
    assert run(factor, text) == answer


@settings(max_examples=50, deadline=None)
@given(st.integers(min_value=4, max_value=10**15))
def test_factors_multiply_to_the_number(number: int) -> None:
    answer = run(factor, str(number))
    powers = re.findall(r"(\d+)(?:\^(\d+))?(?: ×|$)", answer.partition("= ")[2])
    assert prod(int(prime) ** int(power or 1) for prime, power in powers) == number or answer == f"{number} is prime."


@pytest.mark.parametrize("function", [factor, pi, primes])
@pytest.mark.parametrize(
    "text", ["", "abc", "1.5", "²", "1,00", "12 apples", "__import__('os').getpid()", "9" * 5000, "999^999"]
)
def test_what_is_no_usable_number_is_refused_in_a_sentence(
    function: Callable[[CpuJobContext, str], str], text: str
) -> None:
    """The user reads it, so it is one, and nothing that was written is run."""
    with pytest.raises(JobFailed) as caught:
        run(function, text)
    assert re.fullmatch(r"(I|That) .+\.", caught.value.reason_for_user)


@pytest.mark.parametrize(
    ("function", "text"),
    [(factor, "0"), (factor, "-6"), (factor, "9" * 61), (pi, "0"), (pi, "100001"), (primes, "10^9")],
)
def test_what_is_out_of_bounds_is_refused(function: Callable[[CpuJobContext, str], str], text: str) -> None:
    with pytest.raises(JobFailed):
        run(function, text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("1", "π = 3.1 (1 digit after the point)"),
        ("5", "π = 3.14159 (5 digits after the point)"),
        ("12", "π = 3.141592653589 (12 digits after the point)"),
        ("1000", "π = 3.14159265358979323846264338327950288419716939937510 … 2164201989 (1000 digits after the point)"),
        (
            "100000",
            "π = 3.14159265358979323846264338327950288419716939937510 … 5493624646 (100000 digits after the point)",
        ),
    ],
)
def test_pi(text: str, answer: str) -> None:
    """Digits are cut off, not rounded."""
    assert run(pi, text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("-3", "There are no primes below -3."),
        ("2", "There are no primes below 2."),
        ("3", "There is 1 prime below 3: 2."),
        ("5", "There are 2 primes below 5; the largest is 3."),
        ("6", "There are 3 primes below 6; the largest is 5."),
        ("100", "There are 25 primes below 100; the largest is 97."),
        ("5 000 000", "There are 348513 primes below 5000000; the largest is 4999999."),
        ("10^8", "There are 5761455 primes below 100000000; the largest is 99999989."),
    ],
)
def test_primes(text: str, answer: str) -> None:
    assert run(primes, text) == answer


@settings(max_examples=30, deadline=None)
@given(st.integers(min_value=2, max_value=3000))
def test_primes_are_counted_as_by_hand(limit: int) -> None:
    by_hand = [n for n in range(2, limit) if all(n % d for d in range(2, n))]
    answer = run(primes, str(limit))
    if len(by_hand) > 1:
        assert answer == f"There are {len(by_hand)} primes below {limit}; the largest is {by_hand[-1]}."


def test_primes_tell_how_far_they_are() -> None:
    told: Told = []
    run(primes, "10000000", told)
    shares = [share for share, _ in told]
    assert len(shares) > 3
    assert all(earlier < later for earlier, later in pairwise(shares))
    assert shares[-1] == 1


async def test_wait_tells_how_far_it_is() -> None:
    told: Told = []
    context = JobContext(job_id=JobId("j"), attempt=1, report=lambda share, note: told.append((share, note)))
    assert await wait(context, "1") == "Waited 1 second."
    assert told == [(0.0, "0 of 1 seconds")]
    with pytest.raises(JobFailed):
        await wait(context, "-1")
