"""Records that cannot be read: one of them stops no list, no loop and no turn.

A record may have been written by another version, or by hand. Whoever reads many does without it, and says so once.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from domain.errors import NewerState

log = logging.getLogger("aside.store")

T = TypeVar("T")

TOLD = 1000
"""Records of which it is known that it has been said of them."""
_told: OrderedDict[tuple[str, str], None] = OrderedDict()


def readable(kind: str, name: str, read: Callable[[], T]) -> T | None:
    """What ``read`` makes of a record, or None, and a line in the log, if it cannot be read."""
    try:
        return read()
    except NewerState:
        raise
    except Exception as error:  # the record may be anything
        if (kind, name) not in _told:
            _told[kind, name] = None
            if len(_told) > TOLD:
                _told.popitem(last=False)
            ids = {"action": "record_unreadable", "kind": kind, "record": name}
            log.error("a record cannot be read, and is passed over: %s: %s", type(error).__name__, error, extra=ids)
        return None
