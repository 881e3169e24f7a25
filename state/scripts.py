"""Commands for the store, and Lua scripts: a sequence of them runs as one.

A turn asks for several things at once that are written where they belong (to take work in hand and to begin a turn; to
record, to acknowledge and to close the work). The server runs them as one script: dispatching a script costs both
sides more than what most of these do.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from state import keys

Argument = str | bytes | int | float
READS = frozenset(
    (
        "ASKING", "ECHO", "EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HLEN", "HMGET", "LINDEX", "LLEN",
        "LPUSHX", "LRANGE", "MGET", "PING", "PTTL", "SCARD", "SISMEMBER", "SMEMBERS", "TIME", "TTL", "XLEN",
        "XRANGE", "XREVRANGE", "ZCARD", "ZCOUNT", "ZLEXCOUNT", "ZRANGE", "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZRANK",
        "ZREVRANGE", "ZREVRANGEBYLEX", "ZREVRANGEBYSCORE", "ZREVRANK", "ZSCORE",
    )
)
"""Commands that write nothing; ``LPUSHX`` goes to what is never there."""

_READING: set[str] = set()
"""Digests and sources of the scripts that call none but these."""


def writes(parts: tuple[Argument, ...]) -> bool:
    """Whether a command may write."""
    return parts[1] not in _READING if parts[0] in ("EVALSHA", "EVAL") else parts[0] not in READS


class Script:
    """A Lua script and the digest by which the server knows it."""

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        if READS.issuperset(re.findall(r"redis\.p?call\(\s*'?(\w*)", source)):
            _READING.update((self.digest, source))


@dataclass(slots=True)
class Command:
    """A command, and the script it runs if it runs one."""

    parts: tuple[Argument, ...]
    script: Script | None = None

    def with_source(self) -> tuple[Argument, ...]:
        """The command in a form that needs no script to be known."""
        return self.parts if self.script is None else ("EVAL", self.script.source, *self.parts[2:])


def scripted(script: Script, keys: Sequence[str], args: Sequence[Argument] = ()) -> Command:
    return Command(("EVALSHA", script.digest, len(keys), *keys, *args), script)


def in_one(commands: Sequence[Command]) -> Command | None:
    """One command that runs scripted commands in their order; its answer is the list of theirs. None where that cannot
    be, or is not worth it.

    Each runs whatever became of those before it: one that fails answers with its error in its place. A server that
    refuses writes (it is full, or has lost its replicas) refuses all of them: it would let those through that begin by
    taking something away.
    """
    script = _one(tuple([command.script for command in commands])) if len(commands) > 1 else None
    if script is None:
        return None
    names: list[Argument] = []
    args: list[Argument] = []
    counts: list[Argument] = []
    for command in commands:
        many: int = command.parts[2]  # type: ignore[assignment]
        counts += [many, len(command.parts) - 3 - many]
        names += command.parts[3 : 3 + many]
        args += command.parts[3 + many :]
    return Command(("EVALSHA", script.digest, len(names), *names, len(commands), *counts, *args), script)


DIFFERENT = 8
"""Scripts that are joined at most: each sequence of different ones is a script more that the server keeps."""


@functools.lru_cache(maxsize=256)
def _one(scripts: tuple[Script | None, ...]) -> Script | None:
    known = [script for script in scripts if script is not None]
    if len(known) < len(scripts) or (len(scripts) > DIFFERENT and len(set(scripts)) > 1):
        return None
    return _repeated(known[0]) if len(set(known)) == 1 else _joined(known)


# First comes how many parts there are; then, of each part, how many keys and arguments are its own.
_HEAD = f"""
redis.call('LPUSHX', '{keys.nothing()}', '')"""
_HEAD += """
local all_keys, all_args = KEYS, ARGV
local parts = tonumber(ARGV[1])
local key, arg = 0, 2 * parts + 1
local answers = {}
local function part(number, body)
  local keys, args = {}, {}
  for i = 1, all_args[2 * number] do keys[i] = all_keys[key + i] end
  for i = 1, all_args[2 * number + 1] do args[i] = all_args[arg + i] end
  key, arg = key + #keys, arg + #args
  local done, answer = pcall(body, keys, args)
  if not done then answer = {err = type(answer) == 'table' and answer.err or tostring(answer)} end
  if answer == nil then answer = false end
  answers[number] = answer
end
"""


@functools.lru_cache(maxsize=256)  # however many times
def _repeated(script: Script) -> Script:
    body = f"local function body(KEYS, ARGV)\n{script.source}\nend\n"
    return Script(_HEAD + body + "for number = 1, parts do part(number, body) end return answers")


def _joined(scripts: Sequence[Script]) -> Script:
    parts = [
        f"part({number}, function(KEYS, ARGV)\n{script.source}\nend)\n"
        for number, script in enumerate(scripts, start=1)
    ]
    return Script(_HEAD + "".join(parts) + "return answers")
