"""The embedded store's log on disk, looked at before its server reads it: is all of it there, and does it end well?

The server takes a log without manifest, and an emptied file, for an empty store, and does not start over anything
but commands at the log's end. What a loss of power leaves there was never accepted, as the log is synced before a
command is answered; so it may go.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from domain.errors import AsideError

NAME = "appendonly.aof"
HELD = "log.held"
"""Names the file that was seen to hold commands; beside it, that file is not emptied by anything but a mistake."""

_MANIFEST_LINE = re.compile(r"file (\S+) seq (\d+) type ([bhi])")
_PART = re.compile(re.escape(NAME) + r"\.\d+\.(base|incr)\.(rdb|aof)")
_NUMBER_BYTES = 12
_COMMAND = re.compile(rb"\*[1-9]\d{0,6}\r\n\$\d{1,10}\r\n")


class LogDamaged(AsideError):
    """Something of the log is gone that cannot be done without; the text says what, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What was taken off the end of a log."""

    log: Path
    bytes: int
    kept: Path
    """The whole file as it was before."""


class _Short(Exception):
    """The log ends before the command does."""


class _Malformed(Exception):
    """This is no command."""


def check(folder: Path) -> None:
    """Raises :class:`LogDamaged` if files of the log are missing or emptied, beside others or beside what was noted."""
    parts = folder / "appendonlydir"
    named = _named(parts)
    held = _held(folder)
    if named is None:
        there = sorted(path.name for path in parts.glob(f"{NAME}.*") if _PART.fullmatch(path.name))
        if held is not None or any(_holds_data(parts / name) for name in there):
            raise LogDamaged(_text(folder, f"{NAME}.manifest is missing, beside {', '.join([*there, HELD])}"))
        return
    for name, kind in named:
        path = parts / name
        if kind == "h":
            continue
        if not path.exists():
            raise LogDamaged(_text(folder, f"{name} is missing, which the manifest names"))
        if path.stat().st_size == 0 and (kind == "b" or name == held):
            raise LogDamaged(_text(folder, f"{name} is empty, and was not"))


def note(folder: Path) -> None:
    """Remember that the newest file of the log holds something."""
    if (log := newest(folder)) is None or not log.exists() or log.stat().st_size == 0 or log.name == _held(folder):
        return
    fresh = folder / f"{HELD}.new"
    with open(fresh, "w", opener=_privately) as file:
        file.write(log.name)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / HELD)


def newest(folder: Path) -> Path | None:
    """The file that commands are appended to."""
    names = [name for name, kind in _named(folder / "appendonlydir") or () if kind == "i"]
    return folder / "appendonlydir" / names[-1] if names else None


def ends_well(log: Path) -> bool:
    """Whether the log may end with a whole command, going by its last two bytes."""
    with open(log, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2))
        return size == 0 or file.read() == b"\r\n"


def mend(log: Path) -> Cut | None:
    """Cut off what is no command at the end of a log, and keep the file as it was beside it.

    None if the server can be left to it: nothing is wrong, the last command is merely half there, or whole commands
    follow the damage. Raises :class:`LogDamaged` if the server would throw whole commands away.
    """
    content = log.read_bytes()
    sound, damage = _look_through(content)
    if damage is None:
        return None
    at, error = damage
    followed = _whole_command_after(content, at)
    if isinstance(error, _Short):
        if followed is None:
            return None
        raise LogDamaged(
            _text(log.parent.parent, f"{log.name} is damaged at byte {at}, and has whole commands from byte {followed}")
        )
    if followed is not None:
        return None
    kept = log.with_name(f"{log.name}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    with open(kept, "xb", opener=_privately) as copy, open(log, "rb") as original:
        shutil.copyfileobj(original, copy)
        copy.flush()
        os.fsync(copy.fileno())
    with open(log, "r+b") as file:
        file.truncate(sound)
        os.fsync(file.fileno())
    return Cut(log=log, bytes=len(content) - sound, kept=kept)


def _text(folder: Path, what: str) -> str:
    return (
        f"The embedded store's log in {folder / 'appendonlydir'} is not whole: {what}. Bring the folder {folder} back "
        "from a backup; to begin with an empty store instead, set DATA_DIR to another folder, or move this one away"
    )


def _named(parts: Path) -> list[tuple[str, str]] | None:
    """Names and kinds in the manifest; None if there is none. What is no manifest is for the server to complain of."""
    try:
        lines = (parts / f"{NAME}.manifest").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    found = [match for line in lines if (match := _MANIFEST_LINE.match(line))]
    return [(match[1], match[3]) for match in sorted(found, key=lambda match: int(match[2]))]


def _held(folder: Path) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        return (folder / HELD).read_text(errors="replace")
    return None


def _holds_data(part: Path) -> bool:
    """A first start that was cut short leaves the base of an empty store, and a log without a command."""
    return part.name != f"{NAME}.1.base.rdb" and part.stat().st_size > 0


def _look_through(content: bytes) -> tuple[int, tuple[int, Exception] | None]:
    """How far the log is whole, transactions included; and where it stops being so, and how, before its end."""
    at = sound = 0
    inside = False
    while at < len(content):
        if content[at : at + 1] == b"#":  # a remark of the server's, a time
            at = content.find(b"\n", at) + 1 or len(content)
            continue
        try:
            end, name = _command(content, at)
        except (_Short, _Malformed) as error:
            return sound, (at, error)
        inside = name == b"MULTI" or (inside and name != b"EXEC")
        at = end
        if not inside:
            sound = at
    return sound, (at, _Short()) if inside else None


def _whole_command_after(content: bytes, at: int) -> int | None:
    for match in _COMMAND.finditer(content, at + 1):
        with contextlib.suppress(_Short, _Malformed):
            _command(content, match.start())
            return match.start()
    return None


def _command(content: bytes, at: int) -> tuple[int, bytes]:
    """Where a command ends, and its name."""
    count, at = _number(content, at, b"*")
    name = b""
    for position in range(count):
        length, at = _number(content, at, b"$")
        end = at + length
        if end + 2 > len(content):
            raise _Short
        if content[end : end + 2] != b"\r\n":
            raise _Malformed
        if position == 0:
            name = content[at:end].upper()
        at = end + 2
    return at, name


def _number(content: bytes, at: int, mark: bytes) -> tuple[int, int]:
    line = content[at : at + _NUMBER_BYTES + 3]
    number, ended, _ = line.partition(b"\r\n")
    if ended and re.fullmatch(re.escape(mark) + rb"\d+", number):
        return int(number[1:]), at + len(number) + 2
    if not ended and at + len(line) == len(content) and re.fullmatch(rb"(" + re.escape(mark) + rb"\d*\r?)?", line):
        raise _Short
    raise _Malformed


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
