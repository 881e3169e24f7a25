from aiohttp import web
from botbuilder.core import TurnContext
from helpers.proactive import PROACTIVE


async def coffee_is_ready(context: TurnContext):
    await context.send_activity("Coffee is ready.")


async def notify(request: web.Request) -> web.Response:
    """Tells everybody whom the bot has met."""
    reached = await PROACTIVE.send_to_all(coffee_is_ready)
    return web.json_response({"reached": reached}, status=201)


async def status(request: web.Request) -> web.Response:
    names = sorted(reference.user.name for reference in PROACTIVE.conversation_references.values())
    return web.json_response({"met": names})


def add_routes(app: web.Application):
    app.router.add_get("/api/notify", notify)


def add_status_page(app: web.Application):
    app.router.add_get("/team/status", status)
    app.router.add_post("/team/coffee", notify)
