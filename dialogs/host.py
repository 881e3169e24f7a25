"""Running the developer's root dialog, and knowing what it waits for."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from botbuilder.core import StatePropertyAccessor, TurnContext
from botbuilder.dialogs import (
    ComponentDialog,
    Dialog,
    DialogContext,
    DialogEvent,
    DialogEvents,
    DialogSet,
    DialogTurnStatus,
)
from botbuilder.dialogs.dialog_state import DialogState
from botbuilder.dialogs.memory import DialogStateManager, DialogStateManagerConfiguration

from state.turn import turn_of

log = logging.getLogger("aside.dialogs")

DIALOG_STATE = "DialogState"
"""The name of the conversation state's property that holds the dialog stack, as in the SDK's samples."""
NOTIFICATION_EVENT = "aside.notification"
"""The dialog event by which the active dialog is offered a delivery before it is said the usual way."""
ANSWER_EVENT = "aside.answer"
"""The dialog event by which dialogs are offered what the user has answered to a notification."""
_MEMORY = DialogStateManagerConfiguration.__name__
_COMPONENT_STATE = "dialogs"
"""Under which the SDK's ComponentDialog keeps its inner stack (``ComponentDialog.persisted_dialog_state``)."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What is on the dialog stack: ids from the bottom to the active dialog, and whether it waits for the user."""

    dialogs: tuple[str, ...]
    waiting: bool


EMPTY = Stack(dialogs=(), waiting=False)


