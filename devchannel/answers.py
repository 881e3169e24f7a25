"""How the channel's handlers read requests and answer them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from devchannel import inbound
from devchannel.door import Door
from devchannel.page import PAGE_HEADERS
from devchannel.tokens import TokenRefused
from domain.errors import ConversationFull, StoreUnavailable
from state.transcripts import BadWatermark, ConversationNotFound

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


READ_WITHIN = 30.0
"""Seconds for which a body may be on its way."""

_BEGINNING = 'send none, or one that says who begins the conversation: {"user": {"id": "ann", "name": "Ann"}}.'
"""What to do about the body of a request for a conversation or for its token."""


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def answering(handler: Handler, door: Door, *, linked: bool = False) -> Handler:
    """``handler`` for those whom ``door`` lets in, with the channel's errors."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = door.refusal(request, linked=linked) or await _answer(handler, request)
        door.tell_browser(request, response)
        return response

    return answer


async def _answer(handler: Handler, request: web.Request) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as error:
        return _error(error.status, error.code, error)
    except TokenRefused as error:
        return _error(403, "TokenRefused", error)
    except ConversationNotFound as error:
        return _error(404, "ConversationNotFound", error)
    except (inbound.BadActivity, BadWatermark) as error:
        return _error(400, "BadArgument", error)
    except (inbound.TooLarge, web.HTTPRequestEntityTooLarge) as error:
        return _error(413, "MessageSizeTooBig", error)
    except (StoreUnavailable, ConversationFull) as error:
        return _error(503, "ServiceError", error)


def file_answer(file: Path) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(file, headers=PAGE_HEADERS)

    return answer


def json_answer(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(value),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _error(status: int, code: str, error: Exception) -> web.Response:
    return json_answer({"error": {"code": code, "message": str(error)}}, status=status)


def bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def read(request: web.Request, limit: int = inbound.ACTIVITY_BYTES) -> bytes:
    """The body. Raises :class:`Refused` for one that is compressed, or too long on its way, and
    :class:`inbound.TooLarge` for one of more than ``limit`` bytes, once it says so or shows it."""
    _refuse_encoded(request)
    body = bytearray()
    try:
        async with asyncio.timeout(READ_WITHIN):
            while (request.content_length or 0) <= limit >= len(body):
                chunk = await request.content.readany()
                if not chunk:
                    return bytes(body)
                body += chunk
    except TimeoutError as error:
        raise Refused(408, "BadArgument", f"The body did not arrive within {READ_WITHIN:g} s.") from error
    raise inbound.TooLarge(f"The body may have {limit // 1024} KiB.")


def _refuse_encoded(request: web.Request) -> None:
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise Refused(415, "BadArgument", "The local channel takes no compressed bodies.")


async def json_object(request: web.Request) -> dict[str, Any]:
    """The body of a request that is about no activity; empty if there is none."""
    body = await read(request)
    if not body.strip():
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "BadArgument", f"The body is not JSON; {_BEGINNING}") from error
    if not isinstance(value, dict):
        raise Refused(400, "BadArgument", f"The body is not a JSON object; {_BEGINNING}")
    return value


def user_of(body: dict[str, Any]) -> dict[str, Any]:
    """The ``user`` of a request's body: ``id`` and ``name`` where they are given."""
    user = body.get("user") or {}
    if not isinstance(user, dict):
        raise Refused(400, "BadArgument", f"The user is not a JSON object; {_BEGINNING}")
    return {name: user[name] for name in ("id", "name") if isinstance(user.get(name), str) and user[name]}
