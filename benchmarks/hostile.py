"""What those whom nobody knows can do to others: how long the loop keeps a light request waiting meanwhile."""

from __future__ import annotations

import asyncio
import base64
import gzip
import zlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import orjson

from benchmarks.credentials import beating, settings
from benchmarks.processes import Place, Process, serving, started, store_server
from benchmarks.tables import HEADS_OF_A_TARGET, Table, Target, number, percentile

REPEATED = 40
ANSWERED_WITHIN = 30.0
LONGEST = Target(bound=20, unit=" ms")
_MEGABYTE = 1024 * 1024


def _segment(value: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()


def _forged() -> str:
    """A token that has everything but a signature of the channel's."""
    claims = {"iss": "https://api.botframework.com", "aud": "an-app", "exp": 4_000_000_000, "nbf": 0}
    return ".".join((_segment({"alg": "RS256", "kid": "made-up", "typ": "JWT"}), _segment(claims), "A" * 342))


def _wrong_attachments() -> bytes:
    one = b'{"contentType":5},'
    return b'{"type":"message","attachments":[' + (one * (_MEGABYTE // len(one) - 10))[:-1] + b"]}"


def _cases() -> dict[str, tuple[str, Mapping[str, str], bytes]]:
    """Path, headers and body of each."""
    bomb = gzip.compress(b"[" * (500 * _MEGABYTE), 9)
    deflated = zlib.compress(b" " * (500 * _MEGABYTE), 9)
    nested = b"[" * _MEGABYTE
    wrong = _wrong_attachments()
    forged = {"Authorization": f"Bearer {_forged()}"}
    return {
        "500 MB in gzip, no token": ("/api/messages", {"Content-Encoding": "gzip"}, bomb),
        "500 MB in gzip, forged token": ("/api/messages", {"Content-Encoding": "gzip", **forged}, bomb),
        "500 MB in deflate, no key": ("/api/notify", {"Content-Encoding": "deflate"}, deflated),
        "1 MB of wrong attachments, no token": ("/api/messages", {}, wrong),
        "1 MB of wrong attachments, forged token": ("/api/messages", forged, wrong),
        "1 MB of wrong attachments, no key": ("/api/notify", {}, wrong),
        "1 MB of brackets, forged token": ("/api/messages", forged, nested),
        "a wrong key": ("/api/notify", {"X-API-Key": "x" * 8000}, b"{}"),
        "a token of 8 KB of brackets": ("/api/messages", {"Authorization": f"Bearer {_deep_token()}"}, b"{}"),
        "a token that is no ASCII": ("/api/messages", {"Authorization": "Bearer " + "\xe9" * 4000}, b"{}"),
        "120 headers": ("/api/notify", {f"X-{number}": "x" * 50 for number in range(115)}, b"{}"),
        "nobody's path": ("/" + "%2e" * 2500, {}, b""),
    }


def _deep_token() -> str:
    header = base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()
    return f"{header}.{_segment({})}.AAAA"


async def measure(repeated: int = REPEATED) -> Table:
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(started(("-m", "benchmarks.identity"), place=Place.AROUND))
        store = await stack.enter_async_context(store_server())
        service = await stack.enter_async_context(serving(store, env=settings(identity)))
        return await _measured(service, repeated)


async def _measured(service: Process, repeated: int) -> Table:
    table = Table(
        f"Hostile requests, each {repeated} times one after the other: how long others wait meanwhile",
        ("request", "answered", "p50 ms", "longest ms", *HEADS_OF_A_TARGET),
        notes=["What others wait for is /health/live; the first line is their wait when nothing else is asked."],
    )
    async with beating(service) as waits:
        await asyncio.sleep(0.5)
    quiet = max(waits) * 1e3
    table.add("nothing", "", number(percentile(waits, 0.5) * 1e3), number(quiet), "", "")
    for name, (path, headers, body) in _cases().items():
        request = _request(service, path, headers, body)
        async with beating(service) as waits:
            answers = {await _ask(service, request) for _ in range(repeated)}
        longest = max(waits) * 1e3
        verdict = table.judge(f"longest wait beside {name}", longest, LONGEST)
        cells = (number(percentile(waits, 0.5) * 1e3), number(longest))
        table.add(name, ", ".join(sorted(answers)), *cells, *verdict)
    return table


def _request(service: Process, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    all_headers = {
        "Host": urlsplit(service.url).netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in all_headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


async def _ask(service: Process, request: bytes) -> str:
    """The status of the answer; the server may say it, and close, before all has been sent."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(request)
        async with asyncio.timeout(ANSWERED_WITHIN):
            return (await reader.readline()).decode().split(" ")[1]
    finally:
        writer.transport.abort()
