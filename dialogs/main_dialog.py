"""The root dialog that ships: commands, and the report form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import orjson
from botbuilder.core import TurnContext
from botbuilder.dialogs import ComponentDialog, DialogContext, DialogTurnResult
from botbuilder.schema import ActionTypes, Activity, ActivityTypes, CardAction, SuggestedActions

from dialogs.commands import Said, command_in, number_in
from dialogs.reminders import understood
from dialogs.report_dialog import ReportDialog
from domain.job import Job, JobStatus
from domain.sums import BOUNDS, FACTOR_DIGITS, whole
from proactive.services import Services
from proactive.texts import cut, say, span
from proactive.welcoming import in_group, who_added
from sdk.mentions import heard

_LONGEST_REMINDER = timedelta(days=30)
_LONGEST_TEXT = 1000
"""Characters of what is kept for the user, or quoted: a channel takes messages of so many kilobytes only."""

Command = Callable[[TurnContext, str], Awaitable[None]]


class MainDialog(ComponentDialog):
    """Answers each command at once and ends, so that the user is free again; only the form waits. Commands work in the
    middle of it too, and its question is asked again after them."""

    def __init__(self, services: Services) -> None:
        super().__init__("main")
        self._services = services
        self.add_dialog(ReportDialog())
        self._commands: dict[str, Command] = {
            "help": self._help,
            "compute": self._compute,
            "jobs": self._jobs,
            "cancel job": self._cancel_job,
            "cancel reminder": self._cancel_reminder,
            "cancel": self._nothing_to_cancel,
            "remind me": self._remind,
            "inbox": self._inbox,
            "open": self._open,
            "report": self._how_to_report,
        }

    async def welcome(self, context: TurnContext) -> None:
        """Said to a user who meets the bot for the first time, and to a group that it was added to."""
        locale = context.activity.locale
        if not in_group(context.activity):
            await context.send_activity(say("welcome", locale))
            return
        who = await who_added(context)
        added = say("welcome_added_by", locale, who=who) if who else say("welcome_added", locale)
        await context.send_activity(say("welcome_group", locale, added=added))

    async def on_begin_dialog(self, inner_dc: DialogContext, options: object) -> DialogTurnResult:
        context = inner_dc.context
        text = heard(context.activity)
        said = command_in(text)
        if said is None:
            await self._echo(context, text)
        elif said == Said(name="report", rest=""):
            return await inner_dc.begin_dialog("report")
        else:
            await self._commands[said.name](context, said.rest)
        return await inner_dc.end_dialog()

    async def on_continue_dialog(self, inner_dc: DialogContext) -> DialogTurnResult:
        context = inner_dc.context
        text = heard(context.activity) if context.activity.type == ActivityTypes.message else ""
        said = command_in(text, in_form=True)
        if said is None:
            return await inner_dc.continue_dialog()
        if said.name == "cancel":
            await context.send_activity(say("form_left", context.activity.locale))
            return await inner_dc.cancel_all_dialogs()
        await self._commands[said.name](context, said.rest)
        await inner_dc.reprompt_dialog()
        return ComponentDialog.end_of_turn

    # ------------------------------------------------------------------ commands

    async def _help(self, context: TurnContext, _: str) -> None:
        await context.send_activity(say("help", context.activity.locale))

    async def _echo(self, context: TurnContext, text: str) -> None:
        hint = CardAction(type=ActionTypes.im_back, title="help", value="help")
        reply = Activity(type=ActivityTypes.message, text=_echoed(context.activity, text))
        reply.suggested_actions = SuggestedActions(actions=[hint])
        await context.send_activity(reply)

    async def _compute(self, context: TurnContext, what: str) -> None:
        locale = context.activity.locale
        kind, argument = [*what.split(maxsplit=1), "", ""][:2]
        kind, argument = kind.lower(), " ".join(argument.rstrip(" .,;:?…`").split())
        if refusal := _refused(kind, argument, locale):
            await context.send_activity(refusal)
            return
        if not await self._services.jobs.room(context):
            await context.send_activity(say("jobs_too_many", locale, count=self._services.jobs.per_user))
            return
        asked = cut(f"compute {kind} {argument}")
        job = self._services.jobs.start(context, kind, {"text": argument}, asked=asked)
        await context.send_activity(say("job_started", locale, number=job.number, asked=asked))

    async def _jobs(self, context: TurnContext, _: str) -> None:
        locale = context.activity.locale
        jobs = await self._services.jobs.list(context)
        if not jobs:
            await context.send_activity(say("jobs_none", locale))
            return
        lines = [say("jobs_title", locale), *(_line(job, locale) for job in jobs[-10:])]
        await context.send_activity("\n".join(lines))

    async def _cancel_job(self, context: TurnContext, which: str) -> None:
        locale = context.activity.locale
        number = number_in(which)
        if number is None and not which.lstrip("# ").isdigit():
            await self._which_job(context)
            return
        before = await self._services.jobs.find(context, number) if number is not None else None
        if before is None:
            shown = number if number is not None else cut(which.lstrip("# "), 20)
            await context.send_activity(say("job_not_found", locale, number=shown))
            return
        job = await self._services.jobs.cancel(context, before.number)
        if before.status.final or job is None:
            text = say("job_over", locale, number=before.number, status=say(f"status_{before.status.value}", locale))
        elif job.status is JobStatus.CANCELLED:
            text = say("job_cancelled", locale, number=job.number)
        else:
            text = say("job_cancelling", locale, number=job.number)
        await context.send_activity(text)

    async def _which_job(self, context: TurnContext) -> None:
        newest = await self._newest_unfinished(context)
        text = "job_none_to_cancel" if newest is None else "job_which"
        await context.send_activity(say(text, context.activity.locale, number=newest))

    async def _newest_unfinished(self, context: TurnContext) -> int | None:
        unfinished = [job.number for job in await self._services.jobs.list(context) if not job.status.final]
        return unfinished[-1] if unfinished else None

    async def _cancel_reminder(self, context: TurnContext, _: str) -> None:
        await context.send_activity(say("reminder_stays", context.activity.locale))

    async def _remind(self, context: TurnContext, what: str) -> None:
        locale = context.activity.locale
        reminder = understood(what)
        if reminder is None:
            await context.send_activity(say("reminder_how", locale))
            return
        if not 1 <= reminder.seconds <= _LONGEST_REMINDER.total_seconds():
            await context.send_activity(say("reminder_range", locale))
            return
        if len(reminder.what) > _LONGEST_TEXT:
            await context.send_activity(say("too_long", locale, limit=_LONGEST_TEXT))
            return
        self._services.remind(context, say("reminder", locale, text=reminder.what), reminder.wait)
        wait = span(reminder.parts, locale)
        await context.send_activity(say("reminder_set", locale, wait=wait, text=cut(reminder.what)))

    async def _inbox(self, context: TurnContext, which: str) -> None:
        """A page of it, the first without a number."""
        await self._services.show_inbox(context, number_in(which) or 1)

    async def _open(self, context: TurnContext, which: str) -> None:
        number = number_in(which)
        if number is None:
            await context.send_activity(say("open_which", context.activity.locale))
        elif not await self._services.open(context, number):
            await context.send_activity(say("open_not_found", context.activity.locale))

    async def _how_to_report(self, context: TurnContext, _: str) -> None:
        await context.send_activity(say("report_how", context.activity.locale))

    async def _nothing_to_cancel(self, context: TurnContext, _: str) -> None:
        newest = await self._newest_unfinished(context)
        text = "nothing_to_cancel" if newest is None else "no_form_to_cancel"
        await context.send_activity(say(text, context.activity.locale, number=newest))


def _refused(kind: str, argument: str, locale: str | None) -> str | None:
    """Why a sum is not even begun; None if there is nothing wrong with it."""
    bounds = BOUNDS.get(kind)
    if bounds is None:
        return say("job_unknown_kind", locale)
    if len(argument) > _LONGEST_TEXT:
        return say("too_long", locale, limit=_LONGEST_TEXT)
    number = whole(argument)
    if number is None:
        return say(f"number_for_{kind}", locale)
    if number not in bounds:
        return say(f"range_of_{kind}", locale, least=bounds[0], most=bounds[-1], digits=FACTOR_DIGITS)
    return None


def _echoed(activity: Activity, text: str) -> str:
    """What is said to something that is no command: a text, files, what a card or a button has sent, or nothing."""
    locale = activity.locale
    if text:
        return say("echo", locale, text=cut(text, _LONGEST_TEXT))
    files = [file for file in activity.attachments or () if file]
    if files:
        names = ", ".join(name for file in files if (name := (file.name or file.content_type or "").strip()))
        return say("echo_files", locale, names=cut(names)) if names else say("echo_files_unnamed", locale)
    if activity.value is not None:
        value = activity.value if isinstance(activity.value, str) else orjson.dumps(activity.value).decode()
        return say("echo_value", locale, value=cut(value))
    return say("echo_nothing", locale)


def _line(job: Job, locale: str | None) -> str:
    progress = f" ({job.progress:.0%})" if job.status is JobStatus.RUNNING and job.progress is not None else ""
    status = say(f"status_{job.status.value}", locale)
    return say("jobs_line", locale, number=job.number, asked=job.asked, status=status, progress=progress)
