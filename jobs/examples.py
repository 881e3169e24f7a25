"""The jobs that ship: exact arithmetic, and one that only waits.

Each takes what the user wrote after its name as ``text``.
"""

from __future__ import annotations

import asyncio
import math

from domain.sums import FACTOR_DIGITS, PI_DIGITS, PRIMES_LIMIT, whole
from jobs.context import CpuJobContext, JobContext, JobFailed
from jobs.registry import job

WAIT_SECONDS = 24 * 3600


@job("factor", cpu=True, timeout=600, tries=2, late="That number is too hard for me: I looked for ten minutes.")
def factor(context: CpuJobContext, text: str) -> str:
    """``360`` -> ``360 = 2^3 × 3^2 × 5``."""
    number = _whole(text, example="factor 600851475143")
    if number < 1:
        raise JobFailed("I can only factor whole numbers from 1 on.")
    if len(str(number)) > FACTOR_DIGITS:
        raise JobFailed(f"That number has {len(str(number))} digits; I can factor numbers of up to {FACTOR_DIGITS}.")
    if number == 1:
        return "1 has no prime factors."
    context.progress(0, "looking for divisors")
    from sympy import factorint  # here, for it takes half a second and only the child needs it

    powers = sorted((int(prime), int(power)) for prime, power in factorint(number).items())
    if powers == [(number, 1)]:
        return f"{number} is prime."
    return f"{number} = " + " × ".join(str(prime) if power == 1 else f"{prime}^{power}" for prime, power in powers)


@job("pi", cpu=True, timeout=600, tries=2)
def pi(context: CpuJobContext, text: str) -> str:
    """``5`` -> ``π = 3.14159 (5 digits after the point)``, cut off, not rounded."""
    digits = _whole(text, example="pi 10000")
    if not 1 <= digits <= PI_DIGITS:
        raise JobFailed(f"I can compute from 1 to {PI_DIGITS} digits of π.")
    context.progress(0, "computing")
    import mpmath  # here, as only the child needs it

    with mpmath.workdps(digits + 20):
        decimals = mpmath.nstr(+mpmath.pi, digits + 15).partition(".")[2][:digits]
    shown = decimals if digits <= 60 else f"{decimals[:50]} … {decimals[-10:]}"
    return f"π = 3.{shown} ({digits} {'digit' if digits == 1 else 'digits'} after the point)"


@job("primes", cpu=True, timeout=600, tries=2)
def primes(context: CpuJobContext, text: str) -> str:
    """``100`` -> ``There are 25 primes below 100; the largest is 97.``"""
    limit = _whole(text, example="primes 5000000")
    if limit > PRIMES_LIMIT:
        raise JobFailed(f"That is too far for me; I can count the primes below numbers up to {PRIMES_LIMIT}.")
    if limit <= 2:
        return f"There are no primes below {limit}."
    count, largest = _count_primes(context, limit)
    if count == 1:
        return f"There is 1 prime below {limit}: {largest}."
    return f"There are {count} primes below {limit}; the largest is {largest}."


@job("wait")
async def wait(context: JobContext, text: str) -> str:
    """``10`` -> ``Waited 10 seconds.``, telling every second how far it is."""
    seconds = _whole(text, example="wait 10")
    if not 0 <= seconds <= WAIT_SECONDS:
        raise JobFailed(f"I can wait from 0 to {WAIT_SECONDS} seconds.")
    for passed in range(seconds):
        await context.progress(passed / seconds, f"{passed} of {seconds} seconds")
        await asyncio.sleep(1)
    return f"Waited {seconds} {'second' if seconds == 1 else 'seconds'}."


def _whole(text: str, *, example: str) -> int:
    number = whole(text)
    if number is None:
        raise JobFailed(f"I need a whole number for that, as in “{example}”.")
    return number


def _count_primes(context: CpuJobContext, limit: int) -> tuple[int, int]:
    """How many primes lie below ``limit`` (3 or more), and the largest: a sieve of odd numbers, window by window."""
    root = math.isqrt(limit)
    small = _odd_primes(root + 1)
    count, largest = 1, 2
    width = 1 << 20  # odd numbers in a window: a megabyte, which stays in the cache
    for start in range(3, limit, 2 * width):
        end = min(start + 2 * width, limit)
        size = (end - start + 1) // 2
        window = bytearray(b"\x01") * size
        for prime in small:
            first = max(prime * prime, -(-start // prime) * prime)
            first += prime * (first % 2 == 0)
            if prime * prime >= end:
                break
            window[(first - start) // 2 :: prime] = bytes(len(range((first - start) // 2, size, prime)))
        found = window.count(1)
        if found:
            count += found
            largest = start + 2 * window.rindex(1)
        context.progress(end / limit, f"up to {end}")
    return count, largest


def _odd_primes(limit: int) -> list[int]:
    sieve = bytearray(b"\x01") * max(limit, 3)
    for number in range(3, math.isqrt(limit) + 1, 2):
        if sieve[number]:
            sieve[number * number :: 2 * number] = bytes(len(range(number * number, len(sieve), 2 * number)))
    return [number for number in range(3, limit, 2) if sieve[number]]
