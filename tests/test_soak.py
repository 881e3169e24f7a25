"""Load and faults at random lose nothing, and a soak would notice if they did."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from soak.plan import Plan
from soak.run import Soak
from soak.verdict import Delivered, Record, judge

HERE, THERE = "a:ann-1", "a:ann-2"

pytestmark = pytest.mark.timeout(300)


async def test_nothing_is_lost_under_load_while_processes_die(tmp_path: Path) -> None:
    """A short soak, with leases so short that others take over within it."""
    plan = Plan(
        seconds=8,
        seed=7,
        lease=1.0,
        users=2,
        groups=1,
        chat_pause=0.3,
        notify_pause=0.5,
        trouble_pause=0.7,
        store_away=1.5,
        hang=1.0,
        flush_after=0.3,
    )
    outcome = await Soak(plan, tmp_path).run()
    assert outcome.good, [outcome.line(), *outcome.details()]
    assert outcome.kills > 0, "nobody died: it showed nothing"
    assert min(outcome.turns, outcome.notifications, outcome.faults) > 3


def note(**fields: object) -> Delivered:
    told = Delivered(text="note-1;", conversation=HERE, status="delivered", may_be_repeated=False, at_most_once=False)
    return dataclasses.replace(told, **fields)  # type: ignore[arg-type]


def record(**fields: object) -> Record:
    """Of a soak in which all went well; ``fields`` did not."""
    well = Record(
        said={HERE: {1, 2}, THERE: {1}},
        jobs={HERE: {2}},
        said_by={"ann": {f"{HERE} 1", f"{HERE} 2", f"{THERE} 1"}},
        heard={HERE: [2, 1], THERE: [1]},
        heard_of_users={"ann": [f"{HERE} 2", f"{THERE} 1", f"{HERE} 1"]},
        shown={
            HERE: ["heard 2, 1 so far", "note-1;", "heard 1, 2 so far", "You asked: x\n\nanswer-2;"],
            THERE: ["heard 1, 1 so far"],
        },
        deliveries=[note()],
    )
    return dataclasses.replace(well, **fields)  # type: ignore[arg-type]


def shown(*here: str) -> dict[str, list[str]]:
    return {HERE: list(here), THERE: ["heard 1, 1 so far"]}


FIRST, NOTE, SECOND, ANSWER = record().shown[HERE]


def test_all_is_well_when_everything_is_there_once() -> None:
    verdict = judge(record())
    assert verdict.good
    assert verdict.repeated == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"heard": {HERE: [2], THERE: [1]}},
        {"heard_of_users": {"ann": [f"{HERE} 2", f"{THERE} 1"]}},
        {"shown": shown(FIRST, NOTE, ANSWER)},
        {"shown": shown(FIRST, NOTE, SECOND)},
        {"shown": shown(FIRST, SECOND, ANSWER)},
        {"deliveries": [note(status="pending")]},
        {"deliveries": [note(status="unknown")]},
        {"missing_deliveries": 1},
    ],
)
def test_what_is_lost_is_noticed(fields: dict[str, object]) -> None:
    """An input in either state, a reply, an answer, a notification, a record."""
    assert judge(record(**fields)).lost


def test_an_at_most_once_send_may_be_unknown() -> None:
    unknown = note(status="unknown", at_most_once=True)
    assert judge(record(deliveries=[unknown], shown=shown(FIRST, SECOND, ANSWER))).good


def test_what_was_withdrawn_is_not_shown() -> None:
    """Nor missed; but only its sender can withdraw it."""
    withdrawn = note(status="cancelled", cancelled=True)
    assert judge(record(deliveries=[withdrawn], shown=shown(FIRST, SECOND, ANSWER))).good
    assert judge(record(deliveries=[withdrawn])).unrecorded
    in_doubt = note(status="unknown", cancelled=True)  # when it was withdrawn: it is not sent again to find out
    assert judge(record(deliveries=[in_doubt], shown=shown(FIRST, SECOND, ANSWER))).good
    assert judge(record(deliveries=[note(status="cancelled")], shown=shown(FIRST, SECOND, ANSWER))).lost


@pytest.mark.parametrize(
    "fields",
    [
        {"heard": {HERE: [2, 1, 1], THERE: [1]}},
        {"shown": shown(FIRST, FIRST, NOTE, SECOND, ANSWER)},
        {"shown": shown(FIRST, NOTE, NOTE, SECOND, ANSWER), "interruptions": 1},
        {"shown": shown(FIRST, NOTE, NOTE, SECOND, ANSWER), "deliveries": [note(may_be_repeated=True)]},
        {
            "shown": shown(FIRST, NOTE, NOTE, SECOND, ANSWER),
            "deliveries": [note(may_be_repeated=True, at_most_once=True)],
            "interruptions": 1,
        },
    ],
)
def test_a_repetition_without_cause_or_record_is_noticed(fields: dict[str, object]) -> None:
    assert judge(record(**fields)).unrecorded


@pytest.mark.parametrize("cause", [{"interruptions": 1}, {"in_doubt": Counter({(HERE, "note-1;"): 1})}])
def test_a_repetition_that_is_recorded_and_has_a_cause_is_counted(cause: dict[str, object]) -> None:
    twice = shown(FIRST, NOTE, NOTE, SECOND, ANSWER)
    verdict = judge(record(shown=twice, deliveries=[note(may_be_repeated=True)], **cause))
    assert verdict.good
    assert verdict.repeated == 1


def test_a_turn_that_was_slow_may_repeat_more() -> None:
    """All that it had said before its commit, if its process died; elsewhere it is one message."""
    twice = shown(FIRST, NOTE, FIRST, NOTE, SECOND, ANSWER)
    fields = {"shown": twice, "deliveries": [note(may_be_repeated=True)], "interruptions": 1}
    assert judge(record(**fields)).unrecorded
    assert judge(record(**fields, slow={HERE})).good


def test_a_slow_turn_may_end_in_the_apology() -> None:
    """One for each input that is missing, or they count as lost."""
    fields = {"heard": {HERE: [2], THERE: [1]}, "heard_of_users": {"ann": [f"{HERE} 2", f"{THERE} 1"]}}
    sorry = "I am sorry, something went wrong on my side. Please try again. (Reference: 12345678)"
    told = shown(FIRST, NOTE, ANSWER, sorry)
    assert judge(record(**fields, shown=told)).lost
    assert judge(record(**fields, shown=shown(FIRST, NOTE, ANSWER), slow={HERE})).lost
    verdict = judge(record(**fields, shown=told, slow={HERE}))
    assert verdict.good
    assert verdict.apologized == 1


def test_replies_out_of_order_are_noticed() -> None:
    """By where each was shown first."""
    assert judge(record(shown=shown(SECOND, NOTE, FIRST, ANSWER))).out_of_order
    again = record(shown=shown(FIRST, NOTE, SECOND, ANSWER, FIRST), interruptions=1)
    assert not judge(again).out_of_order
