import asyncio

import config as defaults
from botbuilder.core import BotAdapter, CardFactory, ConversationState, MessageFactory, TurnContext
from botbuilder.core.teams import TeamsInfo
from botbuilder.schema import ConversationParameters, Mention, MessageReaction
from botbuilder.schema.teams import TeamInfo, TeamsChannelAccount
from cards import counter_card, lunch_card, task_card
from helpers.proactive import PROACTIVE

from .teams_invokes import TeamsInvokes


class TeamsBot(TeamsInvokes):
    """Helps a team through its day."""

    def __init__(self, conversation_state: ConversationState, adapter: BotAdapter, proactive=PROACTIVE):
        super().__init__(conversation_state)
        self.adapter = adapter
        self.proactive = proactive
        self.proactive.adapter = adapter
        self.said = conversation_state.create_property("Said")
        self.tasks = set()
        self.commands = {
            "hello": self.mention,
            "who is here": self.list_members,
            "who am i": self.say_who,
            "cake": self.send_counter,
            "one more cake": self.count_up,
            "no more cake": self.remove_counter,
            "lunch": self.send_lunch,
            "room": self.send_task,
            "write to all": self.write_to_all,
            "break": self.take_a_break,
            "fall over": self.fall_over,
        }

    async def on_turn(self, turn_context: TurnContext):
        await super().on_turn(turn_context)
        await self.conversation_state.save_changes(turn_context)

    async def on_message_activity(self, turn_context: TurnContext):
        self.proactive.remember(turn_context.activity)
        text = TurnContext.remove_recipient_mention(turn_context.activity) or ""
        command = self.commands.get(text.strip().lower(), self.say_what_it_knows)
        await command(turn_context)

    async def on_teams_members_added(
        self, teams_members_added: list[TeamsChannelAccount], team_info: TeamInfo, turn_context: TurnContext
    ):
        where = team_info.name if team_info else "this chat"
        for member in teams_members_added:
            if member.id != turn_context.activity.recipient.id:
                await self.say(turn_context, f"Welcome to {where}, {member.given_name or member.name}.")

    async def on_reactions_added(self, message_reactions: list[MessageReaction], turn_context: TurnContext):
        for reaction in message_reactions:
            await self.quote(turn_context, f"Thanks for the {reaction.type}")

    async def on_reactions_removed(self, message_reactions: list[MessageReaction], turn_context: TurnContext):
        for reaction in message_reactions:
            await self.quote(turn_context, f"No {reaction.type} any more")

    # What the commands do

    async def say_what_it_knows(self, turn_context: TurnContext):
        await self.say(turn_context, "I know: " + ", ".join(self.commands))

    async def mention(self, turn_context: TurnContext):
        sender = turn_context.activity.from_property
        mention = Mention(mentioned=sender, text=f"<at>{sender.name}</at>", type="mention")
        reply = MessageFactory.text(f"Good morning, {mention.text}!")
        reply.entities = [mention]
        await turn_context.send_activity(reply)

    async def list_members(self, turn_context: TurnContext):
        names = [member.name for member in await self.all_members(turn_context)]
        await self.say(turn_context, "Here are " + ", ".join(names))

    async def say_who(self, turn_context: TurnContext):
        member = await TeamsInfo.get_member(turn_context, turn_context.activity.from_property.id)
        await self.say(turn_context, f"You are {member.name} <{member.email}>")

    async def send_counter(self, turn_context: TurnContext):
        await turn_context.send_activity(MessageFactory.attachment(counter_card(0)))

    async def count_up(self, turn_context: TurnContext):
        changed = MessageFactory.attachment(counter_card(turn_context.activity.value["count"] + 1))
        changed.id = turn_context.activity.reply_to_id
        await turn_context.update_activity(changed)

    async def remove_counter(self, turn_context: TurnContext):
        await turn_context.delete_activity(turn_context.activity.reply_to_id)

    async def send_lunch(self, turn_context: TurnContext):
        await self.votes.set(turn_context, {})
        await turn_context.send_activity(MessageFactory.attachment(CardFactory.adaptive_card(lunch_card({}))))

    async def send_task(self, turn_context: TurnContext):
        await turn_context.send_activity(MessageFactory.attachment(task_card()))

    async def write_to_all(self, turn_context: TurnContext):
        activity = turn_context.activity
        members = await self.all_members(turn_context)

        async def begun(context: TurnContext):
            reference = TurnContext.get_conversation_reference(context.activity)
            await context.adapter.continue_conversation(reference, say_hello, defaults.DefaultConfig.APP_ID)

        async def say_hello(context: TurnContext):
            await context.send_activity("A word in private: the cake is from yesterday.")

        for member in members:
            parameters = ConversationParameters(
                is_group=False, bot=activity.recipient, members=[member], tenant_id=activity.conversation.tenant_id
            )
            await turn_context.adapter.create_conversation(
                defaults.DefaultConfig.APP_ID, begun, parameters, activity.channel_id, activity.service_url
            )
        await self.say(turn_context, f"{len(members)} people have mail.")

    async def take_a_break(self, turn_context: TurnContext):
        reference = TurnContext.get_conversation_reference(turn_context.activity)
        task = asyncio.create_task(self.end_break(reference))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        await self.say(turn_context, "Until later.")

    async def end_break(self, reference):
        async def say_so(context: TurnContext):
            await self.say(context, "The break is over.")
            await self.conversation_state.save_changes(context)

        await asyncio.sleep(defaults.DefaultConfig.BREAK_SECONDS)
        await self.adapter.continue_conversation(reference, say_so, defaults.DefaultConfig.APP_ID)

    async def fall_over(self, turn_context: TurnContext):
        await self.say(turn_context, "Watch me.")
        raise RuntimeError("fell over")

    # What they share

    async def all_members(self, turn_context: TurnContext) -> list[TeamsChannelAccount]:
        members, token = [], None
        while True:
            page = await TeamsInfo.get_paged_members(turn_context, token, defaults.DefaultConfig.MEMBERS_A_PAGE)
            members += page.members
            token = page.continuation_token
            if not token:
                return members

    async def say(self, turn_context: TurnContext, text: str):
        """Say something that can be quoted later, by the id that it was given."""
        sent = await turn_context.send_activity(text)
        said = await self.said.get(turn_context, dict)
        said[sent.id] = text

    async def quote(self, turn_context: TurnContext, text: str):
        message = turn_context.activity.reply_to_id
        said = await self.said.get(turn_context, dict)
        await turn_context.send_activity(f'{text}: "{said.get(message, "something")}" ({message})')
