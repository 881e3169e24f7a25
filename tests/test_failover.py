"""A cluster loses a primary: what that had not passed on, with and without replicas that everything waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest
from redis.crc import key_slot

from app import Service
from domain.ids import ConversationKey, NotificationId
from state import keys
from testkit.channel import FakeChannel
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory
from tests.test_sweep import Hand, sweep_of
from tests.topologies import ClusterOfThree, Servers

pytestmark = pytest.mark.timeout(120)


def on_first(name: str) -> bool:
    return int(key_slot(name.encode())) * 3 < 16384


def somebody_on_first(ann: Person) -> Person:
    """Whose conversation lives on the first primary."""
    everybody = (ann.elsewhere(f"a:{number}") for number in range(100))
    return next(person for person in everybody if on_first(keys.conversation(ConversationKey(person.key))))


async def goes_on(person: Person) -> None:
    """Until a replica has taken the primary's place: what they say is answered."""
    activity = person.activity(text="are you there?")

    async def accepted() -> bool:
        status, _ = await person.posts(activity)
        assert status in (200, 503)
        return status == 200

    await until(accepted, within=30, what="the service answers again")


class TestWithout:
    @pytest.fixture
    async def lossy(self) -> AsyncIterator[ClusterOfThree]:
        with Servers() as servers:
            cluster = ClusterOfThree(servers, replica=True)
            await cluster.form()
            yield cluster

    @pytest.fixture
    async def service(self, lossy: ClusterOfThree, start_service: ServiceFactory) -> Service:
        return await start_service(REDIS_URL=lossy.url)

    async def test_mail_that_was_not_passed_on_is_put_again(
        self, lossy: ClusterOfThree, service: Service, ann: Person, sender: Sender
    ) -> None:
        """Its record is on another node, and tells that it is not over."""
        there = somebody_on_first(ann)
        await there.says("hello")
        await lossy.hold_replicas()
        notification = ""
        while not notification or on_first(keys.notification(NotificationId(notification))):
            await Hand(service.store).busies(there)  # so that it is not shown before the node is lost
            notification = await sender.notifies(there, "news")
        lossy.kill_first()
        lossy.let_replicas_go_on()
        await goes_on(there)
        assert (await sender.delivery(notification))["status"] == "pending"
        await sweep_of(service).once()
        await there.hears("You sent: are you there?", "news")
        assert (await sender.becomes(notification, "delivered"))["mayBeRepeated"] is True


class TestWithAReplicaThatEverythingWaitsFor:
    @pytest.fixture
    async def safe(self) -> AsyncIterator[ClusterOfThree]:
        """Its first primary has a replica more, for the one that takes its place."""
        with Servers() as servers:
            cluster = ClusterOfThree(servers, replicas=(2, 1, 1))
            await cluster.form()
            yield cluster

    @pytest.fixture
    async def service(
        self, safe: ClusterOfThree, start_service: ServiceFactory, monkeypatch: pytest.MonkeyPatch
    ) -> Service:
        """What was begun when the primary died goes on when its lease ends: here soon."""
        for module in ("app", "turns.pipeline", "state.turns"):
            monkeypatch.setattr(f"{module}.LEASE", timedelta(seconds=2))
        return await start_service(REDIS_URL=safe.url, STORE_REPLICAS="1")

    async def test_nothing_that_was_accepted_is_lost(
        self, safe: ClusterOfThree, ann: Person, sender: Sender, http: aiohttp.ClientSession, channel: FakeChannel
    ) -> None:
        """Everybody is told something all the time, while the primary hears nothing of its replicas and then is killed:
        no 202 is broken, without a sweep."""
        people = [ann.elsewhere(f"a:{number}") for number in range(6)]
        await asyncio.gather(*(person.says("hello") for person in people))
        accepted: list[str] = []
        answers: list[int] = []
        over = asyncio.Event()

        async def tells(person: Person) -> None:
            number = 0
            while not over.is_set():
                number += 1
                body = {"id": f"{person.key} {number}", "to": {"conversation": person.key}, "text": f"news {number};"}
                status = 0
                while status != 202:
                    status, answer = await sender.posts(body)
                    assert status in (202, 409, 503)
                    answers.append(status)
                    if status == 202:
                        accepted.append(answer["id"])
                    await asyncio.sleep(0.02)

        telling = [asyncio.create_task(tells(person)) for person in people]
        await until(lambda: len(accepted) > 40, within=20, what="there is load")
        await safe.hold_replicas()
        before = len(answers)
        await until(lambda: len(answers) > before + 10, within=20, what="it is asked without its replicas")
        safe.kill_first()
        safe.let_replicas_go_on()
        before = len(accepted)
        await goes_on(somebody_on_first(ann))
        await until(lambda: len(accepted) > before + 40, within=30, what="there is load again")
        over.set()
        await asyncio.gather(*telling)

        async def all_delivered() -> bool:
            found = await asyncio.gather(*(sender.gets(f"/api/notifications/{each}") for each in accepted))
            return all(status == 200 and body["counts"] == {"delivered": 1} for status, body in found)

        await until(all_delivered, within=30, what="all that was accepted is delivered")
