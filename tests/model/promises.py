"""What has to hold in every state of the protocol, and when it is over."""

from __future__ import annotations

from tests.model.protocol import Item, State


def violation(s: State) -> str:
    """What is wrong with a state; empty for nothing."""
    if s.wrong:
        return s.wrong
    if s.state != s.commits:
        return f"the state is {s.state}, and turns committed {s.commits}"
    if len(set(s.commits)) != len(s.commits):
        return f"something was committed twice: {s.commits}"
    kept = {entry.item for entry in s.outbox} | s.accepted | s.unknown
    if lost := set(s.commits) - kept:
        return f"committed and lost: {sorted(lost)}"
    present = set(s.mailbox) | set(s.commits)
    for item, status in s.inputs:
        if status == "answered" and item not in present:
            return f"{item} was answered and is lost"
    for item, status in s.mail:
        if status == "done" and item not in present:
            return f"{item} is lost"
    if s.work is None and (forgotten := _unattended(s)):
        return f"nobody will look at {forgotten}"
    return ""


def _unattended(s: State) -> list[Item]:
    """What waits for a turn although its wake-up has come and gone."""
    to_come = {item for item, status in s.mail if status != "done"}
    asking = {item for item, status in s.inputs if status != "answered"}
    forgotten = [item for item in s.mailbox if item not in to_come | asking]
    return forgotten + [entry.item for entry in s.outbox if entry.item not in to_come]


def is_over(s: State) -> bool:
    """Everything was said and shown, and nothing is under way."""
    through = all(status == "answered" for _, status in s.inputs) and all(status == "done" for _, status in s.mail)
    everything = {item for item, _ in (*s.inputs, *s.mail)}
    return through and everything <= s.accepted | s.unknown and not s.outbox and not s.mailbox
