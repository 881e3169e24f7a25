"""A score board: one message that is updated and deleted, in the turn that sent it and in later ones."""

from __future__ import annotations

from botbuilder.core import ConversationState, MessageFactory, TurnContext
from botbuilder.dialogs import Dialog, DialogContext
from botbuilder.schema import Activity


class Board(Dialog):
    def __init__(self, conversation_state: ConversationState):
        super().__init__("board")
        self.board = conversation_state.create_property("board")

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        command, _, text = context.activity.text.partition(" ")
        await getattr(self, command)(context, text)
        return await dialog_context.end_dialog()

    async def new(self, context: TurnContext, text: str):
        sent = await context.send_activity(f"board: {text}")
        await self.board.set(context, sent.id)

    async def set(self, context: TurnContext, text: str):
        await self._update(context, await self.board.get(context), text)

    async def quick(self, context: TurnContext, text: str):
        sent = await context.send_activity("board: ...")
        await context.send_activity("working")
        await self._update(context, sent.id, text)
        await self.board.set(context, sent.id)

    async def fleeting(self, context: TurnContext, text: str):
        sent = await context.send_activity("soon gone")
        await context.send_activity(text)
        await context.delete_activity(sent.id)

    async def tap(self, context: TurnContext, text: str):
        """What was tapped on is known by the id that was stored."""
        same = context.activity.reply_to_id == await self.board.get(context)
        await context.send_activity("on the board" if same else "elsewhere")
        await self._update(context, context.activity.reply_to_id, text)

    async def below(self, context: TurnContext, text: str):
        reply = MessageFactory.text(text)
        reply.reply_to_id = await self.board.get(context)
        await context.adapter.send_activities(context, [self._from(context, reply)])

    def _from(self, context: TurnContext, reply: Activity) -> Activity:
        stored = reply.reply_to_id
        TurnContext.apply_conversation_reference(reply, TurnContext.get_conversation_reference(context.activity))
        reply.reply_to_id = stored
        return reply

    async def drop(self, context: TurnContext, text: str):
        await context.delete_activity(await self.board.get(context))

    async def lost(self, context: TurnContext, text: str):
        await self._update(context, "a message that the user deleted", text)
        await context.send_activity("went on")

    async def _update(self, context: TurnContext, activity_id: str, text: str):
        activity = MessageFactory.text(f"board: {text}")
        activity.id = activity_id
        await context.update_activity(activity)
