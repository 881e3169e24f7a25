import config as defaults
from aiohttp import web
from botbuilder.core import ConversationState, MemoryStorage
from botbuilder.core.integration import aiohttp_error_middleware
from botbuilder.integration.aiohttp import CloudAdapter, ConfigurationBotFrameworkAuthentication
from middleware import error_handling
from routes import add_routes, add_status_page

from bots import TeamsBot

CONFIG = defaults.DefaultConfig()
CONVERSATION_STATE = ConversationState(MemoryStorage())
ADAPTER = CloudAdapter(ConfigurationBotFrameworkAuthentication(CONFIG))
ADAPTER.use(error_handling(ADAPTER))

BOT = TeamsBot(CONVERSATION_STATE, ADAPTER)


async def messages(request: web.Request) -> web.Response:
    return await ADAPTER.process(request, BOT)


APP = web.Application(middlewares=[aiohttp_error_middleware])
APP.router.add_post("/api/messages", messages)
add_routes(APP)
add_status_page(APP)

if __name__ == "__main__":
    web.run_app(APP, host="localhost", port=CONFIG.PORT)
