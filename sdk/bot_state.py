"""The SDK's ConversationState and UserState, on top of the turn's own documents.

Dialogs use them as always. Loading reads nothing that the turn has not read already (but the user's state,
once, where the turn did not know the user); saving writes nothing: the turn commits what they hold when it ends.
"""

from __future__ import annotations

import logging
from typing import Any

from botbuilder.core import ConversationState, Storage, TurnContext, UserState
from botbuilder.core.bot_state import BotState

from state.turn import Document, refuse_if_over, turn_of

log = logging.getLogger("aside.state")


class _Cached:
    """What the SDK expects to find in ``turn_state``."""

    __slots__ = ("state",)

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    @property
    def is_changed(self) -> bool:
        return True


class _NoStorage(Storage):
    """Nothing may reach a storage except through the turn's commit."""

    async def read(self, keys: list[str]) -> dict[str, object]:
        raise RuntimeError("state is read by the turn")

    async def write(self, changes: dict[str, object]) -> None:
        raise RuntimeError("state is written by the turn")

    async def delete(self, keys: list[str]) -> None:
        raise RuntimeError("state is written by the turn")


class _TurnState(BotState):
    async def _document(self, context: TurnContext) -> Document | None:
        raise NotImplementedError

    def get_cached_state(self, turn_context: TurnContext) -> Any:
        return turn_context.turn_state.get(self._context_service_key)

    async def get_property_value(self, turn_context: TurnContext, property_name: str) -> object:
        return self.get_cached_state(turn_context).state[property_name]

    async def load(self, turn_context: TurnContext, force: bool = False) -> None:
        if force or self.get_cached_state(turn_context) is None:
            document = await self._document(turn_context)
            turn_context.turn_state[self._context_service_key] = _Cached(document.load() if document else {})

    async def save_changes(self, turn_context: TurnContext, force: bool = False) -> None:
        """Hand what is cached to the turn, which commits it when it ends."""
        refuse_if_over(turn_context)
        cached = self.get_cached_state(turn_context)
        if cached is None:
            return
        document = await self._document(turn_context)
        if document is not None:
            document.keep(cached.state)
        elif cached.state:
            log.warning("state of nobody dropped", extra={"action": "user_state_without_user"})

    async def clear_state(self, turn_context: TurnContext) -> None:
        refuse_if_over(turn_context)
        turn_context.turn_state[self._context_service_key] = _Cached({})

    async def delete(self, turn_context: TurnContext) -> None:
        """Clear it now, whether or not somebody saves it afterwards, as the SDK does."""
        await self.clear_state(turn_context)
        await self.save_changes(turn_context)


class TurnConversationState(_TurnState, ConversationState):
    def __init__(self) -> None:
        ConversationState.__init__(self, _NoStorage())

    async def _document(self, context: TurnContext) -> Document | None:
        return turn_of(context).state


class TurnUserState(_TurnState, UserState):
    """In a turn without a user (a group that nobody has spoken in) it is empty and nothing is kept."""

    def __init__(self) -> None:
        UserState.__init__(self, _NoStorage())

    async def _document(self, context: TurnContext) -> Document | None:
        return await turn_of(context).user_document()
