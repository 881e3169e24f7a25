"""Recording what became of a delivery, wherever it is recorded: notification, job, dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from domain.delivery import Status, StatusReport
from domain.ids import ConversationKey
from state.dead_letters import DeadLetters
from state.delivery_rows import DeliveryRows
from state.jobs import JobStore
from state.scripts import Command


def recording(key: ConversationKey, report: StatusReport, history: Sequence[str] = ()) -> list[Command]:
    """Commands that record a change of status, and keep what failed or is unknown as a dead letter; repeating them does
    no harm.

    ``history``: what became of each attempt, for the operator, where the report does not say it.
    """
    commands: list[Command] = []
    if report.notification is not None:
        commands.append(DeliveryRows.reporting(report))
    if report.job is not None:
        repeated = report.may_be_repeated
        commands.append(JobStore.reporting_answer(key, report.job, report.status, may_be_repeated=repeated))
    if report.status in (Status.FAILED, Status.UNKNOWN):
        commands += DeadLetters.recording(key, report, history or report.history)
    return commands
