"""The service as operators run it: processes of ``python app.py``, to be stopped and killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent


class ServiceProcess:
    """One process; ``url`` is where it listens once it is ready."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""
        self.log: list[str] = []
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, role: str = "serve", *, cwd: Path = ROOT, **variables: str) -> ServiceProcess:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "app.py"), role),
            cwd=cwd,
            env={**keep, "PORT": "0", "PYTHONPATH": str(ROOT), **variables},
            stderr=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.DEVNULL,
        )
        started = cls(process)
        await until(lambda: started._ready() or process.returncode is not None, within=30, what="the service is ready")
        assert process.returncode is None, "".join(started.log)
        return started

    def _ready(self) -> bool:
        for line in self.log:
            if found := re.search(r"ready: (http://\S+|jobs only)", line):
                self.url = found[1]
                return True
        return False

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.log.append(line.decode())

    async def kill(self) -> None:
        """``kill -9``."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()
        await self._reading

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.returncode is None:
            self.process.terminate()
        status = await self.process.wait()
        await self._reading
        return status
