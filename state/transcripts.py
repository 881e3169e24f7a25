"""What was said in the conversations of the local channel, for any process that writes and any that streams.

A transcript is one Redis stream. Its entries are numbered 1, 2, 3…: the number of the last entry that a client
has seen is the client's watermark, and an activity's id is its conversation's id and its number.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from domain.clock import Clock, from_ms, system_clock, to_iso, to_ms
from domain.errors import AsideError
from state import keys
from state.readable import readable
from state.scripts import Argument, Command, Script, scripted
from state.store import BLOCK_SECONDS, READ_ERRORS, Store, asked_to_end

ActivityJson = dict[str, Any]

KEPT = 2000
"""Entries of a transcript at least; older ones are forgotten."""
READ_AT_ONCE = 500
TYPING_SECONDS = 5
"""How long a typing activity means anything; an older one is not handed out."""

BELL_KEPT = 1000


# KEYS transcript | nonce, time in ms, lifetime in s, user id -> 1 created now, 0 there already
_CREATE = Script(
    """
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if first then return (first[2][2] == ARGV[1]) and 1 or 0 end
redis.call('XADD', KEYS[1], '1-0', 'nonce', ARGV[1], 'kind', 'created', 'of', ARGV[4], 'at', ARGV[2], 'activity', '')
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
)

# KEYS transcript | nonce, time in ms, lifetime in s, kind, id of what is updated or deleted, activity, entries to keep
# -> number of the entry, 0 if there is no such transcript. What was appended already is found by its nonce.
_APPEND = Script(
    """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 16)
if #last == 0 then return 0 end
for _, entry in ipairs(last) do
  if entry[2][2] == ARGV[1] then return tonumber(string.match(entry[1], '^%d+')) end
end
local number = tonumber(string.match(last[1][1], '^%d+')) + 1
if last[1][2][4] == 'typing' then redis.call('XDEL', KEYS[1], last[1][1]) end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[7], string.format('%d-0', number),
  'nonce', ARGV[1], 'kind', ARGV[4], 'of', ARGV[5], 'at', ARGV[2], 'activity', ARGV[6])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return number
"""
)


class ConversationNotFound(AsideError, LookupError):
    """The local channel has no such conversation, or has forgotten it."""


class BadWatermark(AsideError):
    """A watermark that no transcript gave."""


@dataclass(frozen=True, kw_only=True)
class ActivitySet:
    """Activities in the order in which they were sent, and the watermark behind the last of them."""

    activities: list[ActivityJson]
    watermark: str


