"""Connections to channels: kept, few enough, and read as a general HTTP client reads them.

A server of a few lines answers what a test has it answer, byte for byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import ssl
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohappyeyeballs import AddrInfoType
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from channel import connections
from channel.connections import Connections, NoAnswer, NotSent, Response, Server
from channel.http import quoted
from testkit.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEADERS = {"User-Agent": "test"}


@dataclass
class ScriptedServer:
    """Answers the requests of all connections, in their order, with ``answers``: each what is written, piece by piece.

    After an answer that ends with ``HANG_UP`` it closes the connection. Before each answer it waits for ``gate``.
    """

    answers: list[Sequence[bytes | None]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    most_open: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _server: asyncio.Server | None = None

    def __post_init__(self) -> None:
        self.gate.set()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self.gate.set()
            await self._server.wait_closed()

    @property
    def server(self) -> Server:
        return Server(host="127.0.0.1", port=self.port, secure=False, authority=f"127.0.0.1:{self.port}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self.open_now -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
        self.requests.append(head + await reader.readexactly(length))
        await self.gate.wait()
        for piece in self.answers.pop(0) if self.answers else [OK]:
            if piece is HANG_UP:
                return False
            writer.write(piece or b"")
            await writer.drain()
            await asyncio.sleep(0)
        return True


HANG_UP = None


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()


other = server


@pytest.fixture
async def client() -> AsyncIterator[Connections]:
    client = Connections(most=3, spare=0, connect_within=5, keep_for=60)
    yield client
    await client.close()


async def ask(client: Connections, server: ScriptedServer, target: str = "/", within: float = 10) -> Response:
    return await client.request("POST", server.server, target, HEADERS, b"{}", within=within)


# ---------------------------------------------------------------------- what goes out


async def test_a_request_is_what_it_is_made_of(client: Connections, server: ScriptedServer) -> None:
    """Method, target and headers as they are given, the server's name, and the length of a body, if there is one."""
    await client.request("POST", server.server, "/a%2Fb?c=d", {"X-One": "1", "X-Two": "2"}, "é".encode(), within=10)
    await client.request("DELETE", server.server, "/a", {}, within=10)
    host = f"Host: {server.server.authority}\r\n".encode()
    assert server.requests == [
        b"POST /a%2Fb?c=d HTTP/1.1\r\n" + host + b"X-One: 1\r\nX-Two: 2\r\nContent-Length: 2\r\n\r\n\xc3\xa9",
        b"DELETE /a HTTP/1.1\r\n" + host + b"\r\n",
    ]


@pytest.mark.parametrize("break_", ["\r\n", "\r", "\n"])
async def test_no_line_of_a_request_can_hold_another(client: Connections, server: ScriptedServer, break_: str) -> None:
    """Neither the target nor a header, wherever they come from."""
    smuggled = f"/ HTTP/1.1{break_}X-Smuggled: 1"
    with pytest.raises(ValueError, match="holds another"):
        await ask(client, server, smuggled)
    with pytest.raises(ValueError, match="holds another"):
        await client.request("POST", server.server, "/", {"Authorization": f"Bearer x{break_}X: 1"}, within=10)
    assert not server.requests


@given(st.text(max_size=40) | st.text("aZ09-._~ %/:;?#@é", max_size=40))
def test_ids_are_quoted_as_the_standard_library_quotes_them(text: str) -> None:
    """Whatever a channel calls its conversations."""
    assert quoted(text) == quote(text, safe="").replace(".", "%2E" if text in (".", "..") else ".")


# ---------------------------------------------------------------------- what comes back


