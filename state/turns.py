"""Turns in the store: one at a time per conversation, read once, committed once.

The lock is a lease with a token, kept in the conversation's own hash so that the script that commits can
check it. A turn whose token is no longer there has lost its lease: it commits nothing. The script writes the user's
state too; on a cluster, where that is in another slot, it decides over a write that was prepared (``state.prepared``).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson

from domain.clock import Clock, from_ms, to_ms
from domain.delivery import Delivery
from domain.effect import Broken, Effect, effect_from_json, effect_to_json
from domain.errors import LeaseLost, StoreUnavailable
from domain.ids import ConversationKey, UserKey
from domain.notification import Json
from domain.reachability import Reachability, Standing
from domain.value import value
from state import keys
from state.codec import Codec
from state.doubts import left_in_doubt, marked, with_doubts
from state.pins import Pin, Pins
from state.prepared import PreparedWrites, Write
from state.readable import readable
from state.scripts import Argument, Command, Script, scripted
from state.store import Store
from state.turn import Document, Kept, Turn
from state.work import Claim, Work

log = logging.getLogger("aside.turn")

LEASE = timedelta(seconds=10)
"""How long a lock outlives its holder's last sign of life."""

_TIME = """
local function time()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
"""

# KEYS conversation mail outbox activities | token, lease ms, activity id or '', ttl, ms for which a lock that has ended
# still counts
# -> {0, ms until the lock ends} taken | {2} activity already processed | {1, fence, fields, mail, outbox}
_BEGIN = Script(
    _TIME
    + """
local now = time()
local h = redis.call('HMGET', KEYS[1], 'lock', 'until', 'state', 'version', 'record', 'spoke', 'jobs', 'blocked',
  'reach', 'doubt', 'confirm', 'early', 'dialogs', 'fence', 'reach_since', 'reach_tried', 'died')
if ARGV[3] ~= '' and redis.call('ZSCORE', KEYS[4], ARGV[3]) then return {2} end
if h[1] and h[1] ~= ARGV[1] and h[2] + ARGV[5] > now then
  return {0, math.max(1, math.min(h[2] + ARGV[5] - now, tonumber(ARGV[2])))}
end
local fence = (h[14] or 0) + 1
redis.call('HSET', KEYS[1], 'lock', ARGV[1], 'until', now + ARGV[2], 'fence', fence)
if not h[5] then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
if h[1] and h[1] ~= ARGV[1] then h[17] = redis.call('HINCRBY', KEYS[1], 'died', 1) end
if h[1] and h[1] ~= ARGV[1] and not h[8] and redis.call('LLEN', KEYS[3]) > 0 then
  -- whoever held the lock may have died between a send and its acknowledgement
  h[10] = redis.call('HINCRBY', KEYS[1], 'doubt', 1)
end
if h[8] and tonumber(h[8]) <= now then redis.call('HDEL', KEYS[1], 'blocked') end
return {1, fence, h[3], h[4] or '0', h[5], h[6], h[7] or '0', h[8],
  redis.call('HGETALL', KEYS[2]), redis.call('LRANGE', KEYS[3], 0, -1), now, h[9], h[10], h[12], h[13],
  h[15], h[16], h[17] or 0, h[11]}
"""
)

# KEYS user, their jobs -> state, version, jobs
_READ_USER = Script(
    "local h = redis.call('HMGET', KEYS[1], 'state', 'version') return {h[1], h[2], redis.call('ZCARD', KEYS[2])}"
)