class Transcripts:
    """The transcripts of all conversations of the local channel."""

    def __init__(self, store: Store, *, clock: Clock = system_clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._listener: asyncio.Task[None] | None = None

    async def create(self, conversation_id: str, user_id: str) -> bool:
        """Begin a conversation's transcript. False if it exists already."""
        args: list[Argument] = [uuid.uuid4().hex, to_ms(self._clock()), keys.TRANSCRIPT_TTL, user_id]
        return bool(await self._store.call(_CREATE, [keys.transcript(conversation_id)], args))

    async def exists(self, conversation_id: str) -> bool:
        return bool(await self._store.run("EXISTS", keys.transcript(conversation_id)))

    async def append(self, conversation_id: str, activity: ActivityJson) -> str:
        """Add an activity and answer the id it got. Raises :class:`ConversationNotFound`.

        A typing activity is handed to whoever listens, and forgotten when something follows it.
        """
        kind = "typing" if activity.get("type") == "typing" else "said"
        return activity_id(conversation_id, await self._append(conversation_id, kind, "", activity))

    async def update(self, conversation_id: str, of: str, activity: ActivityJson) -> None:
        """Replace the activity ``of``. Raises :class:`ConversationNotFound`."""
        await self._append(conversation_id, "updated", of, activity)

    async def delete(self, conversation_id: str, of: str) -> None:
        """Delete the activity ``of``. Raises :class:`ConversationNotFound`."""
        await self._append(conversation_id, "deleted", of, {})

    async def last_watermark(self, conversation_id: str) -> str:
        """The watermark behind everything that was said so far. Raises :class:`ConversationNotFound`."""
        last = await self._store.run("XREVRANGE", keys.transcript(conversation_id), "+", "-", "COUNT", 1)
        if not last:
            raise ConversationNotFound(f"There is no conversation {conversation_id}.")
        return str(_number(last[0][0]))

    async def read(self, conversation_id: str, after_watermark: str = "", block_ms: int = 0) -> ActivitySet:
        """What was said after a watermark (empty: from the beginning), up to ``READ_AT_ONCE`` entries of it.

        Waits up to ``block_ms`` for something to be said. An activity that was updated is answered as
        it is now, one that was deleted is left out; of activities before the watermark an update is the
        new activity with the old id, a deletion a ``messageDelete``. Raises :class:`BadWatermark`.
        """
        after = parse_watermark(after_watermark)
        if not block_ms:
            return await self._read(conversation_id, after)
        rung = asyncio.Event()
        self._waiting.setdefault(conversation_id, set()).add(rung)
        self._listen()
        try:
            deadline = asyncio.get_running_loop().time() + block_ms / 1000
            while True:
                found = await self._read(conversation_id, after)
                left = deadline - asyncio.get_running_loop().time()
                if int(found.watermark) > after or left <= 0:
                    return found
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, BLOCK_SECONDS)):
                        await rung.wait()
                rung.clear()
        finally:
            self._waiting[conversation_id].discard(rung)
            if not self._waiting[conversation_id]:
                del self._waiting[conversation_id]

    async def close(self) -> None:
        """Stop hearing what other processes append."""
        if self._listener:
            self._listener.cancel()
            await asyncio.wait([self._listener])
            self._listener = None

    async def _append(self, conversation_id: str, kind: str, of: str, activity: ActivityJson) -> int:
        nonce, now = uuid.uuid4().hex, to_ms(self._clock())
        args: list[Argument] = [nonce, now, keys.TRANSCRIPT_TTL, kind, of, orjson.dumps(activity), KEPT]
        number, *_ = await self._store.sequence(
            scripted(_APPEND, [keys.transcript(conversation_id)], args),
            Command(("XADD", keys.transcripts_bell(), "MAXLEN", "~", BELL_KEPT, "*", "conversation", conversation_id)),
            Command(("EXPIRE", keys.transcripts_bell(), keys.BELL_TTL)),
        )
        if not number:
            raise ConversationNotFound(f"There is no conversation {conversation_id}.")
        self._ring([conversation_id])
        return int(number)

    async def _read(self, conversation_id: str, after: int) -> ActivitySet:
        entries = await self._store.run(
            "XRANGE", keys.transcript(conversation_id), f"{after + 1}-0", "+", "COUNT", READ_AT_ONCE
        )
        watermark = _number(entries[-1][0]) if entries else after
        typing_since = to_ms(self._clock()) - TYPING_SECONDS * 1000
        return ActivitySet(activities=_replay(conversation_id, entries, typing_since), watermark=str(watermark))

    def _ring(self, conversation_ids: Iterable[str]) -> None:
        for conversation_id in conversation_ids:
            for event in self._waiting.get(conversation_id, ()):
                event.set()

    def _listen(self) -> None:
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._hear(), name="devchannel-bell")

    async def _hear(self) -> None:
        """Ring for what other processes append: one blocking read, however many conversations are streamed here."""
        last: bytes | str = "$"
        while not asked_to_end():
            try:
                heard: Any = await self._store.redis.xread({keys.transcripts_bell(): last}, block=BLOCK_SECONDS * 1000)
            except READ_ERRORS:
                await asyncio.sleep(BLOCK_SECONDS / 4)
                continue
            for _, entries in heard or ():
                last = entries[-1][0]
                self._ring({fields[b"conversation"].decode() for _, fields in entries})


def activity_id(conversation_id: str, number: int) -> str:
    return f"{conversation_id}|{number:07d}"


def parse_watermark(watermark: str) -> int:
    """The number of the entry that a watermark names. Raises :class:`BadWatermark`."""
    if not watermark:
        return 0
    if not (watermark.isascii() and watermark.isdigit() and len(watermark) <= 15):
        raise BadWatermark("The watermark is not one that this conversation gave.")
    return int(watermark)


def _number(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _replay(conversation_id: str, entries: list[Any], typing_since: int) -> list[ActivityJson]:
    shown: dict[str, ActivityJson] = {}
    first_said: dict[str, str] = {}
    for entry_id, fields in entries:
        stored = fields.get(b"activity")
        name = f"{conversation_id}|{entry_id.decode()}"
        activity = readable("activity of the local channel", name, partial(orjson.loads, stored)) if stored else None
        kind, of, at = fields[b"kind"].decode(), fields[b"of"].decode(), int(fields[b"at"])
        timestamp = to_iso(from_ms(at))
        if kind == "created" or (kind == "typing" and at < typing_since):
            continue
        if kind == "deleted":
            shown.pop(of, None)
            if of not in first_said:
                conversation = {"id": conversation_id}
                shown[of] = {"type": "messageDelete", "id": of, "conversation": conversation, "timestamp": timestamp}
            continue
        if not isinstance(activity, dict):
            continue
        if kind == "updated":
            shown[of] = {**activity, "id": of, "timestamp": first_said.get(of, timestamp)}
        else:
            said_id = activity_id(conversation_id, _number(entry_id))
            first_said[said_id] = activity.get("timestamp", timestamp)
            shown[said_id] = {**activity, "id": said_id, "timestamp": first_said[said_id]}
    return list(shown.values())
