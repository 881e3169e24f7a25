from collections.abc import Awaitable, Callable

import config as defaults
from botbuilder.core import Middleware, TurnContext, UserState
from botbuilder.schema import Activity, ActivityTypes
from translation import DictionaryTranslator


class TranslationMiddleware(Middleware):
    """The bot reads and writes its own language, the user another."""

    def __init__(self, translator: DictionaryTranslator, user_state: UserState):
        self.translator = translator
        self.preference = user_state.create_property(defaults.DefaultConfig.LANGUAGE_PROPERTY)

    async def on_turn(self, context: TurnContext, logic: Callable[[], Awaitable]):
        language = await self.language_of(context)
        if context.activity.type == ActivityTypes.message and context.activity.text:
            context.activity.text = await self.translator.translate(
                context.activity.text, language, defaults.DefaultConfig.BOT_LANGUAGE
            )

        async def translate_sent(sending: TurnContext, activities: list[Activity], next_send: Callable[[], Awaitable]):
            # The user may have chosen another language in this very turn.
            target = await self.language_of(sending)
            for activity in activities:
                await self.translate_to(target, activity)
            return await next_send()

        async def translate_updated(updating: TurnContext, activity: Activity, next_update: Callable[[], Awaitable]):
            await self.translate_to(await self.language_of(updating), activity)
            return await next_update()

        context.on_send_activities(translate_sent)
        context.on_update_activity(translate_updated)
        await logic()

    async def language_of(self, context: TurnContext) -> str:
        return await self.preference.get(context, defaults.DefaultConfig.BOT_LANGUAGE)

    async def translate_to(self, language: str, activity: Activity):
        if activity.type == ActivityTypes.message and activity.text:
            activity.text = await self.translator.translate(
                activity.text, defaults.DefaultConfig.BOT_LANGUAGE, language
            )


def translation(user_state: UserState) -> TranslationMiddleware:
    return TranslationMiddleware(DictionaryTranslator(), user_state)