# KEYS conversation mail outbox activities [user pin] | token, version, state or '', user version, user state or '',
# the write that was prepared instead of these two or '', what is to be confirmed then, activity id or '', ids ttl,
# ids kept, n mail ids, ids..., n bumped (id, json)..., n fields (name, value)..., effects...
# -> {1} | {0} lease lost | {2} user's state was changed by another turn | {3, whose turn has it pinned}
_COMMIT = Script(
    _TIME
    + """
local h = redis.call('HMGET', KEYS[1], 'lock', 'version', 'committed', 'fence', 'refused')
if h[3] ~= ARGV[1] then
  if h[1] ~= ARGV[1] or (h[2] or '0') ~= ARGV[2] then return {0} end
  if ARGV[5] ~= '' then
    local pin = redis.call('GET', KEYS[6])
    if pin and pin ~= ARGV[1] then return {3, pin} end
    if (redis.call('HGET', KEYS[5], 'version') or '0') ~= ARGV[4] then return {2} end
  end
  local set = {'committed', ARGV[1], 'version', ARGV[2] + 1}
  if ARGV[6] ~= '' then
    if h[1] .. '.' .. h[4] ~= ARGV[6] then return {0} end
    if h[5] == ARGV[6] then return {2} end
    set[#set + 1] = 'confirm'; set[#set + 1] = ARGV[7]
  end
  if ARGV[3] ~= '' then set[#set + 1] = 'state'; set[#set + 1] = ARGV[3] end
  if ARGV[5] ~= '' then redis.call('HSET', KEYS[5], 'state', ARGV[5], 'version', ARGV[4] + 1) end
  if ARGV[8] ~= '' then
    local now = time()
    redis.call('HDEL', KEYS[2], 'in:' .. ARGV[8])
    redis.call('ZADD', KEYS[4], now, ARGV[8])
    redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - ARGV[9] * 1000)
    redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -ARGV[10] - 1)
    redis.call('EXPIRE', KEYS[4], ARGV[9])
  end
  local i = 11
  for _ = 1, ARGV[i] do i = i + 1; redis.call('HDEL', KEYS[2], ARGV[i]) end
  i = i + 1
  for _ = 1, ARGV[i] do redis.call('HSET', KEYS[2], ARGV[i + 1], ARGV[i + 2]); i = i + 2 end
  i = i + 1
  local n = ARGV[i]
  for _ = 1, n do
    set[#set + 1] = ARGV[i + 1]; set[#set + 1] = ARGV[i + 2]
    if ARGV[i + 1] == 'record' then redis.call('PERSIST', KEYS[1]) end
    i = i + 2
  end
  redis.call('HSET', KEYS[1], unpack(set))
  for k = i + 1, #ARGV do redis.call('RPUSH', KEYS[3], ARGV[k]) end
end
return {1}
"""
)

# KEYS conversation outbox mail ids idorder | token, release, ms for which the outbox is blocked or '', ids kept,
# ids ttl, rewritten head or '', its id, what was confirmed or '', n done, ids..., (provisional, real)...
# -> {1, outbox length, mail left} | {0} lease lost
_ACKNOWLEDGE = Script(
    _TIME
    + """
local h = redis.call('HMGET', KEYS[1], 'lock', 'released')
if h[1] ~= ARGV[1] then
  if h[2] == ARGV[1] then return {1, redis.call('LLEN', KEYS[2]), redis.call('HLEN', KEYS[3])} end
  return {0}
end
redis.call('HSET', KEYS[1], 'lock', ARGV[1]) -- a server that is full refuses this, and so the rest
local i = 9
local settled = ARGV[6] ~= ''
for _ = 1, ARGV[i] do
  i = i + 1
  local head = redis.call('LINDEX', KEYS[2], 0)
  if head and string.sub(head .. ' ', 1, #ARGV[i] + 1) == ARGV[i] .. ' ' then
    redis.call('LPOP', KEYS[2])
    settled = true
  end
end
if ARGV[6] ~= '' then
  local head = redis.call('LINDEX', KEYS[2], 0)
  if head and string.sub(head, 1, #ARGV[7] + 1) == ARGV[7] .. ' ' then redis.call('LSET', KEYS[2], 0, ARGV[6]) end
end
for k = i + 1, #ARGV, 2 do
  local new = redis.call('HSET', KEYS[4], ARGV[k], ARGV[k + 1]) == 1
  redis.call('HSET', KEYS[4], '=' .. ARGV[k + 1], ARGV[k])
  if new and redis.call('LPUSH', KEYS[5], ARGV[k]) > tonumber(ARGV[4]) then
    local old = redis.call('RPOP', KEYS[5])
    local back = '=' .. (redis.call('HGET', KEYS[4], old) or '')
    if redis.call('HGET', KEYS[4], back) == old then redis.call('HDEL', KEYS[4], back) end
    redis.call('HDEL', KEYS[4], old)
  end
end
if #ARGV > i then
  redis.call('EXPIRE', KEYS[4], ARGV[5]); redis.call('EXPIRE', KEYS[5], ARGV[5])
end
local over = {}
if settled then over = {'blocked', 'doubt'} end
if ARGV[8] ~= '' and redis.call('HGET', KEYS[1], 'confirm') == ARGV[8] then over[#over + 1] = 'confirm' end
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'released', ARGV[1])
  over[#over + 1] = 'lock'; over[#over + 1] = 'until'; over[#over + 1] = 'died'
end
if #over > 0 then redis.call('HDEL', KEYS[1], unpack(over)) end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'blocked', time() + ARGV[3]) end
return {1, redis.call('LLEN', KEYS[2]), redis.call('HLEN', KEYS[3])}
"""
)

