"""HTTP/1.1 to channels, over connections that are kept: a request is one write, and usually one read.

A send needs little of what an HTTP client does: no cookies, no redirects, no streams, and nothing but a few bytes of
the answer. A general client takes several times the processor time for it, which was a quarter of what a delivery took
(``benchmarks/README.md``). Parsing (``httptools``), racing addresses (``aiohappyeyeballs``) and TLS are left to those
who do that well. ``tests/test_connections.py`` holds this beside a general client.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple, cast

import httptools
from aiohappyeyeballs import AddrInfoType, start_connection

from domain.value import value

LARGEST_ANSWER = 256 * 1024
"""Bytes of an answer, its head included, that are read at most."""
ADDRESSES_KEPT = 10.0
"""Seconds for which the addresses of a server are remembered."""
NEXT_ADDRESS_AFTER = 0.25
"""Seconds after which a second address is tried beside the first (RFC 8305, section 5)."""


class NotSent(Exception):
    """The server has seen nothing of the request. The message names the reason, and nothing secret."""


class NoAnswer(Exception):
    """The server may have done what it was asked. The message names the reason, and nothing secret."""


class Server(NamedTuple):
    """``authority`` is the host with its port where that is not the scheme's own (RFC 9110, section 7.2)."""

    host: str
    port: int
    secure: bool
    authority: str


@value
class Response:
    """``complete`` unless the answer broke off in its body, or took too long. The body is not compressed any more."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    complete: bool

    def header(self, name: bytes) -> str | None:
        """Of a header that is there several times the last; ``name`` in lower case."""
        found = (content.decode("latin-1") for known, content in reversed(self.headers) if known.lower() == name)
        return next(found, None)


class _Connection(asyncio.Protocol):
    """One request at a time. What the server says without having been asked ends the connection."""

    def __init__(self, open_ones: set[_Connection]) -> None:
        self.reusable = True
        self.idle_since = 0.0
        self._open_ones = open_ones
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Response] | None = None
        self._start_over()

    def _start_over(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._received = 0
        self._status: int | None = None

    async def ask(self, request: bytes) -> Response:
        """Raises :class:`NoAnswer`."""
        self._start_over()
        self._answer = self._loop.create_future()
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None

    def wait_no_longer(self) -> None:
        """What there is of an answer is the answer, if its head is there."""
        self._end("TimeoutError")

    def close(self) -> None:
        self.reusable = False
        self._transport.abort()  # whatever the server does: nothing more is to be read or written

    # ------------------------------------------------------------------ what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._open_ones.add(self)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._end(f"no HTTP: {error}"[:100])
        if self._received > LARGEST_ANSWER:
            self._end("the answer is too large")

    def connection_lost(self, error: Exception | None) -> None:
        self.reusable = False
        self._open_ones.discard(self)
        names = {name.lower() for name, _ in self._headers}
        if error is None and not names & {b"content-length", b"transfer-encoding"}:
            self._finish(complete=True)  # such an answer ends with the connection (RFC 9112, section 6.3)
        self._end(type(error).__name__ if error else "the connection was closed")

    # ------------------------------------------------------------------ what the parser tells

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.done():
            self.reusable = False

    def on_header(self, name: bytes, content: bytes) -> None:
        self._headers.append((name, content))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._status is not None and self._status < 200:
            self._start_over()  # an interim answer: the final one follows
            return
        unread = self._transport.get_write_buffer_size()  # the server has answered before it had heard all
        self.reusable = self.reusable and not unread and self._parser.should_keep_alive()
        self._finish(complete=True)

    # ------------------------------------------------------------------ the end

    def _finish(self, *, complete: bool) -> None:
        if self._answer is not None and not self._answer.done() and self._status is not None:
            body = _inflated(b"".join(self._body), self._headers)
            self._answer.set_result(Response(status=self._status, headers=self._headers, body=body, complete=complete))

    def _end(self, reason: str) -> None:
        self.close()
        self._finish(complete=False)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswer(reason))


class Connections:
    """Made in a running event loop.

    ``most``: connections, and so requests under way; further requests wait. ``spare`` of these places are for those in
    a hurry. A server has ``connect_within`` seconds to accept a connection, and an idle one is closed after
    ``keep_for`` seconds. ``trust``: whose certificates are accepted, those of the system's authorities by default.
    """

    def __init__(
        self,
        *,
        most: int,
        spare: int,
        connect_within: float,
        keep_for: float,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._most = most
        self._places = asyncio.Semaphore(most)
        self._unhurried = asyncio.Semaphore(most - spare)
        self._connect_within = connect_within
        self._keep_for = keep_for
        self._tls = trust or ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._open: set[_Connection] = set()
        self._opening = 0
        self._idle: dict[Server, deque[_Connection]] = {}
        """Those that were used last are last, and used first."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._lookups: dict[tuple[str, int], tuple[float, asyncio.Future[list[AddrInfoType]]]] = {}

    async def request(
        self,
        method: str,
        server: Server,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        within: float,
        hurried: bool = False,
    ) -> Response:
        """Send a request and read its answer; redirects are not followed.

        ``target`` is the path, quoted, with its query. ``within`` so many seconds it has a place among the others, and
        within as many again its answer. Raises :class:`NotSent`, :class:`NoAnswer`, and ``ValueError`` for what cannot
        be a request.
        """
        request = _encoded(method, server, target, headers, body)
        if hurried:
            return await self._request(server, request, within)
        await _place_in(self._unhurried, within)
        try:
            return await self._request(server, request, within)
        finally:
            self._unhurried.release()

    async def _request(self, server: Server, request: bytes, within: float) -> Response:
        await _place_in(self._places, within)
        connection: _Connection | None = None
        try:
            connection = self._kept(server) or await self._opened(server)
            timer = self._loop.call_later(within, connection.wait_no_longer)
            try:
                response = await connection.ask(request)
            finally:
                timer.cancel()
            self._keep(server, connection)
            return response
        finally:
            if connection is not None and not connection.idle_since:
                connection.close()
            self._places.release()

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._open)

    async def close(self) -> None:
        """Close all connections; requests that are under way get no answer."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for _, lookup in self._lookups.values():
            lookup.cancel()
        self._idle.clear()
        for connection in [*self._open]:
            connection.close()
        await asyncio.sleep(0)  # a transport is gone a step after it was told

    # ------------------------------------------------------------------ connections

    def _kept(self, server: Server) -> _Connection | None:
        idle = self._idle.get(server)
        while idle:
            connection = idle.pop()
            connection.idle_since = 0.0
            if connection.reusable:
                return connection
        return None

    def _keep(self, server: Server, connection: _Connection) -> None:
        if not connection.reusable:
            return
        connection.idle_since = self._loop.time()
        self._idle.setdefault(server, deque()).append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._keep_for, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long, and forget what the server has closed."""
        self._sweeper = None
        old = self._loop.time() - self._keep_for
        for server, idle in [*self._idle.items()]:
            while idle and (idle[0].idle_since <= old or not idle[0].reusable):
                idle.popleft().close()
            if not idle:
                del self._idle[server]
        if self._idle:
            soonest = min(idle[0].idle_since for idle in self._idle.values())
            self._sweeper = self._loop.call_at(soonest + self._keep_for, self._sweep)

    def _make_room(self) -> None:
        """Of several servers one may need the connections that others leave idle."""
        while len(self._open) + self._opening >= self._most:
            idle = (idle for idle in self._idle.values() if idle)
            longest = min(idle, key=lambda idle: idle[0].idle_since, default=None)
            if longest is None:
                return
            oldest = longest.popleft()
            oldest.close()
            self._open.discard(oldest)  # it is gone in a moment

    async def _opened(self, server: Server) -> _Connection:
        self._make_room()
        self._opening += 1
        try:
            async with asyncio.timeout(self._connect_within):
                addresses = await self._addresses(server)
                connected = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_AFTER)
                try:
                    _, connection = await self._loop.create_connection(
                        lambda: _Connection(self._open),
                        sock=connected,
                        ssl=self._tls if server.secure else None,
                        server_hostname=server.host if server.secure else None,
                    )
                except BaseException:
                    connected.close()
                    raise
        except OSError as error:  # a time-out is one, and so is a certificate that is not trusted
            raise NotSent(type(error).__name__) from error
        finally:
            self._opening -= 1
        return connection

    async def _addresses(self, server: Server) -> list[AddrInfoType]:
        """Those who ask at the same time ask once."""
        name = (server.host, server.port)
        until, lookup = self._lookups.get(name, (0.0, None))
        now = self._loop.time()
        if lookup is None or (lookup.done() and (lookup.exception() or now > until)):
            asking = self._find(server)
            self._lookups = {known: kept for known, kept in self._lookups.items() if now <= kept[0]}
            self._lookups[name] = (now + ADDRESSES_KEPT, lookup := asyncio.ensure_future(asking))
        return await asyncio.shield(lookup)

    async def _find(self, server: Server) -> list[AddrInfoType]:
        found = await self._loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
        return cast(list[AddrInfoType], found)


