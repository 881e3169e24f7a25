"""Whole numbers as people write them, and the bounds of the sums that ship: the chat refuses by them at once what a job
would refuse when its turn comes."""

from __future__ import annotations

import re

FACTOR_DIGITS = 60
PI_DIGITS = 100_000
PRIMES_LIMIT = 10**8

BOUNDS = {"factor": range(1, 10**FACTOR_DIGITS), "pi": range(1, PI_DIGITS + 1), "primes": range(PRIMES_LIMIT + 1)}
"""By the name of its job."""

_NUMBER = re.compile(r"-?[0-9]{1,1000}")
_SEPARATORS = re.compile(r"(?<=[0-9])[,_ '\u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))")
_POWER = re.compile(r"([0-9]{1,3}) ?(?:\^|\*\*) ?([0-9]{1,3})")


def whole(text: str) -> int | None:
    """A whole number, such as ``600851475143``, ``5,000,000`` or ``10^8``; None for anything else, and for one of more
    than a thousand digits."""
    written = " ".join(text.split())
    if (power := _POWER.fullmatch(written)) is not None:
        number: int = int(power[1]) ** int(power[2])
        return number
    plain = _SEPARATORS.sub("", written)
    return int(plain) if _NUMBER.fullmatch(plain) else None
