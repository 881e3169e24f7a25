"""Where a conversation cannot go on as it is: its dialogs are dropped, and the user begins anew."""

from __future__ import annotations

from dialogs.asking import forget_question
from dialogs.host import DIALOG_STATE
from domain.errors import StateTooDeep
from state.turn import Turn


def has_no_end(error: Exception, failed: Turn) -> bool:
    """Whether a turn failed since its dialogs are nested too deeply: each begins the next inside itself, round after
    round. They can neither go on nor come to an end."""
    return isinstance(error, StateTooDeep) or (isinstance(error, RecursionError) and failed.state.deep)


def begin_anew(turn: Turn) -> None:
    """Drop the dialogs. What else is kept of the conversation stays, the inbox too."""
    state = turn.state.load()
    state.pop(DIALOG_STATE, None)
    turn.state.keep(state)
    nothing_waits(turn)


def nothing_waits(turn: Turn) -> None:
    """Note that no dialog is active any more."""
    forget_question(turn)
    turn.fields.update(dialogs="[]", waiting="0")
