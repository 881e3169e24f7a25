"""Everything that is said in the chat, in one place. English is the first language; others override it by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domain.job import Job, JobStatus

ENGLISH: Mapping[str, str] = {
    "welcome": (
        "Hi! I am a bot that can compute things for you and tell you when they are done, without "
        "talking over you. You see this because you (or your team) added me. "
        "Try `compute factor 600851475143`, or say `help`."
    ),
    "welcome_group": (
        "Hi! {added} I am a bot that can compute things for you and tell you when they are done, without talking over "
        "you; what is sent to this conversation reaches you here. Mention me with `help` to see what I can do."
    ),
    "welcome_added_by": "{who} added me to this conversation.",
    "welcome_added": "I was added to this conversation.",
    "echo": "You sent: {text}",
    "echo_files": "You sent a file: {names}. I cannot read files, only what you write.",
    "echo_files_unnamed": "You sent a file. I cannot read files, only what you write.",
    "echo_value": "You sent, with a card or a button: `{value}`",
    "echo_nothing": "You sent a message without a text, and I can only read what you write.",
    "too_long": "That is too long for me. Please say it in up to {limit} characters.",
    "help": (
        "Here is what I can do:\n"
        "- `compute factor 600851475143`, `compute pi 10000`, `compute primes 5000000`: I work on it and tell you\n"
        "- `jobs`: what I am working on for you; `cancel job 2`: stop one\n"
        "- `remind me in 10 seconds to stretch`\n"
        "- `report`: a short form, so that there is something to be busy with; `cancel` leaves it\n"
        "- `inbox`: what is waiting for you, and what I told you lately; `open 2`: show one of it\n"
        "All of it works in the middle of the form too; then I ask again."
    ),
    "job_started": (
        "I am working on it: job {number}, `{asked}`. I will tell you when it is done; "
        "go on with anything else. (`cancel job {number}` stops it.)"
    ),
    "job_unknown_kind": "I can compute `factor N`, `pi DIGITS` and `primes BELOW`. Try `compute factor 600851475143`.",
    "number_for_factor": "I need a whole number for that, such as `compute factor 600851475143`.",
    "number_for_pi": "I need a whole number of digits for that, such as `compute pi 10000`.",
    "number_for_primes": "I need a whole number for that, such as `compute primes 5000000`.",
    "range_of_factor": "I can factor whole numbers from {least} on, of up to {digits} digits.",
    "range_of_pi": "I can compute from {least} to {most} digits of π.",
    "range_of_primes": "I can count the primes below whole numbers from {least} to {most}.",
    "job_answer": "You asked: {asked}\n\n{result}",
    "job_failed": "I am sorry, that did not work: {reason}",
    "job_failed_generic": "something went wrong while I was working on it. Please try again later.",
    "jobs_too_many": (
        "You have {count} jobs that are not done, and I take no more of you at once. "
        "`jobs` lists them, and `cancel job` with its number stops one."
    ),
    "jobs_full": (
        "I am working on {count} things for you and take no more at once; please try again when one of them is done."
    ),
    "jobs_none": "You have no jobs. Start one with `compute factor 600851475143`.",
    "jobs_title": "Your jobs:",
    "jobs_line": "- job {number}: `{asked}`, {status}{progress}",
    "job_cancelled": "Job {number} is cancelled.",
    "job_cancelling": "I am stopping job {number}.",
    "job_over": "Job {number} is already {status}.",
    "job_not_found": "You have no job {number}. `jobs` lists yours.",
    "job_which": "Which one? Say `cancel job` with its number, such as `cancel job {number}`. `jobs` lists yours.",
    "job_none_to_cancel": "You have no job that is not over yet, so there is none to cancel. `jobs` lists yours.",
    "reminder_set": "I will remind you in {wait}: {text}",
    "reminder": "Reminder: {text}",
    "reminder_how": (
        "Tell me when and what, such as `remind me in 10 seconds to stretch` or "
        "`remind me in 1 hour and 30 minutes to look into the oven`. I understand lengths of time in weeks, days, "
        "hours, minutes and seconds."
    ),
    "reminder_range": "I can remind you between one second and 30 days from now.",
    "reminder_stays": "I cannot take a reminder back: I will tell you when its time has come.",
    "span_week": "{count} week",
    "span_weeks": "{count} weeks",
    "span_day": "{count} day",
    "span_days": "{count} days",
    "span_hour": "{count} hour",
    "span_hours": "{count} hours",
    "span_minute": "{count} minute",
    "span_minutes": "{count} minutes",
    "span_second": "{count} second",
    "span_seconds": "{count} seconds",
    "span_and": "{first} and {last}",
    "nothing_to_cancel": "There is nothing to cancel.",
    "no_form_to_cancel": (
        "There is no form to leave. To stop a job, say `cancel job` with its number, such as `cancel job {number}`. "
        "`jobs` lists yours."
    ),
    "form_left": "All right, I dropped the form.",
    "report_how": "Say `report`, and nothing else, and I begin the form: it asks for all that I need to know.",
    "report_severity": "How severe is it?",
    "report_severity_again": "Please choose one of low, medium or high. How severe is it?",
    "report_count": "How many people are affected?",
    "report_count_again": "Please give a whole number from 1 to 100000. How many people are affected?",
    "report_what": "What happened?",
    "report_what_again": "Please tell it in 1 to {limit} characters. What happened?",
    "report_confirm": "File this report: {severity}, {count} affected, “{what}”?",
    "report_done": "Thank you, the report is filed: {severity}, {count} affected, “{what}”.",
    "report_dropped": "All right, I did not file it.",
    "inbox_empty": "Nothing is waiting for you, and there is nothing I told you lately.",
    "inbox_waiting": "Waiting for you:",
    "inbox_recent": "What I told you lately:",
    "list_more": "More",
    "inbox_more": "… and {count} more: `inbox {page}`",
    "inbox_no_more": "There is no more in it.",
    "open_which": "Which one? Say `open` with its number, such as `open 1`. `inbox` lists what I can open.",
    "open_not_found": "I have nothing under that number. `inbox` lists what I can open.",
    "entry": "{number}. {urgent}{summary} ({details})",
    "when": "{time}, {ago}",
    "ago": "{span} ago",
    "just_now": "just now",
    "digest": "{count} things arrived for you:",
    "digest_more": "… and {count} more: `inbox`",
    "digest_urgent": "(urgent) ",
    "digest_open": "Open {number}",
    "digest_gone": "I no longer have that one.",
    "answer_noted": "Thank you, I have passed it on: {title}",
    "answer_stands": "You have answered that already; your first answer stands.",
    "apology": "I am sorry, something went wrong on my side. Please try again. (Reference: {reference})",
    "apology_lost": (
        "I am sorry, I lost track of what we were doing, so we have to start over. Please try again. "
        "(Reference: {reference})"
    ),
    "apology_stuck": (
        "I am sorry, something went wrong on my side again. Try again later, or say `{start_over}` to begin anew; "
        "nothing that waits for you is lost. (Reference: {reference})"
    ),
    "start_over": "start over",
    "start_over_button": "Start over",
    "started_over": "All right, we begin anew. What can I do for you?",
    "card_reason": "Why you see this: {reason}",
    "card_source": "From: {source}",
    "status_waiting": "waiting",
    "status_running": "running",
    "status_done": "done",
    "status_failed": "failed",
    "status_cancelled": "cancelled",
}

CATALOGUE: Mapping[str, Mapping[str, str]] = {"en": ENGLISH}


def say(key: str, locale: str | None = None, **values: object) -> str:
    """The text ``key`` in the language of ``locale`` (a BCP 47 tag), in English where there is none."""
    language = (locale or "en").split("-")[0].lower()
    text = CATALOGUE.get(language, ENGLISH).get(key) or ENGLISH[key]
    return text.format(**values) if values else text


def cut(text: str, limit: int = 200) -> str:
    """A quotation of at most so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def span(parts: Sequence[tuple[int, str]], locale: str | None = None) -> str:
    """A length of time, such as "1 hour and 30 minutes". ``parts``: how many of which unit."""
    keys = (f"span_{unit}" if count == 1 else f"span_{unit}s" for count, unit in parts)
    *others, last = (say(key, locale, count=count) for key, (count, _) in zip(keys, parts, strict=True))
    return say("span_and", locale, first=", ".join(others), last=last) if others else last


def job_answer(job: Job, locale: str | None = None) -> str:
    """What a user is told of a job of theirs that is over; it quotes what they asked."""
    result = job.result or ""
    if job.status is not JobStatus.DONE:
        reason = result if result.strip() else say("job_failed_generic", locale)
        result = say("job_failed", locale, reason=reason)
    return say("job_answer", locale, asked=job.asked, result=result) if job.asked.strip() else result


def apology(reference: str, locale: str | None = None, lost: bool = False, stuck: bool = False) -> str:
    """What a user is told whose turn failed; ``lost``: what was being talked about is lost as well; ``stuck``: as the
    turns before, so that they are offered to begin anew."""
    if stuck:
        return say("apology_stuck", locale, reference=reference, start_over=say("start_over", locale))
    return say("apology_lost" if lost else "apology", locale, reference=reference)
