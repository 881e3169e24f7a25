"""Being told what happens, to count it."""

from __future__ import annotations

from domain.delivery import StatusReport
from domain.job import JobStatus
from domain.notification import Mode
from domain.sending import Answer


class Observer:
    """What it does is quick and raises nothing. This one does nothing."""

    def recorded(self, report: StatusReport) -> None:
        """A delivery's status was recorded."""

    def sent(self, answer: Answer) -> None:
        """A channel was asked to take something, and this is what is known of it."""

    def paused(self, cause: str, seconds: float) -> None:
        """A send has to wait. ``cause``: ``channel`` (it said so), ``limit`` (one of ours) or ``failure``."""

    def shown(self, mode: Mode, seconds: float) -> None:
        """A channel took a delivery, so long after it was accepted (or its time had come)."""

    def left(self, outbox: int) -> None:
        """So many effects wait in the outbox of a conversation that had a turn."""

    def kept(self, inbox: int) -> None:
        """So many deliveries wait in the inbox of a conversation in which a turn changed that."""

    def job_started(self, waited: float) -> None:
        """A job is run for the first time, so many seconds after it was submitted."""

    def job_ended(self, status: JobStatus) -> None:
        """A job has ended, or (``waiting``) is to be tried again."""
