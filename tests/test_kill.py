"""``kill -9`` at any instant loses nothing, and a process that was held up spoils nothing.

The processes are real, and so are the signals; where a process dies is a point of ``bots.fault_points``. Each
row of a table is a pair of processes on a store of their own: one dies, the other takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fake_channel import FakeChannel, Mood
from tests.people import FINAL, Person, Sender
from tests.processes import SOON, Nursery, ServiceProcess, sends
from tests.waiting import until

SEVERITY = "How severe is it?"
COUNT = "How many people are affected?"
WHAT = "What happened?"
NEWS = "fire drill"

AT_ONCE = 6
"""Worlds at a time: each of them mostly waits for a lease to end."""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def shared_nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("processes")) as nursery:
        yield nursery


@pytest.fixture
async def nursery(shared_nursery: Nursery) -> AsyncIterator[Nursery]:
    """Processes that start within a moment and do not outlive the test."""
    yield shared_nursery
    await shared_nursery.end_all()


@dataclass
class World:
    """One store, and the processes on it."""

    nursery: Nursery
    http: aiohttp.ClientSession
    channel: FakeChannel
    store_url: str
    processes: list[ServiceProcess]

    async def starts(self, role: str = "serve", **variables: str) -> ServiceProcess:
        bot = {"ROOT_DIALOG": "tests.faults.dialogs:Thinker", "STATE_MODULES": "dialogs"}
        process = await self.nursery.start(role, REDIS_URL=self.store_url, **bot, **variables)
        self.processes.append(process)
        return process

    def person(self, process: ServiceProcess, name: str = "ann") -> Person:
        """Somebody who talks to this process; each world has conversations of its own."""
        number = self.store_url.rpartition("=")[2]
        return Person(self.http, process.url, self.channel, name, f"a:{name}-{number}")

    def sender(self, process: ServiceProcess) -> Sender:
        return Sender(self.http, process.url)


class Worlds:
    def __init__(self, nursery: Nursery, http: aiohttp.ClientSession, channel: FakeChannel, url: str) -> None:
        self._shared = nursery, http, channel
        self._url = url
        self._databases = iter(range(16))
        self._places = asyncio.Semaphore(AT_ONCE)

    @contextlib.asynccontextmanager
    async def new(self) -> AsyncIterator[World]:
        async with self._places:
            world = World(*self._shared, f"{self._url}?db={next(self._databases)}", [])
            yield world
            await asyncio.gather(*(process.kill() for process in world.processes))


@pytest.fixture
def worlds(nursery: Nursery, http: aiohttp.ClientSession, channel: FakeChannel, real_url: str) -> Worlds:
    return Worlds(nursery, http, channel, real_url)


@pytest.fixture
async def world(worlds: Worlds) -> AsyncIterator[World]:
    async with worlds.new() as world:
        yield world


async def opens_the_form(person: Person) -> None:
    assert await person.says("report") == [SEVERITY]


async def ended(sender: Sender, notification: str, index: int = 0) -> Any:
    """The delivery, once it has ended."""

    async def look() -> Any:
        delivery = await sender.delivery(notification, index)
        return delivery if delivery["status"] in FINAL else None

    return await until(look, within=SOON, what="the delivery ends")


# ---------------------------------------------------------------------- notifications

Fate = tuple[list[str], str, bool]
"""What was shown, the status of the delivery, and whether it may have been repeated."""


async def fate(worlds: Worlds, point: str, times: int, guarantee: str) -> Fate:
    """Somebody in the middle of a form is sent a notification by a process that dies on the way."""
    async with worlds.new() as world:
        doomed = await world.starts()
        ann = world.person(doomed)
        await opens_the_form(ann)
        doomed.dies_at(point, times)
        notification = await world.sender(doomed).notifies(ann, NEWS, mode="interject", delivery=guarantee)
        await doomed.ends()
        other = await world.starts()
        delivery = await ended(world.sender(other), notification)
        ann.bot_url = other.url
        await ann.sees(lambda texts: texts[-1] == SEVERITY)
        *shown, answer = await ann.says("high")
        assert answer == COUNT
        return shown, delivery["status"], bool(delivery.get("mayBeRepeated"))


async def fates(worlds: Worlds, points: list[tuple[str, int]], guarantee: str) -> dict[tuple[str, int], Fate]:
    found = await asyncio.gather(*(fate(worlds, point, times, guarantee) for point, times in points))
    return dict(zip(points, found, strict=True))


async def test_a_notification_survives_a_kill_at_any_point(worlds: Worlds) -> None:
    """It is shown once, or twice where the channel had it and that was not recorded yet; then the record says so.

    The open question comes last again, and the form goes on.
    """
    expected: dict[tuple[str, int], Fate] = {
        ("recipients_entered", 1): ([NEWS, SEVERITY], "delivered", False),
        ("mail_put", 1): ([NEWS, SEVERITY], "delivered", False),
        ("before_lock", 1): ([NEWS, SEVERITY], "delivered", False),
        ("loaded", 1): ([NEWS, SEVERITY], "delivered", False),
        ("before_commit", 1): ([NEWS, SEVERITY], "delivered", False),
        ("committed", 1): ([NEWS, SEVERITY], "delivered", True),
        ("before_send", 1): ([NEWS, SEVERITY], "delivered", True),
        ("answered", 1): ([NEWS, NEWS, SEVERITY], "delivered", True),
        ("before_acknowledgement", 1): ([NEWS, NEWS, SEVERITY], "delivered", True),
        ("acknowledged", 1): ([NEWS, SEVERITY], "delivered", False),
        ("before_send", 2): ([NEWS, SEVERITY], "delivered", False),
        ("answered", 2): ([NEWS, SEVERITY, SEVERITY], "delivered", False),
    }
    assert await fates(worlds, list(expected), "at_least_once") == expected


async def test_what_is_to_be_shown_at_most_once_is(worlds: Worlds) -> None:
    """Where a process died with the send in hand, nobody knows what became of it, and it is not sent again."""
    expected: dict[tuple[str, int], Fate] = {
        ("before_commit", 1): ([NEWS, SEVERITY], "delivered", False),
        ("committed", 1): ([SEVERITY], "unknown", False),
        ("answered", 1): ([NEWS, SEVERITY], "unknown", False),
        ("acknowledged", 1): ([NEWS, SEVERITY], "delivered", False),
    }
    assert await fates(worlds, list(expected), "at_most_once") == expected


# ---------------------------------------------------------------------- what people say


async def replies(worlds: Worlds, point: str) -> list[str]:
    """What somebody is told whose answer to a question was in the hands of a process that died.

    Where the turn was committed the other process needs no telling; else the channel sends the activity again, as
    channels do that got no answer.
    """
    async with worlds.new() as world:
        doomed = await world.starts()
        ann = world.person(doomed)
        await opens_the_form(ann)
        doomed.dies_at(point)
        said = ann.activity(text="high")
        with pytest.raises(aiohttp.ClientError):
            await ann.posts(said)
        await doomed.ends()
        ann.bot_url = (await world.starts()).url
        if point not in ("before_lock", "loaded", "before_commit"):
            await ann.sees(lambda texts: texts[-1] == COUNT)
        assert await ann.posts(said) == (200, None)
        *shown, question = await ann.says("5")
        assert question == WHAT
        return shown


async def test_what_a_user_says_is_answered_though_its_process_is_killed(worlds: Worlds) -> None:
    """An answer to a form's question counts once, wherever the process dies."""
    expected = {
        "before_lock": [COUNT],
        "loaded": [COUNT],
        "before_commit": [COUNT],
        "committed": [COUNT],
        "before_send": [COUNT],
        "answered": [COUNT, COUNT],
        "before_acknowledgement": [COUNT, COUNT],
    }
    found = await asyncio.gather(*(replies(worlds, point) for point in expected))
    assert dict(zip(expected, found, strict=True)) == expected


