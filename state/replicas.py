"""What counts only once so many replicas have it: ``WAIT``, once for all commands of a round trip to one server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from domain.value import value
from state.scripts import Argument, writes

Parts = tuple[Argument, ...]

WAIT_MS = 800
"""How long replicas have to say that they have it. A probe of the store waits for longer, and so do connections."""


class TooFewReplicas(ResponseError):
    """Written, and not known to be where it has to be: it may be gone when the server is."""


@value
class Replicas:
    """How many have to have what is written before it counts; 0 for none."""

    count: int = 0

    def asked_after(self, commands: Sequence[Parts]) -> Parts | None:
        """What is to be sent behind commands, over the same connection; None if nothing."""
        return ("WAIT", self.count, WAIT_MS) if self.count and any(map(writes, commands)) else None

    def judged(self, commands: Sequence[Parts], answers: Sequence[Any], told: Any) -> list[Any]:
        """The answers, with an error in place of each that does not count, by what ``WAIT`` answered."""
        have = told if isinstance(told, int) else 0
        if have >= self.count:
            return list(answers)
        return [
            TooFewReplicas(f"NOREPLICAS {have} of {self.count} replicas have it")
            if writes(parts) and not isinstance(answer, Exception)
            else answer
            for parts, answer in zip(commands, answers, strict=True)
        ]