_GZIP_OR_ZLIB, _RAW = 47, -15
"""What zlib calls the forms in which servers compress; under ``deflate`` some leave out its frame."""


def _inflated(body: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The body as it was before it was compressed: some servers do that though nobody asked them to. What is broken
    is nothing; what breaks off or is too large is as much as there is of it."""
    encodings = [content.strip().lower() for name, content in headers if name.lower() == b"content-encoding"]
    if not body or encodings not in ([b"gzip"], [b"x-gzip"], [b"deflate"]):
        return body
    for form in (_GZIP_OR_ZLIB, _RAW):
        try:
            return zlib.decompressobj(form).decompress(body, LARGEST_ANSWER)
        except zlib.error:
            pass
    return b""


async def _place_in(places: asyncio.Semaphore, within: float) -> None:
    if not places.locked():
        await places.acquire()
        return
    try:
        async with asyncio.timeout(within):
            await places.acquire()
    except TimeoutError as error:
        raise NotSent("TimeoutError") from error


def _encoded(method: str, server: Server, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {server.authority}"]
    lines += [f"{name}: {content}" for name, content in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines)
    if head.count("\r") != len(lines) - 1 or head.count("\n") != len(lines) - 1:
        raise ValueError("a line of a request holds another")
    return head.encode("ascii") + b"\r\n\r\n" + (body or b"")
