"""Those who use the service from outside, over connections that cost next to nothing."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REQUEST = (
    b"%b %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
    b"%bContent-Length: %d\r\n\r\n%b"
)
Json = dict[str, Any]


class Refused(Exception):
    """The service answered something else than was expected."""


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time, answers with a length only."""

    def __init__(self, token: str | None = None) -> None:
        self._authorization = f"Authorization: Bearer {token}\r\n".encode() if token else b""
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        length = _LENGTH.search(self._received, 0, max(0, end)) if end >= 0 else None
        if length is None or len(self._received) < end + 4 + int(length[1]):
            return
        status, body = int(self._received[9:12]), self._received[end + 4 :]
        self._received = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the connection was closed"))

    async def request(self, method: str, path: str, body: Json | None = None) -> tuple[int, bytes]:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        data = b"" if body is None else orjson.dumps(body)
        self._transport.write(_REQUEST % (method.encode(), path.encode(), self._authorization, len(data), data))
        return await self._answer

    async def ask(self, path: str) -> Any:
        """The JSON at a path."""
        status, body = await self.request("GET", path)
        if status != 200:
            raise Refused(f"GET {path}: {status} {body[:300]!r}")
        return orjson.loads(body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@asynccontextmanager
async def connected(url: str, token: str | None = None) -> AsyncIterator[Connection]:
    """A connection whose requests carry ``token``, if there is one."""
    address = urlsplit(url)
    assert address.hostname is not None and address.port is not None
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(token), address.hostname, address.port)
    try:
        yield connection
    finally:
        connection.close()


_numbers = itertools.count(1)


def said(person: int, channel_url: str, **fields: Any) -> Json:
    """An activity of a person, as Teams posts it."""
    name = f"{person:06d}"
    return {
        "type": "message",
        "id": f"17000{next(_numbers):08d}",
        "timestamp": "2026-01-05T12:00:00.000Z",
        "channelId": "msteams",
        "serviceUrl": channel_url,
        "from": {"id": f"29:person-{name}", "name": f"Person {name}", "aadObjectId": f"aad-{name}"},
        "recipient": {"id": "28:bot", "name": "Aside"},
        "conversation": {"id": f"a:person-{name}", "conversationType": "personal", "tenantId": "tenant-1"},
        "locale": "en-US",
        "localTimezone": "Europe/Berlin",
        **fields,
    }


async def tell(connection: Connection, activity: Json) -> float:
    """Post an activity and wait for the end of its turn; the seconds that took."""
    began = time.perf_counter()
    status, body = await connection.request("POST", "/api/messages", activity)
    if status not in (200, 201):  # the SDK's bots answer 201
        raise Refused(f"POST /api/messages: {status} {body[:300]!r}")
    return time.perf_counter() - began


async def notify(connection: Connection, **fields: Any) -> tuple[Json, float]:
    """Post a notification to everyone; the answer, and the seconds until it came."""
    began = time.perf_counter()
    body = {"to": {"all": True}, "text": "The build is green again.", "mode": "interject", **fields}
    status, answer = await connection.request("POST", "/api/notify", body)
    if status != 202:
        raise Refused(f"POST /api/notify: {status} {answer[:300]!r}")
    return orjson.loads(answer), time.perf_counter() - began


async def at_once(
    url: str, many: int, do: Callable[[Connection, int], Awaitable[None]], *, token: str | None = None
) -> None:
    """``do`` for each of ``many`` people at once, each on a connection of their own."""

    async def person(number: int) -> None:
        async with connected(url, token) as connection:
            await do(connection, number)

    async with asyncio.TaskGroup() as group:
        for number in range(many):
            group.create_task(person(number))


async def introduce(bot_url: str, channel_url: str, people: int, *, start: int = 0, token: str | None = None) -> None:
    """Make conversations known: everybody says hello and is answered."""
    numbers = iter(range(start, people))

    async def speak(connection: Connection, _: int) -> None:
        for number in numbers:
            await tell(connection, said(number, channel_url, text="hello"))

    await at_once(bot_url, min(50, people - start), speak, token=token)
