"""The report form: four questions, so that there is something to be busy with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botbuilder.core import TurnContext
from botbuilder.dialogs import ComponentDialog, DialogTurnResult, WaterfallDialog, WaterfallStepContext
from botbuilder.dialogs.choices import Choice
from botbuilder.dialogs.prompts import (
    ChoicePrompt,
    ConfirmPrompt,
    NumberPrompt,
    Prompt,
    PromptOptions,
    PromptRecognizerResult,
    PromptValidatorContext,
    TextPrompt,
)
from botbuilder.schema import Activity, ActivityTypes

from proactive.texts import say

SEVERITIES = ("low", "medium", "high")
MOST_AFFECTED = 100_000
LONGEST_TEXT = 1000
LONGEST_CHOICE = 100
"""Characters of an answer that is looked at for a number, a choice or a yes: in long ones that takes seconds."""


@dataclass
class Report:
    """What the form has gathered so far."""

    severity: str = ""
    count: int = 0
    what: str = ""


class _Brief(Prompt):
    """A prompt that understands no long answers."""

    async def on_recognize(
        self, turn_context: TurnContext, state: dict[str, object], options: PromptOptions
    ) -> PromptRecognizerResult:
        if len(turn_context.activity.text or "") > LONGEST_CHOICE:
            return PromptRecognizerResult()
        return await super().on_recognize(turn_context, state, options)


class _BriefChoice(_Brief, ChoicePrompt):
    pass


class _BriefNumber(_Brief, NumberPrompt):
    pass


class _BriefConfirm(_Brief, ConfirmPrompt):
    pass


class ReportDialog(ComponentDialog):
    def __init__(self) -> None:
        super().__init__("report")
        self.add_dialog(
            WaterfallDialog(
                "questions",
                [self.ask_severity, self.ask_count, self.ask_what, self.ask_confirmation, self.file],
            )
        )
        self.add_dialog(_BriefChoice("severity"))
        self.add_dialog(_BriefNumber("count", _in_range))
        self.add_dialog(TextPrompt("what", _not_too_long))
        self.add_dialog(_BriefConfirm("confirm"))
        self.initial_dialog_id = "questions"

    async def ask_severity(self, step: WaterfallStepContext) -> DialogTurnResult:
        step.values["report"] = Report()
        options = _options("report_severity", step, retry="report_severity_again")
        options.choices = [Choice(severity) for severity in SEVERITIES]
        return await step.prompt("severity", options)

    async def ask_count(self, step: WaterfallStepContext) -> DialogTurnResult:
        _report(step).severity = step.result.value
        return await step.prompt("count", _options("report_count", step, retry="report_count_again"))

    async def ask_what(self, step: WaterfallStepContext) -> DialogTurnResult:
        _report(step).count = int(step.result)
        return await step.prompt("what", _options("report_what", step, retry="report_what_again", limit=LONGEST_TEXT))

    async def ask_confirmation(self, step: WaterfallStepContext) -> DialogTurnResult:
        report = _report(step)
        report.what = step.result
        return await step.prompt("confirm", _options("report_confirm", step, **vars(report)))

    async def file(self, step: WaterfallStepContext) -> DialogTurnResult:
        text = "report_done" if step.result else "report_dropped"
        await step.context.send_activity(say(text, step.context.activity.locale, **vars(_report(step))))
        return await step.end_dialog()


def _report(step: WaterfallStepContext) -> Report:
    report: Report = step.values["report"]
    return report


def _options(text: str, step: WaterfallStepContext, retry: str | None = None, **values: Any) -> PromptOptions:
    locale = step.context.activity.locale
    options = PromptOptions(prompt=Activity(type=ActivityTypes.message, text=say(text, locale, **values)))
    if retry:
        options.retry_prompt = Activity(type=ActivityTypes.message, text=say(retry, locale, **values))
    return options


async def _not_too_long(prompt: PromptValidatorContext) -> bool:
    recognized = prompt.recognized
    return bool(recognized.succeeded) and 1 <= len(recognized.value.strip()) <= LONGEST_TEXT


async def _in_range(prompt: PromptValidatorContext) -> bool:
    recognized = prompt.recognized
    if not recognized.succeeded:
        return False
    number = recognized.value
    return float(number).is_integer() and 1 <= number <= MOST_AFFECTED
