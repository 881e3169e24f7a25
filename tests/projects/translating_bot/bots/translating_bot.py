import asyncio
from datetime import date, timedelta

import config as defaults
from botbuilder.core import ActivityHandler, ConversationState, MessageFactory, TurnContext, UserState
from botbuilder.schema import ActionTypes, CardAction, ChannelAccount, SuggestedActions
from data_models import ConversationFlow, Question, UserProfile
from middleware.telemetry import TELEMETRY

LANGUAGES = {"english": "en", "deutsch": "de"}


class TranslatingBot(ActivityHandler):
    """Books a horse: a name, an age and a day, asked for without any dialog."""

    def __init__(self, conversation_state: ConversationState, user_state: UserState):
        self.flow_accessor = conversation_state.create_property("ConversationFlow")
        self.profile_accessor = user_state.create_property("UserProfile")
        self.language_accessor = user_state.create_property(defaults.DefaultConfig.LANGUAGE_PROPERTY)

    async def on_members_added_activity(self, members_added: list[ChannelAccount], turn_context: TurnContext):
        for member in members_added:
            if member.id != turn_context.activity.recipient.id:
                await turn_context.send_activity(self.language_choice())

    async def on_message_activity(self, turn_context: TurnContext):
        said = (turn_context.activity.text or "").strip()
        if said.lower() in LANGUAGES:
            await self.language_accessor.set(turn_context, LANGUAGES[said.lower()])
            await turn_context.send_activity("I speak your language now.")
        elif said.lower() == "search":
            await asyncio.sleep(defaults.DefaultConfig.SEARCH_TAKES)
            await turn_context.send_activity("Found one.")
        elif said.lower() == "statistics":
            count = turn_context.turn_state[TELEMETRY].count("Answer", who=turn_context.activity.from_property.id)
            await turn_context.send_activity(f"{count} answers so far")
        else:
            await self.go_on(said, turn_context)

    async def go_on(self, said: str, turn_context: TurnContext):
        flow: ConversationFlow = await self.flow_accessor.get(turn_context, ConversationFlow)
        profile: UserProfile = await self.profile_accessor.get(turn_context, UserProfile)

        if flow.asked is Question.NONE:
            sent = await turn_context.send_activity("Step 1 of 3")
            flow.progress_id = sent.id
            await self.ask(Question.NAME, flow, turn_context)
            return

        problem = self.take(said, flow.asked, profile)
        if problem:
            await turn_context.send_activity(problem)
            return

        turn_context.turn_state[TELEMETRY].track_event(
            "Answer", {"question": flow.asked.name, "who": turn_context.activity.from_property.id}
        )
        if flow.asked is Question.DATE:
            await turn_context.send_activity(
                f"A horse is booked: {profile.name}, {profile.age} years, {profile.day.isoformat()}"
            )
            await turn_context.delete_activity(flow.progress_id)
            await self.flow_accessor.set(turn_context, ConversationFlow())
            return
        await self.ask(Question(flow.asked.value + 1), flow, turn_context)

    async def ask(self, question: Question, flow: ConversationFlow, turn_context: TurnContext):
        texts = {
            Question.NAME: "Which name shall I book the horse for?",
            Question.AGE: "How old is the rider?",
            Question.DATE: "Which day?",
        }
        if question is not Question.NAME:
            progress = MessageFactory.text(f"Step {question.value} of 3")
            progress.id = flow.progress_id
            await turn_context.update_activity(progress)
        flow.asked = question
        await turn_context.send_activity(texts[question])

    def take(self, said: str, asked: Question, profile: UserProfile) -> str | None:
        """Write an answer down; what is wrong with it, otherwise."""
        if asked is Question.NAME:
            if len(said) < 2:
                return "A name has at least two letters."
            profile.name = said
        elif asked is Question.AGE:
            try:
                age = int(said)
            except ValueError:
                return "That is no number."
            if not 8 <= age <= 80:
                return "Riders are from 8 to 80 years old."
            profile.age = age
        else:
            day = self.day_of(said)
            if day is None:
                return "I need a day like 2099-01-31, or tomorrow."
            if day < date.today():
                return "That day is over."
            profile.day = day
        return None

    @staticmethod
    def day_of(said: str) -> date | None:
        names = {"today": date.today(), "tomorrow": date.today() + timedelta(days=1)}
        if said.lower() in names:
            return names[said.lower()]
        try:
            return date.fromisoformat(said)
        except ValueError:
            return None

    @staticmethod
    def language_choice():
        choice = MessageFactory.text("English or Deutsch?")
        choice.suggested_actions = SuggestedActions(
            actions=[CardAction(title=name.title(), type=ActionTypes.im_back, value=name.title()) for name in LANGUAGES]
        )
        return choice
