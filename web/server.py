"""How the HTTP server treats connections, before and beside any handler."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from web.problems import Handler, Problem, unavailable

log = logging.getLogger("aside.web")

CONNECTIONS = 2000
"""Connections that a process serves at once. What one costs in memory is bounded while nobody is known behind it, so
this bounds what all of them cost."""
SPARE_CONNECTIONS = 50
"""More that are still accepted when all are in use, for health and metrics only."""
OPEN_FILES = 8192
"""What a process may need of them: connections of its clients, to channels and to the store, and some to spare."""
HEAD_WITHIN = 30.0
"""Seconds that a client may take until the head of its request is there."""
ALWAYS_SERVED = ("/health/live", "/health/ready", "/metrics")

OPTIONS: dict[str, Any] = {"auto_decompress": False, "lingering_time": 2.0}
"""Bodies are inflated by who reads them, once it is known who asks; what a refused request still sends is read for a
short while, so that its client sees the answer."""


class Server:
    """Serves an application on sockets. ``close`` ends it: what is under way has so many seconds."""

    def __init__(self, app: web.Application, *, most: int = CONNECTIONS, head_within: float = HEAD_WITHIN) -> None:
        self._runner = web.AppRunner(app, access_log=None, **OPTIONS)
        self._most = most
        self._head_within = head_within
        self._open: dict[Connection, None] = {}  # the one that was used longest ago first
        self._listening: list[asyncio.Server] = []

    async def start(self, sockets: list[socket.socket]) -> None:
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        for each in sockets:
            self._listening.append(await loop.create_server(self._connection, sock=each))

    async def close(self, within: float = 0.0) -> None:
        for listening in self._listening:
            listening.close()
        self._runner._shutdown_timeout = within  # what its constructor takes is decided here
        await self._runner.cleanup()

    def _connection(self) -> Connection:
        return Connection(self, self._runner.server, loop=asyncio.get_running_loop(), access_log=None, **OPTIONS)

    # ------------------------------------------------------------------ for connections

    def opened(self, connection: Connection) -> bool:
        """Count a connection in; whether there is room for it. Who has waited longest for a next request makes room."""
        self._open[connection] = None
        if len(self._open) <= self._most:
            return True
        if (idle := next((each for each in self._open if each.idle), None)) is not None:
            idle.force_close()
            self.closed(idle)
            return True
        if len(self._open) > self._most + SPARE_CONNECTIONS:
            connection.force_close()
        return False

    def used(self, connection: Connection) -> None:
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def closed(self, connection: Connection) -> None:
        self._open.pop(connection, None)

    def head_timer(self, connection: Connection) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._head_within, connection.head_is_late)


class Connection(RequestHandler):
    """A connection of a client. ``crowded``: it came when all were in use, and is for health only."""

    __slots__ = ("_head", "_owner", "crowded")

    def __init__(self, owner: Server, manager: Any, **options: Any) -> None:
        super().__init__(manager, **options)
        self._owner = owner
        self._head: asyncio.TimerHandle | None = None
        self.crowded = False

    @property
    def idle(self) -> bool:
        """Whether it has been served and waits for a next request."""
        return self._request_count > 0 and self._head is None and self._waits

    @property
    def _waits(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head = self._owner.head_timer(self)
        self.crowded = not self._owner.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._owner.closed(self)
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._head_is_there()
            self._owner.used(self)
        elif self._head is None and self._waits:
            self._head = self._owner.head_timer(self)

    def head_is_late(self) -> None:
        self._head = None
        if self._waits:
            self.force_close()

    def _head_is_there(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP is told without anything of it: it may hold a key, or be made for who reads the log."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        ids = {"action": "request_malformed", "peer": request.remote, "error": type(exc).__name__}
        log.warning("what came was no HTTP request", extra=ids)
        answer = Problem(status, "malformed-request", "Malformed request", "This is no HTTP request.").response()
        answer.force_close()
        return answer


@web.middleware
async def leave_room_for_health(request: web.Request, handler: Handler) -> web.StreamResponse:
    """When all connections are in use, the others get to know how the service is, and nothing else."""
    if getattr(request.protocol, "crowded", False) and request.path not in ALWAYS_SERVED:
        log.warning("a request was refused: too many connections", extra={"action": "crowded", "peer": request.remote})
        raise unavailable("The service has too many connections open.", 5)
    return await handler(request)


def allow_open_files(wanted: int) -> None:
    """Raise this process's limit of open files, as far as it may, where it is lower than what ``wanted`` needs."""
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