# KEYS conversation | token -> 1 | 0 lease lost
_UNBLOCK = Script(
    """
if redis.call('HGET', KEYS[1], 'lock') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'blocked')
return 1
"""
)

# KEYS conversation | token, lease ms, mark of what goes out early or '' -> 1 | 0 lease lost
_RENEW = Script(
    _TIME
    + """
local h = redis.call('HMGET', KEYS[1], 'lock', 'released')
if h[1] ~= ARGV[1] then return h[2] == ARGV[1] and 1 or 0 end -- by its own turn
redis.call('HSET', KEYS[1], 'until', time() + ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'early', ARGV[3]) end
return 1
"""
)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Another turn has the conversation, at most until ``ends_in`` seconds from now unless it goes on."""

    ends_in: float


@dataclass(frozen=True)
class AlreadyProcessed:
    """The conversation has had this activity."""


@value
class Entry:
    """An effect in the outbox, under an id that is unique in its conversation."""

    id: str
    effect: Effect

    def encoded(self) -> bytes:
        return self.id.encode() + b" " + orjson.dumps(effect_to_json(self.effect))

    @classmethod
    def decode(cls, data: bytes) -> Entry:
        entry_id, _, body = data.partition(b" ")
        try:
            effect = effect_from_json(orjson.loads(body))
        except orjson.JSONDecodeError as error:
            effect = Broken(body={}, cause=f"it is not JSON: {error}")
        return cls(id=entry_id.decode(), effect=effect)


@value
class Begun:
    """The turn, and what an earlier one left to be carried out first."""

    turn: Turn
    leftovers: list[Entry]
    blocked_for: float
    """Seconds for which the channel wants nothing from this conversation's outbox."""
    deaths: int
    """How many in a row have died, or lost the lock, who were to carry out the first send among the leftovers."""
    claim: Claim | None = None
    """The conversation's work, if it was to be taken in hand."""

    @property
    def doubtful(self) -> bool:
        """Whether that send may have gone out already."""
        return self.deaths > 0


@dataclass(frozen=True)
class UserStateChanged:
    """Another conversation of the same user committed in between; run the turn again on what it wrote."""


@value
class Left:
    """What an acknowledgement leaves behind."""

    outbox: int
    mail: int


