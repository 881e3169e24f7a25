"""The yardstick of a user's turn: Microsoft's echo sample on CloudAdapter behind aiohttp, without any state.

``python -m benchmarks.sdk_bot`` serves it on a free port.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web
from botbuilder.core import ActivityHandler, MessageFactory, TurnContext

from benchmarks.sdk_broadcast import cloud_adapter


class _Echo(ActivityHandler):
    async def on_message_activity(self, turn_context: TurnContext) -> None:
        await turn_context.send_activity(MessageFactory.text(f"Echo: {turn_context.activity.text}"))


async def _serve() -> None:
    adapter, bot = cloud_adapter(), _Echo()

    async def messages(request: web.Request) -> web.Response:
        answer: web.Response | None = await adapter.process(request, bot)
        return answer or web.Response()

    application = web.Application()
    application.router.add_post("/api/messages", messages)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"ready: http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
