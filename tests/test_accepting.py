"""What it takes to accept a notification: round trips to the store, one after the other, until it is answered."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from app import Service
from delivery import fanout
from domain.errors import StoreUnavailable
from state import idempotency
from state.mail import Mail
from state.store import Store
from testkit.people import Person, Sender
from tests.conftest import ServiceFactory
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


class TestANotificationThatWasAnswered503:
    @pytest.fixture(params=["before it was put", "after it was put", "before and after its lease"])
    def away(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
        """When the store goes away; not for long, but for longer than the sender is kept waiting."""
        monkeypatch.setattr(fanout, "INSIST_SECONDS", 0.0)
        monkeypatch.setattr(idempotency, "IN_PROGRESS", timedelta())
        put, failed = Mail.put, list[str]()

        async def putting(self: Mail, mail: Any) -> Any:
            answer = await put(self, mail) if request.param == "after it was put" or failed else []
            if not failed:
                failed.append(mail[0][1].id)
                raise StoreUnavailable("It went away.")
            return answer

        monkeypatch.setattr(Mail, "put", putting)
        return str(request.param)

    async def test_is_shown_once_and_before_what_follows_its_202(
        self, service: Service, ann: Person, sender: Sender, away: str
    ) -> None:
        """Posted again under its key; what was accepted before that may come before it or after it."""
        await ann.says("hello")
        first = {"to": {"conversation": ann.key}, "text": "first", "mode": "interject", "id": "first"}
        assert (await sender.posts(first))[0] == 503
        between = await sender.notifies(ann, "between", mode="interject")
        await sender.becomes(between, "delivered")
        if "lease" in away:  # whoever takes the claim over spreads it, though it is not posted again
            nid = (await sender.gets("/api/notifications?limit=2"))[1]["notifications"][-1]["id"]
            await service.fanout_work.wake(nid)
            await sender.becomes(nid, "delivered")
        status, body = await sender.posts(first)
        assert status == 202
        after = await sender.notifies(ann, "after", mode="interject")
        await sender.becomes(body["id"], "delivered")
        await sender.becomes(after, "delivered")
        shown = ann.news()
        assert sorted(shown) == ["after", "between", "first"]
        assert shown[-1] == "after"
