"""What is not over and lies nowhere, since the store has lost a part of what it had, is found; and nothing else is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from app import Service
from delivery.sweep import GRACE, Sweep
from domain.clock import Clock, system_clock
from domain.ids import ConversationKey, NotificationId
from state import keys
from state.jobs import work_member
from state.store import Store
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory


def in_a_minute() -> datetime:
    return system_clock() + timedelta(minutes=1)


def sweep_of(service: Service, clock: Clock = in_a_minute) -> Sweep:
    return Sweep(
        store=service.store,
        notifications=service.notifications,
        dead_letters=service.dead_letters,
        mail=service.mail,
        conversations=service.work,
        fanout=service.fanout_work,
        clock=clock,
        give_way=service.pipeline.precedence.give_way,
        observer=service.metrics,
    )


def conversation(person: Person) -> ConversationKey:
    return ConversationKey(person.key)


class Hand:
    """What a test does to the store by hand."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def busies(self, person: Person) -> None:
        """Somebody has the conversation and goes on: its mail stays in the mailbox."""
        name = keys.conversation(conversation(person))
        await self._store.run("HSET", name, "lock", "busy", "until", 10**15)

    async def frees(self, person: Person) -> None:
        await self._store.run("HDEL", keys.conversation(conversation(person)), "lock", "until")

    async def loses_mail(self, person: Person) -> None:
        """As a replica does that takes its master's place and did not get it; nor that it was put lately."""
        key = conversation(person)
        assert await self._store.run("DEL", keys.mailbox(key), keys.mail_ids(key)) == 2

    async def loses_work(self, queue: str, member: str) -> None:
        assert await self._store.run("ZREM", keys.work(queue), member) == 1

    async def forgets_status(self, notification: str, person: Person) -> None:
        """It is pending again in its record, as before the last report."""
        deliveries = keys.deliveries(NotificationId(notification))
        await self._store.run("HSET", deliveries, 0, f'pending {{"at":1}}\n{person.key}')
        record = keys.notification(NotificationId(notification))
        await self._store.run("HSET", record, "count:pending", 1, "count:delivered", 0)


@pytest.fixture
def hand(service: Service) -> Hand:
    return Hand(service.store)


async def loses_a_notification(ann: Person, sender: Sender, hand: Hand, **fields: Any) -> str:
    """One that was accepted while ann's conversation was somebody's, and whose mail is gone."""
    await ann.says("hello")
    await hand.busies(ann)
    notification = await sender.notifies(ann, "news", **fields)
    await hand.loses_mail(ann)
    await hand.frees(ann)
    return notification


async def test_what_lies_nowhere_is_put_again(service: Service, ann: Person, sender: Sender, hand: Hand) -> None:
    """It is shown, and says that it may have been shown before: nobody knows what else was lost."""
    notification = await loses_a_notification(ann, sender, hand)
    await sweep_of(service).once()
    await ann.hears("news")
    delivery = await sender.becomes(notification, "delivered")
    assert delivery["mayBeRepeated"] is True
    await sweep_of(service).once()
    assert ann.news() == []


async def test_nothing_is_looked_for_before_its_time(
    service: Service, ann: Person, sender: Sender, hand: Hand
) -> None:
    """It may be on its way."""
    notification = await loses_a_notification(ann, sender, hand)
    await sweep_of(service, lambda: system_clock() + GRACE / 2).once()
    delivery = await sender.delivery(notification)
    assert (delivery["status"], delivery["mayBeRepeated"]) == ("pending", False)


async def test_what_is_found_once_more_is_put_once_more(
    service: Service, ann: Person, sender: Sender, hand: Hand
) -> None:
    """It is lost again, or its process died before it had put it."""
    notification = await loses_a_notification(ann, sender, hand)
    await hand.busies(ann)
    await sweep_of(service).once()
    await hand.loses_mail(ann)
    await hand.frees(ann)
    await sweep_of(service, lambda: system_clock() + timedelta(minutes=3)).once()
    await ann.hears("news")
    await sender.becomes(notification, "delivered")


async def test_what_may_be_shown_once_at_most_ends_as_unknown(
    service: Service, ann: Person, sender: Sender, hand: Hand
) -> None:
    notification = await loses_a_notification(ann, sender, hand, guarantee="at_most_once")
    await sweep_of(service).once()
    await sender.becomes(notification, "unknown")
    assert ann.news() == []


async def test_what_has_expired_meanwhile_has(service: Service, ann: Person, sender: Sender, hand: Hand) -> None:
    soon = (system_clock() + timedelta(seconds=50)).isoformat()
    notification = await loses_a_notification(ann, sender, hand, expiresAt=soon)
    await sweep_of(service).once()
    await sender.becomes(notification, "expired")


async def test_what_was_withdrawn_is_cancelled(service: Service, ann: Person, sender: Sender, hand: Hand) -> None:
    """The mail that withdraws it was lost with it."""
    await ann.says("hello")
    await hand.busies(ann)
    notification = await sender.notifies(ann, "news")
    assert await service.notifications.spreading.cancel(NotificationId(notification))
    await until(lambda: service.store.run("HLEN", keys.mailbox(conversation(ann))), what="it is there")

    async def withdrawn() -> bool:
        return await service.store.run("HLEN", keys.mailbox(conversation(ann))) == 2

    await until(withdrawn, what="it is withdrawn")
    await hand.loses_mail(ann)
    await hand.frees(ann)
    await sweep_of(service).once()
    await sender.becomes(notification, "cancelled")
    assert ann.news() == []


