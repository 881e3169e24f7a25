"""Direct Line 3.0 over HTTP and WebSocket, as botframework-directlinejs and Web Chat speak it.

Source: https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-direct-line-3-0-api-reference
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import urlencode

import orjson
from aiohttp import WSCloseCode, web

from devchannel import inbound
from devchannel.answers import (
    Refused,
    answering,
    bearer,
    file_answer,
    json_answer,
    json_object,
    read,
    user_of,
)
from devchannel.door import Door
from devchannel.page import STATIC
from devchannel.tokens import TOKEN_SECONDS, Grant, TokenRefused, Tokens
from domain.clock import Clock, system_clock
from domain.ids import new_id
from state.transcripts import ActivityJson, ConversationNotFound, Transcripts, parse_watermark

log = logging.getLogger("aside.devchannel")

Receive = Callable[[ActivityJson], Awaitable[None]]
"""Hands an activity to the bot; returns when its turn is over and raises if it could not be run."""
Keep = Callable[[ActivityJson], Awaitable[None]]
"""Promises the turn of an activity: whatever becomes of this process, it is run."""

BASE = "/v3/directline"
ANSWER_WITHIN = 10.0
"""Seconds for which a client that posts waits for the bot's turn; the turn itself goes on."""
KEEP_ALIVE = 15.0
"""Seconds of silence on a stream after which an empty frame is sent."""


def add_routes(
    app: web.Application,
    transcripts: Transcripts,
    receive: Receive,
    *,
    keep: Keep,
    tokens: Tokens,
    clock: Clock = system_clock,
    answer_within: float = ANSWER_WITHIN,
    keep_alive: float = KEEP_ALIVE,
    origins: Collection[str] = (),
) -> DirectLine:
    """Add the channel under ``/v3/directline`` and the chat page at ``/``. Close what is returned at shutdown.

    ``origins``: of pages on this machine, other than the chat page, that may use the channel.
    """
    door = Door(origins)
    channel = DirectLine(
        *(transcripts, receive, keep, tokens), clock=clock, answer_within=answer_within, keep_alive=keep_alive
    )
    one = BASE + "/conversations/{conversation}"
    for method, path, handler in (
        ("POST", BASE + "/tokens/generate", channel.generate_token),
        ("POST", BASE + "/tokens/refresh", channel.refresh_token),
        ("GET", BASE + "/session/getsessionid", channel.session_id),
        ("POST", BASE + "/conversations", channel.start),
        ("GET", one, channel.reconnect),
        ("GET", one + "/activities", channel.activities),
        ("POST", one + "/activities", channel.post),
        ("POST", one + "/upload", channel.upload),
        ("GET", one + "/stream", channel.stream),
    ):
        app.router.add_route(method, path, answering(handler, door))
    for path, file in STATIC.items():
        app.router.add_route("GET", path, answering(file_answer(file), door, linked=True))
    app.router.add_route("OPTIONS", BASE + "/{path:.*}", answering(door.preflight, door))
    return channel


