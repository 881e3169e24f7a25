"""State that cannot be read: put aside, so that the conversation goes on."""

from __future__ import annotations

import aiohttp
import pytest

from state import keys
from testkit.channel import FakeChannel
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory, url_of

FOREIGN = b'1\n{}\n{"DialogState":{"$type":"long_gone.module:Cart","v":{}}}'


@pytest.fixture
async def ann(start_service: ServiceFactory, http: aiohttp.ClientSession, channel: FakeChannel) -> Person:
    service = await start_service()
    person = Person(http, url_of(service), channel)
    await person.says("hello")
    await service.store.run("HSET", keys.conversation(person.key), "state", FOREIGN, "dialogs", b'["cart"]')  # type: ignore[arg-type]
    person.store = service.store  # type: ignore[attr-defined]
    return person


async def test_the_user_is_told_and_begins_anew(ann: Person, caplog: pytest.LogCaptureFixture) -> None:
    """One sentence that says so; the next message is answered as always, and the operator has a copy."""
    (sentence,) = await ann.says("still there?")
    assert sentence.startswith("I am sorry, I lost track of what we were doing")
    assert await ann.says("hello again") == ["You sent: hello again"]
    kept = await ann.store.run("GET", keys.unreadable(ann.key))  # type: ignore[attr-defined, arg-type]
    assert kept == FOREIGN
    assert any(record.__dict__.get("action") == "turn_failed" for record in caplog.records)


async def test_a_notification_waits_until_the_state_can_be_read(
    ann: Person, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs no attempt, and is there when the user has begun anew."""
    sender = Sender(http, ann.bot_url)
    notification = await sender.notifies(ann, "patience", mode="interject")
    await until(lambda: any(record.__dict__.get("action") == "turn_failed" for record in caplog.records))
    assert (await sender.delivery(notification))["status"] == "pending"
    await ann.says("hello?")
    await sender.becomes(notification, "delivered")
    await ann.sees(lambda texts: "patience" in texts)


async def test_a_notification_need_not_wait_where_nothing_is_going_on(ann: Person, http: aiohttp.ClientSession) -> None:
    """No dialog was active when the last turn ended: there is nothing to be read, and the state is left as it is."""
    store, sender = ann.store, Sender(http, ann.bot_url)  # type: ignore[attr-defined]
    await store.run("HSET", keys.conversation(ann.key), "dialogs", b"[]")  # type: ignore[arg-type]
    notification = await sender.notifies(ann, "at once", mode="resume")
    await ann.sees(lambda texts: "at once" in texts)
    await sender.becomes(notification, "delivered")
    kept = await store.run("HGET", keys.conversation(ann.key), "state")  # type: ignore[arg-type]
    assert kept.endswith(FOREIGN.rpartition(b"\n")[2])
