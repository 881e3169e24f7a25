"""What dialogs may ask of the service: jobs, reminders, the inbox. All of it belongs to the turn it is asked in."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import orjson
from botbuilder.core import TurnContext

from domain.effect import Cancel, Notify, Submit
from domain.errors import TooManyJobs
from domain.ids import ConversationKey, JobId, NotificationId, UserKey, derived_id
from domain.job import Job, JobRequest, JobStatus
from domain.notification import Content, Mode, Notification
from proactive.host import WAITS, DialogHost
from proactive.inbox import TAKEN, ContentOf, Kept, kept, numbered, open_entry
from proactive.listing import show_inbox
from state.notifications import RETENTION
from state.turn import Turn, turn_of


class JobRecords(Protocol):
    """The part of ``state.jobs`` that dialogs see."""

    async def list(self, conversation: ConversationKey) -> Sequence[Job]: ...
    async def unfinished(self, owner: UserKey) -> int: ...


class UnknownJob(Exception):
    """No job of this name is registered; see ``JOBS``."""


class Jobs:
    """Jobs of the user whose turn it is, in this conversation; nobody sees anybody else's."""

    def __init__(self, records: JobRecords, names: Container[str], per_user: int) -> None:
        self._records = records
        self._names = names
        self.per_user = per_user

    def start(self, context: TurnContext, name: str, arguments: dict[str, Any], *, asked: str) -> JobRequest:
        """Start a job when this turn commits; a turn that fails starts none. ``asked`` is quoted in the answer.

        ``arguments`` are JSON values. Raises :class:`UnknownJob`, ``TypeError`` for one that cannot be stored, and
        :class:`TooManyJobs` beyond what :meth:`room` tells.
        """
        if name not in self._names:
            raise UnknownJob(f"No job is called {name!r}; the modules in JOBS register none of that name.")
        _check_arguments(name, arguments)
        turn = turn_of(context)
        if (turn.unfinished or 0) + _started(turn) >= self.per_user:
            raise TooManyJobs(self.per_user)
        turn.jobs_started += 1
        turn.fields["jobs"] = str(turn.jobs_started)
        request = JobRequest(
            id=JobId(_derived("job", turn, turn.jobs_started)),
            number=turn.jobs_started,
            name=name,
            arguments=arguments,
            asked=asked,
            owner=turn.user or "",
        )
        turn.effects.append(Submit(job=request))
        return request

    async def room(self, context: TurnContext) -> int:
        """How many more jobs the user may start now: ``JOBS_PER_USER``, without those that have not ended, in whatever
        conversation they were started."""
        turn = turn_of(context)
        turn.unfinished = await self._records.unfinished(turn.user) if turn.user else 0
        return max(0, self.per_user - turn.unfinished - _started(turn))

    async def count(self, context: TurnContext) -> None:
        """Let :meth:`start` know how many jobs the user has. Only of whom some are listed they are looked at."""
        turn = turn_of(context)
        document = await turn.user_document()
        turn.unfinished = 0
        if document is not None and document.jobs:
            await self.room(context)

    async def list(self, context: TurnContext) -> list[Job]:
        """The user's jobs, oldest first, as they are once this turn has committed: without those it starts."""
        turn = turn_of(context)
        mine = [job for job in await self._records.list(turn.conversation) if job.owner == (turn.user or "")]
        stopped = {effect.job for effect in turn.effects if isinstance(effect, Cancel)}
        return [_stopped(job) if job.id in stopped else job for job in mine]

    async def find(self, context: TurnContext, number: int) -> Job | None:
        return next((job for job in await self.list(context) if job.number == number), None)

    async def cancel(self, context: TurnContext, number: int) -> Job | None:
        """Stop the user's job ``number`` when this turn commits; a turn that fails stops none.

        Answers it as it is then: a final status of its own was left alone, ``cancelled`` if it was waiting,
        ``running`` if a worker is told to stop it, which takes a second or so. None if there is no such job.
        """
        job = await self.find(context, number)
        if job is None or job.status.final:
            return job
        turn_of(context).effects.append(Cancel(job=job.id))
        return _stopped(job)


def _started(turn: Turn) -> int:
    return sum(isinstance(effect, Submit) for effect in turn.effects)


def _check_arguments(name: str, arguments: dict[str, Any]) -> None:
    """Raises ``TypeError`` here, where the dialog can be told, and not when the turn commits."""
    for argument, value in arguments.items():
        try:
            same = orjson.loads(orjson.dumps(value)) == _as_json(value)
        except (TypeError, RecursionError) as error:
            raise TypeError(_unstorable(name, argument, value, str(error))) from None
        if not same:
            raise TypeError(_unstorable(name, argument, value, "it would come back as something else"))