async def test_what_was_said_and_not_recorded_is_delivered(
    service: Service, ann: Person, sender: Sender, hand: Hand
) -> None:
    """The record's server had not passed on the last word of it: it is not said again."""
    await ann.says("hello")
    notification = await sender.notifies(ann, "news")
    await ann.hears("news")
    await sender.becomes(notification, "delivered")
    await hand.forgets_status(notification, ann)
    await sweep_of(service).once()
    delivery = await sender.becomes(notification, "delivered")
    assert delivery["mayBeRepeated"] is False
    assert ann.news() == []


@pytest.mark.parametrize(("mode", "status"), [("queue", "queued"), ("resume", "held")])
async def test_what_waits_in_the_inbox_is_left_there(
    service: Service, ann: Person, sender: Sender, mode: str, status: str
) -> None:
    await ann.says("report")
    notification = await sender.notifies(ann, "news", mode=mode)
    before = await sender.becomes(notification, status)
    await sweep_of(service).once()
    assert await sender.delivery(notification) == before


async def test_what_lies_in_the_mailbox_is_left_there_and_its_conversation_woken(
    service: Service, ann: Person, sender: Sender, hand: Hand
) -> None:
    """The server of the work in hand had not passed on the wake-up."""
    await ann.says("hello")
    await hand.busies(ann)
    notification = await sender.notifies(ann, "news")
    before = await sender.delivery(notification)
    await hand.loses_work("conversations", ann.key)
    await hand.frees(ann)
    await sweep_of(service).once()
    await ann.hears("news")
    delivery = await sender.becomes(notification, "delivered")
    assert (before["mayBeRepeated"], delivery["mayBeRepeated"]) == (False, False)


async def test_a_fan_out_that_nobody_has_in_hand_goes_on(
    service: Service, ann: Person, bob: Person, sender: Sender, hand: Hand
) -> None:
    """Also one whose time is yet to come; then it waits on."""
    await ann.says("hello")
    await bob.says("hello")
    later = (system_clock() + timedelta(hours=1)).isoformat()
    notification = await sender.notifies({"all": True}, "news", sendAt=later)
    await hand.loses_work("fanout", notification)
    await sweep_of(service).once()
    assert await service.fanout_work.knows(notification)
    assert ann.news() == []
    await hand.loses_work("fanout", notification)
    await sweep_of(service, lambda: system_clock() + timedelta(hours=2)).once()
    await ann.hears("news")
    await bob.hears("news")


async def test_everything_is_looked_at_in_turn(
    service: Service, ann: Person, bob: Person, sender: Sender, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass does so much and no more; the next goes on from there."""
    for name, few in (("NEWEST", 1), ("OTHERS", 2), ("ROWS", 2)):
        monkeypatch.setattr(f"delivery.sweep.{name}", few)
    lost = await loses_a_notification(bob, sender, hand)
    await ann.says("report")
    for number in range(9):
        await sender.becomes(await sender.notifies(ann, f"{number}", mode="queue"), "queued")
    passes = 0
    while not await service.store.run("EXISTS", keys.mail_ids(conversation(bob))):
        cursor = await service.store.run("HGET", keys.sweep(), "cursor")
        await sweep_of(service).once((cursor or b"").decode())
        passes += 1
        assert passes < 12
    assert passes > 3
    await bob.hears("news")
    await sender.becomes(lost, "delivered")


async def test_mail_of_any_kind_that_is_nobodys_work_is_seen_to(
    service: Service, ann: Person, sender: Sender, hand: Hand
) -> None:
    """A wake-up was lost. What needs nothing is left alone."""
    await ann.says("hello")
    await service.unattended.wake()
    assert not await service.work.knows(ann.key)
    await hand.busies(ann)
    await sender.notifies(ann, "news")
    await hand.loses_work("conversations", ann.key)
    await hand.frees(ann)
    await service.unattended.wake()
    await ann.hears("news")


class TestAJob:
    @pytest.fixture
    async def service(self, start_service: ServiceFactory) -> Service:
        """No worker would take it."""
        return await start_service(role="web")

    async def test_that_is_nobodys_work_is_run(self, service: Service, ann: Person, hand: Hand) -> None:
        await ann.says("compute factor 360")
        jobs, _ = await service.jobs.recent(1)
        member = work_member(jobs[0].conversation, jobs[0].id, jobs[0].owner)
        await hand.loses_work("jobs", member)
        await service.unattended.wake()
        assert await service.job_work.knows(member)


class TestTheService:
    @pytest.fixture
    async def service(self, start_service: ServiceFactory, monkeypatch: pytest.MonkeyPatch) -> Service:
        monkeypatch.setattr("delivery.sweep.EVERY", 0.1)
        monkeypatch.setattr("delivery.sweep.GRACE", timedelta(0))
        return await start_service()

    async def test_sweeps_by_itself(self, ann: Person, sender: Sender, hand: Hand) -> None:
        notification = await loses_a_notification(ann, sender, hand)
        await ann.hears("news")
        await sender.becomes(notification, "delivered")


async def test_one_process_at_a_time_sweeps(service: Service) -> None:
    first, second = sweep_of(service)._lookout, sweep_of(service)._lookout
    assert await first.turn(60) == ""
    await first.come_to("ntf_1 7")
    assert await second.turn(60) is None
    await service.store.run("HSET", keys.sweep(), "until", 1)
    assert await second.turn(60) == "ntf_1 7"
