from botbuilder.core import ActivityHandler, ConversationState, TurnContext, UserState
from botbuilder.dialogs import Dialog
from helpers.dialog_helper import DialogHelper


class DialogBot(ActivityHandler):
    """Answers every message with the dialog that it was given."""

    def __init__(self, conversation_state: ConversationState, user_state: UserState, dialog: Dialog):
        if conversation_state is None or user_state is None:
            raise TypeError("DialogBot needs both states")
        if dialog is None:
            raise TypeError("DialogBot needs a dialog")

        self.conversation_state = conversation_state
        self.user_state = user_state
        self.dialog = dialog
        self.dialog_state = conversation_state.create_property("DialogState")

    async def on_turn(self, turn_context: TurnContext):
        await super().on_turn(turn_context)

        await self.conversation_state.save_changes(turn_context)
        await self.user_state.save_changes(turn_context)

    async def on_message_activity(self, turn_context: TurnContext):
        await DialogHelper.run_dialog(self.dialog, turn_context, self.dialog_state)
