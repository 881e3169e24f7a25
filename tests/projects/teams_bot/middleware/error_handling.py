import logging

from botbuilder.core import BotAdapter, Middleware, TurnContext
from botbuilder.schema import ActivityTypes

LAST_COMMAND = "LastCommand"


class LastCommandMiddleware(Middleware):
    """Keeps what was asked for, so that an error can say what it was about."""

    async def on_turn(self, context: TurnContext, logic):
        if context.activity.type == ActivityTypes.message:
            context.turn_state[LAST_COMMAND] = context.activity.text
        await logic()


def error_handling(adapter: BotAdapter) -> Middleware:
    async def on_error(context: TurnContext, error: Exception):
        logging.getLogger("teams_bot").error("A turn broke", exc_info=error)
        await context.send_activity(f"I could not do that: {context.turn_state.get(LAST_COMMAND)}")
        await context.send_trace_activity(
            "on_error", str(error), "https://www.botframework.com/schemas/error", "TurnError"
        )

    adapter.on_turn_error = on_error
    return LastCommandMiddleware()
