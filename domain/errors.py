"""Errors whose message tells the reader what to do."""

from __future__ import annotations


class AsideError(Exception):
    """The root of this project's own errors."""


class UndecodableState(AsideError):
    """Stored state that this process cannot read: it holds a class that is gone or not allowed."""


class UnstorableState(AsideError):
    """A value that a dialog put into state and that cannot be stored."""


class StateTooDeep(UnstorableState):
    """State that is nested without end: dialogs that begin one another inside themselves, round after round."""


class StoreUnavailable(AsideError):
    """The store cannot be reached or refuses writes; try again after ``retry_after`` seconds."""

    def __init__(self, reason: str, retry_after: int = 2) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class NewerState(StoreUnavailable):
    """State in a format of a newer version of this service, which is to be left to processes that read it."""


class ConversationFull(AsideError):
    """Too much waits for a conversation already; what is refused may be sent again after ``retry_after`` seconds."""

    def __init__(self, reason: str, retry_after: float = 5) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class TooManySends(AsideError):
    """A turn wants to send more than one may; its dialog does not come to an end."""


class TooManyJobs(AsideError):
    """A dialog wants to start a job for a user of whom as many have not ended as one may have, which is ``limit``.

    Where no dialog handles it, the user is told so in the apology's place."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The user has {limit} jobs that have not ended, as many as JOBS_PER_USER allows; "
            "ask services.jobs.room before starting one."
        )
        self.limit = limit


class NotAddressed(AsideError):
    """An activity that a dialog wants sent, changed or deleted, and of which nothing says where or which it is."""


class TurnOver(AsideError, RuntimeError):
    """A turn that is over was asked to do something, or code outside of any turn what only a turn can do."""


class EndsItsProcess(AsideError):
    """Whoever is to send something ends over it, again and again: nobody is to try that once more."""


class LeaseLost(AsideError):
    """Another process took over the conversation; this turn must neither commit nor send."""


class NothingToReplay(AsideError):
    """What a dead letter said is no longer kept."""


class SignInUnavailable(AsideError):
    """A dialog wants its user to sign in, and this bot has no identity that the token service knows."""


class ServiceUrlNotAllowed(AsideError):
    """An activity was to be sent to a host that ``SERVICE_URL_ALLOW`` does not list."""
