"""The yardstick: a broadcast as Microsoft's proactive samples do it, one awaited turn after the other.

``python -m benchmarks.sdk_broadcast cloud|classic URL N`` prints one JSON object. ``cloud`` is CloudAdapter,
``classic`` is BotFrameworkAdapter. Nothing is authenticated; with an app id CloudAdapter asks for tokens too.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from botbuilder.core import BotFrameworkAdapter, BotFrameworkAdapterSettings, TurnContext
from botbuilder.integration.aiohttp import CloudAdapter, ConfigurationBotFrameworkAuthentication
from botbuilder.schema import ChannelAccount, ConversationAccount, ConversationReference
from botframework.connector.auth import ClaimsIdentity

WARM_UP = 10
Continue = Callable[[ConversationReference], Awaitable[Any]]


def cloud_adapter() -> CloudAdapter:
    configuration = SimpleNamespace(APP_ID="", APP_PASSWORD="", APP_TYPE="MultiTenant", APP_TENANTID="")
    return CloudAdapter(ConfigurationBotFrameworkAuthentication(configuration))


async def _speak(context: TurnContext) -> None:
    await context.send_activity("The build is green again.")


def _cloud() -> Continue:
    adapter = cloud_adapter()
    return lambda reference: adapter.continue_conversation(reference, _speak, "")


def _classic() -> Continue:
    adapter = BotFrameworkAdapter(BotFrameworkAdapterSettings("", ""))
    nobody = ClaimsIdentity({}, True)
    return lambda reference: adapter.continue_conversation(reference, _speak, None, nobody)


def _reference(number: int, url: str) -> ConversationReference:
    name = f"{number:06d}"
    return ConversationReference(
        activity_id=f"17000{number:08d}",
        user=ChannelAccount(id=f"29:person-{name}", name=f"Person {name}", aad_object_id=f"aad-{name}"),
        bot=ChannelAccount(id="28:bot", name="Aside"),
        conversation=ConversationAccount(id=f"a:person-{name}", conversation_type="personal", tenant_id="tenant-1"),
        channel_id="msteams",
        service_url=url,
        locale="en-US",
    )


async def _main(adapter: str, url: str, many: int) -> None:
    go_on = _cloud() if adapter == "cloud" else _classic()
    references = [_reference(number, url) for number in range(many)]
    for reference in references[:WARM_UP]:
        await go_on(reference)
    began, used = time.perf_counter(), time.process_time()
    for reference in references:
        await go_on(reference)
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    sys.stdout.write(json.dumps({"seconds": seconds, "processor": processor}) + "\n")


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