def _as_json(value: Any) -> Any:
    """The value as JSON has it: a tuple is a list there."""
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return {key: _as_json(item) for key, item in value.items()} if isinstance(value, dict) else value


def _unstorable(name: str, argument: str, value: object, reason: str) -> str:
    return (
        f"The argument {argument!r} of the job {name!r} is a {type(value).__name__} that cannot be stored ({reason}); "
        "give text, numbers, booleans, None, and lists and dicts (with text as keys) of these."
    )


def _stopped(job: Job) -> Job:
    """As it is once it was cancelled: what runs has yet to be stopped."""
    return replace(job, status=JobStatus.CANCELLED) if job.status is JobStatus.WAITING else job


class Services:
    """Handed to the bot, its root dialog and its middleware. ``jobs``: see :class:`Jobs`."""

    def __init__(self, jobs: Jobs, content_of: ContentOf) -> None:
        self.jobs = jobs
        self._content_of = content_of
        self._dialogs: DialogHost | None = None

    def use(self, dialogs: DialogHost) -> None:
        """Have :meth:`run_dialog` run these; they are made with services, and so come later."""
        self._dialogs = dialogs

    async def run_dialog(self, context: TurnContext) -> None:
        """Continue the dialog that is active, or begin the root dialog."""
        assert self._dialogs is not None
        await self._dialogs.run(context)

    async def continue_dialog(self, context: TurnContext) -> None:
        """Continue the dialog that is active, if there is one: for activities that are nobody's opening words."""
        assert self._dialogs is not None
        await self._dialogs.continue_only(context)

    def waiting(self, context: TurnContext) -> None:
        """Say, in the turn that asks, that the bot waits for the user's answer without any dialog: until the user's
        next message they are busy, and what this turn has said is repeated after an interjected notification."""
        turn_of(context).state.own[WAITS] = True

    def took(self, context: TurnContext, delivery: str | Mapping[str, Any]) -> None:
        """Say that the bot takes care of a delivery of this ContinueConversation event itself: nothing else is shown
        of it, and it ends as the first message does that the bot sends in its handler. ``delivery``: its id, or its
        entry in the event's value."""
        taken = context.turn_state.setdefault(TAKEN, set())
        taken.add(delivery if isinstance(delivery, str) else str(delivery["id"]))

    def turn_key(self, context: TurnContext) -> str:
        """The same for every run of this turn, also in another process, and never that of another turn: what a system
        outside takes as idempotency key. While a dialog is offered a notification, it is that of the notification's
        delivery, however often and in whatever turn it is offered."""
        turn = turn_of(context)
        if turn.showing:
            return derived_id("turn", turn.conversation, *(delivery.id for delivery in turn.showing))
        return derived_id("turn", turn.conversation, turn.activity_id or _what_for(turn))

    def remind(self, context: TurnContext, text: str, wait: timedelta) -> NotificationId:
        """Have this conversation told ``text`` after ``wait``, when the user is free; from this turn's commit on."""
        turn = turn_of(context)
        notification = Notification(
            id=NotificationId(_derived("ntf", turn, sum(isinstance(effect, Notify) for effect in turn.effects))),
            content=Content(activity={"type": "message", "text": text}),
            created_at=turn.at,
            send_at=turn.at + wait,
            expires_at=turn.at + wait + RETENTION,
            mode=Mode.RESUME,
            category="reminder",
            own=True,
        )
        turn.effects.append(Notify(notification=notification))
        return notification.id

    async def inbox(self, context: TurnContext) -> Kept:
        """What waits for the user here, and what was told lately."""
        return await kept(context, self._content_of)

    async def show_inbox(self, context: TurnContext, page: int = 1) -> None:
        """Show a page of it, each entry under a number and with a button that opens it."""
        await show_inbox(context, self._content_of, page)

    async def open(self, context: TurnContext, wanted: int) -> bool:
        """Show what has this number in the list that the user was shown last (a digest, or the inbox). What waited has
        been delivered then. False if there is none, or it is no longer kept."""
        found = numbered(turn_of(context), wanted)
        return found is not None and await open_entry(context, self._content_of, found)


def _what_for(turn: Turn) -> str:
    """What lies in the mailbox until a turn that takes it has committed; else the turn itself."""
    return turn.mail[0].id if turn.mail and turn.mail_ids else turn.token


def _derived(prefix: str, turn: Turn, number: int) -> str:
    """The same turn gives the same ids when it is run again."""
    return derived_id(prefix, turn.conversation, turn.activity_id or turn.token, str(number))
