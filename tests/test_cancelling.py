"""Cancelling a notification: what has not been shown never is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import aiohttp
import pytest

import domain.sending
from app import Service
from domain.audience import Listed
from domain.delivery import Status
from domain.ids import ConversationKey, NotificationId, new_id
from domain.notification import Content, Mode, Notification
from state import keys
from testkit.channel import FakeChannel, Mood
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.conftest import url_of
from tests.serving import serving

AN_HOUR = Mood(status=429, headers={"Retry-After": "3600"})


async def cancels(sender: Sender, notification: str) -> int:
    async with sender.http.delete(f"{sender.bot_url}/api/notifications/{notification}") as response:
        return response.status


async def spared(sender: Sender, notification: str) -> int:
    async with sender.http.delete(f"{sender.bot_url}/api/notifications/{notification}") as response:
        assert response.status == 202
        return int((await response.json())["spared"])


async def counts(sender: Sender, notification: str) -> Json:
    _, body = await sender.gets(f"/api/notifications/{notification}")
    told: Json = body["counts"]
    return told


async def course(sender: Sender, notification: str) -> str:
    _, body = await sender.gets(f"/api/notifications/{notification}")
    return str(body["status"])


async def waits_in_outbox(sender: Sender, person: Person, sends: int = 1) -> None:
    async def waits() -> bool:
        return bool((await sender.conversation(person))["outbox"] == sends)

    await until(waits, what=f"{sends} sends wait in the outbox of {person.name}")


async def was_tried(sender: Sender, notification: str) -> None:
    async def tried() -> bool:
        return bool((await sender.delivery(notification)).get("attempts"))

    await until(tried, what="its send has been tried")


async def test_what_is_queued_is_withdrawn(ann: Person, sender: Sender) -> None:
    """It lay in the inbox; the next turn shows nothing of it."""
    await ann.says("hello")
    notification = await sender.notifies(ann, "never mind", mode="queue")
    await sender.becomes(notification, "queued")
    assert await cancels(sender, notification) == 202
    await sender.becomes(notification, "cancelled")
    assert await ann.says("and?") == ["You sent: and?"]


async def test_what_was_shown_stays_delivered(ann: Person, bob: Person, sender: Sender) -> None:
    """One recipient saw it, the other is busy: only the other is spared."""
    await ann.says("hello")
    await bob.says("report")
    notification = await sender.notifies({"conversations": [ann.key, bob.key]}, "maintenance tonight", mode="resume")
    await sender.becomes(notification, "delivered", 0)
    await sender.becomes(notification, "held", 1)
    assert await cancels(sender, notification) == 202
    assert await course(sender, notification) == "cancelled"
    await sender.becomes(notification, "cancelled", 1)
    assert await course(sender, notification) == "cancelled"
    assert (await sender.delivery(notification, 0))["status"] == "delivered"
    assert "maintenance tonight" not in await bob.says("cancel")


async def test_what_is_scheduled_is_not_sent(ann: Person, sender: Sender) -> None:
    await ann.says("hello")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    notification = await sender.notifies(ann, "good morning", sendAt=tomorrow)
    assert await cancels(sender, notification) == 202
    status, body = await sender.gets(f"/api/notifications/{notification}")
    assert (status, body["counts"]) == (200, {"cancelled": 1})


async def test_what_is_accepted_again_stays_cancelled(ann: Person, sender: Sender, service: Service) -> None:
    """Its sender got no answer, for the process died right after recording it; an operator cancelled it; and the
    sender posts it again as the same."""
    await ann.says("hello")
    now = service.clock()
    notification = Notification(
        id=NotificationId(new_id("ntf")),
        content=Content(activity={"type": "message", "text": "never mind"}),
        created_at=now,
        expires_at=now + timedelta(days=1),
        mode=Mode.INTERJECT,
    )
    audience = Listed(conversations=(ConversationKey(ann.key),))
    await service.notifications.accept_in_hand(notification, audience, 1)
    assert await cancels(sender, notification.id) == 202
    await service.fanout.accept(notification, audience, 1)
    await sender.becomes(notification.id, "cancelled")
    _, body = await sender.gets(f"/api/notifications/{notification.id}")
    assert body["counts"] == {"cancelled": 1}
    assert await ann.says("and?") == ["You sent: and?"]


async def test_what_was_delivered_to_all_stays_finished(ann: Person, sender: Sender) -> None:
    """Nothing was left to cancel, however often it is tried."""
    await ann.says("hello")
    notification = await sender.notifies(ann, "news", mode="interject")
    await sender.becomes(notification, "delivered")
    for _ in range(2):
        async with sender.http.delete(f"{sender.bot_url}/api/notifications/{notification}") as response:
            answer = await response.json()
        assert (response.status, answer["status"], answer["spared"]) == (202, "finished", 0)
    assert await course(sender, notification) == "finished"


async def test_an_unknown_one_is_404(sender: Sender) -> None:
    assert await cancels(sender, "ntf_nothing") == 404


class TestWhatWaitsForTheLimits:
    service = serving(RATE_GLOBAL="1/3600s")

    async def test_is_spared(
        self, service: Service, sender: Sender, http: aiohttp.ClientSession, channel: FakeChannel
    ) -> None:
        """All of it at once, and nobody sees anything of it, also when they speak."""
        people = [Person(http, url_of(service), channel, f"p{number}") for number in range(12)]
        for person in people:
            await person.says("hello")
        notification = await sender.notifies({"conversations": [person.key for person in people]}, "never mind")
        for person in people:
            await waits_in_outbox(sender, person)
        assert await spared(sender, notification) == 12

        async def all_cancelled() -> bool:
            return await counts(sender, notification) == {"cancelled": 12}

        await until(all_cancelled)
        for person in people:
            await waits_in_outbox(sender, person, 0)
            assert await person.says("and?") == ["You sent: and?"]
        assert "never mind" not in "".join(await people[0].says("inbox"))
        assert await counts(sender, notification) == {"cancelled": 12}

    async def test_takes_the_question_with_it_that_it_would_have_repeated(
        self, service: Service, sender: Sender, http: aiohttp.ClientSession, channel: FakeChannel
    ) -> None:
        """Where all that was to be said is withdrawn, nobody is asked again; where some is left, they are."""
        ann = Person(http, url_of(service), channel, "ann", "a:ann-asked")
        asked = await ann.says("report")
        first = await sender.notifies(ann, "never mind", mode="interject")
        await waits_in_outbox(sender, ann, 2)
        await spared(sender, first)
        await waits_in_outbox(sender, ann, 0)
        second = await sender.notifies(ann, "do mind", mode="interject")
        await waits_in_outbox(sender, ann, 2)
        assert ann.news() == []
        await ann.posts(ann.activity(type="typing"))
        await sender.becomes(second, "delivered")
        await waits_in_outbox(sender, ann, 0)
        assert ann.news() == ["do mind", *asked]

    async def test_keeps_nobody_else_waiting(
        self, service: Service, sender: Sender, http: aiohttp.ClientSession, channel: FakeChannel
    ) -> None:
        """What is to be said instead has the places of what was withdrawn."""
        ann, bob = (Person(http, url_of(service), channel, name, f"a:{name}-waits") for name in ("ann", "bob"))
        await ann.says("hello")
        await bob.says("hello")
        notification = await sender.notifies({"conversations": [ann.key, bob.key]}, "never mind")
        for person in (ann, bob):
            held = ("HEXISTS", keys.conversation(ConversationKey(person.key)), "blocked")
            await until(partial(service.store.run, *held))

        async def hours() -> float:
            (used,) = await service.store.run("KEYS", "aside:rate:*")
            return max(float(until) for until in await service.store.run("HVALS", used)) / 3_600_000

        before = await hours()
        await spared(sender, notification)
        for person in (ann, bob):
            await waits_in_outbox(sender, person, 0)
        assert await hours() == pytest.approx(before - 2, abs=0.1)


async def test_a_race_with_sends_ends_in_one_status_each(
    service: Service, sender: Sender, http: aiohttp.ClientSession, channel: FakeChannel
) -> None:
    """Who was spared is told at once, and is who sees nothing."""
    people = [Person(http, url_of(service), channel, f"p{number}") for number in range(40)]
    for person in people:
        await person.says("hello")
    goes_on = asyncio.Event()
    for person in people[::2]:
        channel.answers(person.conversation, Mood(before=goes_on))
    notification = await sender.notifies({"conversations": [person.key for person in people]}, "news")
    await until(lambda: any(person.shows()[-1] == "news" for person in people))
    told = await spared(sender, notification)
    goes_on.set()

    async def all_ended() -> Json | None:
        known = await counts(sender, notification)
        return known if set(known) <= {"delivered", "cancelled"} else None

    ended = await until(all_ended)
    assert ended.get("cancelled", 0) == told
    for number, person in enumerate(people):
        shown = person.shows().count("news")
        assert (await sender.delivery(notification, number))["status"] == ("delivered" if shown else "cancelled")
        assert shown <= 1


class TestWhatTheChannelToldToWait:
    async def test_is_withdrawn_and_the_others_go_on_waiting(self, ann: Person, sender: Sender) -> None:
        """What the channel said is about the conversation: it is kept, also where what it was said of is gone."""
        await ann.says("hello")
        ann.channel.answers(ann.conversation, AN_HOUR)
        notification = await sender.notifies(ann, "never mind", mode="interject")
        await was_tried(sender, notification)
        assert await spared(sender, notification) == 1
        assert (await sender.becomes(notification, "cancelled"))["mayBeRepeated"] is False
        await waits_in_outbox(sender, ann, 0)
        later = await sender.notifies(ann, "later", mode="interject")
        await waits_in_outbox(sender, ann)
        assert (await sender.delivery(later))["status"] == "pending"
        assert ann.news() == []

    @pytest.mark.parametrize("talking", [False, True], ids=["nobody speaks", "the user speaks"])
    async def test_expires_meanwhile(self, ann: Person, sender: Sender, talking: bool) -> None:
        """Its status says so in time, not after the hour, whatever turns there are before that."""
        await ann.says("hello")
        ann.channel.answers(ann.conversation, AN_HOUR)
        soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        notification = await sender.notifies(ann, "for a moment only", mode="interject", expiresAt=soon)
        if talking:
            await waits_in_outbox(sender, ann)
            assert await ann.says("how are you?") == []
        await sender.becomes(notification, "expired")
        await waits_in_outbox(sender, ann, int(talking))
        assert ann.news() == []

    async def test_keeps_nothing_in_the_inbox_from_expiring_in_time(self, ann: Person, sender: Sender) -> None:
        """Nor from whatever else is due before the channel listens again."""
        await ann.says("report")
        soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        held = await sender.notifies(ann, "for a moment only", mode="resume", expiresAt=soon)
        await sender.becomes(held, "held")
        ann.channel.answers(ann.conversation, AN_HOUR)
        await was_tried(sender, await sender.notifies(ann, "news", mode="interject"))
        await sender.becomes(held, "expired")

    async def test_leaves_a_digest_whose_other_lines_are_said(
        self, ann: Person, sender: Sender, service: Service
    ) -> None:
        await ann.says("report")
        notifications = [await sender.notifies(ann, f"news {number}") for number in range(4)]
        for notification in notifications:
            await sender.becomes(notification, "held")
        ann.channel.answers(ann.conversation, Mood(), AN_HOUR)
        await ann.says("cancel")
        await was_tried(sender, notifications[1])
        assert await spared(sender, notifications[1]) == 1
        await sender.becomes(notifications[1], "cancelled")
        await waits_in_outbox(sender, ann, 3)
        await service.store.run("HDEL", keys.conversation(ConversationKey(ann.key)), "blocked")
        await ann.posts(ann.activity(text="and?"))
        assert ann.news() == ["news 0", "news 2", "news 3", "You sent: and?"]
        for notification in (notifications[0], notifications[2], notifications[3]):
            await sender.becomes(notification, "delivered")


class TestASendThatHasBegun:
    async def test_settles_itself(self, ann: Person, sender: Sender) -> None:
        """The channel takes its time; nobody is spared, and the status is what the channel says in the end."""
        await ann.says("hello")
        asked, goes_on = len(ann.channel.requests), asyncio.Event()
        ann.channel.answers(ann.conversation, Mood(before=goes_on))
        notification = await sender.notifies(ann, "too late", mode="interject")
        await until(lambda: len(ann.channel.requests) > asked)
        assert await spared(sender, notification) == 0
        assert await course(sender, notification) == "running"
        goes_on.set()
        await sender.becomes(notification, "delivered")
        assert await course(sender, notification) == "finished"
        assert ann.news() == ["too late"]
        assert await counts(sender, notification) == {"delivered": 1}

    async def test_is_not_repeated(self, ann: Person, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
        """The channel may have taken it: it is not tried again, and nobody knows."""
        monkeypatch.setattr(domain.sending, "FIRST_PAUSE", 3600.0)
        await ann.says("hello")
        ann.channel.answers(ann.conversation, Mood(status=500, accept=True))
        notification = await sender.notifies(ann, "once", mode="interject")
        await was_tried(sender, notification)
        assert await spared(sender, notification) == 0
        await sender.becomes(notification, "unknown")
        await waits_in_outbox(sender, ann, 0)
        assert ann.news() == ["once"]

    async def test_that_the_channel_refuses_for_now_is_spared(self, ann: Person, sender: Sender) -> None:
        """It was asked when the cancellation came, and said no: it is not asked again."""
        await ann.says("hello")
        asked, goes_on = len(ann.channel.requests), asyncio.Event()
        ann.channel.answers(
            ann.conversation, Mood(status=429, headers={"Retry-After": "0"}, before=goes_on)
        )
        notification = await sender.notifies(ann, "never mind", mode="interject")
        await until(lambda: len(ann.channel.requests) > asked)
        assert await spared(sender, notification) == 0
        goes_on.set()
        await sender.becomes(notification, "cancelled")
        assert await course(sender, notification) == "cancelled"
        assert ann.news() == []
        assert await spared(sender, notification) == 1


async def test_a_cancel_is_counted_once(ann: Person, bob: Person, sender: Sender, service: Service) -> None:
    """Whoever spread it had entered its recipients, and died before that was noted."""
    await ann.says("hello")
    await bob.says("hello")
    now = service.clock()
    notification = Notification(
        id=NotificationId(new_id("ntf")),
        content=Content(activity={"type": "message", "text": "never mind"}),
        created_at=now,
        expires_at=now + timedelta(days=1),
        mode=Mode.INTERJECT,
    )
    audience = Listed(conversations=(ConversationKey(ann.key), ConversationKey(bob.key)))
    await service.notifications.accept_in_hand(notification, audience, 2)
    await service.notifications.spreading.enter(notification.id, 0, audience.conversations, Status.PENDING)
    assert await spared(sender, notification.id) == 2
    await sender.becomes(notification.id, "cancelled", 0)
    await sender.becomes(notification.id, "cancelled", 1)
    assert await counts(sender, notification.id) == {"cancelled": 2}
    assert await spared(sender, notification.id) == 2
