"""The limit: the bodies of a broadcast posted with a plain pooled HTTP client, and nothing else done.

``python -m benchmarks.raw_broadcast URL N AT_ONCE PATH BODY`` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiohttp

from benchmarks.machine import fast_loop

WARM_UP = 300
HEADERS = {"Content-Type": "application/json; charset=utf-8"}


async def _main(url: str, many: int, at_once: int, path: str, body: str) -> None:
    data = body.encode()
    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def post(numbers: list[int]) -> None:
            while numbers:
                numbers.pop()
                async with session.post(url + path, data=data, headers=HEADERS) as response:
                    await response.read()

        async def posts(count: int) -> None:
            numbers = list(range(count))
            await asyncio.gather(*(post(numbers) for _ in range(at_once)))

        await posts(max(WARM_UP, at_once))
        began, used = time.perf_counter(), time.process_time()
        await posts(many)
        seconds, processor = time.perf_counter() - began, time.process_time() - used
    sys.stdout.write(json.dumps({"seconds": seconds, "processor": processor}) + "\n")


if __name__ == "__main__":
    fast_loop()
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]))