class DirectLine:
    """The handlers, the turns that they started, and the streams that are open."""

    def __init__(
        self,
        transcripts: Transcripts,
        receive: Receive,
        keep: Keep,
        tokens: Tokens,
        *,
        clock: Clock,
        answer_within: float,
        keep_alive: float,
    ) -> None:
        self._transcripts = transcripts
        self._receive = receive
        self._keep = keep
        self._tokens = tokens
        self._clock = clock
        self._answer_within = answer_within
        self._keep_alive = keep_alive
        self._turns: set[asyncio.Task[None]] = set()
        self._streams: set[web.WebSocketResponse] = set()

    async def close(self, *, drain: float = 0.0) -> None:
        """Give the turns under way up to ``drain`` seconds, then end them, and end all streams."""
        if self._turns and drain > 0:
            await asyncio.wait(self._turns, timeout=drain)
        for turn in self._turns:
            turn.cancel()
        if self._turns:
            await asyncio.wait(self._turns)
        for stream in list(self._streams):
            await stream.close(code=WSCloseCode.GOING_AWAY, message=b"The service is shutting down.")
        await self._transcripts.close()

    async def generate_token(self, request: web.Request) -> web.Response:
        user = user_of(await json_object(request))
        grant = Grant(conversation_id=new_id("chat"), user_id=user.get("id", ""))
        return json_answer(await self._conversation(grant))

    async def refresh_token(self, request: web.Request) -> web.Response:
        return json_answer(await self._conversation(await self._grant(request)))

    async def session_id(self, request: web.Request) -> web.Response:
        """For clients that sign users in; whoever asks again has a session of their own again."""
        return json_answer({"sessionId": new_id("ses")})

    async def start(self, request: web.Request) -> web.Response:
        """Begin the conversation that the token names, or a new one: 201, or 200 if it had begun before."""
        body = await json_object(request)
        user = user_of(body)
        if bearer(request):
            grant = await self._grant(request)
            user = {**user, "id": grant.user_id} if grant.user_id else user
        else:
            grant = Grant(conversation_id=new_id("chat"), user_id=user.get("id", ""))
        user.setdefault("id", new_id("dl"))
        created = await self._transcripts.create(grant.conversation_id, user["id"])
        if created:
            locale = body.get("locale")
            await self._hand_over(
                inbound.conversation_update(
                    grant.conversation_id, user, locale if isinstance(locale, str) else "", self._clock
                )
            )
        return json_answer(await self._conversation(grant, request, watermark="0"), status=201 if created else 200)

    async def reconnect(self, request: web.Request) -> web.Response:
        """A new token and stream. Without a watermark the stream begins now; an empty one is a client's
        that has seen nothing yet."""
        grant = await self._grant(request)
        watermark = await self._transcripts.last_watermark(grant.conversation_id)
        if "watermark" in request.query:
            watermark = str(parse_watermark(request.query["watermark"]))
        return json_answer(await self._conversation(grant, request, watermark=watermark))

    async def activities(self, request: web.Request) -> web.Response:
        grant = await self._grant(request)
        await self._must_exist(grant)
        found = await self._transcripts.read(grant.conversation_id, request.query.get("watermark", ""))
        return json_answer({"activities": found.activities, "watermark": found.watermark})

    async def post(self, request: web.Request) -> web.Response:
        grant = await self._grant(request)
        return await self._say(grant, inbound.parse_activity(await read(request)))

    async def upload(self, request: web.Request) -> web.Response:
        grant = await self._grant(request)
        if request.content_type != "multipart/form-data":
            raise Refused(415, "BadArgument", "An upload is multipart/form-data.")
        activity = await inbound.parse_upload(request.headers, await read(request, inbound.UPLOAD_BODY_BYTES))
        if "from" not in activity and (user_id := request.query.get("userId")):
            activity["from"] = {"id": user_id}
        return await self._say(grant, activity)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        grant = await self._grant(request, request.query.get("t", ""))
        await self._must_exist(grant)
        watermark = request.query.get("watermark", "")
        parse_watermark(watermark)
        socket = web.WebSocketResponse(max_msg_size=4096)
        if not socket.can_prepare(request):
            raise Refused(400, "BadArgument", "A stream is a WebSocket.")
        await socket.prepare(request)
        self._streams.add(socket)
        sending = asyncio.create_task(self._send(socket, grant, watermark), name="devchannel-stream")
        try:
            async for _ in socket:
                pass  # clients send nothing but keep-alives; activities are posted
        finally:
            self._streams.discard(socket)
            sending.cancel()
            await asyncio.wait([sending])
        return socket

    async def _send(self, socket: web.WebSocketResponse, grant: Grant, watermark: str) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while not socket.closed:
                    found = await self._transcripts.read(
                        grant.conversation_id, watermark, block_ms=round(self._keep_alive * 1000)
                    )
                    watermark = found.watermark
                    if found.activities:
                        frame = {"activities": found.activities, "watermark": watermark}
                        await socket.send_str(orjson.dumps(frame).decode())
                    else:
                        await socket.send_str("")
        except Exception as error:
            log.warning(
                "stream broken: %s",
                type(error).__name__,
                extra={"action": "devchannel_stream_broken", "conversation": grant.conversation_id},
            )
            await socket.close(code=WSCloseCode.INTERNAL_ERROR)

    async def _say(self, grant: Grant, activity: ActivityJson) -> web.Response:
        complete = inbound.complete(activity, grant.conversation_id, grant.user_id, self._clock)
        complete["id"] = await self._transcripts.append(grant.conversation_id, complete)
        await self._hand_over(complete)
        return json_answer({"id": complete["id"]})

    async def _hand_over(self, activity: ActivityJson) -> None:
        """Answers once the activity is the bot's for certain; and, if it takes no more than ``answer_within``, once its
        turn is over."""
        await self._keep(activity)
        turn = asyncio.create_task(self._turn(activity), name="devchannel-turn")
        self._turns.add(turn)
        turn.add_done_callback(self._turns.discard)
        await asyncio.wait([turn], timeout=self._answer_within)

    async def _turn(self, activity: ActivityJson) -> None:
        try:
            await self._receive(activity)
        except Exception:
            ids = {"conversation": activity["conversation"]["id"], "activity": activity["id"]}
            text = "a turn could not be run, and is run later"
            log.exception(text, extra={"action": "devchannel_turn_failed", **ids})

    async def _grant(self, request: web.Request, token: str | None = None) -> Grant:
        token = token or bearer(request)
        if not token:
            raise Refused(401, "MissingToken", "Send a Direct Line token: Authorization: Bearer TOKEN.")
        grant = await self._tokens.check(token)
        if request.match_info.get("conversation", grant.conversation_id) != grant.conversation_id:
            raise TokenRefused("The token is for another conversation.")
        return grant

    async def _must_exist(self, grant: Grant) -> None:
        if not await self._transcripts.exists(grant.conversation_id):
            raise ConversationNotFound(f"There is no conversation {grant.conversation_id}.")

    async def _conversation(
        self, grant: Grant, request: web.Request | None = None, *, watermark: str = ""
    ) -> dict[str, Any]:
        token = await self._tokens.issue(grant)
        answer = {"conversationId": grant.conversation_id, "token": token, "expires_in": TOKEN_SECONDS}
        if request is not None:
            query = urlencode({"watermark": watermark, "t": token})
            scheme = "wss" if request.scheme == "https" else "ws"
            path = f"{BASE}/conversations/{grant.conversation_id}/stream"
            answer["streamUrl"] = f"{scheme}://{request.host}{path}?{query}"
        return answer
