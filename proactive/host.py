"""Running the developer's root dialog, and knowing what it waits for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botbuilder.core import StatePropertyAccessor, TurnContext
from botbuilder.dialogs import (
    ComponentDialog,
    Dialog,
    DialogContext,
    DialogEvent,
    DialogEvents,
    DialogInstance,
    DialogSet,
    DialogTurnStatus,
)
from botbuilder.dialogs.dialog_state import DialogState
from botbuilder.dialogs.memory import DialogStateManager, DialogStateManagerConfiguration
from botbuilder.dialogs.prompts import PromptOptions

from state.turn import turn_of

log = logging.getLogger("aside.dialogs")

DIALOG_STATE = "DialogState"
"""The name of the conversation state's property that holds the dialog stack, as in the SDK's samples."""
NOTIFICATION_EVENT = "aside.notification"
"""The dialog event by which the active dialog is offered a delivery before it is said the usual way."""
WAITS = "waits"
"""Under which the service's own part of the state notes that a bot without dialogs waits for an answer."""
ANSWER_EVENT = "aside.answer"
"""The dialog event by which dialogs are offered what the user has answered to a notification."""
_MEMORY = DialogStateManagerConfiguration.__name__
_ASKED = "aside.asked"
"""Under which a turn's state holds what was active when dialogs began to run in it: what has asked before."""
_STEP = "stepIndex"
"""Under which a waterfall keeps its step, beside whatever it was given as options."""
_COMPONENT_STATE = "dialogs"
"""Under which the SDK's ComponentDialog keeps its inner stack (``ComponentDialog.persisted_dialog_state``)."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What is on the dialog stack: ids from the bottom to the active dialog, and whether it waits for the user."""

    dialogs: tuple[str, ...]
    waiting: bool


EMPTY = Stack(dialogs=(), waiting=False)


