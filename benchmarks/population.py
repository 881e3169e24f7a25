"""Many conversations in a moment: what one hello left in the store, written again under other names.

The store does it itself, in a script that knows nothing of what the keys mean, so that a conversation that was copied
differs by its name alone from one that said hello. :meth:`Population.check` holds that against one that did.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from benchmarks.people import introduce
from benchmarks.processes import Stage

MODEL = 0
"""The number of the person whose traces are copied."""
AT_A_TIME = 1000
_VOLATILE = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-z]{20,}|\d{10,}(?:\.\d+)?")
"""Ids, tokens and times, which no two conversations share."""

# ARGV first number, last number, then of each command the number of its parts and the parts. The model's number stands
# for a person where it follows a hyphen or a space: "29:person-000000", "Person 000000".
_COPY = """
local commands, i = {}, 3
while i <= #ARGV do
  local command = {}
  for k = 1, tonumber(ARGV[i]) do command[k] = ARGV[i + k] end
  commands[#commands + 1] = command
  i = i + ARGV[i] + 1
end
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local name = '%1' .. string.format('%06d', number)
  for _, command in ipairs(commands) do
    local parts = {}
    for k, part in ipairs(command) do parts[k] = string.gsub(part, '([ -])000000', name) end
    redis.call(unpack(parts))
  end
end
return 1
"""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What the store holds of somebody under one key: the whole key, or the members that name them."""

    key: bytes
    kind: str
    parts: tuple[Any, ...]
    milliseconds: int
    """Until it expires; negative for never."""

    def commands(self) -> list[tuple[Any, ...]]:
        name = {"hash": "HSET", "zset": "ZADD", "set": "SADD", "list": "RPUSH", "string": "SET"}[self.kind]
        commands: list[tuple[Any, ...]] = [(name, self.key, *self.parts)]
        if self.milliseconds >= 0:
            commands.append(("PEXPIRE", self.key, self.milliseconds))
        return commands


class Population:
    """Everybody known to a service whose store was empty. ``token`` is what activities carry, if they need one."""

    def __init__(self, stage: Stage, token: str | None = None) -> None:
        self._stage = stage
        self._client: Any = stage.store.client
        self._token = token
        self._model: list[Any] = []
        self._shared: list[bytes] = []
        self.size = 0

    async def begin(self) -> None:
        """One person says hello; what that left is the model."""
        await self.speak(1)
        self._shared = [key async for key in self._client.scan_iter() if not _names(key, MODEL)]
        commands = [command for trace in await self._traces(MODEL) for command in trace.commands()]
        self._model = [part for command in commands for part in (len(command), *command)]

    async def speak(self, size: int) -> None:
        """Grow to ``size``: everybody new says hello."""
        await introduce(self._stage.service.url, self._stage.channel.url, size, start=self.size, token=self._token)
        self.size = size

    async def grow(self, size: int) -> None:
        """Grow to ``size`` by copies of the model."""
        copy = self._client.register_script(_COPY)
        for first in range(self.size, size, AT_A_TIME):
            await copy(args=[first, min(size, first + AT_A_TIME) - 1, *self._model])
        self.size = size

    async def check(self) -> None:
        """Have one more person say hello; fail unless that left what the last copy, who heard nothing yet, has."""
        await self.speak(self.size + 1)
        copied, real = self.size - 2, self.size - 1
        found = [{_masked(trace.key, who): trace for trace in await self._traces(who)} for who in (copied, real)]
        wrong = [f"{key!r} is there for one only" for key in found[0].keys() ^ found[1].keys()]
        for key in found[0].keys() & found[1].keys():
            one, other = _described(found[0][key], copied), _described(found[1][key], real)
            if one != other:
                wrong.append(f"{key!r} has {one} and {other}")
        if wrong or not found[0]:
            raise AssertionError(f"a copied conversation is not as a real one: {'; '.join(wrong) or 'it has no keys'}")

    async def _traces(self, person: int) -> list[Trace]:
        traces = []
        async for key in self._client.scan_iter(match=b"*[- ]%06d*" % person, count=10_000):
            kind = (await self._client.type(key)).decode()
            parts = await _all(self._client, kind, key)
            traces.append(Trace(key=key, kind=kind, parts=parts, milliseconds=await self._client.pttl(key)))
        for key in self._shared:
            kind = (await self._client.type(key)).decode()
            if kind in ("zset", "set") and (parts := await _naming(self._client, kind, key, person)):
                traces.append(Trace(key=key, kind=kind, parts=parts, milliseconds=-1))
        return traces


async def _all(client: Any, kind: str, key: bytes) -> tuple[Any, ...]:
    match kind:
        case "hash":
            return tuple(part for pair in sorted((await client.hgetall(key)).items()) for part in pair)
        case "zset":
            members = await client.zrange(key, 0, -1, withscores=True)
            return tuple(part for member, score in members for part in (score, member))
        case "set":
            return tuple(sorted(await client.smembers(key)))
        case "list":
            return tuple(await client.lrange(key, 0, -1))
        case "string":
            return (await client.get(key),)
    raise AssertionError(f"{key!r} is a {kind}")


async def _naming(client: Any, kind: str, key: bytes, person: int) -> tuple[Any, ...]:
    """The members of a set that name somebody, with their scores in a sorted one."""
    pattern = b"*[- ]%06d*" % person
    if kind == "zset":
        found = [each async for each in client.zscan_iter(key, match=pattern, count=10_000)]
        return tuple(part for member, score in found for part in (score, member))
    return tuple([member async for member in client.sscan_iter(key, match=pattern, count=10_000)])


def _names(text: bytes, person: int) -> bool:
    return re.search(rb"[- ]%06d" % person, text) is not None


def _masked(text: bytes, person: int) -> bytes:
    return re.sub(rb"([- ])%06d" % person, rb"\1NAME", text)


def _described(trace: Trace, person: int) -> tuple[str, bool, list[bytes]]:
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in trace.parts]
    return trace.kind, trace.milliseconds >= 0, [_VOLATILE.sub(b"*", _masked(part, person)) for part in parts]
