import config as defaults
from aiohttp import web
from botbuilder.core import ConversationState, MemoryStorage, UserState
from botbuilder.core.integration import aiohttp_error_middleware
from botbuilder.integration.aiohttp import CloudAdapter, ConfigurationBotFrameworkAuthentication
from middleware import (
    TelemetryMiddleware,
    auto_save,
    register_telemetry,
    show_typing,
    telemetry_logger,
    transcript_logger,
    translation,
)

from bots import TranslatingBot

CONFIG = defaults.DefaultConfig()
STORAGE = MemoryStorage()
USER_STATE = UserState(STORAGE)
CONVERSATION_STATE = ConversationState(STORAGE)

ADAPTER = CloudAdapter(ConfigurationBotFrameworkAuthentication(CONFIG))
ADAPTER.use(auto_save(CONVERSATION_STATE, USER_STATE))
ADAPTER.use(register_telemetry())
ADAPTER.use(TelemetryMiddleware())
ADAPTER.use(telemetry_logger())
ADAPTER.use(show_typing())
ADAPTER.use(transcript_logger())
ADAPTER.use(translation(USER_STATE))

BOT = TranslatingBot(CONVERSATION_STATE, USER_STATE)


async def messages(request: web.Request) -> web.Response:
    return await ADAPTER.process(request, BOT)


APP = web.Application(middlewares=[aiohttp_error_middleware])
APP.router.add_post("/api/messages", messages)

if __name__ == "__main__":
    web.run_app(APP, host="localhost", port=CONFIG.PORT)
