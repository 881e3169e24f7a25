"""``kill -9`` at any instant loses nothing, and a process that was held up spoils nothing.

The processes are real, and so are the signals; where a process dies is a point of ``state.fault_points``. Each
row of a table is a pair of processes on a store of their own: one dies, the other takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from domain.ids import NotificationId
from state import keys
from state.store import Store
from testkit.channel import FakeChannel, Mood
from testkit.people import FINAL, Json, Person, Sender
from testkit.waiting import until
from tests.processes import SOON, Nursery, ServiceProcess, sends
from tests.topologies import cluster, cluster_url
from turns.pipeline import RUNS

SEVERITY = "How severe is it?"
COUNT = "How many people are affected?"
WHAT = "What happened?"
NEWS = "fire drill"
PI = "pi to 7 digits"
UNCOMMITTED = ("before_lock", "loaded", "mid_run", "before_commit")

AT_ONCE = 6
"""Worlds at a time: each of them mostly waits for a lease to end."""

__all__ = ["cluster", "cluster_url"]  # the fixtures

pytestmark = pytest.mark.timeout(120)


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
    """Somebody in the middle of a form is sent a notification by a process that dies on the way.

    A sender who got no answer, because it died before or meanwhile, posts it again as the same to the other process.
    """
    async with worlds.new() as world:
        doomed = await world.starts()
        ann = world.person(doomed)
        await opens_the_form(ann)
        doomed.dies_at(point, times)
        post: Json = {
            "to": {"conversation": ann.key},
            "text": NEWS,
            "mode": "interject",
            "guarantee": guarantee,
            "id": "once",
        }
        response: tuple[int, Json] | None = None
        with contextlib.suppress(aiohttp.ClientError):
            response = await world.sender(doomed).posts(post)
        await doomed.ends()
        other = await world.starts()
        if response is None:
            response = await until(lambda: accepted(world.sender(other), post), within=SOON, what="it is accepted")
        status, body = response
        assert status == 202, body
        delivery = await ended(world.sender(other), body["id"])
        ann.bot_url = other.url
        await ann.sees(lambda texts: texts[-1] == SEVERITY)
        *shown, answer = await ann.says("high")
        assert answer == COUNT
        return shown, delivery["status"], bool(delivery.get("mayBeRepeated"))


async def accepted(sender: Sender, post: Json) -> tuple[int, Json] | None:
    """The answer to a request, once the one before it with the same id is given up."""
    status, body = await sender.posts(post)
    return None if status == 409 else (status, body)


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
        ("mid_run", 1): ([NEWS, SEVERITY], "delivered", False),
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
        ("before_send", 1): ([SEVERITY], "unknown", False),
        ("answered", 1): ([NEWS, SEVERITY], "unknown", False),
        ("before_acknowledgement", 1): ([NEWS, SEVERITY], "unknown", False),
        ("acknowledged", 1): ([NEWS, SEVERITY], "delivered", False),
    }
    assert await fates(worlds, list(expected), "at_most_once") == expected


async def told(worlds: Worlds, point: str, times: int) -> set[tuple[int, bool]]:
    """How often seven people are told whose notification was being spread, three at a time, by a process that died;
    and whether that may be more than once, as the record says."""
    async with worlds.new() as world:
        doomed = await world.starts(FANOUT_PAGE="3")
        people = [world.person(doomed, f"person{number}") for number in range(7)]
        for person in people:
            await person.says("hello")
        doomed.dies_at(point, times)
        everybody = {"conversations": [person.key for person in people]}
        notification = await world.sender(doomed).notifies(everybody, NEWS, mode="interject")
        await doomed.ends()
        other = await world.starts(FANOUT_PAGE="3")
        found = set()
        for index, person in reversed([*enumerate(people)]):
            delivery = await ended(world.sender(other), notification, index)
            assert delivery["status"] == "delivered"
            person.bot_url = other.url
            await person.says("hello")
            found.add((person.shows().count(NEWS), bool(delivery.get("mayBeRepeated"))))
        return found


async def test_a_fan_out_that_was_half_done_is_finished_by_another_process(worlds: Worlds) -> None:
    """Nobody is left out, and nobody is told twice, unless they were just being told when the process died."""
    points = [("mail_put", 1), ("recipients_entered", 2)]
    for point, found in zip(points, await asyncio.gather(*(told(worlds, *point) for point in points)), strict=True):
        assert found <= {(1, False), (1, True), (2, True)}, (point, found)


async def test_what_was_about_to_be_put_into_a_mailbox_can_be_cancelled(world: World) -> None:
    """Its recipients were entered when the process died; the process that cancels it spares every one of them."""
    doomed = await world.starts()
    ann = world.person(doomed)
    await ann.says("hello")
    doomed.dies_at("recipients_entered")
    notification = await world.sender(doomed).notifies({"all": True}, NEWS, mode="interject")
    await doomed.ends()
    other = await world.starts()
    async with world.http.delete(f"{other.url}/api/notifications/{notification}") as response:
        assert response.status == 202
    assert (await ended(world.sender(other), notification))["status"] == "cancelled"
    ann.bot_url = other.url
    assert await ann.says("hello") == ["You sent: hello"]


# ---------------------------------------------------------------------- what people say


async def replies(worlds: Worlds, point: str) -> tuple[list[str], bool]:
    """What somebody is told whose answer to a question was in the hands of a process that died; and whether that may
    have been repeated, as the log says.

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
        other = await world.starts()
        ann.bot_url = other.url
        if point not in UNCOMMITTED:
            await until(lambda: ann.shows()[-1] == COUNT, within=SOON, what="the answer")
        assert await ann.posts(said) == (200, None)
        *shown, question = await ann.says("5")
        assert question == WHAT
        return shown, "send_may_be_repeated" in other.log


