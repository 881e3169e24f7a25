from botbuilder.core import StatePropertyAccessor, TurnContext
from botbuilder.dialogs import Dialog, DialogSet, DialogTurnStatus


class DialogHelper:
    """Goes on with a conversation's dialog, or begins it."""

    @staticmethod
    async def run_dialog(root: Dialog, context: TurnContext, dialog_state: StatePropertyAccessor):
        dialogs = DialogSet(dialog_state)
        dialogs.add(root)
        stack = await dialogs.create_context(context)
        turn = await stack.continue_dialog()
        if turn.status is DialogTurnStatus.Empty:
            await stack.begin_dialog(root.id)
