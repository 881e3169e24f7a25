"""Walking through every state that can be reached."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tests.model.promises import is_over, violation
from tests.model.protocol import Faulty, Process, Protocol, State, gone, holds

WITHOUT_LOCK = frozenset(
    {
        Faulty.COMMITS_WITHOUT_LOCK,
        Faulty.SENDS_WITHOUT_LOCK,
        Faulty.RELEASES_BEFORE_ACKNOWLEDGING,
        Faulty.ACKNOWLEDGES_BEFORE_SENDING,
    }
)
"""With these mistakes whoever lost the lock may do something all the same."""


@dataclass(frozen=True, kw_only=True)
class Walked:
    """``wrong`` is the first violation and ``trace`` the shortest way to it; ``stuck`` counts states from which
    nothing leads to the end."""

    states: int
    steps: int
    wrong: str = ""
    trace: tuple[str, ...] = ()
    stuck: int = 0


def walk(protocol: Protocol, first: State) -> Walked:
    """Breadth first, so that the trace is a shortest one; stops at the first violation."""
    reduced = protocol.faulty is None or protocol.faulty not in WITHOUT_LOCK
    first = normal(first)
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    before: dict[State, list[State]] = {first: []}
    ahead = deque([first])
    steps = 0
    while ahead:
        state = ahead.popleft()
        for step in protocol.steps(state):
            steps += 1
            after = normal(without_losers(step.after) if reduced else step.after)
            if after in came_from:
                before[after].append(state)
                continue
            came_from[after] = (state, f"{step.name} {step.who}".strip())
            before[after] = [state]
            if wrong := violation(after):
                return Walked(states=len(came_from), steps=steps, wrong=wrong, trace=_trace(came_from, after))
            ahead.append(after)
    return Walked(states=len(came_from), steps=steps, stuck=len(came_from) - _leading_to_the_end(before))


def _leading_to_the_end(before: dict[State, list[State]]) -> int:
    ahead = deque(state for state in before if is_over(state))
    found = set(ahead)
    while ahead:
        for state in before[ahead.popleft()]:
            if state not in found:
                found.add(state)
                ahead.append(state)
    return len(found)


def _trace(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    names: list[str] = []
    while (link := came_from[state]) is not None:
        state, name = link
        names.append(name)
    return tuple(reversed(names))


# ---------------------------------------------------------------------- states that are as good as one


def normal(s: State) -> State:
    """The same state whichever process is called the first (as a rule, which is enough to have fewer)."""
    first, second = s.processes
    if second is None or (first is not None and _place(first) <= _place(second)):
        return s
    return s._replace(processes=(second, first), lock=_other(s.lock), work=_other(s.work))


def without_losers(s: State) -> State:
    """Who lost the lock finds that out in its next step, whatever that is, and does nothing more."""
    for who, p in enumerate(s.processes):
        if p is not None and p.step in ("send", "acknowledge", "commit") and not holds(s, who):
            s = gone(s, who)
    return s


def _place(p: Process) -> tuple[object, ...]:
    return (p.step, p.input or "", p.committed, p.blocked, p.outcome.value, p.read, p.entries, p.early)


def _other(process: int | None) -> int | None:
    return process if process is None or process < 0 else 1 - process
