import json
import os.path

from botbuilder.core import CardFactory, MessageFactory, TurnContext
from botbuilder.schema import Attachment, ChannelAccount
from helpers.dialog_helper import DialogHelper

from .dialog_bot import DialogBot

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class DialogAndWelcomeBot(DialogBot):
    """Welcomes whoever comes, and has the rules at hand."""

    async def on_members_added_activity(self, members_added: list[ChannelAccount], turn_context: TurnContext):
        for member in members_added:
            if member.id == turn_context.activity.recipient.id:
                continue
            await turn_context.send_activity(MessageFactory.attachment(self.welcome_card()))
            await DialogHelper.run_dialog(self.dialog, turn_context, self.dialog_state)

    async def on_message_activity(self, turn_context: TurnContext):
        if (turn_context.activity.text or "").strip().lower() == "rules":
            await turn_context.send_activity(MessageFactory.attachment(self.rules_card(), "The rules of the house"))
            return
        await super().on_message_activity(turn_context)

    def welcome_card(self) -> Attachment:
        with open("resources/welcome_card.json", encoding="utf-8") as file:
            return CardFactory.adaptive_card(json.load(file))

    def rules_card(self) -> Attachment:
        with open(os.path.join(PROJECT, "resources", "rules_card.json"), encoding="utf-8") as file:
            return CardFactory.adaptive_card(json.load(file))
