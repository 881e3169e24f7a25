"""The whole service, while its store misbehaves: it says so, loses nothing, repeats nothing, and goes on by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from app import Service
from state.turns import LEASE
from testkit.channel import FakeChannel, Mood
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory, url_of
from tests.processes import SOON, Nursery, ServiceProcess, sends
from tests.topologies import Servers
from tests.troubled_store import WITHIN, Answer, Load, SlowWay, TroubledStore, ask

AWAY = "The store cannot be reached"
SILENT = "The store does not answer"
FULL = "The store refuses to write: command not allowed when used memory > 'maxmemory'"

THINKER = {"ROOT_DIALOG": "tests.faults.dialogs:Thinker", "STATE_MODULES": "dialogs"}

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def store() -> AsyncIterator[TroubledStore]:
    """Of this test alone."""
    with Servers() as servers:
        store = TroubledStore(servers)
        await store.start()
        yield store
        await store.close()


@pytest.fixture
async def service(nursery: Nursery, store: TroubledStore) -> ServiceProcess:
    return await nursery.start(REDIS_URL=store.url)


@pytest.fixture
async def people(service: ServiceProcess, http: aiohttp.ClientSession, channel: FakeChannel) -> list[Person]:
    """The service knows them."""
    return await known([Person(http, service.url, channel, name) for name in ("ann", "bob", "eve")])


@pytest.fixture
async def ann(service: ServiceProcess, http: aiohttp.ClientSession, channel: FakeChannel) -> Person:
    return Person(http, service.url, channel)


@pytest.fixture
def sender(service: ServiceProcess, http: aiohttp.ClientSession) -> Sender:
    return Sender(http, service.url)


async def known(people: list[Person]) -> list[Person]:
    await asyncio.gather(*(person.says("hello") for person in people))
    return people


async def readiness(sender: Sender) -> Answer:
    return await ask(sender.http, "GET", f"{sender.bot_url}/health/ready")


async def becomes_ready(sender: Sender) -> None:
    async def is_ready() -> bool:
        return (await readiness(sender)).status == 200

    await until(is_ready, what="the service is ready again")


async def everything_says(sender: Sender, person: Person, reason: str) -> None:
    """Whatever needs the store is answered 503 and why, in time; that the process lives and counts is still seen."""
    note = {"to": {"conversation": person.key}, "text": "not posted again"}
    keyed = {"headers": {"Idempotency-Key": "of this one"}}
    asked: list[tuple[str, str, Json]] = [
        ("POST", "/api/messages", {"json": person.activity(text="not posted again")}),
        ("POST", "/api/notify", {"json": note}),
        ("POST", "/api/notify", {"json": note, **keyed}),
        ("GET", "/api/notify", {}),
        ("GET", "/api/notifications", {}),
        ("GET", "/api/notifications/ntf_x", {}),
        ("DELETE", "/api/notifications/ntf_x", {}),
        ("GET", "/api/conversations", {}),
        ("GET", f"/api/conversations/{quote(person.key, safe='')}", {}),
        ("GET", "/api/jobs", {}),
        ("GET", "/api/jobs/job_x", {}),
        ("GET", "/api/dead-letters", {}),
        ("GET", "/health/ready", {}),
    ]
    told = [ask(sender.http, method, sender.bot_url + path, **more) for method, path, more in asked]
    up = [ask(sender.http, "GET", sender.bot_url + path) for path in ("/health/live", "/metrics", "/api/openapi.json")]
    answers = await asyncio.gather(*told, *up)
    for answer in answers[: len(told)]:
        answer.tells(reason)
    assert [answer.status for answer in answers[len(told) :]] == [200, 200, 200]


# --------------------------------------------------------------------- away


@pytest.mark.parametrize("ending", ["kill", "stop"])
async def test_a_store_that_is_restarted(
    ending: str, store: TroubledStore, people: list[Person], sender: Sender
) -> None:
    """The service is not ready meanwhile and afterwards is, by itself; what was accepted is shown, once."""
    async with Load(people, AWAY).going_on() as load:
        await load.accepts(3)
        getattr(store, ending)()
        await load.is_refused(3)
        (await readiness(sender)).tells(AWAY)
        await store.start()
        await becomes_ready(sender)
        await load.accepts(3)
    load.was_shown_once()


async def test_a_store_that_refuses_connections_is_told_by_everything(
    store: TroubledStore, people: list[Person], sender: Sender
) -> None:
    ann = people[0]
    store.stop()
    await everything_says(sender, ann, AWAY)
    await store.start()
    await becomes_ready(sender)
    ann.news()
    assert await ann.says("well?") == ["You sent: well?"]


async def test_a_store_that_is_silent_for_longer_than_a_lease(
    store: TroubledStore, people: list[Person], sender: Sender
) -> None:
    """Requests go on coming, and each is answered in time. What was accepted before, and what was posted again until it
    was accepted, is shown once."""
    now = asyncio.get_running_loop().time
    async with Load(people, SILENT).going_on() as load:
        await load.accepts(3)
        store.hold()
        ends = now() + LEASE.total_seconds() + 2
        while now() < ends:
            await everything_says(sender, people[0], SILENT)
        store.go_on()
        await becomes_ready(sender)
        await load.accepts(3)
    load.was_shown_once()


# --------------------------------------------------------------------- out of memory


async def test_a_store_that_is_full(store: TroubledStore, people: list[Person], sender: Sender) -> None:
    """It goes on answering, but takes nothing more: the service is not ready, and says so to whoever brings something.
    What is there can be read. When there is room again, all goes on."""
    async with Load(people, FULL).going_on() as load:
        await load.accepts(3)
        await store.is_full(True)
        await load.is_refused(3)
        (await readiness(sender)).tells(FULL)
        for path in ("/api/notifications", "/api/conversations", "/health/live", "/metrics"):
            assert (await ask(sender.http, "GET", sender.bot_url + path)).status == 200
        await store.is_full(False)
        await becomes_ready(sender)
        await load.accepts(3)
    load.was_shown_once()


async def test_what_was_sent_while_the_store_became_full_is_recorded_when_there_is_room(
    store: TroubledStore, service: ServiceProcess, ann: Person, sender: Sender
) -> None:
    """Neither is its status lost nor is it sent again: what records it is refused as a whole, until there is room."""
    await ann.says("hello")
    gate = asyncio.Event()
    ann.channel.answers(ann.conversation, Mood(before=gate))
    note = await sender.notifies(ann, "fire drill", mode="interject")
    await until(lambda: sends(ann.channel, ann, "fire drill"), within=SOON)
    service.stops_at("before_acknowledgement")
    gate.set()
    await until(lambda: service.has_obeyed, within=SOON)
    await store.is_full(True)
    before = await store.refusals()
    service.go_on()
    await until(lambda: refuses_more(store, before), what="the record is refused")
    assert await store.outbox_of(ann) == 1, "should the process die now, another finds what is not recorded"
    await store.is_full(False)
    assert not (await sender.becomes(note, "delivered"))["mayBeRepeated"]
    assert await ann.says("thanks") == ["fire drill", "You sent: thanks"]


async def refuses_more(store: TroubledStore, before: int) -> bool:
    return await store.refusals() > before


# --------------------------------------------------------------------- slow, forgetful, rude


async def test_a_store_that_is_slow(
    nursery: Nursery, store: TroubledStore, http: aiohttp.ClientSession, channel: FakeChannel, tmp_path: Path
) -> None:
    """Every answer takes 200 ms more. Two processes share the conversations; what takes longer than a lease is kept."""
    gate = tmp_path / "gate"
    patient = {**THINKER, "THINKS_UNTIL": str(gate), "JOBS": "tests.faults.jobs", "JOB_ENDS": str(gate)}
    async with SlowWay(store.port, 0.2) as way:
        services = await asyncio.gather(*(nursery.start(REDIS_URL=way.url, **patient) for _ in range(2)))
        at_both = zip(("ann", "bob", "eve", "joe"), (*services, *services), strict=True)
        *talking, thinker, asker = await known([Person(http, one.url, channel, name) for name, one in at_both])
        async with Load(talking).going_on() as load:
            await asker.says("compute pi 10")
            thinking = asyncio.create_task(thinker.says("think"))
            whose, end = await until(lambda: store.lease_of(thinker), what="the turn has begun")
            await until(lambda: outlives(store, thinker, whose, end), what="the turn has outlived its first lease")
            gate.touch()
            assert (await thinking)[-1] == "thought"
            await asker.sees(lambda texts: "pi to 10 digits" in texts[-1])
        load.was_shown_once()
        assert (thinker.shows(), len(asker.shows())) == (["You sent: hello", "thought"], 3)


async def outlives(store: TroubledStore, person: Person, token: bytes, end: int) -> bool:
    """Whether a conversation is still the same turn's at a time at which that one's first lease is over."""
    seconds, _ = await store.client.time()
    lease = await store.lease_of(person)
    assert lease is not None and lease[0] == token, "another turn has it"
    return seconds * 1000 > end


async def test_a_store_that_forgets_its_scripts(store: TroubledStore, people: list[Person]) -> None:
    """Again and again under load; nobody notices."""
    async with Load(people).going_on() as load:
        for _ in range(10):
            await store.client.script_flush()
            await load.accepts(1)
    load.was_shown_once()


async def test_a_store_that_hangs_up(store: TroubledStore, people: list[Person]) -> None:
    """On everybody, whatever it was doing for them, again and again under load; nobody notices."""
    async with Load(people).going_on() as load:
        for _ in range(10):
            await store.hang_up()
            await load.accepts(1)
    load.was_shown_once()


# --------------------------------------------------------------------- one turn, one job


@pytest.mark.parametrize("point", ["before_commit", "committed", "before_acknowledgement"])
async def test_an_activity_whose_turn_loses_the_store(
    point: str, nursery: Nursery, store: TroubledStore, http: aiohttp.ClientSession, channel: FakeChannel
) -> None:
    """It is not answered as if it were in hand. The channel sends it again, and it has had its turn or has it now."""
    service = await nursery.start(REDIS_URL=store.url, ANSWER_WITHIN="0.5")
    ann = Person(http, service.url, channel)
    await ann.says("hello")
    once, more = ann.activity(text="once"), ann.activity(text="and on")
    service.stops_at(point)
    posting = asyncio.create_task(ask(http, "POST", f"{service.url}/api/messages", json=once))
    await until(lambda: service.has_obeyed, within=SOON)
    store.stop()
    service.go_on()
    (await posting).tells(AWAY)
    await store.start()

    async def is_accepted() -> bool:
        return (await ask(http, "POST", f"{service.url}/api/messages", json=once)).status in (200, 202)

    await until(is_accepted, within=WITHIN, what="the activity is accepted")
    await ann.posts(more)
    await ann.sees(lambda texts: texts[-1] == "You sent: and on")
    assert ann.shows() == ["You sent: hello", "You sent: once", "You sent: and on"]


async def test_an_activity_that_was_answered_202_and_loses_the_store(
    nursery: Nursery, store: TroubledStore, http: aiohttp.ClientSession, channel: FakeChannel, tmp_path: Path
) -> None:
    """It was promised: its turn is run again when the store is back, although nobody sends it again."""
    gate = tmp_path / "gate"
    service = await nursery.start(REDIS_URL=store.url, ANSWER_WITHIN="0.1", THINKS_UNTIL=str(gate), **THINKER)
    ann = Person(http, service.url, channel)
    assert (await ann.posts(ann.activity(text="think")))[0] == 202
    store.stop()
    gate.touch()
    await service.says(f"{ann.conversation} failed")
    await store.start()
    await ann.sees(lambda texts: texts == ["thought"])
    assert (await ann.says("hello"))[-1] == "You sent: hello"
    assert ann.shows() == ["thought", "You sent: hello"]


async def test_a_job_whose_worker_loses_the_store(
    nursery: Nursery, store: TroubledStore, http: aiohttp.ClientSession, channel: FakeChannel, tmp_path: Path
) -> None:
    """It ends while the store is away; its worker goes on trying to record that, and the answer comes once."""
    end = tmp_path / "end"
    web = await nursery.start("web", REDIS_URL=store.url)
    worker = await nursery.start("worker", REDIS_URL=store.url, JOBS="tests.faults.jobs", JOB_ENDS=str(end))
    ann = Person(http, web.url, channel)
    await ann.says("compute pi 10")
    await worker.says("job started")
    worker.stops_at("job_run")
    end.touch()
    await until(lambda: worker.has_obeyed, within=SOON)
    store.stop()
    worker.go_on()
    await worker.says("store unreachable")
    await store.start()
    await ann.sees(lambda texts: "pi to 10 digits" in texts[-1])
    (page,) = (await Sender(http, web.url).gets("/api/jobs"))[1]["jobs"]
    assert (page["status"], page["attempt"]) == ("done", 1)
    assert (await ann.says("thanks"))[-1] == "You sent: thanks"
    assert sum("pi to 10 digits" in text for text in ann.shows()) == 1
    assert worker.log.count("job started") == 1


# --------------------------------------------------------------------- away for longer than a lease


class TestTwoProcesses:
    @pytest.fixture
    async def services(
        self, store: TroubledStore, start_service: ServiceFactory, monkeypatch: pytest.MonkeyPatch
    ) -> list[Service]:
        """Whose leases are short; each asks again for what it could not record only after a while."""
        for module in ("app", "turns.pipeline", "state.turns"):
            monkeypatch.setattr(f"{module}.LEASE", timedelta(seconds=1))
        monkeypatch.setattr("turns.outbox.INSIST_SECONDS", (4.0, 4.0))
        return [await start_service(REDIS_URL=store.url) for _ in range(2)]

    async def test_repeat_nothing_after_a_store_that_was_away_for_longer_than_a_lease(
        self, store: TroubledStore, services: list[Service], http: aiohttp.ClientSession, channel: FakeChannel
    ) -> None:
        """The channel has accepted a message whose lock ended before that could be recorded. The other process takes
        nothing over: whoever has the conversation has had no chance to say that it lives."""
        ann = Person(http, url_of(services[0]), channel)
        await ann.says("hello")
        gate = asyncio.Event()
        ann.channel.answers(ann.conversation, Mood(after=gate))
        sender = Sender(http, ann.bot_url)
        note = await sender.notifies(ann, "fire drill", mode="interject")
        await until(lambda: "fire drill" in ann.shows(), what="it is shown")
        lease = await store.lease_of(ann)
        assert lease is not None
        store.kill()
        gate.set()
        taken_over_at = lease[1] / 1000 + 1.5  # when the work in hand is anybody's
        await until(lambda: time.time() > taken_over_at, what="the leases are over")
        await store.start()
        assert not (await sender.becomes(note, "delivered"))["mayBeRepeated"]
        assert await ann.says("thanks") == ["fire drill", "You sent: thanks"]
        assert ann.shows().count("fire drill") == 1
