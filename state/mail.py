"""Mail: whatever wants a conversation's attention is put into its mailbox, once, and the conversation is woken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from domain.delivery import Delivery
from domain.ids import ConversationKey, DeliveryId
from domain.notification import Json
from state import keys
from state.store import Command, Script, Store, scripted
from state.turns import LEASE, encode_input, encode_mail, encode_withdrawal
from state.work import Work

MAILBOX = 1000
"""Mail that a mailbox holds at most; only a conversation whose turns fail or cannot begin comes near it. There is
always room for what one person asks for: to withdraw a delivery, or to replay one."""

# KEYS mailbox ids | ttl, size, id, mail -> 1 put now or lately | 0 the mailbox is full
_PUT = Script(
    """
if redis.call('SISMEMBER', KEYS[2], ARGV[3]) == 1 then return 1 end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
return 1
"""
)


# KEYS mailbox activities | activity id, mail -> 1 kept | 0 its turn has committed
_KEEP_INPUT = Script(
    """
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'in:' .. ARGV[1], ARGV[2])
return 1
"""
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
        put = await self._store.together(*(_put(key, delivery.id, encode_mail(delivery)) for key, delivery in mail))
        await self._conversations.wake(*{key: None for key, _ in mail})
        return [entry for entry, accepted in zip(mail, put, strict=True) if not accepted]

    async def put_again(self, key: ConversationKey, delivery: Delivery) -> None:
        """Put a delivery into a mailbox that has had it before."""
        forget = Command(("SREM", keys.mail_ids(key), delivery.id, _withdrawal(delivery.id)))
        await self._store.sequence(forget, _put(key, delivery.id, encode_mail(delivery), size=2 * MAILBOX))
        await self._conversations.wake(key)

    async def keep_input(self, key: ConversationKey, activity_id: str, activity: Json, at: datetime) -> None:
        """Keep an inbound activity until its turn has committed, should the process that has it die.

        One whose turn has committed already is not kept.
        """
        names = [keys.mailbox(key), keys.activity_ids(key)]
        await self._store.call(_KEEP_INPUT, names, [activity_id, encode_input(activity, at)])
        await self._conversations.wake(key, delay=LEASE.total_seconds() + 1)

    async def withdraw(self, key: ConversationKey, delivery_id: DeliveryId) -> None:
        """Ask the conversation to drop a delivery, wherever it is keeping it."""
        mail = encode_withdrawal(delivery_id)
        await self._store.sequence(_put(key, _withdrawal(delivery_id), mail, size=2 * MAILBOX))
        await self._conversations.wake(key)


def _put(key: ConversationKey, name: str, mail: bytes, *, size: int = MAILBOX) -> Command:
    return scripted(_PUT, [keys.mailbox(key), keys.mail_ids(key)], [keys.MAIL_IDS_TTL, size, name, mail])


def _withdrawal(delivery_id: DeliveryId) -> str:
    """The name of the mail that withdraws a delivery."""
    return f"w:{delivery_id}"
