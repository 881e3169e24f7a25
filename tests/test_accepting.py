"""What it takes to accept a notification: round trips to the store, one after the other, until it is answered."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest
from aiohttp import web

from app import Service
from state.store import Store
from tests.conftest import ServiceFactory
from tests.people import Person, Sender
from tests.topologies import cluster, cluster_url
from web.notify import Notify

__all__ = ["cluster", "cluster_url"]

AT_MOST = 4


class Waves:
    """Round trips that a request waits for one after the other; those under way at once count as one."""

    def __init__(self) -> None:
        self.many = 0
        self._under_way = 0

    def begin(self) -> None:
        self.many += not self._under_way
        self._under_way += 1

    def end(self) -> None:
        self._under_way -= 1


@pytest.fixture
def waves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each request to ``/api/notify`` that was answered."""
    current: ContextVar[Waves | None] = ContextVar("waves", default=None)
    checked, post = Store._checked, Notify.post
    answered: list[int] = []

    async def counted(self: Store, *args: Any) -> Any:
        of = current.get()
        if of is None:
            return await checked(self, *args)
        of.begin()
        try:
            return await checked(self, *args)
        finally:
            of.end()

    async def posted(self: Notify, request: web.Request) -> web.StreamResponse:
        current.set(of := Waves())
        response = await post(self, request)
        answered.append(of.many)
        return response

    monkeypatch.setattr(Store, "_checked", counted)
    monkeypatch.setattr(Notify, "post", posted)
    return answered


class TestANotificationToOneConversation:
    @pytest.fixture(params=["real_url", "cluster_url"], ids=["one server", "a cluster"])
    def where(self, request: pytest.FixtureRequest) -> str:
        return str(request.getfixturevalue(request.param))

    @pytest.fixture
    async def service(self, start_service: ServiceFactory, waves: list[int], where: str) -> Service:
        return await start_service(REDIS_URL=where)

    @pytest.mark.parametrize("mode", ["interject", "queue", "resume"])
    async def test_is_answered_after_a_few_round_trips(
        self, ann: Person, sender: Sender, waves: list[int], mode: str
    ) -> None:
        """However it is to be shown; and it is shown."""
        await ann.says("hello")
        notification = await sender.notifies(ann, "news", mode=mode)
        assert 1 <= waves[0] <= AT_MOST
        await sender.becomes(notification, "queued" if mode == "queue" else "delivered")

    async def test_takes_but_one_more_to_be_accepted_once(
        self, ann: Person, sender: Sender, waves: list[int], where: str
    ) -> None:
        """To look its key up takes none of its own; to remember the answer takes one."""
        await ann.says("hello")
        first = await sender.notifies(ann, "news", id="once")
        assert waves[0] <= AT_MOST + ("cluster" in where)
        assert await sender.notifies(ann, "news", id="once") == first
        assert waves[1] == 1
        await sender.becomes(first, "delivered")
        assert ann.shows() == ["You sent: hello", "news"]