async def test_a_turn_that_was_answered_202_is_run_by_another_process(world: World, tmp_path: Path) -> None:
    """Once the channel has been told that the activity is in hand, it need not send it again."""
    doomed = await world.starts(THINKS_UNTIL=str(tmp_path / "never"), ANSWER_WITHIN="0.1")
    ann = world.person(doomed)
    assert await ann.posts(ann.activity(text="think")) == (202, None)
    await doomed.kill()
    ann.bot_url = (await world.starts()).url
    await ann.sees(lambda texts: texts == ["thought"])
    assert await ann.says("hello") == ["thought", "You sent: hello"]


# ---------------------------------------------------------------------- jobs


async def answers(worlds: Worlds, point: str) -> int:
    """How often somebody is told the result of a job whose worker died."""
    async with worlds.new() as world:
        doomed = await world.starts()
        ann = world.person(doomed)
        doomed.dies_at(point)
        with contextlib.suppress(aiohttp.ClientError):
            await ann.posts(ann.activity(text="compute primes 100"))
        await doomed.ends()
        ann.bot_url = (await world.starts()).url
        result = "There are 25 primes below 100; the largest is 97."
        await until(
            lambda: any(result in text for text in world.channel.texts(ann.conversation)),
            within=SOON,
            what="the job's answer",
        )
        assert (await ann.says("hello"))[-1] == "You sent: hello"
        return sum(result in text for text in world.channel.texts(ann.conversation))


async def test_a_job_is_answered_once_though_its_worker_is_killed(worlds: Worlds) -> None:
    points = ["job_claimed", "job_run", "job_recorded"]
    found = await asyncio.gather(*(answers(worlds, point) for point in points))
    assert dict(zip(points, found, strict=True)) == dict.fromkeys(points, 1)


