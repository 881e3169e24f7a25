"""A second opinion on the yardsticks, where there is another folder of measuring tools.

``ASIDE_BENCH_TOOLS`` names it. It holds ``fake_channel.py``, ``sdk_loop.py`` and ``raw_limit.py``; the last two print
one JSON object with ``msg_s`` and ``cpu_ms``. Where their figures and ours agree, our yardsticks are fair.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from benchmarks.processes import ROOT, Place, outcome, started
from benchmarks.tables import Table, number
from benchmarks.yardsticks import LIMIT_AT_ONCE

NEEDED = ("fake_channel.py", "sdk_loop.py", "raw_limit.py")
_LISTENS = re.compile(r" on (\S+:\d+)")


def folder() -> Path | None:
    found = ROOT / os.environ.get("ASIDE_BENCH_TOOLS", "../shared/tools")
    return found.resolve() if all((found / name).is_file() for name in NEEDED) else None


async def measure() -> list[Table]:
    """Nothing where there are no such tools."""
    tools = folder()
    if tools is None:
        return []
    table = Table("The yardsticks as other tools measure them, at 0 ms", ("", "msg/s", "CPU ms/msg"))
    channel = (str(tools / "fake_channel.py"), "--port", str(_free_port()), "--engine", "raw")
    async with started(channel, place=Place.AROUND, ready=_LISTENS) as process:
        url = f"http://{process.url}"
        limit = ("raw_limit.py", "--client", "aiohttp", "--uvloop", "--n", "4000", "--conc", str(LIMIT_AT_ONCE))
        for name, (script, *arguments) in {
            "SDK Cloud": ("sdk_loop.py", "--adapter", "cloud", "--n", "400"),
            "SDK classic": ("sdk_loop.py", "--adapter", "bfa", "--n", "2000"),
            "limit": limit,
        }.items():
            answer = await outcome((str(tools / script), "--url", url, "--cpu", "-1", *arguments))
            table.add(name, number(answer["msg_s"]), number(answer["cpu_ms"]))
    return [table]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