class DialogHost:
    """Runs ``root`` on every turn of the user's. ``idle``: ids of dialogs that may be spoken into while they wait;
    a dialog may also say so itself with an attribute ``idle = True``."""

    def __init__(self, root: Dialog, accessor: StatePropertyAccessor, idle: Iterable[str] = ()) -> None:
        self.root = root
        self._accessor = accessor
        self._idle = frozenset(idle)
        self._dialogs = DialogSet(accessor)
        self._dialogs.add(root)
        self._memory: DialogStateManagerConfiguration | None = None

    async def run(self, context: TurnContext) -> None:
        """Continue the dialog that is active, or begin the root dialog."""
        await self._run(context, begin=True)

    async def continue_only(self, context: TurnContext) -> None:
        """Continue the dialog that is active, if there is one: for activities that are nobody's opening words."""
        await self._run(context, begin=False)

    async def ask_again(self, context: TurnContext) -> None:
        """Have the active dialog repeat its question, if it can. Raises what the dialog raises.

        The SDK's way lets every component on the way know; but a component looks for its active dialog in itself alone
        (``ComponentDialog.reprompt_dialog`` gives its inner context no parent) and raises where its parent holds it.
        """
        dialogs = await self._context(context)
        innermost = _innermost(dialogs)
        if _found_in_place(dialogs, innermost):
            await dialogs.reprompt_dialog()
        else:
            await innermost.reprompt_dialog()

    async def offer(self, context: TurnContext, value: dict[str, Any]) -> bool:
        """Offer a delivery to the active dialog as a dialog event; True if it took care of it."""
        if not await self.active(context):
            return False
        dialogs = await self._context(context)
        return bool(await _innermost(dialogs).emit_event(NOTIFICATION_EVENT, value))

    async def offer_answer(self, context: TurnContext, value: dict[str, Any]) -> bool:
        """Offer an answer to a notification as a dialog event, to the active dialog and its parents or, where none is
        active, to the root dialog; True if one took care of it."""
        dialogs = await self._context(context)
        if await self.active(context):
            return bool(await _innermost(dialogs).emit_event(ANSWER_EVENT, value))
        return bool(await self.root.on_dialog_event(dialogs, DialogEvent(name=ANSWER_EVENT, value=value)))

    async def active(self, context: TurnContext) -> bool:
        """Whether any dialog is on the stack."""
        return not _known_to_be_idle(context) and bool((await self._state(context)).dialog_stack)

    async def stack(self, context: TurnContext) -> Stack:
        if _known_to_be_idle(context):
            return EMPTY
        state = await self._state(context)
        if not state.dialog_stack:
            return EMPTY
        path: list[str] = []
        waiting = self._waits(state, self._dialogs, path)
        return Stack(dialogs=tuple(path), waiting=waiting)

    async def _state(self, context: TurnContext) -> DialogState:
        return await self._accessor.get(context, DialogState)

    async def _context(self, context: TurnContext) -> DialogContext:
        """The SDK's dialog context. What it makes on the way of memory scopes and path resolvers is the same for
        every turn, so it is made once; the SDK looks for it in the turn state."""
        if self._memory is not None:
            context.turn_state[_MEMORY] = self._memory
        dialogs = await self._dialogs.create_context(context)
        self._memory = context.turn_state[_MEMORY]
        return dialogs

    async def _run(self, context: TurnContext, *, begin: bool) -> None:
        if not begin and not await self.active(context):
            return
        dialogs = await self._context(context)
        dialogs.services.update(context.turn_state)
        memory = DialogStateManager(dialogs)
        await memory.load_all_scopes()
        context.turn_state[DialogStateManager.__name__] = memory
        try:
            await self._go_on(dialogs, begin=begin)
            await memory.save_all_changes()
        finally:
            dialogs.services.clear()  # they are the whole turn, and the context is in a cycle with its memory

    async def _go_on(self, dialogs: DialogContext, *, begin: bool) -> None:
        while True:
            try:
                result = await dialogs.continue_dialog()
                if result.status == DialogTurnStatus.Empty and begin:
                    await dialogs.begin_dialog(self.root.id)
                return
            except Exception as error:
                if not await self._handled(dialogs, error):
                    raise

    async def _handled(self, dialogs: DialogContext, error: Exception) -> bool:
        """Whether a dialog on the stack took care of an error (the SDK's ``DialogEvents.error``)."""
        return bool(await _innermost(dialogs).emit_event(DialogEvents.error, error))

    def _waits(self, state: DialogState, dialogs: Any, path: list[str]) -> bool:
        """Whether something on this stack waits for the user and is not idle; collects the dialogs on the way."""
        waiting = False
        for instance in reversed(state.dialog_stack):
            dialog = dialogs.find_dialog(instance.id) if dialogs is not None else None
            path.append(instance.id)
            inner = instance.state.get(_COMPONENT_STATE) if isinstance(instance.state, dict) else None
            nested = isinstance(inner, DialogState) and bool(inner.dialog_stack)
            inside = nested and self._waits(inner, getattr(dialog, "_dialogs", None), path)
            idle = instance.id in self._idle or getattr(dialog, "idle", False) is True
            if not idle and (inside or not nested):
                waiting = True
        return waiting


def _known_to_be_idle(context: TurnContext) -> bool:
    """Whether there is nothing on the stack, known without decoding the state: that of most whom a broadcast finds
    need not be looked at."""
    turn = turn_of(context)
    return turn.idle and not turn.state.loaded


def _found_in_place(outermost: DialogContext, innermost: DialogContext) -> bool:
    """Whether each dialog between the two is held by the component that it runs in, and not by a parent of that."""
    here: DialogContext | None = innermost
    while here is not None and here is not outermost:
        if here.active_dialog is not None and here.dialogs.find_dialog(here.active_dialog.id) is None:
            return False
        here = here.parent
    return True


def _innermost(dialogs: DialogContext) -> DialogContext:
    """The context of the active dialog, through all components. (The SDK's ``from_leaf`` does not look into its own
    ``ComponentDialog``, which is no ``DialogContainer`` in Python.)"""
    while (instance := dialogs.active_dialog) is not None:
        inner = instance.state.get(_COMPONENT_STATE) if isinstance(instance.state, dict) else None
        component = dialogs.find_dialog_sync(instance.id)
        if not isinstance(inner, DialogState) or not inner.dialog_stack or not isinstance(component, ComponentDialog):
            break
        child = DialogContext(component._dialogs, dialogs.context, inner)
        child.parent = dialogs
        dialogs = child
    return dialogs