async def test_a_job_goes_on_elsewhere_when_its_worker_is_killed(world: World) -> None:
    """Web and worker are processes of their own; the worker dies in the middle of a job."""
    web, doomed = await asyncio.gather(world.starts("web"), world.starts("worker"))
    ann = world.person(web)
    await ann.says("compute pi 100000")
    await doomed.says("job started")
    await doomed.kill()
    await world.starts("worker")
    await until(
        lambda: sum("π = 3.14159" in text for text in world.channel.texts(ann.conversation)) == 1,
        within=SOON,
        what="the job's answer",
    )


# ---------------------------------------------------------------------- a process that is held up


class TestAProcessThatSleepsThroughItsLease:
    async def test_commits_nothing(self, world: World) -> None:
        """The other process's turn stands, and so does what followed it."""
        sleeper = await world.starts()
        ann = world.person(sleeper)
        await opens_the_form(ann)
        sleeper.stops_at("before_commit")
        notification = await world.sender(sleeper).notifies(ann, NEWS, mode="interject")
        await until(lambda: sleeper.has_obeyed, within=SOON)
        other = await world.starts()
        await ended(world.sender(other), notification)
        ann.bot_url = other.url
        assert await ann.says("high") == [NEWS, SEVERITY, COUNT]
        sleeper.go_on()
        await sleeper.says("lost the lock")
        ann.bot_url = sleeper.url
        assert await ann.says("5") == [WHAT]

    async def test_sends_nothing_that_another_has_sent(self, world: World) -> None:
        """It had committed and was about to send; the other process has seen to that."""
        sleeper = await world.starts()
        ann = world.person(sleeper)
        await opens_the_form(ann)
        sleeper.stops_at("before_send")
        notification = await world.sender(sleeper).notifies(ann, NEWS, mode="interject")
        await until(lambda: sleeper.has_obeyed, within=SOON)
        other = await world.starts()
        assert (await ended(world.sender(other), notification))["mayBeRepeated"]
        ann.bot_url = other.url
        assert await ann.says("high") == [NEWS, SEVERITY, COUNT]
        sleeper.go_on()
        await sleeper.says("lost the lock")
        assert await ann.says("5") == [WHAT]

    async def test_repeats_at_most_the_send_that_was_under_way(self, world: World) -> None:
        """The channel had it already; what comes after it in the same turn is sent by the other process alone."""
        sleeper = await world.starts()
        ann = world.person(sleeper)
        await opens_the_form(ann)
        gate = asyncio.Event()
        world.channel.answers(ann.conversation, Mood(before=gate))
        notification = await world.sender(sleeper).notifies(ann, NEWS, mode="interject")
        await until(lambda: sends(world.channel, ann, NEWS), within=SOON)
        sleeper.hold()
        other = await world.starts()
        await ended(world.sender(other), notification)
        ann.bot_url = other.url
        assert await ann.says("high") == [NEWS, SEVERITY, COUNT]
        gate.set()
        sleeper.go_on()
        await sleeper.says("lost the lock")
        assert await ann.says("5") == [NEWS, WHAT]


# ---------------------------------------------------------------------- all at once


async def test_nothing_is_lost_when_processes_die_one_after_the_other(world: World) -> None:
    """Sixty deliveries to ten people, while three processes are killed in the middle of it: each is shown.

    Again only where the record says that it may have been, and not at all only where it was to be shown at most
    once and is recorded as unknown.
    """
    first = await world.starts()
    people = [world.person(first, f"person{number}") for number in range(10)]
    for person in people:
        await person.says("hello")
    chance = random.Random(7)
    everybody = {"conversations": [person.key for person in people]}
    sent: dict[str, str] = {}
    victim = first
    for point in ("before_commit", "answered", "before_acknowledgement"):
        victim.dies_at(point, chance.randint(2, 6))
        for guarantee in ("at_least_once", "at_most_once"):
            text = f"{point} {guarantee}"
            sent[await world.sender(victim).notifies(everybody, text, mode="interject", delivery=guarantee)] = text
        await victim.ends()
        victim = await world.starts()
        for person in people:
            person.bot_url = victim.url
    for notification, text in sent.items():
        for index, person in enumerate(people):
            delivery = await ended(world.sender(victim), notification, index)
            shown = sum(text in said for said in world.channel.texts(person.conversation))  # perhaps in a digest
            if text.endswith("at_most_once"):
                assert shown == 1 or (shown == 0 and delivery["status"] == "unknown"), (text, person.name, delivery)
            else:
                assert delivery["status"] == "delivered"
                assert shown == 1 or (shown > 1 and delivery["mayBeRepeated"]), (text, person.name, shown, delivery)
