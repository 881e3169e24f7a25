"""A record that cannot be read, whoever wrote it, stops no list, no loop, no sweep and no turn."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from app import Service
from domain.clock import from_ms, system_clock, to_iso
from domain.ids import ConversationKey, DeliveryId, JobId, NotificationId, new_id
from state import keys, readable
from state.jobs import work_member
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.serving import impatient, serving
from tests.test_dead_letters import fails, letters
from tests.test_sweep import Hand, in_a_minute, loses_a_notification, sweep_of

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")

GARBAGE = [b"", b"{", b"[]", b"{}", b"\xff\xfe"]
TOMORROW = to_iso(system_clock() + timedelta(days=1))


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    readable._told.clear()


@pytest.fixture
def hand(service: Service) -> Hand:
    return Hand(service.store)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The kinds of the records of which the log says that they cannot be read."""
    records = [vars(record) for record in caplog.records]
    return [record["kind"] for record in records if record.get("action") == "record_unreadable"]


async def changed(service: Service, notification: str, **fields: Any) -> None:
    """The record as another version might have written it."""
    name = keys.notification(NotificationId(notification))
    body = orjson.loads(await service.store.run("HGET", name, "body"))
    await service.store.run("HSET", name, "body", orjson.dumps(body | fields))


@pytest.mark.parametrize("ms", [-62_135_600_400_000, -(10**15), 253_402_300_800_000, 10**18])
def test_a_time_that_has_no_year_is_the_next_that_has(ms: int) -> None:
    """And it can be reckoned with: earlier versions have stored such times."""
    moment = from_ms(ms)
    assert (moment.year in (2, 9998)) and moment - timedelta(days=100) < moment < moment + timedelta(hours=1)


async def test_a_notification_of_before_all_time_is_delivered(service: Service, ann: Person, sender: Sender) -> None:
    """An earlier version has accepted its ``sendAt`` and could not read it back."""
    await ann.says("hello")
    notification = await sender.notifies(ann, "old news", mode="interject", sendAt=TOMORROW)
    await changed(service, notification, sendAt=-62_135_600_400_000)
    await service.fanout_work.wake(notification)
    await ann.hears("old news")
    await sender.becomes(notification, "delivered")
    _, body = await sender.gets("/api/notifications")
    assert [each["id"] for each in body["notifications"]] == [notification]


