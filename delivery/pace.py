"""How many deliveries run at once: as many as the event loop carries, fewer while users wait for an answer.

A user's turn passes through the loop a dozen times, each time behind everything that is ready then. The more
deliveries are under way, the more is ready. How late the loop is (the *lag*) is measured, and kept short.
"""

from __future__ import annotations

LEAST = 4
"""So many always run: a broadcast goes on however much is said."""
UNHURRIED_LAG = 0.012
"""Seconds. To be later hardly carries more: what is under way already shares its round trips."""
HURRIED_LAG = 0.001
"""Seconds, while a user waits."""
_UP = 2.0
"""More at each look: what they do to the loop shows only when the store has answered them."""
_DOWN = 0.75


class Pace:
    """``most``: how many run at once if nothing stands against it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = float(min(most, LEAST))

    @property
    def allowed(self) -> int:
        return int(self._allowed)

    def feel(self, lag: float, *, hurried: bool) -> None:
        """Take account of how late the loop was, in seconds, and of whether users wait."""
        if lag > (HURRIED_LAG if hurried else UNHURRIED_LAG):
            self._allowed = max(float(min(self._most, LEAST)), self._allowed * _DOWN)
        else:
            self._allowed = min(float(self._most), self._allowed + _UP)
