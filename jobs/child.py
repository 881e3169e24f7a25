"""The process in which one CPU-bound job runs: ``python -m jobs.child``, started by ``jobs.process``.

It reads one line of JSON (what to run) and answers with lines of JSON: ``{"progress": [share, note]}`` any
number of times, then one of ``{"result"}``, ``{"refused"}`` (a sentence for the user), ``{"mistake"}`` and
``{"error", "trace"}``. The answers go where the standard output led when the process started; what the job
itself prints goes to the standard error.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any

from domain.ids import JobId
from jobs.context import CpuJobContext, JobFailed, JobMistake, checked_result
from jobs.registry import JobSpec, spec_at

NICE = 5
"""The loop that answers users goes first."""
PROGRESS_SECONDS = 0.25
"""Progress is passed on at most this often."""
_PR_SET_PDEATHSIG = 1


class _Channel:
    """The lines to the parent."""

    def __init__(self) -> None:
        self._fd = os.dup(1)
        os.dup2(2, 1)
        self._told = 0.0

    def say(self, **line: Any) -> None:
        data = json.dumps(line).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            os._exit(1)  # nobody is there to hear it

    def progress(self, share: float, note: str) -> None:
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            self.say(progress=[share, note])


def main() -> None:
    """Run the job that the parent asks for, say how it ended, and exit."""
    channel = _Channel()
    line = _read_line()
    if not line:
        os._exit(1)
    request = json.loads(line)
    _die_with(request["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if hasattr(os, "nice"):
        os.nice(NICE)
    channel.say(**_outcome(request, channel))
    sys.stderr.flush()
    os._exit(0)


def _outcome(request: dict[str, Any], channel: _Channel) -> dict[str, str]:
    try:
        spec = spec_at(request["module"], request["function"])
        return {"result": _run(spec, request, channel)}
    except JobFailed as failure:
        return {"refused": failure.reason_for_user}
    except JobMistake as mistake:
        return {"mistake": str(mistake)}
    except BaseException as error:  # SystemExit and its like end the job, not the story
        return {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc(limit=-20)}


def _run(spec: JobSpec, request: dict[str, Any], channel: _Channel) -> str:
    context = CpuJobContext(job_id=JobId(request["job"]), attempt=request["attempt"], report=channel.progress)
    return checked_result(spec.name, spec.function(context, **request["arguments"]))


def _read_line() -> bytes:
    """One line, byte for byte past Python's own buffer, which the thread that waits for the end must not share."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 65536)
        if not more:
            return b""
        line += more
    return line


def _die_with(parent: int) -> None:
    """Leave no orphan: the kernel kills this process with its parent (Linux), or else the end of the input does."""
    threading.Thread(target=_await_end, name="parent-watch", daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _await_end() -> None:
    while os.read(0, 65536):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
