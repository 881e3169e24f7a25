"""Log lines: nothing that others choose can forge one, fill the log, or hide in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

import logs
from logs import ANYBODYS, TOLD_A_MINUTE, JsonFormatter, Sparing, TextFormatter

HOSTILE = "x\n2026-01-01 00:00:00 INFO aside.app: forged \x1b[31m\u2028\ud83d"


def record(message: str = "said", *args: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("aside.web", logging.WARNING, __file__, 1, message, args, None)
    vars(made).update(fields)
    return made


def raised(text: str) -> logging.LogRecord:
    made = record()
    try:
        raise ValueError(text)
    except ValueError as error:
        made.exc_info = (ValueError, error, error.__traceback__)
    return made


def test_a_line_of_text_is_one_line() -> None:
    """Control characters of messages and values are quoted."""
    line = TextFormatter().format(record("said %s", HOSTILE, key=HOSTILE, empty="", spaced="a b", plain="a/b"))
    assert line.isprintable() and line.encode()
    assert 'empty=""' in line and 'spaced="a b"' in line and "plain=a/b" in line


def test_a_traceback_cannot_pass_for_lines_of_its_own() -> None:
    lines = TextFormatter().format(raised(HOSTILE)).splitlines()
    assert all(line.isprintable() for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])


def test_values_are_cut() -> None:
    line = TextFormatter().format(record(path="x" * 900_000))
    assert "x" * 200 in line and len(line) < 400
    assert len(TextFormatter().format(record("%s", "y" * 900_000))) < 3000


def test_json_takes_whatever_a_value_is() -> None:
    """Half characters, numbers of any length, objects."""
    line = JsonFormatter().format(record(HOSTILE, key=HOSTILE, number=10**30, thing=object()))
    assert line.isprintable() and json.loads(line)["key"] == HOSTILE


@pytest.mark.parametrize("action", sorted(ANYBODYS))
def test_what_anybody_can_cause_fills_no_log(action: str) -> None:
    """Ten lines a minute; the next minute says how many were left out. Nothing else is held back."""
    now = [0.0]
    sparing = Sparing(lambda: now[0])
    assert sum(sparing.filter(record(action=action)) for _ in range(1000)) == TOLD_A_MINUTE
    assert sparing.filter(record(action="turn_failed")) and sparing.filter(record())
    now[0] = 61.0
    after = record(action=action)
    assert sparing.filter(after) and vars(after)["left_out"] == 1000 - TOLD_A_MINUTE
    assert sparing.filter(another := record(action=action)) and "left_out" not in vars(another)


@pytest.fixture
def root_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.mark.usefixtures("root_logging")
def test_the_service_logs_sparingly(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("text", "info")
    for _ in range(50):
        logging.getLogger("aside.web").warning("refused", extra={"action": "key_refused"})
    assert capsys.readouterr().err.count("key_refused") == TOLD_A_MINUTE
