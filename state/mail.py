"""Mail: whatever wants a conversation's attention is put into its mailbox, once, and the conversation is woken."""

from __future__ import annotations

from collections.abc import Sequence

from domain.delivery import Delivery
from domain.ids import ConversationKey, DeliveryId
from state import keys
from state.store import Command, Script, Store, scripted
from state.turns import encode_mail, encode_withdrawal
from state.work import Work

# KEYS mailbox ids | ttl, (id, mail)... -> how many were new
_PUT = Script(
    """
local new = 0
for i = 2, #ARGV, 2 do
  if redis.call('SADD', KEYS[2], ARGV[i]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    new = new + 1
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[1])
return new
"""
)


class Mail:
    """``conversations`` is the work of giving conversations a turn."""

    def __init__(self, store: Store, conversations: Work) -> None:
        self._store = store
        self._conversations = conversations

    async def put(self, mail: Sequence[tuple[ConversationKey, Delivery]]) -> None:
        """Put deliveries into mailboxes and wake their conversations. What was put lately is not put again."""
        if not mail:
            return
        await self._store.sequence(*(_put(key, delivery.id, encode_mail(delivery)) for key, delivery in mail))
        await self._conversations.wake(*{key: None for key, _ in mail})

    async def withdraw(self, key: ConversationKey, delivery_id: DeliveryId) -> None:
        """Ask the conversation to drop a delivery, wherever it is keeping it."""
        await self._store.sequence(_put(key, f"w:{delivery_id}", encode_withdrawal(delivery_id)))
        await self._conversations.wake(key)


def _put(key: ConversationKey, name: str, mail: bytes) -> Command:
    return scripted(_PUT, [keys.mailbox(key), keys.mail_ids(key)], [keys.MAIL_IDS_TTL, name, mail])
