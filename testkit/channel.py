"""A Bot Framework channel for tests: the Connector REST API, its memory, and its moods."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from testkit.waiting import until

Json = dict[str, Any]


@dataclass(frozen=True)
class Mood:
    """How the channel answers one request: ``accept`` whether it shows the activity, then the answer.

    ``status`` 0 closes the connection without an answer."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    accept: bool | None = None
    before: asyncio.Event | None = None
    """Waited for before anything else."""
    after: asyncio.Event | None = None
    """Waited for once it is shown, before the answer."""
    resets: bool = False
    """With ``status`` 0: the connection is reset instead of closed."""
    cut: bool = False
    """The answer breaks off after its head."""

    @property
    def shows(self) -> bool:
        return self.status in (200, 201) if self.accept is None else self.accept


@dataclass
class Shown:
    """An activity as the user sees it now."""

    id: str
    activity: Json
    deleted: bool = False


class FakeChannel:
    """Every conversation shows what was accepted, in order; ``requests`` holds every request that came."""

    def __init__(self) -> None:
        self.shown: dict[str, list[Shown]] = defaultdict(list)
        self.requests: list[tuple[str, str, str, Json | None]] = []
        self.authorizations: list[str | None] = []
        self.moods: dict[str, list[Mood]] = defaultdict(list)
        self.members: dict[str, str] = {}
        """Names of those whom the bot may ask for, by id."""
        self.sequence = 0
        self.url = ""
        self.arrived = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> FakeChannel:
        app = web.Application(client_max_size=4 * 1024 * 1024)
        base = "/v3/conversations/{conversation}/activities"
        app.router.add_post(base, self._send)
        app.router.add_post(base + "/{activity}", self._send)
        app.router.add_put(base + "/{activity}", self._update)
        app.router.add_delete(base + "/{activity}", self._delete)
        app.router.add_get("/v3/conversations/{conversation}/members/{member}", self._member)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
        return self

    async def stop(self) -> None:
        """Connections are refused from now on, until :meth:`comes_back`."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def comes_back(self) -> None:
        """At the address where it was."""
        await self.start(int(self.url.rstrip("/").rpartition(":")[2]))

    def answers(self, conversation: str, *moods: Mood) -> None:
        """The next requests of this conversation are answered so, then again as usual."""
        self.moods[conversation] += moods

    def messages(self, conversation: str) -> list[Json]:
        """What the user sees, oldest first."""
        return [
            shown.activity
            for shown in self.shown[conversation]
            if not shown.deleted and shown.activity.get("type") == "message"
        ]

    def texts(self, conversation: str) -> list[str]:
        return [_text(activity) for activity in self.messages(conversation)]

    async def until_texts(self, conversation: str, condition: Callable[[list[str]], Any]) -> list[str]:
        await until(lambda: condition(self.texts(conversation)), what=f"{conversation}: {self.texts(conversation)}")
        return self.texts(conversation)

    # ------------------------------------------------------------------ routes

    async def _member(self, request: web.Request) -> web.Response:
        member = request.match_info["member"]
        if member not in self.members:
            error = {"error": {"code": "MemberNotFoundInConversation", "message": "Member not found."}}
            return web.json_response(error, status=404)
        return web.json_response({"id": member, "name": self.members[member]})

    async def _mood(self, request: web.Request) -> tuple[str, Mood, Json | None]:
        conversation = request.match_info["conversation"]
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, conversation, request.path, body))
        self.authorizations.append(request.headers.get("Authorization"))
        queue = self.moods[conversation]
        mood = queue.pop(0) if queue else Mood()
        if mood.before is not None:
            await mood.before.wait()
        return conversation, mood, body

    async def _send(self, request: web.Request) -> web.StreamResponse:
        conversation, mood, body = await self._mood(request)
        self.sequence += 1
        activity_id = f"act-{self.sequence}"
        if mood.shows:
            self.shown[conversation].append(Shown(activity_id, body or {}))
        if mood.after is not None:
            await mood.after.wait()
        if mood.cut:
            return await self._answer_in_part(request, mood)
        return self._answer(request, mood, activity_id)

    async def _answer_in_part(self, request: web.Request, mood: Mood) -> web.StreamResponse:
        response = web.StreamResponse(status=mood.status, headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"id":')
        assert request.transport is not None
        request.transport.close()
        return response

    async def _update(self, request: web.Request) -> web.StreamResponse:
        conversation, mood, body = await self._mood(request)
        activity_id = request.match_info["activity"]
        shown = self._find(conversation, activity_id)
        if shown is None:
            return web.json_response({"error": {"code": "ActivityNotFoundInConversation"}}, status=404)
        shown.activity = body or {}
        return self._answer(request, mood, activity_id)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        conversation, mood, _ = await self._mood(request)
        shown = self._find(conversation, request.match_info["activity"])
        if shown is None:
            return web.json_response({"error": {"code": "ActivityNotFoundInConversation"}}, status=404)
        shown.deleted = True
        return self._answer(request, mood, shown.id)

    def _find(self, conversation: str, activity_id: str) -> Shown | None:
        return next((shown for shown in self.shown[conversation] if shown.id == activity_id), None)

    def _answer(self, request: web.Request, mood: Mood, activity_id: str) -> web.StreamResponse:
        if mood.status == 0:
            assert request.transport is not None
            if mood.resets:
                connection = request.transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
            return web.Response()
        if mood.body is not None or mood.status not in (200, 201):
            body = mood.body if mood.body is not None else b'{"error":{"code":"Injected"}}'
            return web.Response(status=mood.status, body=body, headers=mood.headers)
        return web.json_response({"id": activity_id}, status=mood.status)


def _text(activity: Json) -> str:
    """What an activity says: its text, or its card's title and text."""
    if activity.get("text"):
        return str(activity["text"])
    cards = [attachment.get("content") or {} for attachment in activity.get("attachments", [])]
    return "\n".join(filter(None, [part for card in cards for part in (card.get("title"), card.get("text"))]))
