"""What is known of conversations: their references, kept from every inbound activity, and the indexes over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from domain.clock import from_ms
from domain.effect import Index
from domain.ids import ConversationKey, JobId, UserKey, channel_of, user_key
from domain.notification import Json
from domain.reachability import Reachability
from state import keys
from state.scripts import Command
from state.store import Store

PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Known:
    """A known conversation, as it stands between turns. ``reference`` is a conversation reference in schema JSON."""

    key: ConversationKey
    reference: Json
    timezone: str | None
    locale: str | None
    first_seen: datetime
    last_spoke: datetime | None
    waiting: bool
    """Whether a dialog that is not idle waits for the user."""
    dialogs: tuple[str, ...]
    inbox: int
    mailbox: int
    outbox: int
    reachability: Reachability
    reachability_detail: str | None = None
    reachability_since: datetime | None = None
    jobs: tuple[JobId, ...] = field(default=())

    @property
    def user(self) -> UserKey | None:
        user_id = (self.reference.get("user") or {}).get("id")
        return user_key(channel_of(self.key), user_id) if user_id else None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A conversation that a person was heard in. ``used``: when anybody last spoke there, or it was first seen."""

    key: ConversationKey
    reference: Json
    used: datetime
    reachability: Reachability


def index_of(key: ConversationKey, reference: Json) -> Index:
    """The index entries of a conversation."""
    user = reference.get("user") or {}
    return Index(
        conversation=key,
        users=tuple(filter(None, [user.get("id")])),
        aad_objects=tuple(filter(None, [user.get("aadObjectId")])),
    )


class Conversations:
    def __init__(self, store: Store) -> None:
        self._store = store

    @staticmethod
    def indexing(index: Index) -> list[Command]:
        """Commands that enter a conversation in the indexes; repeating them does no harm."""
        commands = [Command(("ZADD", keys.conversations(), 0, index.conversation))]
        commands += [Command(("SADD", keys.by_user(user), index.conversation)) for user in index.users]
        commands += [Command(("SADD", keys.by_aad_object(aad), index.conversation)) for aad in index.aad_objects]
        return commands

    async def exist(self, wanted: Sequence[ConversationKey]) -> list[bool]:
        answers = await self._store.together(
            *(Command(("HEXISTS", keys.conversation(key), "record")) for key in wanted)
        )
        return [bool(answer) for answer in answers]

    async def of_user(self, user_id: str) -> list[ConversationKey]:
        """Where a user was heard, on every channel that knows the id."""
        return await self._members(keys.by_user(user_id))

    async def of_aad_object(self, aad_object_id: str) -> list[ConversationKey]:
        return await self._members(keys.by_aad_object(aad_object_id))

    async def _members(self, index: str) -> list[ConversationKey]:
        members = await self._store.run("SMEMBERS", index)
        return [ConversationKey(key) for key in sorted(member.decode() for member in members)]

    async def candidates(self, wanted: Sequence[ConversationKey]) -> list[Candidate]:
        """What decides between conversations of a person; those that nobody knows any more are left out."""
        answers = await self._store.together(
            *(Command(("HMGET", keys.conversation(key), "record", "spoke", "reach")) for key in wanted)
        )
        return [_candidate(key, *row) for key, row in zip(wanted, answers, strict=True) if row[0] is not None]

    async def count(self, channel_id: str | None = None) -> int:
        low, high = _range(channel_id)
        return int(await self._store.run("ZLEXCOUNT", keys.conversations(), low, high))

    async def page(
        self, after: ConversationKey | None, limit: int = PAGE, channel_id: str | None = None
    ) -> list[ConversationKey]:
        """Conversations in lexical order, those after ``after``. One that is new may be in it or not."""
        low, high = _range(channel_id)
        members = await self._store.run(
            "ZRANGEBYLEX", keys.conversations(), f"({after}" if after else low, high, "LIMIT", 0, limit
        )
        return [ConversationKey(member.decode()) for member in members]

    async def all(self, channel_id: str | None = None) -> AsyncIterator[ConversationKey]:
        after: ConversationKey | None = None
        while page := await self.page(after, PAGE, channel_id):
            for key in page:
                yield key
            after = page[-1]

    async def get(self, key: ConversationKey) -> Known | None:
        return (await self.get_many([key]))[0]

    async def get_many(self, wanted: Sequence[ConversationKey]) -> list[Known | None]:
        """What is known of each, None for an unknown one."""
        answers = await self._store.together(*(command for key in wanted for command in _reads(key)))
        rows = [answers[i : i + 4] for i in range(0, len(answers), 4)]
        return [_known(key, *row) for key, row in zip(wanted, rows, strict=True)]

    async def set_reachability(self, key: ConversationKey, reach: Reachability, detail: str, at_ms: int) -> None:
        """Record that the conversation cannot be reached, or can again."""
        if reach is Reachability.ACTIVE:
            await self._store.run("HDEL", keys.conversation(key), "reach", "reach_detail", "reach_since")
        else:
            fields = ("reach", reach.value, "reach_detail", detail, "reach_since", at_ms)
            await self._store.run("HSET", keys.conversation(key), *fields)


_FIELDS = ("record", "spoke", "waiting", "dialogs", "inbox", "reach", "reach_detail", "reach_since")


def _reads(key: ConversationKey) -> list[Command]:
    return [
        Command(("HMGET", keys.conversation(key), *_FIELDS)),
        Command(("HLEN", keys.mailbox(key))),
        Command(("LLEN", keys.outbox(key))),
        Command(("ZRANGE", keys.jobs(key), 0, -1)),
    ]


def _known(
    key: ConversationKey, values: list[bytes | None], mailbox: int, outbox: int, jobs: list[bytes]
) -> Known | None:
    row: dict[str, Any] = dict(zip(_FIELDS, values, strict=True))
    if row["record"] is None:
        return None
    record = orjson.loads(row["record"])
    return Known(
        key=key,
        reference=record["reference"],
        timezone=record.get("timezone"),
        locale=record.get("locale"),
        first_seen=from_ms(record["firstSeen"]),
        last_spoke=from_ms(int(row["spoke"])) if row["spoke"] else None,
        waiting=row["waiting"] == b"1",
        dialogs=tuple(orjson.loads(row["dialogs"])) if row["dialogs"] else (),
        inbox=int(row["inbox"] or 0),
        mailbox=mailbox,
        outbox=outbox,
        reachability=Reachability((row["reach"] or b"active").decode()),
        reachability_detail=row["reach_detail"].decode() if row["reach_detail"] else None,
        reachability_since=from_ms(int(row["reach_since"])) if row["reach_since"] else None,
        jobs=tuple(JobId(job.decode()) for job in jobs),
    )


def _candidate(key: ConversationKey, record: bytes, spoke: bytes | None, reach: bytes | None) -> Candidate:
    known = orjson.loads(record)
    return Candidate(
        key=key,
        reference=known["reference"],
        used=from_ms(int(spoke or known["firstSeen"])),
        reachability=Reachability((reach or b"active").decode()),
    )


def _range(channel_id: str | None) -> tuple[str, str]:
    """The lexical range of a channel's keys: '0' is the character after '/'."""
    return ("-", "+") if channel_id is None else (f"[{channel_id}/", f"({channel_id}0")
