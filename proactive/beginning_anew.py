"""Where a conversation cannot go on as it is: its dialogs are dropped, and the user begins anew."""

from __future__ import annotations

from botbuilder.core import BotState, TurnContext

from domain.errors import StateTooDeep
from proactive.asking import by_the_service, forget_question
from proactive.host import DIALOG_STATE, DialogHost
from proactive.texts import say
from sdk.mentions import overheard
from state.turn import Turn, turn_of

OFFERED_FROM = 3
"""With so many apologies in a row, in the same place, the user is offered to begin anew."""
_APOLOGIES = "apologies"


def has_no_end(error: Exception, failed: Turn) -> bool:
    """Whether a turn failed since its dialogs are nested too deeply: each begins the next inside itself, round after
    round. They can neither go on nor come to an end."""
    return isinstance(error, StateTooDeep | RecursionError) and failed.state.deep


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


def apologize_once_more(turn: Turn) -> bool:
    """Count an apology. True from that on by which the user is to be offered to begin anew."""
    own = turn.state.own
    own[_APOLOGIES] = own.get(_APOLOGIES, 0) + 1
    return bool(own[_APOLOGIES] >= OFFERED_FROM)


def no_apology_due(turn: Turn) -> None:
    """Note that dialogs have come to the end of a turn."""
    turn.state.own.pop(_APOLOGIES, None)


def takes_offer(context: TurnContext) -> bool:
    """Whether the user was offered to begin anew, and does that now."""
    if turn_of(context).state.own.get(_APOLOGIES, 0) < OFFERED_FROM:
        return False
    said = overheard(context.activity).casefold()
    return said in {say("start_over", locale).casefold() for locale in (context.activity.locale, None)}


async def drop_dialogs(context: TurnContext, host: DialogHost, conversation_state: BotState) -> None:
    """What the user has asked for: no dialog is active any more. Where none was, it is what else dialogs keep of the
    conversation that stands in their way."""
    if await host.active(context):
        await host.drop(context)
    else:
        await conversation_state.clear_state(context)
    no_apology_due(turn_of(context))


async def say_dropped(context: TurnContext) -> None:
    with by_the_service(context):
        await context.send_activity(say("started_over", context.activity.locale))
