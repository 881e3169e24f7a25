"""What the web layer is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from domain.clock import Clock
from domain.service_url import ServiceUrls
from state.conversations import Conversations
from state.dead_letters import DeadLetters
from state.jobs import JobStore
from state.notifications import Notifications
from state.store import Store
from state.work import Work
from web.access import GrantedKey
from web.dead_letters import Replay
from web.messages import Authentication, UserTurns
from web.metrics import Metrics
from web.notify import Accept

Ready = Callable[[], Awaitable[Mapping[str, str]]]
"""Answers each dependency with ``ok``, or with what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class WebServices:
    """``ready`` absent: the store is the only dependency. ``works`` are the queues whose lengths are measured."""

    accept: Accept
    notifications: Notifications
    conversations: Conversations
    jobs: JobStore | None
    store: Store
    pipeline: UserTurns
    authentication: Authentication
    keys: Sequence[GrantedKey]
    development: bool
    clock: Clock
    away_after: timedelta
    service_urls: ServiceUrls
    dead_letters: DeadLetters
    replay: Replay
    ready: Ready | None = None
    works: Mapping[str, Work] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=Metrics)