class Turns:
    """``clock`` is the time that turns live in; leases are measured by the store's own."""

    def __init__(self, store: Store, codec: Codec, clock: Clock) -> None:
        self._store = store
        self._codec = codec
        self._clock = clock
        self._lease_ms = round(LEASE.total_seconds() * 1000)
        self._held_until: dict[str, float] = {}
        """Until when, on this process's monotonic clock, the lock of a token is held for certain."""
        self._prepared = PreparedWrites(store) if store.clustered else None
        self._pins = Pins(store)
        self._pinned: dict[str, UserKey] = {}
        """By a turn's token the user whose state it has pinned."""
        self._confirmed: dict[str, str] = {}
        """By a turn's token what it has confirmed; the conversation need not know it any more."""

    async def begin(
        self,
        key: ConversationKey,
        token: str,
        *,
        user: UserKey | None = None,
        activity_id: str | None = None,
        work: Work | None = None,
    ) -> Begun | Taken | AlreadyProcessed:
        """Take the lock and read everything, in one round trip; just before, take the conversation's ``work`` in hand.

        A claim from before, when the turn had yet to wait, may be another's by now. Raises :class:`NewerState`.
        """
        command = scripted(
            _BEGIN,
            [keys.conversation(key), keys.mailbox(key), keys.outbox(key), keys.activity_ids(key)],
            [token, self._lease_ms, activity_id or "", keys.UNKNOWN_CONVERSATION_TTL, self._forgiven_ms(key)],
        )
        reads = [_reading(user)] if user is not None and self._prepared is None else []
        asked_at = time.monotonic()
        opening = [] if work is None else [work.opening(key)]
        answers = await self._store.sequence(*opening, command, *reads)
        claim = Claim(member=key, ticket=answers.pop(0)) if opening else None
        answer, *user_answers = answers
        if answer[0] == 0:
            return Taken(ends_in=answer[1] / 1000)
        if answer[0] == 2:
            return AlreadyProcessed()
        self._held_until[token] = asked_at + self._lease_ms / 1000
        *answer, confirm = answer
        try:
            if self._prepared is not None:
                if confirm is not None:
                    await self._prepared.catch_up(key, Write.decode(confirm))
                user_answers = [await self._prepared.read(user)] if user is not None else []
            return self._begun(key, token, answer, user, user_answers, activity_id, claim)
        except StoreUnavailable:
            self.forget(token)
            await self._store.sequence(self.acknowledgement(key, token, [], release=True))
            raise

    def _forgiven_ms(self, key: ConversationKey) -> int:
        return math.ceil(self._store.forgives(keys.conversation(key)) * 1000)

    def _begun(
        self,
        key: ConversationKey,
        token: str,
        answer: list[Any],
        user: UserKey | None,
        user_answers: list[Any],
        activity_id: str | None,
        claim: Claim | None,
    ) -> Begun:
        _, fence, state, version, record, spoke, jobs, blocked, mail, outbox, now_ms, *answer = answer
        reach, doubt, early, dialogs, since, tried, died = answer
        deliveries, withdrawn, inputs, mail_ids = _sorted_mail(key, mail)
        spoke_early, doubted = marked(early.decode()) if early else ("", set[str]())
        turn = Turn(
            conversation=key,
            token=token,
            fence=fence,
            at=self._clock(),
            state=Document(self._codec, state, int(version)),
            user=user,
            read_user=self.read_user,
            user_state=self._user_document(user_answers[0]) if user_answers else None,
            mail=deliveries,
            withdrawn=withdrawn,
            inputs=inputs,
            mail_ids=mail_ids,
            mail_seen=len(mail) // 2,
            record=readable("conversation", key, partial(_known, record)) if record else None,
            last_spoke=readable("conversation", key, lambda: from_ms(int(spoke))) if spoke else None,
            jobs_started=int(jobs),
            standing=readable("conversation", key, partial(_standing, reach, since, tried)) or Standing(),
            idle=dialogs == b"[]",
            died=int(died),
            activity_id=activity_id,
            spoke_early=bool(spoke_early),
            doubted=doubted,
        )
        blocked_for = max(0.0, (int(blocked) - now_ms) / 1000) if blocked else 0.0
        leftovers = [Entry.decode(entry) for entry in outbox]
        return Begun(turn=turn, leftovers=leftovers, blocked_for=blocked_for, deaths=int(doubt or 0), claim=claim)

    async def read_user(self, user: UserKey) -> Document:
        if self._prepared is not None:
            return self._user_document(await self._prepared.read(user))
        (answer,) = await self._store.sequence(_reading(user))
        return self._user_document(answer)

    def _user_document(self, answer: list[Any]) -> Document:
        return Document(self._codec, answer[0], int(answer[1] or 0), jobs=answer[2])

    async def commit(self, turn: Turn) -> list[Entry] | UserStateChanged:
        """Write everything or nothing; answers what this turn has put into the outbox.

        Raises :class:`LeaseLost` and :class:`UnstorableState`.
        """
        entries = [Entry(id=f"{turn.fence}.{n}", effect=effect) for n, effect in enumerate(with_doubts(turn))]
        state = turn.state.encoded() or b""
        user = turn.user_state
        user_state = (user.encoded() if user else None) or b""
        names = [keys.conversation(turn.conversation), keys.mailbox(turn.conversation)]
        names += [keys.outbox(turn.conversation), keys.activity_ids(turn.conversation)]
        done = turn.mail_taken()
        fields = [part for pair in turn.fields.items() for part in pair]
        if (left := left_in_doubt(turn)) is not None:
            fields += ["early", left]
        bumped = [part for delivery in turn.bumped for part in (delivery.id, encode_mail(delivery))]
        rest: list[Argument] = [
            *(turn.activity_id or "", keys.ACTIVITY_IDS_TTL, keys.ACTIVITY_IDS_KEPT),
            *(len(done), *done, len(turn.bumped), *bumped, len(fields) // 2, *fields),
            *(entry.encoded() for entry in entries),
        ]
        users: tuple[Argument, ...] = (0, "", "", "")
        write: Write | None = None
        if user and user_state:
            assert turn.user is not None
            if self._prepared is None:
                names += [keys.user(turn.user), keys.pin(turn.user)]
                users = (user.version, user_state, "", "")
            else:
                write = Write(user=turn.user, token=turn.token, fence=turn.fence)
                users = (0, "", write.id, write.encoded())
                if not await self._prepare(self._prepared, turn, write, user.version, user_state):
                    return UserStateChanged()
        args = [turn.token, turn.state.version, state, *users, *rest]
        if turn.answer is not None and turn.activity_id:  # before the commit: whoever finds that has the answer too
            answer_key = keys.answer(turn.conversation, turn.activity_id)
            await self._store.run("SET", answer_key, orjson.dumps(turn.answer), "EX", keys.ACTIVITY_IDS_TTL)
        answer = await self._store.call(_COMMIT, names, args)
        if answer[0] == 3:
            assert turn.user is not None
            waiting = self._pins.waiting(turn.user)
            while answer[0] == 3:
                await waiting.for_(answer[1])
                answer = await self._store.call(_COMMIT, names, args)
        if write is not None and self._prepared is not None:
            await (self._confirm(self._prepared, write) if answer[0] == 1 else self._prepared.drop(write))
        await self._unpin(turn.token)
        if answer[0] == 0:
            raise _lease_lost(turn.conversation)
        return UserStateChanged() if answer[0] == 2 else entries

    @staticmethod
    async def _prepare(prepared: PreparedWrites, turn: Turn, write: Write, version: int, state: bytes) -> bool:
        if await prepared.prepare(turn.conversation, write, version, state):
            return True
        return await prepared.has_committed(turn.conversation, turn.token)  # this is a repetition

    async def _confirm(self, prepared: PreparedWrites, write: Write) -> None:
        """What is committed stays committed if this fails: whoever needs the user's state next will confirm it."""
        try:
            await prepared.confirm(write)
        except StoreUnavailable as error:
            ids = {"action": "user_state_unconfirmed", "user": write.user}
            log.warning("a user's state will be confirmed later: %s", error, extra=ids)
        else:
            self._confirmed[write.token] = write.encoded()

    def acknowledgement(
        self,
        key: ConversationKey,
        token: str,
        done: Sequence[str],
        *,
        sent: Sequence[tuple[str, str]] = (),
        rewritten: Entry | None = None,
        blocked_for: float | None = None,
        release: bool,
    ) -> Command:
        """The command that takes what is done off the outbox; pass its answer to :meth:`acknowledged`."""
        blocked_ms: Argument = "" if blocked_for is None else round(blocked_for * 1000)
        head: tuple[Argument, Argument] = (rewritten.encoded(), rewritten.id) if rewritten else ("", "")
        ids = [part for pair in sent for part in pair]
        return scripted(
            _ACKNOWLEDGE,
            [keys.conversation(key), keys.outbox(key), keys.mailbox(key), keys.sent_ids(key), keys.sent_order(key)],
            [
                token,
                int(release),
                blocked_ms,
                *(keys.SENT_IDS_KEPT, keys.SENT_IDS_TTL),
                *head,
                self._confirmed.get(token, ""),
                len(done),
                *done,
                *ids,
            ],
        )

    @staticmethod
    def acknowledged(answer: list[int], key: ConversationKey) -> Left:
        """Raises :class:`LeaseLost`."""
        return _left(answer, key)

    async def unblock(self, key: ConversationKey, token: str) -> None:
        """The head of the outbox is to be sent although it was to wait: from now on whoever finds this turn dead has
        to doubt it. Raises :class:`LeaseLost`."""
        if not await self._store.call(_UNBLOCK, [keys.conversation(key)], [token]):
            raise _lease_lost(key)

    async def put_aside(self, turn: Turn) -> bool:
        """Keep a copy of what a turn found unreadable, for the operator. False if there was nothing of the kind."""
        found = turn.unreadable()
        await self._store.sequence(
            *(Command(("SET", key, document.raw or b"", "EX", keys.UNREADABLE_TTL)) for key, document in found)
        )
        return bool(found)

    async def pin(self, turn: Turn) -> Pin:
        """Have others leave the state of the turn's user as it is until the turn commits (``state.pins``)."""
        if turn.user is None or turn.token in self._pinned:
            return Pin.HELD
        version = turn.user_state.version if turn.user_state else None
        settle = self._prepared.settle if self._prepared else None
        pinned = await self._pins.pin(turn.user, turn.token, version, lease=self._lease_ms, settle=settle)
        if pinned is Pin.HELD:
            self._pinned[turn.token] = turn.user
        return pinned

    async def _unpin(self, token: str) -> None:
        user = self._pinned.pop(token, None)
        if user is not None:
            with suppress(StoreUnavailable):  # then it ends by itself
                await self._pins.remove(user, token)

    async def renew(self, key: ConversationKey, token: str, *, early: str = "") -> bool:
        """Extend the lease, and what is pinned. False if it was lost. ``early``: a mark of what goes out early."""
        asked_at = time.monotonic()
        commands = [scripted(_RENEW, [keys.conversation(key)], [token, self._lease_ms, early])]
        if token in self._pinned:
            commands.append(self._pins.extending(self._pinned[token], token, self._lease_ms))
        renewed = bool((await self._store.sequence(*commands))[0])
        if renewed and token in self._held_until:
            self._held_until[token] = asked_at + self._lease_ms / 1000
        return renewed

    def surely_held(self, token: str) -> bool:
        """Whether the lock is held now. If not, this process may have slept through its lease: :meth:`assure`."""
        return time.monotonic() < self._held_until.get(token, 0.0)

    async def assure(self, key: ConversationKey, token: str) -> None:
        """Answers if the lock is held, as the store has it. Raises :class:`LeaseLost`."""
        if not await self.renew(key, token):
            raise _lease_lost(key)

    def forget(self, token: str) -> None:
        """The turn of this token is over."""
        self._held_until.pop(token, None)
        self._confirmed.pop(token, None)
        self._pinned.pop(token, None)

    async def answer(self, key: ConversationKey, activity_id: str) -> Json | None:
        """What the response to an activity said whose turn has committed, if it said something."""
        kept = await self._store.run("GET", keys.answer(key, activity_id))
        answer: Json | None = orjson.loads(kept) if kept else None
        return answer

    async def real_id(self, key: ConversationKey, provisional: str) -> str | None:
        """The channel's id for an activity of an earlier turn, if it is known."""
        real = await self._store.run("HGET", keys.sent_ids(key), provisional)
        return real.decode() if real else None

    async def provisional_id(self, key: ConversationKey, real: str) -> str | None:
        """What a turn was told as the id of an activity that has this one at the channel, if it is known."""
        provisional = await self._store.run("HGET", keys.sent_ids(key), f"={real}")
        return provisional.decode() if provisional else None


def encode_mail(delivery: Delivery) -> bytes:
    """A delivery as it lies in a mailbox."""
    return orjson.dumps({"kind": "delivery", **delivery.to_json()})


def encode_withdrawal(delivery_id: str) -> bytes:
    """The mail that withdraws a delivery which a turn may be keeping."""
    return orjson.dumps({"kind": "withdrawal", "id": delivery_id})


def encode_input(activity: Json, at: datetime, runs: int = 1) -> bytes:
    """The mail that keeps an inbound activity until its turn has committed."""
    return orjson.dumps({"kind": "input", "at": to_ms(at), "activity": activity, "runs": runs})


def _object(data: bytes) -> Json:
    found = orjson.loads(data)
    if not isinstance(found, dict):
        raise TypeError("it is not an object")
    return found


def _known(record: bytes) -> Json:
    """A conversation's record, which is none if it does not say how to reach it."""
    found = _object(record)
    if not isinstance(found["reference"], dict):
        raise TypeError("its reference is not an object")
    return found


def _standing(reach: bytes | None, since: bytes | None, tried: bytes | None) -> Standing:
    return Standing(
        reach=Reachability((reach or b"active").decode()),
        since=from_ms(int(since)) if since else None,
        tried=from_ms(int(tried)) if tried else None,
    )


def _piece_of_mail(name: str, data: bytes) -> Delivery | str | Kept:
    """A delivery, the id of one that is withdrawn, or what the user said."""
    body = _object(data)
    match body["kind"]:
        case "input":
            activity = body["activity"]
            if not isinstance(activity, dict):
                raise TypeError("what was said is not an object")
            at, runs = from_ms(body["at"]), int(body.get("runs", 1))
            return Kept(at=at, activity=activity, name=name[len("in:") :], runs=runs)
        case "withdrawal":
            return str(body["id"])
    return Delivery.from_json(body)


def _sorted_mail(key: ConversationKey, mail: list[bytes]) -> tuple[list[Delivery], list[str], list[Kept], list[str]]:
    """Deliveries oldest first, ids of withdrawn deliveries, kept inputs oldest first; and the names of the mail that
    a turn takes away by taking it in (an input goes with the turn that answers it), and that of what cannot be read."""
    deliveries: list[Delivery] = []
    withdrawn: list[str] = []
    inputs: list[Kept] = []
    names: list[str] = []
    for name, data in zip(mail[::2], mail[1::2], strict=True):
        text = name.decode()
        piece = readable("mail", f"{key} {text}", partial(_piece_of_mail, text, data))
        if isinstance(piece, Kept):
            inputs.append(piece)
            continue
        names.append(text)
        if isinstance(piece, str):
            withdrawn.append(piece)
        elif piece is not None:
            deliveries.append(piece)
    deliveries.sort(key=lambda delivery: (delivery.created_at, delivery.id))
    inputs.sort(key=lambda kept: kept.at)
    return deliveries, withdrawn, inputs, names


def _reading(user: UserKey) -> Command:
    return scripted(_READ_USER, [keys.user(user), keys.user_jobs(user)])


def _left(answer: list[int], key: ConversationKey) -> Left:
    if answer[0] == 0:
        raise _lease_lost(key)
    return Left(outbox=answer[1], mail=answer[2])


def _lease_lost(key: ConversationKey) -> LeaseLost:
    return LeaseLost(f"The turn lost the lock of {key}; another process has the conversation.")
