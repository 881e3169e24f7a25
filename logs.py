"""Log output: a readable line, or one JSON object a line. Fields given as ``extra`` are kept in both."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
QUIET = ("msal", "msrest", "urllib3", "botframework", "asyncio.coroutines")
"""Libraries whose information is too much, and may hold what must not be logged."""
VALUE_LENGTH = 200
"""Characters of a value in a line of text."""
MESSAGE_LENGTH = 2000
ANYBODYS = frozenset(
    ("crowded", "key_refused", "request_malformed", "service_url_refused", "stranger_refused", "unauthenticated")
)
"""Actions of lines that anybody can cause, as often as they like."""
TOLD_A_MINUTE = 10
"""Lines of each of :data:`ANYBODYS` in a minute; the first of the next says how many were left out."""


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _plain(text: str) -> str:
    """``text`` in one line and without what a terminal would obey: others may have chosen it."""
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _value(value: object) -> str:
    text = _plain(_cut(str(value), VALUE_LENGTH))
    return f'"{text}"' if not text or any(mark in text for mark in ' "=[]') else text


class TextFormatter(logging.Formatter):
    """One line for a record, and, indented, the traceback if there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _plain(_cut(record.message, MESSAGE_LENGTH))
        fields = " ".join(f"{name}={_value(value)}" for name, value in _fields(record).items())
        return super().formatMessage(record) + (f"  [{fields}]" if fields else "")

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"  {_plain(line)}" for line in super().formatException(ei).splitlines())


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        body: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            body["stack"] = record.stack_info
        return json.dumps(body, default=str)  # of the standard library: it takes half characters and long numbers


class Sparing(logging.Filter):
    """Lets a few lines a minute of each of :data:`ANYBODYS` pass, so that nobody fills the log."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._minutes: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        action = vars(record).get("action")
        if action not in ANYBODYS:
            return True
        now = self._monotonic()
        began, told = self._minutes.get(action, (now, 0))
        if now - began >= 60:
            if told > TOLD_A_MINUTE:
                record.left_out = told - TOLD_A_MINUTE
            began, told = now, 0
        self._minutes[action] = (began, told + 1)
        return told < TOLD_A_MINUTE


def set_up(form: str, level: str) -> None:
    """``form`` is ``text`` or ``json``; everything goes to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(Sparing())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
