"""Mail: whatever wants a conversation's attention is put into its mailbox, once, and the conversation is woken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from domain.delivery import Delivery, Failure
from domain.errors import ConversationFull
from domain.ids import ConversationKey, DeliveryId
from domain.notification import Json
from state import keys
from state.dead_letters import DeadLetters
from state.scripts import Argument, Command, Script, scripted
from state.store import Store
from state.turn import Kept
from state.turns import LEASE, encode_input, encode_mail, encode_withdrawal
from state.work import Work

MAILBOX = 1000
"""Mail that a mailbox holds at most; only a conversation whose turns fail or cannot begin comes near it. There is
room for as much again of what single people ask for: to withdraw a delivery, to replay one, to be answered."""

FEW = 10
"""Pieces of mail that are put in one round trip with the wake-up of their conversations."""

REMEMBERED = """
local function remembered(ids, id, ttl, kept)
  local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', ids, '-inf', now - ttl * 1000)
  if redis.call('ZADD', ids, 'NX', now, id) == 0 then return true end
  redis.call('ZREMRANGEBYRANK', ids, 0, -kept - 1)
  redis.call('EXPIRE', ids, ttl)
  return false
end
"""
"""For scripts that put mail: whether ``id`` was put lately. It has been from now on."""

# KEYS mailbox ids | ttl of ids, ids kept, size, id, mail -> 1 put now or lately | 0 the mailbox is full
_PUT = Script(
    REMEMBERED
    + """
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return (redis.call('HEXISTS', KEYS[1], ARGV[4]) == 1 or redis.call('ZSCORE', KEYS[2], ARGV[4])) and 1 or 0
end
if not remembered(KEYS[2], ARGV[4], ARGV[1], ARGV[2]) then redis.call('HSETNX', KEYS[1], ARGV[4], ARGV[5]) end
return 1
"""
)

# KEYS mailbox ids [job] | ttl of ids, ids kept, size, id, mail, name of what withdraws it, what it is put for or ''
# -> 1 put, or was put for that | 0 the mailbox is full | 2 the answer of the job has not failed
_PUT_AGAIN = Script(
    REMEMBERED
    + """
