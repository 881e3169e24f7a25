"""The adapter: the SDK's own, except that what a turn sends is collected in the turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

from botbuilder.core import InvokeResponse, TurnContext
from botbuilder.integration.aiohttp import CloudAdapter
from botbuilder.schema import Activity, ActivityTypes, ConversationReference, DeliveryModes, ResourceResponse
from botframework.connector.auth import ClaimsIdentity

from channel.http import Channel
from domain.effect import Operation, Send
from domain.errors import NotAddressed
from domain.notification import Json
from sdk.activities import json_of, model_of, to_json
from sdk.clients import SdkClients
from sdk.turn_context import LightTurnContext
from state.turn import OVER_ENTRY, TURN_ENTRY, Turn, turn_of, turn_over

CURRENT_TURN: ContextVar[Turn] = ContextVar("aside_turn")
"""The turn that the adapter's next turn context belongs to; set by the pipeline around the adapter's call."""

Logic = Callable[[TurnContext], Awaitable[None]]

LONGEST_DELAY = 10.0
"""Seconds that a ``delay`` activity holds up a turn at most."""

NOBODY = InvokeResponse(
    status=501, body={"error": {"code": "NotImplemented", "message": "Nothing here takes an invoke of this name now."}}
)
"""The answer to an invoke that nobody takes."""


class AsideAdapter(CloudAdapter):
    """Sends collect, and answer with a provisional id; updates and deletions take provisional ids.

    Typing goes out at once. A turn that fails is the pipeline's to end; ``on_turn_error``, if the bot has set it, is
    what tells the user then.
    """

    def __init__(self, clients: SdkClients, channel: Channel) -> None:
        super().__init__(clients)
        self._channel = channel
        self.turn_of_its_own: Callable[[Activity, Logic], Awaitable[None]] = _no_turns
        """Runs a turn that the bot's own code begins; the pipeline's."""

    async def process_proactive(
        self, claims_identity: ClaimsIdentity, continuation_activity: Activity, audience: str | None, logic: Logic
    ) -> None:
        """Part of the turn that runs, and outside of one a turn of its own. ``continue_conversation`` ends here."""
        if _running() is None:
            await self.turn_of_its_own(continuation_activity, logic)
        else:
            await super().process_proactive(claims_identity, continuation_activity, audience, logic)

    async def create_conversation(self, *args: Any, **kwargs: Any) -> None:
        """Raises :class:`TurnOver` outside of a turn."""
        if _running() is None:
            raise turn_over(None)
        await super().create_conversation(*args, **kwargs)

    async def run_pipeline(self, context: TurnContext, callback: Logic | None = None) -> Any:
        """Raises what middleware and bot raise."""
        return await self._middleware.receive_activity_with_status(context, callback)

    async def tell_error(self, identity: ClaimsIdentity, activity: Activity, error: Exception) -> None:
        """Have the bot's own ``on_turn_error`` tell the user, as part of the turn that ends the failed one."""
        factory = self.bot_framework_authentication.create_connector_factory(identity)
        connector = await factory.create(activity.service_url, None)
        tokens = await self.bot_framework_authentication.create_user_token_client(identity)
        context = self._create_turn_context(activity, identity, None, connector, tokens, None, factory)
        await self.on_turn_error(context, error)

    def _create_turn_context(
        self,
        activity: Activity,
        claims_identity: ClaimsIdentity,
        oauth_scope: str | None,
        connector_client: Any,
        user_token_client: Any,
        logic: Any,
        connector_factory: Any,
    ) -> TurnContext:
        context = LightTurnContext(self, activity)
        turn = _running()
        if turn is None:
            raise turn_over(None)
        turn.over = partial(_let_go, context, turn.conversation, turn.over)
        context.turn_state.update(
            {
                TURN_ENTRY: turn,
                self.BOT_IDENTITY_KEY: claims_identity,
                self.BOT_CONNECTOR_CLIENT_KEY: connector_client,
                self.USER_TOKEN_CLIENT_KEY: user_token_client,
                self.BOT_CALLBACK_HANDLER_KEY: logic,
                self.CONNECTOR_FACTORY_KEY: connector_factory,
                self.BOT_OAUTH_SCOPE_KEY: oauth_scope,
            }
        )
        return context

    async def send_activities(self, context: TurnContext, activities: Sequence[Activity]) -> list[ResourceResponse]:
        turn = turn_of(context)
        responses = []
        for activity in activities:
            activity.id = None
            if activity.reply_to_id == context.activity.id and context.activity.type == ActivityTypes.event:
                activity.reply_to_id = None  # an event that started on this side is nothing to reply to
            responses.append(model_of(ResourceResponse, id=await self._send(context, turn, activity)))
        if turn.send_early is not None:
            await turn.send_early()
        return responses

    async def _send(self, context: TurnContext, turn: Turn, activity: Activity) -> str:
        if activity.type == "delay":
            if turn.begin_early is not None and any(isinstance(effect, Send) for effect in turn.effects):
                await turn.begin_early()  # what comes before the pause is seen before it
            await asyncio.sleep(_pause(activity.value))
        elif activity.type == ActivityTypes.invoke_response:
            context.turn_state[self._INVOKE_RESPONSE_KEY] = activity
        elif activity.type == ActivityTypes.trace and activity.channel_id != "emulator":
            pass
        elif activity.type == ActivityTypes.typing:
            await self.typing(turn, to_json(activity), activity.service_url)
        else:
            return turn.send(_addressed(to_json(activity), activity.service_url), activity.service_url)
        return ""

    async def typing(self, turn: Turn, activity: Json, service_url: str) -> None:
        """Show that the bot is at work, now; nobody minds if it fails, and where it cannot speak it is not tried."""
        if not turn.standing.active:
            return
        effect = Send(operation=Operation.SEND, provisional="", activity=activity, service_url=service_url)
        await self._channel.carry(effect, None)

    def _process_turn_results(self, context: TurnContext) -> InvokeResponse | None:
        if context.activity.delivery_mode == DeliveryModes.expect_replies:
            # The SDK serializes here what its own invoke responses cannot; the web layer does it for both.
            return InvokeResponse(status=200, body={"activities": context.buffered_reply_activities})
        answer: InvokeResponse | None = super()._process_turn_results(context)
        if answer is not None and answer.status == NOBODY.status and answer.body is None:
            return NOBODY
        return answer

    async def update_activity(self, context: TurnContext, activity: Activity) -> ResourceResponse:
        """Raises :class:`NotAddressed`."""
        turn, activity_id = turn_of(context), _named("update_activity", activity.id)
        body = _addressed(to_json(activity), activity.service_url)
        turn.change(Operation.UPDATE, activity_id, body, activity.service_url)
        return ResourceResponse(id=activity_id)

    async def delete_activity(self, context: TurnContext, reference: ConversationReference) -> None:
        """Raises :class:`NotAddressed`."""
        turn, activity_id = turn_of(context), _named("delete_activity", getattr(reference, "activity_id", None))
        body = _addressed({"conversation": json_of(reference.conversation)}, reference.service_url)
        turn.change(Operation.DELETE, activity_id, body, reference.service_url)


