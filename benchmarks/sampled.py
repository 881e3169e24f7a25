"""The service under a sampling profiler: ``python -m benchmarks.sampled FILE`` is ``python app.py`` and two signals.

SIGUSR1 begins a profile; SIGUSR2 ends it and writes it to FILE as JSON. The samples are taken by processor time, at
the kernel's ticks (4 ms on most), so that waiting costs nothing and the rates stay what they are.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import app
from state.store import Store

EVERY = 0.001
"""Seconds of processor time; the kernel rounds it up to its tick."""

Stack = tuple[tuple[CodeType, int], ...]


class Profile:
    def __init__(self, where: Path) -> None:
        self._where = where
        self._stacks: Counter[Stack] = Counter()
        self._began = 0.0
        self._round_trips = 0
        self._stores: list[Store] = []
        self._keep_stores()

    def _keep_stores(self) -> None:
        make, stores = Store.__init__, self._stores

        def made(store: Store, *args: Any, **kwargs: Any) -> None:
            make(store, *args, **kwargs)
            stores.append(store)

        Store.__init__ = made  # type: ignore[method-assign, assignment]

    def begin(self, *_: object) -> None:
        self._stacks.clear()
        self._round_trips = sum(store.round_trips for store in self._stores)
        self._began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)

    def take(self, _: int, frame: FrameType | None) -> None:
        stack: list[tuple[CodeType, int]] = []
        while frame is not None:
            stack.append((frame.f_code, frame.f_lineno if not stack else 0))
            frame = frame.f_back
        self._stacks[tuple(stack)] += 1

    def end(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        body = {
            "processor": time.process_time() - self._began,
            "roundTrips": sum(store.round_trips for store in self._stores) - self._round_trips,
            "stacks": [
                [[[code.co_filename, code.co_qualname, line] for code, line in stack], count]
                for stack, count in self._stacks.items()
            ],
        }
        partial = self._where.with_suffix(".part")
        partial.write_text(json.dumps(body))
        os.replace(partial, self._where)


def main(where: str) -> int:
    profile = Profile(Path(where))
    signal.signal(signal.SIGPROF, profile.take)
    signal.signal(signal.SIGUSR1, profile.begin)
    signal.signal(signal.SIGUSR2, profile.end)
    return app.main([])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
