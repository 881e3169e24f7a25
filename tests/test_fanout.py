"""The fan-out: many recipients have it soon, and each of them once, also where the store goes away in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

import app
from app import Service
from delivery import fanout
from domain.errors import StoreUnavailable
from testkit.channel import FakeChannel
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory, url_of
from tests.serving import impatient

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")

SLICES = 3


@pytest.fixture
def lease() -> float:
    """Seconds after which a page that was interrupted is taken up again."""
    return 0.2


@pytest.fixture
async def service(start_service: ServiceFactory, monkeypatch: pytest.MonkeyPatch, lease: float) -> Service:
    """Its slices are small."""
    monkeypatch.setattr(app, "FANOUT_LEASE", lease)
    monkeypatch.setattr(fanout, "SLICE", 2)
    return await start_service()


@pytest.fixture
async def crowd(service: Service, http: aiohttp.ClientSession, channel: FakeChannel) -> list[Person]:
    people = [Person(http, url_of(service), channel, f"p{number}") for number in range(2 * SLICES)]
    for person in people:
        await person.says("hello")
    return people


def before_mail(service: Service, monkeypatch: pytest.MonkeyPatch, do: Callable[[], Any]) -> None:
    """Await ``do()`` each time before a slice is put into mailboxes."""
    put = service.mail.put

    async def putting(mail: Sequence[Any]) -> Any:
        await do()
        return await put(mail)

    monkeypatch.setattr(service.mail, "put", putting)


@pytest.mark.parametrize("lease", [3600.0])
async def test_the_slices_of_a_page_do_not_wait_for_each_other(
    service: Service, crowd: list[Person], sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the store takes for one: a broadcast would else be spread no faster than it is shown."""
    all_there = asyncio.Barrier(SLICES)
    before_mail(service, monkeypatch, all_there.wait)
    await sender.notifies({"all": True}, "news")
    for person in crowd:
        await person.hears("news")


@pytest.mark.parametrize("fails", range(SLICES))
async def test_a_page_that_was_interrupted_is_finished(
    service: Service, crowd: list[Person], sender: Sender, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    """Those whose slice was put already are not told again, and the others are."""
    tries: list[int] = []

    async def one_fails() -> None:
        tries.append(len(tries))
        if tries[-1] == fails:
            raise StoreUnavailable("away")

    before_mail(service, monkeypatch, one_fails)
    nid = await sender.notifies({"all": True}, "news")
    for person in crowd:
        await person.hears("news")
    for index in range(len(crowd)):
        await sender.becomes(nid, "delivered", index)
    assert [person.shows().count("news") for person in crowd] == [1] * len(crowd)


def fails_first(times: int) -> Callable[[], Any]:
    """A store that goes away the first so many times."""
    tries: list[int] = []

    async def one() -> None:
        tries.append(1)
        if len(tries) <= times:
            raise StoreUnavailable("away")

    return one


async def shows(person: Person, text: str) -> str:
    """All that somebody's conversation shows, once this is among it; perhaps with others in a digest."""
    await until(lambda: text in "\n".join(person.shows()), what=f"{person.name} is shown {text!r}")
    return "\n".join(person.shows())


@pytest.mark.parametrize("lease", [3600.0])
async def test_what_is_accepted_while_the_store_goes_away_is_not_overtaken(
    service: Service, crowd: list[Person], sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender is answered when it lies in every mailbox, and so before what is posted next does."""
    before_mail(service, monkeypatch, fails_first(SLICES + 1))
    audience = {"conversations": [person.key for person in crowd]}
    for text in ("first", "second"):
        await sender.notifies(audience, text, mode="interject")
    for person in crowd:
        shown = await shows(person, "second")
        assert shown.index("first") < shown.index("second")


@pytest.mark.parametrize("lease", [3600.0])
async def test_what_the_store_stays_away_for_is_refused_and_counts_once_when_it_is_posted_again(
    service: Service,
    crowd: list[Person],
    sender: Sender,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing was promised for it; what was accepted meanwhile comes first."""
    monkeypatch.setattr(fanout, "INSIST_SECONDS", 0.0)
    monkeypatch.setattr("state.idempotency.IN_PROGRESS", timedelta(0))
    before_mail(service, monkeypatch, fails_first(1))
    ann = crowd[0]
    first = {"to": {"conversation": ann.key}, "text": "first", "mode": "interject", "id": "key"}
    status, _ = await sender.posts(first)
    assert status == 503
    interrupted = [vars(record) for record in caplog.records if getattr(record, "action", "") == "work_interrupted"]
    assert [record["loop"] for record in interrupted] == ["accept"]
    await sender.notifies(ann, "second", mode="interject")
    await shows(ann, "second")
    status, _ = await sender.posts(first)
    assert status == 202
    shown = await shows(ann, "first")
    assert (shown.count("first"), shown.count("second")) == (1, 1)
    assert shown.index("second") < shown.index("first")


async def test_a_broadcast_is_finished_although_its_audience_shrank(
    service: Service, crowd: list[Person], sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody was forgotten between its acceptance and its being spread; they count no more."""
    count = service.conversations.count

    async def one_more(channel_id: str | None = None) -> int:
        return await count(channel_id) + 1

    monkeypatch.setattr(service.conversations, "count", one_more)
    nid = await sender.notifies({"all": True}, "news")

    async def finished() -> Any:
        _, told = await sender.gets(f"/api/notifications/{nid}")
        return told if told["status"] == "finished" else None

    told = await until(finished, what="the broadcast is finished")
    assert (told["recipients"], told["counts"]) == (len(crowd), {"delivered": len(crowd)})
    assert [each["status"] for each in told["deliveries"]] == ["delivered"] * len(crowd)
