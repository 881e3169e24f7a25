"""A channel that costs next to nothing, as a process: ``python -m benchmarks.channel``.

It accepts every activity after the latency it is told and counts. It is controlled over the same port:
``/bench/reset?latency=0.02`` forgets everything, ``/bench/wait?arrivals=100`` answers with the :class:`Tally`
once so many activities have arrived, ``/bench/sample`` with the last activity and whether it carried a token.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast
from urllib.parse import parse_qs, urlsplit

from benchmarks.machine import fast_loop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


@dataclass(kw_only=True)
class Tally:
    """``first`` and ``last`` are times of the machine's monotonic clock, which its processes share."""

    arrivals: int = 0
    conversations: int = 0
    first: float = 0.0
    last: float = 0.0


@dataclass
class _Counting:
    latency: float = 0.0
    tally: Tally = field(default_factory=Tally)
    seen: set[bytes] = field(default_factory=set)
    sample: tuple[bytes, bytes] = (b"", b"")
    """The head and the body of the last request."""
    waiting: list[tuple[int, asyncio.Transport]] = field(default_factory=list)

    def arrived(self, path: bytes, head: bytes, body: bytes) -> bytes:
        tally = self.tally
        tally.last = time.monotonic()
        tally.first = tally.first or tally.last
        tally.arrivals += 1
        self.seen.add(path.split(b"/", 4)[3])
        self.sample = (head, body)
        if self.waiting:
            self.tell()
        return b'{"id":"17%011d"}' % tally.arrivals

    def tell(self) -> None:
        """Answer those whose number is reached."""
        self.tally.conversations = len(self.seen)
        reached = [waiting for waiting in self.waiting if waiting[0] <= self.tally.arrivals]
        self.waiting = [waiting for waiting in self.waiting if waiting not in reached]
        for _, transport in reached:
            body = json.dumps(asdict(self.tally)).encode()
            transport.write(_ANSWER % (len(body), body))


class _Connection(asyncio.Protocol):
    """HTTP/1.1 without pipelining, bodies with a length only: what the measured clients speak."""

    transport: asyncio.Transport

    def __init__(self, counting: _Counting) -> None:
        self.counting = counting
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self.received, 0, end)
        total = end + 4 + (int(length[1]) if length else 0)
        if len(self.received) < total:
            return
        head, body = self.received[:end], self.received[end + 4 : total]
        self.received = self.received[total:]
        self.request(head.split(b" ", 2)[1], head, body)

    def request(self, path: bytes, head: bytes, body: bytes) -> None:
        if path.startswith(b"/bench/"):
            self.control(path.decode())
            return
        answer = self.counting.arrived(path, head, body)
        if self.counting.latency:
            asyncio.get_running_loop().call_later(self.counting.latency, self.answer, answer)
        else:
            self.answer(answer)

    def answer(self, body: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(_ANSWER % (len(body), body))

    def control(self, path: str) -> None:
        url = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        counting = self.counting
        if url.path == "/bench/wait":
            counting.waiting.append((int(asked["arrivals"]), self.transport))
            counting.tell()
        elif url.path == "/bench/reset":
            counting.__init__(float(asked["latency"]))  # type: ignore[misc]
            self.answer(b"{}")
        else:
            head, body = counting.sample
            where = head.split(b" ", 2)[1].decode() if head else ""
            token = b"\r\nauthorization: bearer " in head.lower()
            self.answer(json.dumps({"path": where, "body": body.decode(), "token": token}).encode())


async def _serve() -> None:
    counting = _Counting()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(counting), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"ready: http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    fast_loop()
    asyncio.run(_serve())