def _pause(value: Any) -> float:
    """The seconds of a ``delay`` activity, which says milliseconds; one, as in the SDK, where it says nothing."""
    try:
        seconds = float(value or 1000) / 1000
    except (TypeError, ValueError):
        seconds = 1.0
    return min(LONGEST_DELAY, seconds) if seconds > 0 else 0.0


def _running() -> Turn | None:
    """The turn that the code which is running now is part of."""
    turn = CURRENT_TURN.get(None)
    return None if turn is None or turn.ended else turn


def _let_go(context: TurnContext, conversation: str, others: Callable[[], None]) -> None:
    """The SDK's dialogs keep the context in cycles: let it hold nothing more than that its turn is over."""
    context.turn_state.clear()
    context.turn_state[OVER_ENTRY] = conversation
    others()


async def _no_turns(activity: Activity, logic: Logic) -> None:
    raise turn_over(None)


def _named(asked: str, activity_id: Any) -> str:
    """The id of what is to be changed; checked here, where the dialog can be told."""
    if isinstance(activity_id, str) and activity_id:
        return activity_id
    raise NotAddressed(
        f"{asked} needs the id that send_activity answered, or that the channel gave: a text, and not {activity_id!r}. "
        "What a turn says in the response to its request (expectReplies) has no id and cannot be changed."
    )


def _addressed(activity: Json, service_url: Any) -> Json:
    """An activity that says where it is to go; the context's methods address what they are given, the adapter's do
    not."""
    conversation = activity.get("conversation")
    conversation_id = conversation.get("id") if isinstance(conversation, dict) else None
    if isinstance(service_url, str) and service_url and isinstance(conversation_id, str) and conversation_id:
        return activity
    raise NotAddressed(
        "An activity is sent, changed or deleted with its conversation's id and its service URL. Use the methods of "
        "the turn context, or TurnContext.apply_conversation_reference."
    )