async def test_what_a_user_says_is_answered_though_its_process_is_killed(worlds: Worlds) -> None:
    """An answer to a form's question counts once, wherever the process dies; a reply that may have been said twice is
    in the log."""
    expected = {
        "before_lock": ([COUNT], False),
        "loaded": ([COUNT], False),
        "mid_run": ([COUNT], False),
        "before_commit": ([COUNT], False),
        "committed": ([COUNT], True),
        "before_send": ([COUNT], True),
        "answered": ([COUNT, COUNT], True),
        "before_acknowledgement": ([COUNT, COUNT], True),
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


async def test_what_the_local_channel_has_accepted_is_run_by_another_process(world: World, tmp_path: Path) -> None:
    """A client that was answered 200 with an id, while the turn went on, need not say it again."""
    doomed = await world.starts(THINKS_UNTIL=str(tmp_path / "never"), ANSWER_WITHIN="0.1")
    async with world.http.post(f"{doomed.url}/v3/directline/conversations", json={}) as response:
        chat = await response.json()
    path = f"/v3/directline/conversations/{chat['conversationId']}/activities"
    token = {"Authorization": f"Bearer {chat['token']}"}
    said = {"type": "message", "from": {"id": "dl_ann"}, "text": "think"}
    async with world.http.post(f"{doomed.url}{path}", json=said, headers=token) as response:
        assert (response.status, list(await response.json())) == (200, ["id"])
    await doomed.kill()
    other = await world.starts()

    async def thought() -> bool:
        async with world.http.get(f"{other.url}{path}", headers=token) as response:
            activities = (await response.json())["activities"]
        return [activity["text"] for activity in activities if "text" in activity][-2:] == ["think", "thought"]

    await until(thought, within=SOON, what="what was accepted is answered")


async def test_what_kills_every_process_that_runs_it_is_given_up(world: World, tmp_path: Path) -> None:
    """After three. The user is told, the operator finds it, and the conversation goes on."""
    gates = [tmp_path / f"gate {number}" for number in range(RUNS)]
    doomed = await world.starts(THINKS_UNTIL=str(gates[0]), ANSWER_WITHIN="0.1")
    ann = world.person(doomed)
    assert await ann.posts(ann.activity(text="think hard")) == (202, None)
    gates[0].touch()
    await doomed.ends()
    for gate in gates[1:]:
        doomed = await world.starts(THINKS_UNTIL=str(gate))
        gate.touch()
        await doomed.ends()
    last = await world.starts()
    ann.bot_url = last.url
    (apology,) = await ann.next(1)
    assert apology.startswith("I am sorry")
    assert await ann.says("hello") == ["You sent: hello"]
    await last.says("is given up")
    (letter,) = (await world.sender(last).gets("/api/dead-letters"))[1]["deadLetters"]
    assert (letter["conversation"], letter["reason"], len(letter["history"])) == (ann.key, "exhausted", RUNS)


# ---------------------------------------------------------------------- what is said before the commit


async def thought_aloud(worlds: Worlds, never: Path, point: str, times: int) -> tuple[list[str], bool]:
    """What somebody is told who was told the first half by a process that died; and whether the notification that
    came with it may have been repeated, as the record says."""
    async with worlds.new() as world:
        doomed = await world.starts(THINKS_UNTIL=str(never), FLUSH_AFTER="0.1")
        ann = world.person(doomed)
        await ann.says("hello")
        notification = await world.sender(doomed).notifies(ann, NEWS, mode="queue")
        await world.sender(doomed).becomes(notification, "queued")
        doomed.dies_at(point, times)
        said = ann.activity(text="think aloud")
        with pytest.raises(aiohttp.ClientError):
            await ann.posts(said)
        await doomed.ends()
        other = await world.starts()
        ann.bot_url = other.url
        assert await ann.posts(said) == (200, None)
        assert "may be said again" in other.log
        delivery = await ended(world.sender(other), notification)
        assert delivery["status"] == "delivered"
        return ann.news(), bool(delivery.get("mayBeRepeated"))


async def test_what_was_said_before_a_commit_that_never_came_is_recorded(worlds: Worlds, tmp_path: Path) -> None:
    """The turn is run again and says everything again; of the notification the record says that it may be repeated,
    of the replies the log does."""
    thoughts = ["let me think", "thought"]
    expected = {
        ("before_early_send", 1): ([NEWS, *thoughts], True),
        ("early_answered", 1): ([NEWS, NEWS, *thoughts], True),
        ("before_early_send", 2): ([NEWS, NEWS, *thoughts], True),
        ("early_answered", 2): ([NEWS, "let me think", NEWS, *thoughts], True),
    }
    found = await asyncio.gather(*(thought_aloud(worlds, tmp_path / "never", *point) for point in expected))
    assert dict(zip(expected, found, strict=True)) == expected


async def test_what_is_to_be_shown_at_most_once_is_not_said_before_the_commit(world: World, tmp_path: Path) -> None:
    """So the process that takes over can show it, and knows that nobody has."""
    doomed = await world.starts(THINKS_UNTIL=str(tmp_path / "never"), FLUSH_AFTER="0.1", ANSWER_WITHIN="0.3")
    ann = world.person(doomed)
    await ann.says("hello")
    notification = await world.sender(doomed).notifies(ann, NEWS, mode="queue", guarantee="at_most_once")
    await world.sender(doomed).becomes(notification, "queued")
    assert await ann.posts(ann.activity(text="think aloud")) == (202, None)
    await doomed.kill()
    other = await world.starts()
    ann.bot_url = other.url
    delivery = await ended(world.sender(other), notification)
    assert (delivery["status"], bool(delivery.get("mayBeRepeated"))) == ("delivered", False)
    await ann.sees(lambda texts: texts[1:] == [NEWS, "let me think", "thought"])


async def test_what_goes_out_because_its_user_speaks_is_doubted_by_whoever_takes_over(world: World) -> None:
    """It was to wait for others of its tenant. Had the process that sent it before its time not noted that it no
    longer waits, the next would take it for unsent."""
    doomed = await world.starts(RATE_GLOBAL="1/100000s")
    ann = world.person(doomed)
    await ann.says("hello")
    notification = await world.sender(doomed).notifies(ann, NEWS, mode="interject", guarantee="at_most_once")

    async def waits() -> bool:
        return bool((await world.sender(doomed).conversation(ann))["outbox"])

    await until(waits)
    doomed.dies_at("answered")
    with contextlib.suppress(aiohttp.ClientError):
        await ann.posts(ann.activity(text="hello again"))
    await doomed.ends()
    other = await world.starts()
    ann.bot_url = other.url
    assert (await ann.says("still there?"))[-1] == "You sent: still there?"
    assert (await ended(world.sender(other), notification))["status"] == "unknown"
    assert ann.shows().count(NEWS) <= 1


# ---------------------------------------------------------------------- jobs


async def answers(worlds: Worlds, ends: Path, point: str) -> int:
    """How often somebody is told the result of a job whose worker died; the job ends once the turn is over."""
    async with worlds.new() as world:
        jobs = {"JOBS": "tests.faults.jobs", "JOB_ENDS": str(ends)}
        doomed = await world.starts(**jobs)
        ann = world.person(doomed)
        doomed.dies_at(point)
        with contextlib.suppress(aiohttp.ClientError):
            await ann.posts(ann.activity(text="compute pi 7"))
        ends.touch()
        await doomed.ends()
        ann.bot_url = (await world.starts(**jobs)).url
        await hears(ann, PI)
        assert (await ann.says("hello"))[-1] == "You sent: hello"
        return sum(PI in text for text in ann.shows())


async def test_a_job_is_answered_once_though_its_worker_is_killed(worlds: Worlds, tmp_path: Path) -> None:
    """Just claimed, half done, done, with the answer in a mailbox that nobody was told of, and recorded."""
    points = ["job_claimed", "mid_run", "job_run", "answer_mailed", "job_recorded"]
    found = await asyncio.gather(*(answers(worlds, tmp_path / point, point) for point in points))
    assert dict(zip(points, found, strict=True)) == dict.fromkeys(points, 1)


async def test_what_was_said_before_a_job_was_submitted_is_not_said_again(world: World) -> None:
    """The process dies over the job; that the channel has what the turn said first is recorded by then."""
    jobs = {"JOBS": "tests.faults.jobs", "JOB_ENDS": os.devnull}
    doomed = await world.starts(**jobs)
    ann = world.person(doomed)
    doomed.dies_at("job_submitted")
    with pytest.raises(aiohttp.ClientError):
        await ann.posts(ann.activity(text="announce pi"))
    await doomed.ends()
    ann.bot_url = (await world.starts(**jobs)).url
    await hears(ann, PI)
    assert ann.shows().count("pi is next") == 1


async def test_of_a_jobs_answer_that_may_have_been_repeated_the_job_says_so(worlds: Worlds) -> None:
    """Where the process died that was just sending it."""

    async def told(point: str) -> tuple[int, bool]:
        async with worlds.new() as world:
            jobs = {"JOBS": "tests.faults.jobs", "JOB_ENDS": os.devnull}
            doomed = await world.starts(**jobs)
            ann = world.person(doomed)
            doomed.dies_at(point, 2)  # the first is that of the turn which starts the job
            with contextlib.suppress(aiohttp.ClientError):
                await ann.posts(ann.activity(text="compute pi 7"))
            await doomed.ends()
            other = await world.starts(**jobs)
            ann.bot_url = other.url
            await ann.says("hello")
            await hears(ann, PI)
            return sum(PI in text for text in ann.shows()), await answered(other, ann)

    expected = {"before_commit": (1, False), "before_send": (1, True), "answered": (2, True)}
    found = await asyncio.gather(*(told(point) for point in expected))
    assert dict(zip(expected, found, strict=True)) == expected


async def answered(process: ServiceProcess, person: Person) -> bool:
    """Whether the answer to their only job may have been repeated."""
    async with person.http.get(f"{process.url}/api/jobs", params={"conversation": person.key}) as response:
        (job,) = (await response.json())["jobs"]
    assert job["answer"] == "delivered", job
    return bool(job["answerMayBeRepeated"])


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


# ---------------------------------------------------------------------- with the leases that are shipped


async def test_recovery_starts_within_seconds(
    tmp_path: Path, http: aiohttp.ClientSession, channel: FakeChannel, real_url: str
) -> None:
    """With the leases that are shipped too: a turn, a fan-out and a job go on elsewhere before a minute is up."""
    with Nursery(tmp_path, LEASES="as shipped") as nursery:
        worlds = Worlds(nursery, http, channel, real_url)
        await asyncio.gather(
            replies(worlds, "committed"),
            told(worlds, "recipients_entered", 2),
            answers(worlds, tmp_path / "ends", "mid_run"),
        )


# ---------------------------------------------------------------------- a cluster


class TestOnACluster:
    """Each command of a sequence may be the last of its process, for the next one is for another server.

    Processes die one step later than the one before them, until one lives through all of it.
    """

    @pytest.fixture
    def world(self, nursery: Nursery, http: aiohttp.ClientSession, channel: FakeChannel, cluster_url: str) -> World:
        return World(nursery, http, channel, cluster_url, [])

    async def test_what_a_user_says_is_answered_and_so_is_their_job(self, world: World) -> None:
        """Between taking the conversation in hand and locking it, between submitting the job and waking a worker."""
        said: list[tuple[Person, Json]] = []
        jobs = {"JOBS": "tests.faults.jobs", "JOB_ENDS": os.devnull}
        for times in itertools.count(1):
            process = await world.starts(**jobs)
            ann = Person(world.http, process.url, world.channel, f"ann{times}")
            await ann.says("hello")
            said.append((ann, ann.activity(text="compute pi 7")))
            process.dies_at("between_slots", times)
            with contextlib.suppress(aiohttp.ClientError):
                await ann.posts(said[-1][1])
            if await lives_through(process, ann, PI):
                break
        process = await world.starts(**jobs)
        for ann, activity in said:
            ann.bot_url = process.url
            assert await ann.posts(activity) == (200, None)
            await hears(ann, PI)
            assert (await ann.says("hello"))[-1] == "You sent: hello"
            beginnings = [text.partition(":")[0] for text in ann.shows() if "pi" in text]
            repeated = beginnings[2:]  # its worker died while the conversation's turn was sending the answer
            assert beginnings[:2] == ["I am working on it", "You asked"]
            assert not repeated or (repeated == ["You asked"] and await answered(process, ann))
        assert len(said) > 3, "there was little to die of"

    async def test_a_notification_is_shown_and_what_is_repeated_says_so(self, world: World) -> None:
        """Between recording that the channel has it and taking it off the outbox, and everywhere else."""
        sent: list[tuple[Person, str]] = []
        shown = []
        for times in itertools.count(1):
            process = await world.starts()
            ann = Person(world.http, process.url, world.channel, f"ann{times}")
            await ann.says("hello")
            process.dies_at("between_slots", times)
            try:
                sent.append((ann, await world.sender(process).notifies(ann, NEWS, mode="interject")))
            except aiohttp.ClientError:
                continue  # it was not accepted
            if await lives_through(process, ann, NEWS):
                break
        sender = world.sender(await world.starts())
        for ann, notification in sent:
            await ended(sender, notification)
            ann.bot_url = sender.bot_url
            assert (await ann.says("hello"))[-1] == "You sent: hello"
            delivery = await sender.delivery(notification)  # what was left over came before the answer
            shown.append((ann.shows().count(NEWS), delivery["status"], delivery["mayBeRepeated"]))
        assert set(shown) == {(1, "delivered", False), (2, "delivered", True)}, shown
        # One step is between acceptance and acknowledgement; one that notes the fan-out may come at that moment, too.
        assert [times for times, *_ in shown].count(2) in (1, 2)


async def lives_through(process: ServiceProcess, person: Person, text: str) -> bool:
    """Whether a process lives to have somebody told something, and to give them another turn after that."""
    await until(lambda: not process.running or any(text in said for said in person.shows()), within=SOON)
    with contextlib.suppress(aiohttp.ClientError):
        await person.says("hello")
    lived = process.running
    await process.kill()
    return lived


async def hears(person: Person, text: str) -> None:
    """Wait for it as long as it may take others to take over."""
    await until(lambda: any(text in said for said in person.shows()), within=SOON, what=f"{person.name} hears {text}")


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

    async def test_leaves_nobody_out(self, world: World) -> None:
        """Two have spread the same page of a notification, and the first of them notes it; the second, whose claim
        it is, goes on with the next page all the same."""
        first, second = [await world.starts(FANOUT_PAGE="3") for _ in range(2)]
        people = [world.person(first, f"person{number}") for number in range(7)]
        for person in people:
            await person.says("hello")
        second.stops_at("mail_put")
        second.hold()
        first.stops_at("mail_put")
        everybody = {"conversations": [person.key for person in people]}
        notification = await world.sender(first).notifies(everybody, NEWS, mode="queue")
        await until(lambda: first.has_obeyed, within=SOON)
        second.go_on()
        await until(lambda: second.has_obeyed, within=SOON)
        first.go_on()
        store = Store.connect(world.store_url)
        served = ("HGET", keys.notification(NotificationId(notification)), "served")
        await until(lambda: noted(store, served), within=SOON, what="the first page is noted")
        second.go_on()
        for index in range(7):
            await world.sender(second).becomes(notification, "queued", index)
        await store.close()


async def noted(store: Store, command: tuple[str, ...]) -> bool:
    return bool(await store.run(*command) == b"3")


# ---------------------------------------------------------------------- all at once


async def posted_again(sender: Sender, body: Json) -> str:
    """A notification that was posted to a process that died before it answered; its idempotency key is its ``id``."""

    async def accepted() -> str | None:
        status, answer = await sender.posts(body)
        return str(answer["id"]) if status == 202 else None

    return str(await until(accepted, within=SOON, what="the notification is accepted"))


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
        unanswered: list[Json] = []
        for guarantee in ("at_least_once", "at_most_once"):
            text = f"{point} {guarantee}"
            body: Json = {"id": text, "to": everybody, "text": text, "mode": "interject", "guarantee": guarantee}
            try:
                _, accepted = await world.sender(victim).posts(body)
                sent[accepted["id"]] = text
            except aiohttp.ClientError:
                unanswered.append(body)
        await victim.ends()
        victim = await world.starts()
        for body in unanswered:
            sent[await posted_again(world.sender(victim), body)] = body["text"]
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