if ARGV[7] ~= '' and redis.call('ZSCORE', KEYS[2], ARGV[7]) then return 1 end
local answer = KEYS[3] and redis.call('HGET', KEYS[3], 'answer')
if KEYS[3] and answer ~= 'failed' and answer ~= 'unknown' then return 2 end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) and redis.call('HEXISTS', KEYS[1], ARGV[4]) == 0 then return 0 end
if KEYS[3] then redis.call('HSET', KEYS[3], 'answer', 'pending') end
if answer == 'unknown' then redis.call('HSET', KEYS[3], 'repeated', 1) end
if ARGV[7] ~= '' then remembered(KEYS[2], ARGV[7], ARGV[1], ARGV[2]) end
redis.call('HDEL', KEYS[1], ARGV[6])
redis.call('ZREM', KEYS[2], ARGV[6])
remembered(KEYS[2], ARGV[4], ARGV[1], ARGV[2])
redis.call('HSETNX', KEYS[1], ARGV[4], ARGV[5])
return 1
"""
)

# KEYS mailbox activities | activity id, mail, size -> 1 kept | 0 the mailbox is full | 2 its turn has committed
_KEEP_INPUT = Script(
    """
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 2 end
local name = 'in:' .. ARGV[1]
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) and redis.call('HEXISTS', KEYS[1], name) == 0 then return 0 end
redis.call('HSETNX', KEYS[1], name, ARGV[2])
return 1
"""
)

# KEYS mailbox | name, mail
_REWRITE = Script(
    "if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end return 1"
)


class Mail:
    """``conversations`` is the work of giving conversations a turn."""

    def __init__(self, store: Store, conversations: Work) -> None:
        self._store = store
        self._conversations = conversations

    async def put(self, mail: Sequence[tuple[ConversationKey, Delivery]]) -> list[tuple[ConversationKey, Delivery]]:
        """Put deliveries into mailboxes and wake their conversations. What was put lately is not put again.

        Answers those that found their mailbox full.
        """
        if not mail:
            return []
        puts = [_put(key, delivery.id, encode_mail(delivery), MAILBOX) for key, delivery in mail]
        waking = self._conversations.waking(*{key: None for key, _ in mail})
        if len(mail) > FEW or self._store.clustered:
            put = await self._store.together(*puts)
            await self._store.sequence(waking)
        else:
            *put, _ = await self._store.sequence(*puts, waking)
        self._conversations.ring()
        return [entry for entry, accepted in zip(mail, put, strict=True) if not accepted]

    async def put_again(self, key: ConversationKey, delivery: Delivery, once_for: str = "") -> bool:
        """Put a delivery into a mailbox that has had it before. ``once_for``: what for; it is put once for that,
        however often it is asked. False for the answer of a job that has not failed. Raises :class:`ConversationFull`.
        """
        return await self._put_for_one(key, putting_again(key, delivery, once_for)) == 1

    async def keep_input(self, key: ConversationKey, activity_id: str, activity: Json, at: datetime) -> None:
        """Keep an inbound activity until its turn has committed, should the process that has it die.

        One whose turn has committed already is not kept. Raises :class:`ConversationFull`.
        """
        names = [keys.mailbox(key), keys.activity_ids(key)]
        if not await self._store.call(_KEEP_INPUT, names, [activity_id, encode_input(activity, at), 2 * MAILBOX]):
            raise ConversationFull("Too much that was said here waits for its turn.")
        await self._conversations.wake(key, delay=LEASE.total_seconds() + 1)

    async def count_runs(self, key: ConversationKey, kept: Kept, runs: int) -> None:
        """Note how often the turn of a kept activity was begun, while it is kept."""
        mail = encode_input(kept.activity, kept.at, runs)
        await self._store.call(_REWRITE, [keys.mailbox(key)], [f"in:{kept.name}", mail])

    async def give_up_input(self, key: ConversationKey, kept: Kept, at: datetime, history: Sequence[str]) -> None:
        """Keep a dead letter of an activity whose turn never comes to an end. It stays kept until a turn commits it."""
        exhausted = Failure.EXHAUSTED.value
        said = {"type": kept.activity.get("type"), "text": kept.activity.get("text")}
        await self._store.sequence(*DeadLetters.putting_aside(key, kept.name, at, exhausted, history, said=said))

    async def withdraw(self, key: ConversationKey, delivery_id: DeliveryId, unsure: Delivery | None = None) -> None:
        """Ask the conversation to drop a delivery, wherever it is keeping it. Raises :class:`ConversationFull`.

        ``unsure``: the delivery, if it may not have been put yet. It is put first, so that it is dropped, and not put
        by somebody slow after that.
        """
        mail = encode_withdrawal(delivery_id)
        before = [] if unsure is None else [_put(key, delivery_id, encode_mail(unsure), 2 * MAILBOX)]
        await self._put_for_one(key, _put(key, _withdrawal(delivery_id), mail, 2 * MAILBOX), *before)

    async def _put_for_one(self, key: ConversationKey, put: Command, *before: Command) -> int:
        *_, accepted = await self._store.sequence(*before, put)
        if not accepted:
            raise ConversationFull("The mailbox of this conversation is full.")
        await self._conversations.wake(key)
        return int(accepted)


def _put(key: ConversationKey, name: str, mail: bytes, size: int) -> Command:
    ids = (keys.MAIL_IDS_TTL, keys.MAIL_IDS_KEPT)
    return scripted(_PUT, [keys.mailbox(key), keys.mail_ids(key)], [*ids, size, name, mail])


def putting_again(key: ConversationKey, delivery: Delivery, once_for: str = "") -> Command:
    """The command that puts a delivery into a mailbox that has had it before; repeating it does no harm while the
    delivery lies there, and with ``once_for`` none at all. It answers 0 if the mailbox is full."""
    about: list[Argument] = [keys.MAIL_IDS_TTL, keys.MAIL_IDS_KEPT, 2 * MAILBOX, delivery.id, encode_mail(delivery)]
    names = [keys.mailbox(key), keys.mail_ids(key), *([keys.job(key, delivery.job)] if delivery.job else [])]
    return scripted(_PUT_AGAIN, names, [*about, _withdrawal(delivery.id), once_for])


def _withdrawal(delivery_id: DeliveryId) -> str:
    """The name of the mail that withdraws a delivery."""
    return f"w:{delivery_id}"
