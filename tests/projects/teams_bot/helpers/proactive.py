import config as defaults
from botbuilder.core import BotAdapter, TurnContext
from botbuilder.schema import Activity, ConversationReference


class Proactive:
    """What the bot and the web pages share: whom the bot has met, and the way back to them."""

    def __init__(self):
        self.adapter: BotAdapter | None = None
        self.conversation_references: dict[str, ConversationReference] = {}

    def remember(self, activity: Activity):
        reference = TurnContext.get_conversation_reference(activity)
        if reference.user:
            self.conversation_references[reference.user.id] = reference

    async def send_to_all(self, logic) -> int:
        references = list(self.conversation_references.values())
        for reference in references:
            await self.adapter.continue_conversation(reference, logic, defaults.DefaultConfig.APP_ID)
        return len(references)


PROACTIVE = Proactive()
