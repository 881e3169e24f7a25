"""What a soak has shown: what was lost, repeated or out of order. Pure: from what was recorded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_REPLY = re.compile(r"heard (\d+), (\d+) so far")
_NOTE = re.compile(r"note-\d+;")
_ANSWER = re.compile(r"answer-\d+;")
_APOLOGY = re.compile(r"I am sorry, something went wrong on my side\.")

EARLY = 4
"""Messages that a turn may have sent before its commit, when its process dies: three that were queued, and a reply."""


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What the service recorded of a delivery of a notification whose text is ``text``."""

    text: str
    conversation: str
    status: str
    may_be_repeated: bool
    at_most_once: bool
    cancelled: bool = False
    """Its sender has cancelled it, in time or too late."""


@dataclass(kw_only=True)
class Record:
    """What was said, kept and shown; conversations are keyed by id.

    ``in_doubt``: how often the channel accepted a text (by conversation) without saying so; ``interruptions``: how
    often a process was killed or held, or the store was away, each of which may repeat, in every conversation, what
    was being sent then.
    """

    said: dict[str, set[int]] = field(default_factory=dict)
    """Inputs that were answered with 2xx."""
    jobs: dict[str, set[int]] = field(default_factory=dict)
    """Those of them that started a job."""
    said_by: dict[str, set[str]] = field(default_factory=dict)
    """The same by user, each as ``CONVERSATION NUMBER``."""
    slow: set[str] = field(default_factory=set)
    """Conversations in which turns were so slow that their output went out before the commit."""
    heard: dict[str, Sequence[int]] = field(default_factory=dict)
    """What each conversation's state holds."""
    heard_of_users: dict[str, Sequence[str]] = field(default_factory=dict)
    shown: dict[str, Sequence[str]] = field(default_factory=dict)
    deliveries: Sequence[Delivered] = ()
    missing_deliveries: int = 0
    """Recipients of accepted notifications of which there is no record."""
    in_doubt: Counter[tuple[str, str]] = field(default_factory=Counter)
    interruptions: int = 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Sentences, one for each; ``repeated`` counts every showing after the first."""

    lost: Sequence[str]
    repeated: int
    unrecorded: Sequence[str]
    """What was repeated without cause, or without being recorded as such."""
    out_of_order: Sequence[str]
    apologized: int = 0
    """Inputs whose turns failed after a part of their output had gone out, as they may; the user was told."""

    @property
    def good(self) -> bool:
        return not (self.lost or self.unrecorded or self.out_of_order)


def judge(record: Record) -> Verdict:
    lost = [*_lost_inputs(record), *_lost_output(record)]
    shown = {conversation: _markers(texts) for conversation, texts in record.shown.items()}
    unrecorded = [*_doubled_inputs(record), *_repeated_without_cause(record)]
    for delivery in record.deliveries:
        times = shown.get(delivery.conversation, []).count(delivery.text)
        if times > 1 and (delivery.at_most_once or not delivery.may_be_repeated):
            unrecorded.append(f"{delivery} was shown {times} times")
        if times and delivery.status == "cancelled":
            unrecorded.append(f"{delivery} was shown although it was withdrawn")
    repeated = sum(len(markers) - len(set(markers)) for markers in shown.values())
    return Verdict(
        lost=lost,
        repeated=repeated,
        unrecorded=unrecorded,
        out_of_order=list(_out_of_order(record)),
        apologized=sum(map(len, _apologized(record).values())),
    )


def _markers(texts: Iterable[str]) -> list[str]:
    """What is told apart in texts: replies, notifications (several in a digest), answers of jobs."""
    return [found.group() for text in texts for pattern in (_REPLY, _NOTE, _ANSWER) for found in pattern.finditer(text)]


def _repeated_without_cause(record: Record) -> Iterable[str]:
    for conversation, texts in record.shown.items():
        causes = record.interruptions * (EARLY if conversation in record.slow else 1)
        for text, times in Counter(text for text in texts if _markers([text])).items():
            causes -= max(0, times - 1 - record.in_doubt[conversation, text])
        if causes < 0:
            yield f"{conversation}: {-causes} repetitions have no cause"


def _apologized(record: Record) -> Mapping[str, set[int]]:
    """Inputs whose turns failed, by conversation: a slow turn that was held up for long, after it had said something,
    may end in the apology."""
    missing = {
        conversation: record.said[conversation] - set(record.heard.get(conversation, ()))
        for conversation in record.slow & record.said.keys()
    }
    apologies = {key: sum(bool(_APOLOGY.match(text)) for text in record.shown.get(key, ())) for key in missing}
    return {key: numbers for key, numbers in missing.items() if len(numbers) <= apologies[key]}


def _lost_inputs(record: Record) -> Iterable[str]:
    excused = _apologized(record)
    for conversation, said in record.said.items():
        for number in sorted(said - set(record.heard.get(conversation, ())) - excused.get(conversation, set())):
            yield f"{conversation}: its state has no input {number}"
    entries = {f"{conversation} {number}" for conversation, numbers in excused.items() for number in numbers}
    for user, inputs in record.said_by.items():
        for entry in sorted(inputs - set(record.heard_of_users.get(user, ())) - entries):
            yield f"{user}: the user's state has no input {entry!r}"


def _doubled_inputs(record: Record) -> Iterable[str]:
    for where, entries in (*record.heard.items(), *record.heard_of_users.items()):
        for entry, times in Counter(map(str, entries)).items():
            if times > 1:
                yield f"{where}: input {entry!r} is in the state {times} times"


def _lost_output(record: Record) -> Iterable[str]:
    for conversation, heard in record.heard.items():
        shown = set(_markers(record.shown.get(conversation, ())))
        for count, number in enumerate(heard, 1):
            if f"heard {number}, {count} so far" not in shown:
                yield f"{conversation}: the reply to input {number} was not shown"
        for number in sorted(record.jobs.get(conversation, ())):
            if f"answer-{number};" not in shown:
                yield f"{conversation}: the answer of the job of input {number} was not shown"
    for delivery in record.deliveries:
        shown = set(_markers(record.shown.get(delivery.conversation, ())))
        unknown = (delivery.at_most_once or delivery.cancelled) and delivery.status == "unknown"
        withdrawn = delivery.cancelled and delivery.status == "cancelled"
        if not (unknown or withdrawn) and (delivery.status != "delivered" or delivery.text not in shown):
            yield f"{delivery} was {'shown' if delivery.text in shown else 'not shown'}"
    if record.missing_deliveries:
        yield f"{record.missing_deliveries} recipients have no delivery"


def _out_of_order(record: Record) -> Iterable[str]:
    """Replies count up. A repetition does not change the order in which they were shown first."""
    for conversation, texts in record.shown.items():
        first: dict[int, int] = {}
        for text in texts:
            for match in _REPLY.finditer(text):
                first.setdefault(int(match[2]), int(match[1]))
        counts = list(first)
        for before, after in pairwise(counts):
            if after < before:
                yield f"{conversation}: reply {after} was shown after reply {before}"
