"""Connections: how many there may be, how long a client may take, and what is said of what is no HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from testkit.waiting import until
from web.problems import answer_problems
from web.server import Server, leave_room_for_health

DEADLINE = 10.0
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Site:
    """A server whose handlers at ``/slow`` wait for ``go_on``, and the clients that a test has connected to it."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port
        self.go_on = asyncio.Event()
        self.slow = 0
        self.clients: list[Client] = []

    async def connect(self, request: str = "") -> Client:
        client = await asyncio.open_connection("127.0.0.1", self.port)
        self.clients.append(client)
        client[1].write(request.encode("latin-1"))
        return client


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def answer(client: Client) -> str:
    """The head and body of one answer."""
    async with asyncio.timeout(DEADLINE):
        head = (await client[0].readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(int(line[15:]) for line in head.splitlines() if line.lower().startswith("content-length:"))
        return head + (await client[0].readexactly(length)).decode()


async def ended(client: Client) -> None:
    """Until the server has closed the connection, whatever it said before."""
    async with asyncio.timeout(DEADLINE):
        while await client[0].read(1000):
            pass


@asynccontextmanager
async def served(**options: float) -> AsyncIterator[Site]:
    app = web.Application(middlewares=[answer_problems, leave_room_for_health])
    server = Server(app, **options)  # type: ignore[arg-type]
    listening = socket.create_server(("127.0.0.1", 0))
    site = Site(server, listening.getsockname()[1])

    async def slow(request: web.Request) -> web.Response:
        site.slow += 1
        await site.go_on.wait()
        return web.Response(text="slow")

    async def read(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async def quick(request: web.Request) -> web.Response:
        return web.Response(text="quick")

    for path, handler in {"/slow": slow, "/read": read, "/": quick, "/health/live": quick}.items():
        app.router.add_route("*", path, handler)
    await server.start([listening])
    try:
        yield site
    finally:
        site.go_on.set()
        for _, writer in site.clients:
            writer.close()
        await server.close()


@pytest.mark.parametrize("begun", ["", "GET / HTTP/1.1\r\nHost: local"])
async def test_a_head_that_does_not_come_to_its_end_is_not_waited_for(begun: str) -> None:
    """Nor is that of a second request."""
    async with served(head_within=0.1) as site:
        await ended(await site.connect(begun))
        again = await site.connect(get("/"))
        assert "quick" in await answer(again)
        again[1].write(b"GET / HT")
        await ended(again)


async def test_a_connection_between_two_requests_is_kept() -> None:
    """The time for a head begins with it; proxies keep their connections for long."""
    async with served(head_within=0.1) as site:
        idle = await site.connect(get("/"))
        assert "quick" in await answer(idle)
        await ended(await site.connect("GET"))  # for whose head the time was up
        idle[1].write(get("/").encode())
        assert "quick" in await answer(idle)


async def test_who_has_been_idle_for_longest_makes_room() -> None:
    async with served(most=2) as site:
        first, second = [await site.connect(get("/")) for _ in range(2)]
        assert "quick" in await answer(first) and "quick" in await answer(second)
        first[1].write(get("/").encode())
        assert "quick" in await answer(first)
        third = await site.connect(get("/"))
        assert "quick" in await answer(third)
        await ended(second)
        first[1].write(get("/").encode())
        assert "quick" in await answer(first)


async def test_when_all_are_busy_health_is_still_told() -> None:
    async with served(most=2) as site:
        busy = [await site.connect(get("/slow")) for _ in range(2)]
        await until(lambda: site.slow == 2, within=DEADLINE)
        refused = await answer(await site.connect(get("/")))
        assert " 503 " in refused and "Retry-After" in refused and "application/problem+json" in refused
        assert " 200 " in await answer(await site.connect(get("/health/live")))
        site.go_on.set()
        for client in busy:
            assert "slow" in await answer(client)


MALFORMED: dict[str, Callable[[str], str]] = {
    "a header with a control character": lambda secret: f"GET / HTTP/1.1\r\nAuthorization: {secret}\x01\r\n\r\n",
    "a header without a name": lambda secret: f"GET / HTTP/1.1\r\n: {secret}\r\n\r\n",
    "no HTTP": lambda secret: f"{secret}\x00\r\n\r\n",
    "two lengths": lambda secret: f"POST / HTTP/1.1\r\nX: {secret}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
}


@pytest.mark.parametrize("request_of", MALFORMED.values(), ids=MALFORMED)
async def test_nothing_of_a_malformed_request_is_told(
    request_of: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    """It may hold a key. Who sent it gets a problem document, the operator a line."""
    caplog.set_level(logging.INFO)
    async with served() as site:
        told = await answer(await site.connect(request_of("the-secret")))
    assert " 400 " in told and "application/problem+json" in told
    assert "the-secret" not in told + caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert [vars(record)["action"] for record in caplog.records] == ["request_malformed"]


async def test_a_body_that_does_not_come_holds_up_no_exit() -> None:
    async with served() as site:
        await site.connect("POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
        stuck = await site.connect(get("/slow"))
        await until(lambda: site.slow == 1, within=DEADLINE)
        async with asyncio.timeout(DEADLINE):
            await site.server.close(0.05)
        await ended(stuck)