def compressed(encoding: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (encoding, len(body), body)


ANSWERS: dict[str, list[bytes | None]] = {
    "with a length": [b'HTTP/1.1 201 Created\r\nContent-Length: 10\r\nX-A: b\r\n\r\n{"id":"a"}'],
    "with a length of nothing": [b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"],
    "without a body": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "in chunks": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3\r\nabc\r\n",
        b"2\r\nde\r\n",
        b"0\r\n\r\n",
    ],
    "with a trailer": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"],
    "until it hangs up": [b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\n\r\nnot ", b"now", HANG_UP],
    "and hangs up": [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", HANG_UP],
    "of HTTP/1.0": [b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", HANG_UP],
    "after a 100": [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
    "with a redirect": [b"HTTP/1.1 308 Moved\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n"],
    "in gzip": [compressed(b"gzip", gzip.compress(b'{"id":"a"}'))],
    "in deflate": [compressed(b"deflate", zlib.compress(b'{"id":"a"}'))],
    "in deflate without a frame": [compressed(b"deflate", zlib.compress(b'{"id":"a"}', wbits=-15))],
    "in gzip, with nothing in it": [compressed(b"gzip", b"")],
    "with many headers": [b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 100 + b"Content-Length: 1\r\n\r\nx"],
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("bytewise", [False, True], ids=["at once", "byte by byte"])
async def test_an_answer_is_read_as_a_general_client_reads_it(
    client: Connections,
    server: ScriptedServer,
    http: aiohttp.ClientSession,
    answer: list[bytes | None],
    bytewise: bool,
) -> None:
    """However it is framed, and in whatever pieces it comes; and what comes next is the answer to the next request."""
    pieces: list[bytes | None] = []
    for piece in answer:
        pieces += [bytes([byte]) for byte in piece] if piece is not None and bytewise else [piece]
    server.answers = [pieces, [OK], pieces]
    found = await ask(client, server)
    assert (await ask(client, server)).body == b"ok"
    url = f"http://{server.server.authority}/"
    async with http.post(url, data=b"{}", allow_redirects=False) as expected:
        assert (found.status, found.body, found.complete) == (expected.status, await expected.read(), True)
        for name in ("X-A", "Retry-After", "Location"):
            assert found.header(name.lower().encode()) == expected.headers.get(name)


async def test_a_compressed_answer_fills_no_memory(client: Connections, server: ScriptedServer) -> None:
    """What is larger than is read of an answer is cut off there; what cannot be inflated is empty."""
    server.answers = [
        [compressed(b"gzip", gzip.compress(b"x" * 10_000_000))],
        [compressed(b"gzip", b"not compressed at all")],
        [compressed(b"X-GZIP", gzip.compress(b"ok"))],
    ]
    assert len((await ask(client, server)).body) == connections.LARGEST_ANSWER
    broken = await ask(client, server)
    assert (broken.status, broken.body, broken.complete) == (200, b"", True)
    assert (await ask(client, server)).body == b"ok"


BROKEN: dict[str, list[bytes | None]] = {
    "nothing": [HANG_UP],
    "half a head": [b"HTTP/1.1 200 OK\r\nContent-", HANG_UP],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n\r\n"],
    "another protocol": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
    "a length that is none": [b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"],
    "two lengths": [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"],
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_what_is_no_answer_leaves_it_open(
    client: Connections, server: ScriptedServer, answer: list[bytes | None]
) -> None:
    """The server may have done what it was asked. The next request has a connection of its own."""
    server.answers = [answer]
    with pytest.raises(NoAnswer):
        await ask(client, server)
    assert (await ask(client, server)).body == b"ok"
    assert server.connections == 2


CUT = [b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{", HANG_UP]
CUT_CHUNKS = [b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", HANG_UP]


@pytest.mark.parametrize("answer", [CUT, CUT_CHUNKS], ids=["of a length", "in chunks"])
async def test_an_answer_that_breaks_off_says_so(
    client: Connections, server: ScriptedServer, answer: list[bytes | None]
) -> None:
    """Its status is known; what there is of its body is there."""
    server.answers = [answer]
    response = await ask(client, server)
    assert (response.status, response.body, response.complete) == (201, b"{", False)


async def test_an_answer_that_does_not_end_is_not_waited_for(client: Connections, server: ScriptedServer) -> None:
    """Nor is one that does not come; in either case the connection is not used again."""
    server.answers = [[b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"]]
    response = await ask(client, server, within=0.2)
    assert (response.status, response.complete) == (201, False)
    server.gate.clear()
    with pytest.raises(NoAnswer, match="TimeoutError"):
        await ask(client, server, within=0.2)
    server.gate.set()
    assert (await ask(client, server)).body == b"ok"
    assert server.connections == 3


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"], ids=["head", "body"])
async def test_an_answer_is_read_up_to_a_size(
    client: Connections, server: ScriptedServer, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a server sends, it fills no memory."""
    monkeypatch.setattr(connections, "LARGEST_ANSWER", 50_000)
    start = head or b"HTTP/1.1 200 OK\r\n"
    server.answers = [[start, *([b"X-Header: " + b"x" * 990 + b"\r\n"] * 1000)]]
    if not head:
        with pytest.raises(NoAnswer, match="too large"):
            await ask(client, server)
        return
    response = await ask(client, server)
    assert (response.status, response.complete) == (200, False)
    assert len(response.body) < 400_000


# ---------------------------------------------------------------------- keeping connections


async def test_a_connection_is_used_again(client: Connections, server: ScriptedServer) -> None:
    """The one that was used last: so the others grow old, and are closed."""
    for _ in range(5):
        await ask(client, server)
    assert server.connections == 1
    await asyncio.gather(*(ask(client, server) for _ in range(3)))
    assert server.connections == 3
    for _ in range(5):
        await ask(client, server)
    assert server.connections == 3


@pytest.mark.parametrize("answer", [ANSWERS["and hangs up"], ANSWERS["of HTTP/1.0"]], ids=["says so", "of 1.0"])
async def test_a_connection_that_the_server_will_close_is_not_used_again(
    client: Connections, server: ScriptedServer, answer: list[bytes | None]
) -> None:
    """What would be sent over it would be lost."""
    server.answers = [answer[:1]]  # it will, but has not yet
    await ask(client, server)
    assert (await ask(client, server)).body == b"ok"
    assert server.connections == 2


async def test_a_connection_that_was_closed_meanwhile_is_not_used(client: Connections, server: ScriptedServer) -> None:
    """Servers close what is idle, without a word before."""
    server.answers = [[OK, HANG_UP]]
    await ask(client, server)
    await until(lambda: not client.open)
    assert (await ask(client, server)).body == b"ok"
    assert server.connections == 2


async def test_what_nobody_asked_for_is_no_answer(client: Connections, server: ScriptedServer) -> None:
    """Neither with an answer nor after it: it must not be taken for the answer to the next request."""
    server.answers = [[OK + OK]]
    await ask(client, server)
    assert (await ask(client, server)).body == b"ok"
    assert server.connections == 2
    server.answers = [[OK, b"HTTP/1.1 500 Smuggled\r\n\r\n"]]
    await ask(client, server)
    await until(lambda: not client.open)
    assert (await ask(client, server)).status == 200


async def test_a_request_that_is_cancelled_leaves_no_answer_behind(client: Connections, server: ScriptedServer) -> None:
    """Whoever comes next would take it for their own."""
    server.gate.clear()
    asking = asyncio.create_task(ask(client, server, "/first"))
    await until(lambda: server.requests)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    server.answers = [[b"HTTP/1.1 500 First\r\nContent-Length: 0\r\n\r\n"], [OK]]
    server.gate.set()
    await until(lambda: len(server.answers) == 1)
    assert (await ask(client, server)).status == 200


async def test_an_idle_connection_is_closed_after_a_while(server: ScriptedServer) -> None:
    """Though nobody asks anything any more."""
    client = Connections(most=3, spare=0, connect_within=5, keep_for=0.1)
    await asyncio.gather(*(ask(client, server) for _ in range(3)))
    await until(lambda: server.connections == 3 and not server.open_now)
    assert (await ask(client, server)).body == b"ok"
    await until(lambda: not server.open_now)
    await client.close()


async def test_there_are_never_more_connections_than_that(
    client: Connections, server: ScriptedServer, other: ScriptedServer
) -> None:
    """Further requests wait, and are answered, those of other servers too."""
    asked = [ask(client, one) for _ in range(10) for one in (server, other)]
    assert {response.body for response in await asyncio.gather(*asked)} == {b"ok"}
    assert client.open <= 3
    assert len(server.requests) == len(other.requests) == 10
    assert max(server.most_open, other.most_open) <= 3


async def test_a_request_that_finds_no_place_in_time_was_not_sent(client: Connections, server: ScriptedServer) -> None:
    """It can be sent again without a doubt."""
    server.gate.clear()
    asking = [asyncio.create_task(ask(client, server)) for _ in range(3)]
    await until(lambda: len(server.requests) == 3)
    with pytest.raises(NotSent, match="TimeoutError"):
        await ask(client, server, within=0.1)
    server.gate.set()
    assert {response.body for response in await asyncio.gather(*asking)} == {b"ok"}
    assert len(server.requests) == 3


async def test_who_is_in_a_hurry_finds_a_place(server: ScriptedServer) -> None:
    """However many others wait: some places are for nobody else."""
    client = Connections(most=3, spare=1, connect_within=5, keep_for=60)
    server.gate.clear()
    others = [asyncio.create_task(ask(client, server, "/other")) for _ in range(10)]
    await until(lambda: len(server.requests) == 2)
    asking = asyncio.create_task(
        client.request("POST", server.server, "/hurried", HEADERS, b"{}", within=10, hurried=True)
    )
    await until(lambda: len(server.requests) == 3)
    assert server.requests[-1].startswith(b"POST /hurried ")
    server.gate.set()
    assert {response.body for response in await asyncio.gather(asking, *others)} == {b"ok"}
    await client.close()


async def test_closing_ends_what_is_under_way(server: ScriptedServer) -> None:
    """Nobody waits for what cannot come any more."""
    client = Connections(most=3, spare=0, connect_within=5, keep_for=60)
    server.gate.clear()
    asking = asyncio.create_task(ask(client, server))
    await until(lambda: server.requests)
    await client.close()
    with pytest.raises(NoAnswer):
        await asking


# ---------------------------------------------------------------------- reaching servers


async def test_a_server_that_refuses_has_been_sent_nothing(client: Connections, server: ScriptedServer) -> None:
    """Nor has one whose name nobody knows."""
    await server.stop()
    with pytest.raises(NotSent, match="ConnectionRefusedError"):
        await ask(client, server)
    nowhere = Server(host="nowhere.invalid", port=80, secure=False, authority="nowhere.invalid")
    with pytest.raises(NotSent, match="gaierror"):
        await client.request("GET", nowhere, "/", {}, within=10)


async def test_a_server_has_so_long_to_accept(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose connection does not come about was not sent."""
    client = Connections(most=3, spare=0, connect_within=0.1, keep_for=60)

    async def never(*_: object, **__: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(connections, "start_connection", never)
    with pytest.raises(NotSent, match="TimeoutError"):
        await ask(client, server)
    await client.close()


async def test_the_addresses_of_a_server_are_asked_for_once(
    client: Connections, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many want to know them; a failure is not remembered."""
    asked = []
    find = client._find

    async def counted(server: Server) -> list[AddrInfoType]:
        asked.append(server.host)
        if len(asked) == 1:
            raise OSError("try again")
        return await find(server)

    monkeypatch.setattr(client, "_find", counted)
    with pytest.raises(NotSent):
        await ask(client, server)
    await asyncio.gather(*(ask(client, server) for _ in range(3)))
    assert (server.connections, len(asked)) == (3, 2)


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[str], Path]:
    """A file with a key and a certificate that it has signed itself, for a name."""

    def make(name: str) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path = tmp_path / f"{name}.pem"
        secret = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
        path.write_bytes(secret + made.public_bytes(pem))
        return path

    return make


@pytest.mark.parametrize(
    ("issued_to", "trusted", "reached"),
    [("localhost", True, True), ("localhost", False, False), ("elsewhere.example", True, False)],
    ids=["its own", "from nobody", "of another"],
)
async def test_a_server_has_to_be_who_it_says(
    certificate: Callable[[str], Path], issued_to: str, trusted: bool, reached: bool
) -> None:
    """A secure server has a certificate of its name from somebody who is trusted; another is sent nothing."""
    path = certificate(issued_to)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(path)
    trust = ssl.create_default_context(cafile=str(path)) if trusted else None
    server = ScriptedServer()
    await server.start(tls)
    client = Connections(most=3, spare=0, connect_within=5, keep_for=60, trust=trust)
    secure = Server(host="localhost", port=server.port, secure=True, authority=f"localhost:{server.port}")
    if reached:
        assert (await client.request("GET", secure, "/", {}, within=10)).body == b"ok"
        assert (await client.request("GET", secure, "/", {}, within=10)).body == b"ok"
        assert server.connections == 1
    else:
        with pytest.raises(NotSent, match="SSLCertVerificationError"):
            await client.request("GET", secure, "/", {}, within=10)
        assert not server.requests
    await client.close()
    await server.stop()


# ---------------------------------------------------------------------- on the loop that the service runs on


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop")
async def test_a_faster_loop_changes_nothing(certificate: Callable[[str], Path]) -> None:
    """Its transports are others; answers are read as they are on the standard library's, also from a secure server."""
    import uvloop

    path = certificate("localhost")
    here = await everything(path)
    assert len(here) == 2 * len(ANSWERS | BROKEN)
    assert await asyncio.to_thread(uvloop.run, everything(path)) == here


async def everything(certificate: Path) -> list[tuple[str, bytes, bool]]:
    """What becomes of requests to a server, and to a secure one, with each answer: status or error, and the body."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    client = Connections(
        most=3, spare=0, connect_within=5, keep_for=60, trust=ssl.create_default_context(cafile=str(certificate))
    )
    found: list[tuple[str, bytes, bool]] = []
    for secure in (False, True):
        scripted = ScriptedServer()
        await scripted.start(tls if secure else None)
        at = Server(host="localhost", port=scripted.port, secure=secure, authority="localhost")
        for answer in (ANSWERS | BROKEN).values():
            scripted.answers = [answer]
            try:
                response = await client.request("POST", at, "/", {}, b"{}", within=10)
                found.append((str(response.status), response.body, response.complete))
            except NoAnswer as error:
                found.append((type(error).__name__, b"", False))
        await scripted.stop()
    await client.close()
    return found
