"""What is known of conversations: their references, kept from every inbound activity, and the indexes over them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from domain.clock import from_ms, to_ms
from domain.effect import Index, Leave
from domain.ids import ConversationKey, JobId, UserKey, channel_of, user_key
from domain.notification import Json
from domain.place import THREAD, Place, place_of, root_of
from domain.reachability import Reachability, Standing
from state import keys
from state.readable import readable
from state.scripts import Argument, Command
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
    team: str | None = None


def index_of(key: ConversationKey, reference: Json) -> Index:
    """The index entries of a conversation."""
    user, conversation = reference.get("user") or {}, reference.get("conversation") or {}
    return Index(
        conversation=key,
        users=tuple(filter(None, [user.get("id")])),
        aad_objects=tuple(filter(None, [user.get("aadObjectId")])),
        channel=_channel_of_teams(key, conversation),
        shared=place_of(conversation) is not Place.PERSONAL,
    )


def _channel_of_teams(key: ConversationKey, conversation: Json) -> ConversationKey | None:
    root = root_of(key)
    return ConversationKey(root) if root != key or place_of(conversation) is Place.CHANNEL else None


class Conversations:
    """``vouching``: channels whose word on directory ids is believed, None for every one."""

    def __init__(self, store: Store, vouching: Collection[str] | None = None) -> None:
        self._store = store
        self._vouching = vouching

    @staticmethod
    def indexing(index: Index) -> list[Command]:
        """Commands that enter a conversation in the indexes; repeating them does no harm."""
        if index.channel is None:
            commands = [Command(("ZADD", keys.conversations(), 0, index.conversation))]
        else:
            commands = [Command(("ZADD", keys.channels(), 0, index.channel))]
            commands.append(Command(("ZADD", keys.threads(), 0, index.conversation)))
            commands.append(Command(("ZREM", keys.conversations(), index.conversation)))  # where it was entered once
        if index.shared and index.users and index.aad_objects:
            user = user_key(channel_of(index.conversation), index.users[0])
            commands.append(Command(("HSET", keys.user(user), "aad", index.aad_objects[0])))
        commands += [Command(("SADD", keys.by_user(user), index.conversation)) for user in index.users]
        commands += [Command(("SADD", keys.by_aad_object(aad), index.conversation)) for aad in index.aad_objects]
        return commands

    async def leave(self, left: Leave) -> None:
        """Whoever left is not found any more in the conversation, its threads, and others of its team."""
        channel = channel_of(left.conversation)
        known, members = await self._store.together(
            Command(("HGET", keys.user(user_key(channel, left.user)), "aad")),
            Command(("SMEMBERS", keys.by_user(left.user))),
        )
        found = [ConversationKey(member.decode()) for member in members]
        candidates = await self.candidates([key for key in found if channel_of(key) == channel])
        gone = [candidate.key for candidate in candidates if _is_left(candidate, left)]
        aad_object = left.aad_object or (known.decode() if known else None)
        if gone:
            commands = [Command(("SREM", keys.by_user(left.user), *gone))]
            if aad_object is not None:
                commands.append(Command(("SREM", keys.by_aad_object(aad_object), *gone)))
            await self._store.together(*commands)

    async def exist(self, wanted: Sequence[ConversationKey]) -> list[bool]:
        answers = await self._store.together(
            *(Command(("HEXISTS", keys.conversation(key), "record")) for key in wanted)
        )
        return [bool(answer) for answer in answers]

    async def reachability(self, wanted: Sequence[ConversationKey]) -> list[Reachability | None]:
        """Of each whether the bot can speak there, None where nobody ever heard of it."""
        answers = await self._store.together(
            *(Command(("HEXISTS", keys.conversation(key), "record")) for key in wanted),
            *(Command(("HGET", keys.conversation(key), "reach")) for key in wanted),
        )
        known, reaches = answers[: len(wanted)], answers[len(wanted) :]
        return [
            Reachability((reach or b"active").decode()) if is_known else None
            for is_known, reach in zip(known, reaches, strict=True)
        ]

    async def of_user(self, user_id: str) -> list[ConversationKey]:
        """Where a user was heard, on every channel that knows the id."""
        return await self._members(keys.by_user(user_id))

    async def of_aad_object(self, aad_object_id: str) -> list[ConversationKey]:
        """Where whoever has this directory id was heard; what was entered when more channels were believed is not."""
        found = await self._members(keys.by_aad_object(aad_object_id))
        return [key for key in found if self._vouching is None or channel_of(key) in self._vouching]

    async def _members(self, index: str) -> list[ConversationKey]:
        members = await self._store.run("SMEMBERS", index)
        return [ConversationKey(key) for key in sorted(member.decode() for member in members)]

    async def candidates(self, wanted: Sequence[ConversationKey]) -> list[Candidate]:
        """What decides between conversations of a person; those that nobody knows any more are left out."""
        answers = await self._store.together(
            *(Command(("HMGET", keys.conversation(key), "record", "spoke", "reach")) for key in wanted)
        )
        found = [
            readable("conversation", key, partial(_candidate, key, *row))
            for key, row in zip(wanted, answers, strict=True)
            if row[0] is not None
        ]
        return [candidate for candidate in found if candidate is not None]

    async def count(self, channel_id: str | None = None) -> int:
        """How many :meth:`recipients` there are."""
        return (await self.counts(channel_id))[0]

    async def counts(self, channel_id: str | None = None) -> tuple[int, int]:
        """How many :meth:`recipients` there are, and of those where the bot cannot speak."""
        sets = (*_RECIPIENTS, keys.unreachable())
        *counts, unreachable = await self._store.together(*_in_range(sets, "ZLEXCOUNT", channel_id))
        return sum(map(int, counts)), int(unreachable)

    async def recipients(
        self, after: ConversationKey | None, limit: int = PAGE, channel_id: str | None = None
    ) -> list[ConversationKey]:
        """Everybody in lexical order, those after ``after``: a channel of Teams once, itself or, where only threads
        are known, the newest of them. One that is new may be in it or not."""
        start = None if after is None else ConversationKey(root_of(after))
        while page := await self._page(_RECIPIENTS, start, limit, channel_id):
            if found := await self._speaking_for(page):
                return found
            start = page[-1]
        return []

    async def _speaking_for(self, page: Sequence[ConversationKey]) -> list[ConversationKey]:
        """Of each that is known it, and of a channel that is not its newest thread."""
        known = await self.exist(page)
        unknown = [key for key, is_known in zip(page, known, strict=True) if not is_known]
        newest = await self._store.together(
            *(
                Command(("ZREVRANGEBYLEX", keys.threads(), f"({key}{THREAD}\xff", f"[{key}{THREAD}", "LIMIT", 0, 1))
                for key in unknown
            )
        )
        threads = {key: ConversationKey(found[0].decode()) for key, found in zip(unknown, newest, strict=True) if found}
        return [threads.get(key, key) for key, is_known in zip(page, known, strict=True) if is_known or key in threads]

    async def page(
        self, after: ConversationKey | None, limit: int = PAGE, channel_id: str | None = None
    ) -> list[ConversationKey]:
        """Conversations in lexical order, each thread for itself, those after ``after``. One that is new may be in it
        or not."""
        return await self._page((keys.conversations(), keys.threads()), after, limit, channel_id)

    async def _page(
        self, sets: Sequence[str], after: ConversationKey | None, limit: int, channel_id: str | None
    ) -> list[ConversationKey]:
        answers = await self._store.together(
            *_in_range(sets, "ZRANGEBYLEX", channel_id, *("LIMIT", 0, limit), after=after)
        )
        members = sorted(member for answer in answers for member in answer)
        return [ConversationKey(member.decode()) for member in members[:limit]]

    async def get(self, key: ConversationKey) -> Known | None:
        return (await self.get_many([key]))[0]

    async def get_many(self, wanted: Sequence[ConversationKey]) -> list[Known | None]:
        """What is known of each, None for one that is unknown, or cannot be read."""
        answers = await self._store.together(*(command for key in wanted for command in _reads(key)))
        rows = [answers[i : i + 4] for i in range(0, len(answers), 4)]
        return [
            readable("conversation", key, partial(_known, key, *row)) for key, row in zip(wanted, rows, strict=True)
        ]

    @staticmethod
    def reaching(key: ConversationKey, found: Standing, detail: str, before: Standing) -> list[Command]:
        """Commands that record what a send has found; a reason that was known already stands since it was."""
        name = keys.conversation(key)
        if found.active:
            gone = ("reach", "reach_detail", "reach_since", "reach_tried")
            return [Command(("HDEL", name, *gone)), *Conversations.counting(key, active=True)]
        fields: list[Argument] = ["reach_detail", detail, "reach_tried", to_ms(found.tried) if found.tried else ""]
        if found.reach is not before.reach and found.since:
            fields += ["reach", found.reach.value, "reach_since", to_ms(found.since)]
        return [Command(("HSET", name, *fields)), *Conversations.counting(key, active=False)]

    @staticmethod
    def counting(key: ConversationKey, *, active: bool) -> list[Command]:
        """Commands that count a conversation among those where the bot cannot speak, or not; of a thread none."""
        if root_of(key) != key:
            return []
        return [Command(("ZREM", keys.unreachable(), key) if active else ("ZADD", keys.unreachable(), 0, key))]


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
        team=known.get("team"),
    )


def _is_left(candidate: Candidate, left: Leave) -> bool:
    if place_of(candidate.reference["conversation"]) is Place.PERSONAL:
        return False
    same = root_of(candidate.key) == root_of(left.conversation)
    return same or (left.team is not None and candidate.team == left.team)


_RECIPIENTS = (keys.conversations(), keys.channels())


def _in_range(
    sets: Sequence[str], name: str, channel_id: str | None, *more: str | int, after: ConversationKey | None = None
) -> list[Command]:
    """A command for each set, about a channel's keys or all: '0' is the character after '/'."""
    low, high = ("-", "+") if channel_id is None else (f"[{channel_id}/", f"({channel_id}0")
    return [Command((name, each, f"({after}" if after else low, high, *more)) for each in sets]
