import logging

import config as defaults
from aiohttp import web
from botbuilder.core import ConversationState, MemoryStorage, TurnContext, UserState
from botbuilder.core.integration import aiohttp_error_middleware
from botbuilder.integration.aiohttp import CloudAdapter, ConfigurationBotFrameworkAuthentication

from bots import DialogAndWelcomeBot
from dialogs import UserProfileDialog

CONFIG = defaults.DefaultConfig()
ADAPTER = CloudAdapter(ConfigurationBotFrameworkAuthentication(CONFIG))

MEMORY = MemoryStorage()
CONVERSATION_STATE = ConversationState(MEMORY)
USER_STATE = UserState(MEMORY)

DIALOG = UserProfileDialog(USER_STATE)
BOT = DialogAndWelcomeBot(CONVERSATION_STATE, USER_STATE, DIALOG)


async def on_error(context: TurnContext, error: Exception):
    logging.getLogger(__name__).error("a turn failed", exc_info=error)
    await context.send_activity("That did not work. Let us begin again.")
    await CONVERSATION_STATE.delete(context)


ADAPTER.on_turn_error = on_error


async def messages(request: web.Request) -> web.Response:
    return await ADAPTER.process(request, BOT)


APP = web.Application(middlewares=[aiohttp_error_middleware])
APP.router.add_post("/api/messages", messages)

if __name__ == "__main__":
    web.run_app(APP, host="localhost", port=CONFIG.PORT)