@pytest.mark.parametrize("data", [*GARBAGE, "of another version"])
async def test_a_notification_that_cannot_be_read_is_passed_over(
    service: Service,
    ann: Person,
    sender: Sender,
    hand: Hand,
    data: bytes | str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The list has the others, the schedule goes on, and the sweep finds what another one's mail has lost."""
    await ann.says("hello")
    broken = await sender.notifies(ann, "broken", sendAt=TOMORROW)
    if isinstance(data, str):
        await changed(service, broken, mode="louder")
    else:
        await service.store.run("HSET", keys.notification(NotificationId(broken)), "body", data)
    await service.fanout_work.wake(broken)
    lost = await loses_a_notification(ann, sender, hand)
    newest = await sender.notifies(ann, "newest", sendAt=TOMORROW)
    await changed(service, newest, category=None, guarantee="thrice")
    await until(lambda: "notification" in told(caplog))
    status, body = await sender.gets("/api/notifications")
    assert (status, [each["id"] for each in body["notifications"]]) == (200, [lost])
    assert (await sender.gets(f"/api/notifications/{broken}"))[0] == 404
    await sweep_of(service).once()
    await ann.sees(lambda texts: "news" in texts)
    await sender.becomes(lost, "delivered")
    assert told(caplog).count("notification") == 2


async def test_whatever_stops_the_sweep_at_one_notification_stops_it_there_only(
    service: Service, ann: Person, sender: Sender, hand: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    """Its recipient's record is of another type, say."""
    lost = await loses_a_notification(ann, sender, hand)
    nobody = new_id("chat")
    broken = await sender.notifies(ann, "broken", sendAt=TOMORROW)
    rows = keys.deliveries(NotificationId(broken))
    await service.store.run("HSET", rows, 0, f'pending {{"at":1}}\nmsteams/{nobody}')
    await service.store.run("HSET", keys.notification(NotificationId(broken)), "served", 1, "count:pending", 1)
    await service.store.run("SET", keys.conversation(ConversationKey(f"msteams/{nobody}")), "no hash")
    await sweep_of(service).once()
    await ann.sees(lambda texts: "news" in texts)
    await sender.becomes(lost, "delivered")
    assert any(vars(record).get("action") == "notification_passed_over" for record in caplog.records)


@pytest.mark.parametrize("data", ["", "x", "pending", "pending {\nmsteams/a:ann", "louder {}\nmsteams/a:ann"])
async def test_a_delivery_that_cannot_be_read_is_passed_over(
    service: Service, ann: Person, bob: Person, sender: Sender, data: str
) -> None:
    for person in (ann, bob):
        await person.says("hello")
    notification = await sender.notifies({"conversations": [ann.key, bob.key]}, "hear", mode="interject")
    await sender.becomes(notification, "delivered", 1)
    await sender.becomes(notification, "delivered", 0)
    await service.store.run("HSET", keys.deliveries(NotificationId(notification)), 0, data)
    status, body = await sender.gets(f"/api/notifications/{notification}")
    assert (status, [each["conversation"] for each in body["deliveries"]]) == (200, [bob.key])
    await sweep_of(service, in_a_minute).once()


@pytest.mark.parametrize("data", GARBAGE)
async def test_a_dead_letter_that_cannot_be_read_is_passed_over(
    service: Service, ann: Person, sender: Sender, data: bytes
) -> None:
    await ann.says("hello")
    await fails(ann, sender, "one")
    await fails(ann, sender, "two")
    newest, older = [str(letter["id"]) for letter in await letters(sender)]
    await service.store.run("SET", keys.dead_letter(DeliveryId(newest)), data)
    assert [letter["id"] for letter in await letters(sender)] == [older]


@pytest.mark.parametrize("data", GARBAGE)
async def test_a_conversation_that_cannot_be_read_is_passed_over(
    service: Service, ann: Person, bob: Person, sender: Sender, data: bytes
) -> None:
    """Until its user speaks: then it is known anew."""
    await ann.says("hello")
    await bob.says("hello")
    await service.store.run("HSET", keys.conversation(ConversationKey(ann.key)), "record", data)
    status, body = await sender.gets("/api/conversations")
    assert (status, [each["key"] for each in body["conversations"]]) == (200, [bob.key])
    everyone = await sender.notifies({"all": True}, "all of you", mode="interject")
    await bob.hears("all of you")
    assert "You sent: hello" in await ann.says("hello")
    _, body = await sender.gets("/api/conversations")
    assert len(body["conversations"]) == 2
    assert (await sender.gets(f"/api/notifications/{everyone}"))[0] == 200


@pytest.mark.parametrize("data", [*GARBAGE, b'{"kind":"input","at":1,"activity":"hi"}', b'{"kind":"withdrawal"}'])
@pytest.mark.parametrize("name", ["ntf_x.0", "in:x"])
async def test_mail_that_cannot_be_read_is_taken_away(
    service: Service, ann: Person, sender: Sender, data: bytes, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What lies beside it is said, and what the user says is answered."""
    await ann.says("hello")
    await service.store.run("HSET", keys.mailbox(ConversationKey(ann.key)), name, data)
    assert await ann.says("hi") == ["You sent: hi"]
    await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
    assert (await sender.conversation(ann))["mailbox"] == 0
    assert told(caplog) == ["mail"]


@pytest.mark.parametrize("entry", [None, "x", {}, {"id": 5}, {"id": "ntf_x.0"}, {"id": "ntf_x.0", "mode": "louder"}])
@pytest.mark.parametrize("listed", ["inbox", "recent"])
async def test_what_an_inbox_holds_that_cannot_be_read_is_passed_over(
    service: Service, ann: Person, sender: Sender, entry: Any, listed: str
) -> None:
    """By the inbox that the user asks for, and by the turns that look at it."""
    await ann.says("hello")
    await sender.becomes(await sender.notifies(ann, "told", mode="interject"), "delivered")
    waits = await sender.notifies(ann, "waits", mode="queue")
    await sender.becomes(waits, "queued")
    name = keys.conversation(ConversationKey(ann.key))
    form, own, state = (await service.store.run("HGET", name, "state")).split(b"\n", 2)
    kept: Json = orjson.loads(own)
    kept[listed] = [entry, *kept[listed]]
    await service.store.run("HSET", name, "state", b"\n".join((form, orjson.dumps(kept), state)))
    await ann.says("inbox")
    await sender.becomes(waits, "delivered")
    assert "You sent: hi" in await ann.says("hi")
    await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")


@pytest.mark.parametrize("own", [b"", b"{", b"[]", b"null", b"\xff", b'{"inbox":5}', b'{"recent":{}}'])
async def test_what_the_service_keeps_beside_a_state_need_not_be_readable(
    service: Service, ann: Person, sender: Sender, own: bytes
) -> None:
    """The dialogs' state is as it was."""
    await ann.says("hello")
    name = keys.conversation(ConversationKey(ann.key))
    form, _, state = (await service.store.run("HGET", name, "state")).split(b"\n", 2)
    await service.store.run("HSET", name, "state", b"\n".join((form, own, state)))
    assert await ann.says("hi") == ["You sent: hi"]
    await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")


@pytest.mark.parametrize("data", [b"", b"1.0", b"1.0 {", b"1.0 []", b"1.0 \xff", b'1.0 {"kind":"send"}'])
async def test_an_effect_that_cannot_be_read_is_put_aside(
    service: Service, ann: Person, sender: Sender, data: bytes
) -> None:
    await ann.says("hello")
    await service.store.run("RPUSH", keys.outbox(ConversationKey(ann.key)), data)
    assert await ann.says("hi") == ["You sent: hi"]
    assert (await sender.conversation(ann))["outbox"] == 0
    assert len(await letters(sender)) == 1


@pytest.mark.parametrize("field", ["reach", "reach_since", "spoke"])
async def test_a_field_of_a_conversation_need_not_be_readable(
    service: Service, ann: Person, bob: Person, sender: Sender, field: str
) -> None:
    await ann.says("hello")
    await bob.says("hello")
    await service.store.run("HSET", keys.conversation(ConversationKey(ann.key)), field, "garbage")
    _, body = await sender.gets("/api/conversations")
    assert bob.key in [each["key"] for each in body["conversations"]]
    assert await ann.says("hi") == ["You sent: hi"]


class TestAJobThatCannotBeRead:
    service = serving(JOBS="tests.own_jobs")

    @pytest.mark.parametrize(
        ("field", "data"), [*(("body", data) for data in GARBAGE), ("status", b"louder"), ("created", b"x")]
    )
    async def test_is_passed_over_and_ends(
        self, service: Service, ann: Person, sender: Sender, field: str, data: bytes
    ) -> None:
        """The lists have the others, which run; it is not handed out for ever."""
        for _ in range(2):
            await ann.says("compute primes 5")
        older, broken = await failed_jobs(sender, 2)
        name = keys.job(ConversationKey(ann.key), broken)
        await service.store.run("HSET", name, "status", "waiting", field, data)
        status, body = await sender.gets("/api/jobs")
        assert (status, [job["id"] for job in body["jobs"]]) == (200, [older])
        assert (await sender.gets(f"/api/jobs/{broken}"))[0] == 404
        await service.job_work.wake(work_member(ConversationKey(ann.key), broken, ""))
        await ann.says("compute primes 6")
        assert (await failed_jobs(sender, 2))[0] == older
        await ann.says("jobs")
        if field != "status":
            await until(lambda: _is_failed(service, name))


async def failed_jobs(sender: Sender, count: int) -> list[JobId]:
    """The ids of so many jobs, the oldest first, once they have failed."""

    async def failed() -> list[JobId]:
        _, body = await sender.gets("/api/jobs")
        found = [JobId(job["id"]) for job in reversed(body["jobs"]) if job["status"] == "failed"]
        return found if len(found) == count else []

    found: list[JobId] = await until(failed, what=f"{count} jobs have failed")
    return found


async def _is_failed(service: Service, name: str) -> bool:
    return bool(await service.store.run("HGET", name, "status") == b"failed")