class DialogHost:
    """Runs ``root``, and knows what waits whoever runs the dialogs: a bot without a ``root`` may keep a stack of its
    own in the same property, or say itself that it waits. ``idle``: ids or paths (``root/menu``) of dialogs that may be
    spoken into while they wait; a dialog may also say so itself with an attribute ``idle = True``."""

    def __init__(self, root: Dialog | None, accessor: StatePropertyAccessor, idle: Iterable[str] = ()) -> None:
        self.root = root
        self._accessor = accessor
        self._idle = tuple(idle)
        self._dialogs = DialogSet(accessor)
        if root is not None:
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

        Every component on the way has its say, as under the SDK. But there a component looks for its active dialog in
        itself alone (``ComponentDialog.reprompt_dialog`` gives its inner context no parent), and raises where its
        parent holds it. A prompt that was given no question has none to repeat.
        """
        if self.root is None or not await self.active(context):
            return
        dialogs = await self._context(context)
        passed: list[tuple[ComponentDialog, DialogInstance]] = []
        while (child := _inside(dialogs)) is not None:
            component, inner = child
            if type(component).reprompt_dialog is not ComponentDialog.reprompt_dialog:
                break
            passed.append((component, dialogs.active_dialog))
            dialogs = inner
        if not _has_no_question(dialogs):
            await dialogs.reprompt_dialog()
        for component, instance in reversed(passed):
            await component.on_reprompt_dialog(context, instance)

    async def asks_as_before(self, context: TurnContext) -> bool:
        """Whether what waits at the end of a turn in which dialogs ran has asked before it: the prompt that was active
        before is the one that still is."""
        active = _leaf(await self._state(context))
        return active is not None and active is context.turn_state[_ASKED] and _options_of(active) is not None

    async def begins(self, context: TurnContext) -> None:
        """Note what is active before the bot has its turn; it may run the dialogs."""
        context.turn_state[_ASKED] = _leaf(await self._state(context))

    def ran(self, context: TurnContext) -> bool:
        """Whether dialogs ran in this turn, or were begun in it by somebody else."""
        return _ASKED in context.turn_state

    def asks_anew(self, context: TurnContext) -> None:
        """Note that what waits at the end of this turn was begun in it, by somebody else."""
        context.turn_state[_ASKED] = None

    async def drop(self, context: TurnContext) -> None:
        """Drop the whole stack, without a word to the dialogs on it."""
        await self._accessor.delete(context)

    async def offer(self, context: TurnContext, value: dict[str, Any]) -> bool:
        """Offer a delivery to the active dialog as a dialog event; True if it took care of it."""
        if self.root is None or not await self.active(context):
            return False
        dialogs = await self._context(context)
        return bool(await _innermost(dialogs).emit_event(NOTIFICATION_EVENT, value))

    async def offer_answer(self, context: TurnContext, value: dict[str, Any]) -> bool:
        """Offer an answer to a notification as a dialog event, to the active dialog and its parents or, where none is
        active, to the root dialog; True if one took care of it."""
        if self.root is None:
            return False
        dialogs = await self._context(context)
        if await self.active(context):
            return bool(await _innermost(dialogs).emit_event(ANSWER_EVENT, value))
        return bool(await self.root.on_dialog_event(dialogs, DialogEvent(name=ANSWER_EVENT, value=value)))

    async def active(self, context: TurnContext) -> bool:
        """Whether any dialog is on the stack."""
        return not _known_to_be_idle(context) and bool((await self._state(context)).dialog_stack)

    async def stack(self, context: TurnContext) -> Stack:
        waits = bool(turn_of(context).state.own.get(WAITS))
        nothing = Stack(dialogs=(), waiting=True) if waits else EMPTY
        if _known_to_be_idle(context):
            return nothing
        state = await self._state(context)
        if not state.dialog_stack:
            return nothing
        return Stack(dialogs=tuple(_ids(state)), waiting=waits or not self._idles(state))

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
        if self.root is None or (not begin and not await self.active(context)):
            return
        dialogs = await self._context(context)
        dialogs.services.update(context.turn_state)
        memory = DialogStateManager(dialogs)
        await memory.load_all_scopes()
        context.turn_state[DialogStateManager.__name__] = memory
        await self.begins(context)
        try:
            await self._go_on(dialogs, begin=begin)
            await memory.save_all_changes()
        finally:
            dialogs.services.clear()  # they are the whole turn, and the context is in a cycle with its memory

    async def _go_on(self, dialogs: DialogContext, *, begin: bool) -> None:
        while True:
            try:
                result = await dialogs.continue_dialog()
                if result.status == DialogTurnStatus.Empty and begin and self.root is not None:
                    await dialogs.begin_dialog(self.root.id)
                return
            except Exception as error:
                if not await self._handled(dialogs, error):
                    raise

    async def _handled(self, dialogs: DialogContext, error: Exception) -> bool:
        """Whether a dialog on the stack took care of an error (the SDK's ``DialogEvents.error``)."""
        return bool(await _innermost(dialogs).emit_event(DialogEvents.error, error))

    def _idles(self, state: DialogState) -> bool:
        """Whether what waits for the user may be spoken into. Only the innermost decides: the active dialog, the one
        that a prompt was begun by, and the component whose stack that is the bottom of."""
        stack, sets, path = state.dialog_stack, [self._dialogs], []
        while (inner := _stack_in(stack[0])) is not None:
            component = _held(sets, stack[0].id)
            path.append((stack[0].id, component))
            sets.append(component._dialogs if isinstance(component, ComponentDialog) else DialogSet())
            stack = inner.dialog_stack
        around = "/".join(outer for outer, _ in path)
        deepest = 1 if _options_of(stack[0]) is not None and len(stack) > 1 else 0
        inside = any(
            self._is_idle(f"{around}/{instance.id}", _held(sets, instance.id)) for instance in stack[: deepest + 1]
        )
        bottom = bool(path) and deepest == len(stack) - 1
        return inside or (bottom and self._is_idle(around, path[-1][1]))

    def _is_idle(self, path: str, dialog: Dialog | None) -> bool:
        named = any(f"/{path}".endswith(f"/{name}") for name in self._idle)
        return named or getattr(dialog, "idle", False) is True


def _known_to_be_idle(context: TurnContext) -> bool:
    """Whether there is nothing on the stack, known without decoding the state: that of most whom a broadcast finds
    need not be looked at."""
    turn = turn_of(context)
    return turn.idle and not turn.state.loaded


def _innermost(dialogs: DialogContext) -> DialogContext:
    """The context of the active dialog, through all components. (The SDK's ``from_leaf`` does not look into its own
    ``ComponentDialog``, which is no ``DialogContainer`` in Python.)"""
    while (child := _inside(dialogs)) is not None:
        dialogs = child[1]
    return dialogs


def _inside(dialogs: DialogContext) -> tuple[ComponentDialog, DialogContext] | None:
    """The active component and the context of what is active in it; None if the active dialog is the innermost."""
    instance = dialogs.active_dialog
    inner = None if instance is None else _stack_in(instance)
    if inner is None:
        return None
    component = dialogs.find_dialog_sync(instance.id)
    if not isinstance(component, ComponentDialog):
        return None
    child = DialogContext(component._dialogs, dialogs.context, inner)
    child.parent = dialogs
    return component, child


def _stack_in(instance: DialogInstance) -> DialogState | None:
    """The stack of dialogs that a component has begun."""
    inner = instance.state.get(_COMPONENT_STATE) if isinstance(instance.state, dict) else None
    return inner if isinstance(inner, DialogState) and inner.dialog_stack else None


def _ids(state: DialogState) -> Iterator[str]:
    """Of all dialogs on a stack, from the bottom to the active one, each followed by what it has begun itself."""
    for instance in reversed(state.dialog_stack):
        yield instance.id
        inner = _stack_in(instance)
        if inner is not None:
            yield from _ids(inner)


def _held(sets: Sequence[DialogSet], name: str) -> Dialog | None:
    """The dialog of this id, in the innermost of the sets that has it."""
    return next((dialog for held in reversed(sets) if (dialog := held.find_dialog(name)) is not None), None)


def _leaf(state: DialogState) -> DialogInstance | None:
    """The innermost that is active."""
    leaf, inside = None, state if state.dialog_stack else None
    while inside is not None:
        leaf = inside.dialog_stack[0]
        inside = _stack_in(leaf)
    return leaf


def _options_of(instance: DialogInstance) -> PromptOptions | None:
    """What a prompt was asked to ask; None for what is no prompt."""
    state = instance.state if isinstance(instance.state, dict) else {}
    options = state.get("options")
    return options if isinstance(options, PromptOptions) and _STEP not in state else None


def _has_no_question(dialogs: DialogContext) -> bool:
    """Whether a prompt of the SDK's is active that was given nothing to ask: somebody has said the question before."""
    instance = dialogs.active_dialog
    options = None if instance is None else _options_of(instance)
    if options is None or options.prompt is not None:
        return False
    asks = getattr(type(dialogs.find_dialog_sync(instance.id)), "on_prompt", None)
    return asks is not None and str(asks.__module__).startswith("botbuilder.")
