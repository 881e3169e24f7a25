"""``ASIDE_FAULTS=tests.faults.points``: this process sends itself a signal when it reaches a point for the n-th time.

Which, the file says that ``FAULT_ORDER`` names, as ``POINT N SIGNAL``; it is gone once the order is carried out.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


def reached(point: str) -> None:
    order = Path(os.environ["FAULT_ORDER"])
    if not order.exists():
        return
    wanted, times, name = order.read_text().split()
    if point != wanted:
        return
    if int(times) > 1:
        give(order, wanted, int(times) - 1, name)
        return
    order.unlink()
    os.kill(os.getpid(), signal.Signals[name])


def give(order: Path, point: str, times: int, name: str) -> None:
    """Write an order, all at once."""
    new = order.with_suffix(".new")
    new.write_text(f"{point} {times} {name}")
    new.replace(order)
