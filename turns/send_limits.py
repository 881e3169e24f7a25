"""What holds a send back before it is tried, and what is noted when the channel says wait."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from domain.effect import Send
from domain.ids import ConversationKey, channel_of
from domain.sending import TryAgain
from state.rates import Rates
from state.turns import Entry

log = logging.getLogger("aside.outbox")

WORTH_SAYING = 1.0
"""Seconds: those that are told after the third, within the same moment, make a pause a little longer."""

_HAVE_TENANTS = ("msteams",)
"""Channels on which every conversation belongs to a tenant."""


class SendLimits:
    """The limits and pauses of ``rates``, as they are for one send."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates

    async def too_early(self, key: ConversationKey, effect: Send) -> TryAgain | None:
        """How long a send has to wait, None if it may go. What has waited or was tried waits for a pause only."""
        own, shared = await self._rates.reserve(
            *(key, _tenant(key, effect)),
            answer=_answers(effect),
            has_place=effect.reserved or effect.attempts > 0 or effect.throttled > 0,
        )
        wait = max(own, shared)
        return TryAgain(wait, counts=False, reserved=True, held_back=shared > own) if wait > 0 else None

    async def give_back(self, key: ConversationKey, effect: Send) -> None:
        """What has waited for its place does not leave after all."""
        if effect.reserved and not _answers(effect):
            await self._rates.give_back(key, _tenant(key, effect))

    async def told_to_wait(self, key: ConversationKey, effect: Send, seconds: float) -> None:
        """Note that the channel wants nothing from the conversation for so long; it may be about its tenant."""
        tenant = _tenant(key, effect)
        longer = await self._rates.told_to_wait(key, tenant, seconds, answer=_answers(effect))
        if longer >= WORTH_SAYING:
            ids = {"action": "tenant_paused", "tenant": tenant}
            log.warning("several conversations are told to wait: their tenant waits %.1f s more", longer, extra=ids)


def may_go_at_once(waiting: Sequence[Entry], service_url: str) -> bool:
    """Whether what waits at the head of an outbox need not wait any more, once the user speaks from ``service_url``:
    it waits for others of its tenant, or for an address that is no longer the conversation's."""
    head = waiting[0].effect if waiting else None
    return isinstance(head, Send) and (head.held_back or head.service_url != service_url)


def _answers(effect: Send) -> bool:
    """What users have asked for (a reply, a job's result) does not stand behind what is sent to others."""
    return effect.answer or not effect.shows or any(delivery.job is not None for delivery in effect.shows)


def _tenant(key: ConversationKey, effect: Send) -> str:
    """Whose limits a send counts against: a tenant of its channel. On a channel that knows no tenants it is the
    channel; where a tenant is meant to be known and is not, the conversation, for it may be anybody's."""
    channel, tenant = channel_of(key), (effect.activity.get("conversation") or {}).get("tenantId")
    if tenant:
        return f"{channel}/{tenant}"
    return key if channel in _HAVE_TENANTS else channel
