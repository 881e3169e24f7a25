"""Everything at once: what several processes do to a conversation, or to a user, at the same moment stays exact.

The processes are real, with the leases that ship, unless a test says otherwise.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from domain.clock import system_clock
from domain.delivery import Delivery
from domain.ids import ConversationKey, DeliveryId
from domain.notification import Content, Mode
from state import keys, turns
from state.mail import Mail
from state.store import Store
from state.work import Work
from testkit.channel import FakeChannel, Mood
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory, url_of
from tests.own_dialogs.slow import gates
from tests.processes import SOON, Nursery, ServiceProcess, sends
from turns import pipeline

SAID = 250
"""Activities in each conversation."""
TOLD = 75
"""Notifications to each conversation, and as many letters."""
AT_ONCE = 4
"""Activities of a conversation that are under way at once, not counting repetitions."""
COUNTING = {"ROOT_DIALOG": "tests.own_dialogs.counting:Counting", "JOBS": "tests.own_dialogs.counting"}

Starts = Callable[[], Awaitable[ServiceProcess]]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def shared_nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("processes"), LEASES="as shipped") as nursery:
        yield nursery


@pytest.fixture
async def starts(shared_nursery: Nursery, real_url: str, tmp_path: Path) -> AsyncIterator[Starts]:
    """Starts a process on the one store; its dialogs wait for files in ``tmp_path``."""
    yield partial(shared_nursery.start, REDIS_URL=real_url, GATES=str(tmp_path), **COUNTING)
    await shared_nursery.end_all()


@pytest.fixture
async def processes(starts: Starts) -> list[ServiceProcess]:
    return [await starts(), await starts()]


@pytest.fixture
async def store(real_url: str) -> AsyncIterator[Store]:
    store = Store.connect(real_url)
    yield store
    await store.close()


class Place:
    """Somebody's conversation, as each of the processes is told of it: ``people`` are one person."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        channel: FakeChannel,
        processes: Sequence[ServiceProcess],
        name: str,
        conversation: str,
    ) -> None:
        self.channel = channel
        self.conversation = conversation
        self.people = [Person(http, process.url, channel, name, conversation) for process in processes]
        self.key = ConversationKey(self.people[0].key)

    @property
    def texts(self) -> list[str]:
        return self.channel.texts(self.conversation)

    async def says(self, chance: random.Random, text: str) -> None:
        """Say something to one process; the channel may send it again, to others or the same, at once or later."""
        activity = chance.choice(self.people).activity(text=text)
        times = chance.choice((1, 1, 1, 1, 2, 3))
        posts = [heard(chance.choice(self.people), activity) for _ in range(times)]
        if chance.random() < 0.5:
            await asyncio.gather(*posts)
        else:
            for post in posts:
                await post


async def heard(person: Person, activity: Json) -> None:
    status, _ = await person.posts(activity)
    assert status == 200


@pytest.fixture
def place(http: aiohttp.ClientSession, channel: FakeChannel, processes: list[ServiceProcess]) -> Place:
    return Place(http, channel, processes, "ann", "a:ann")


# --------------------------------------------------------------------- all of it


async def test_no_update_is_lost_and_nothing_is_said_twice(
    starts: Starts, http: aiohttp.ClientSession, channel: FakeChannel, store: Store
) -> None:
    """Two users in two conversations each, and who notifies them, use three processes at once; channels send again.

    Both states count every activity once; each reply, notification and letter is shown once; replies in the order of
    their turns, mail in the order in which it came into the mailbox.
    """
    processes = [await starts() for _ in range(3)]
    places = [Place(http, channel, processes, name, f"a:{name}:{n}") for name in ("ann", "bob") for n in (1, 2)]
    senders = [Sender(http, process.url) for process in processes]
    mail = Mail(store, Work(store, "conversations", lease=60))
    chance = random.Random(20)
    await asyncio.gather(*(place.says(chance, "0") for place in places))

    async def talk(place: Place) -> None:
        numbers = iter(range(1, SAID))

        async def one_after_the_other() -> None:
            for number in numbers:
                await place.says(chance, str(number))

        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))

    async def notify(place: Place) -> None:
        for number in range(TOLD):
            mode = chance.choice(("interject", "queue", "resume"))
            await chance.choice(senders).notifies(place.people[0], f"news {number};", mode=mode)

    async def write(place: Place) -> None:
        for number in range(TOLD):
            await mail.put([(place.key, letter(number))])
            if number % 3 == 2:  # else all of them would be in digests
                await until(partial(shows, place, number), within=SOON, what="they are shown")

    await asyncio.gather(*(do(place) for place in places for do in (talk, notify, write)))
    for place in places:
        await until(partial(all_came, senders[0], place), within=SOON, what="all mail has come")
        await heard(place.people[0], place.people[0].activity(text=str(SAID)))  # what was queued comes first
    for place in places:
        assert not [text for text in place.texts if "sorry" in text]
        replies = [re.fullmatch(r"(\d+): (\d+) here, \d+ everywhere", text) for text in place.texts]
        said = [(int(reply[1]), int(reply[2])) for reply in replies if reply]
        assert [here for _, here in said] == list(range(1, SAID + 2))
        assert sorted(number for number, _ in said) == list(range(SAID + 1))
        assert sorted(found("news", place.texts)) == list(range(TOLD))
        assert found("letter", place.texts) == list(range(TOLD))
    for pair in (places[:2], places[2:]):
        counts = [re.findall(r"(\d+) everywhere", text) for place in pair for text in place.texts]
        assert sorted(map(int, itertools.chain(*counts))) == list(range(1, 2 * SAID + 3))


async def test_somebody_who_is_everywhere_at_once_is_heard_everywhere(
    starts: Starts, http: aiohttp.ClientSession, channel: FakeChannel
) -> None:
    """Turns of one user that overtake one another are run again; none of them is given up for it."""
    processes = [await starts() for _ in range(3)]
    places = [Place(http, channel, processes, "ann", f"a:ann:{number}") for number in range(8)]
    chance = random.Random(20)

    async def talk(place: Place) -> None:
        for number in range(15):
            await place.says(chance, str(number))

    await asyncio.gather(*(talk(place) for place in places))
    texts = [text for place in places for text in place.texts]
    assert not [text for text in texts if "sorry" in text]
    counts = [int(count) for text in texts for count in re.findall(r"(\d+) everywhere", text)]
    assert sorted(counts) == list(range(1, 8 * 15 + 1))


def letter(number: int) -> Delivery:
    """Mail of this conversation alone, like a job's answer."""
    now = system_clock()
    return Delivery(
        id=DeliveryId(f"letter-{number:03}"),
        mode=Mode.INTERJECT,
        created_at=now,
        expires_at=now + timedelta(days=1),
        content=Content(activity={"type": "message", "text": f"letter {number};"}),
    )


def found(what: str, texts: Sequence[str]) -> list[int]:
    """The numbers of what was shown, in its order."""
    return [int(number) for text in texts for number in re.findall(rf"{what} (\d+);", text)]


def shows(place: Place, number: int) -> bool:
    return number in found("letter", place.texts)


async def all_came(sender: Sender, place: Place) -> bool:
    """Whether everything was shown, or is queued for the user's next turn."""
    kept = await sender.conversation(place.people[0])
    shown = len(found("news", place.texts)) + len(found("letter", place.texts))
    return shown + int(kept["inbox"]) >= 2 * TOLD and not kept["mailbox"] and not kept["outbox"]


# --------------------------------------------------------------------- channels that send again


async def test_what_is_sent_again_while_its_turn_runs_waits_and_changes_nothing(
    place: Place, store: Store, tmp_path: Path
) -> None:
    """The channel has waited long enough and asks another process; and the same one, too."""
    activity = place.people[0].activity(text="wait door")
    first = asyncio.create_task(heard(place.people[0], activity))
    await until((tmp_path / "door.waits").exists, within=SOON)
    async with listening(store, place.key) as asked:
        again = [asyncio.create_task(heard(person, activity)) for person in place.people]
        await until(lambda: len(asked) >= 2, within=SOON, what="the other has asked")
    assert place.texts == []
    (tmp_path / "door").touch()
    await asyncio.gather(first, *again)
    await heard(place.people[1], place.people[1].activity(text="hi"))
    assert place.texts == ["wait door: 1 here, 1 everywhere", "hi: 2 here, 2 everywhere"]


async def test_a_turn_may_take_longer_than_its_lease(
    start_service: ServiceFactory, http: aiohttp.ClientSession, channel: FakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is renewed for as long as the turn takes: the other process goes on waiting."""
    for module in (turns, pipeline):
        monkeypatch.setattr(module, "LEASE", timedelta(seconds=1))
    slow = {"ROOT_DIALOG": "tests.own_dialogs.slow:Slow", "FLUSH_AFTER": "3600"}
    services = [await start_service(**slow) for _ in range(2)]
    here, there = [Person(http, url_of(service), channel) for service in services]
    gates.clear()
    activity = here.activity(text="talk")
    first = asyncio.create_task(heard(here, activity))
    await until(lambda: "more" in gates)
    store, conversation = services[0].store, keys.conversation(ConversationKey(here.key))
    lock, ends = await store.run("HMGET", conversation, "lock", "until")

    async def has_ended() -> bool:
        return int((await store.run("TIME"))[0]) * 1000 > int(ends)

    again = asyncio.create_task(heard(there, activity))
    await until(has_ended)
    assert await store.run("HGET", conversation, "lock") == lock
    for gate in ("more", "end"):
        gates[gate].set()
    await asyncio.gather(first, again)
    assert here.shows() == ["one", "two", "three", "four"]


# --------------------------------------------------------------------- the price of waiting


@asynccontextmanager
async def listening(store: Store, key: ConversationKey) -> AsyncIterator[list[float]]:
    """The times, in seconds, at which anybody asks the store about a conversation, as the server sees them."""
    asked: list[float] = []

    def asks(said: Json) -> bool:
        return said["client_type"] != "lua" and keys.conversation(key) in said["command"]

    redis: Any = Redis(connection_pool=store.redis.connection_pool)
    async with redis.monitor() as monitor:

        async def listen() -> None:
            async for said in monitor.listen():
                asked.extend([said["time"]] if asks(said) else ())

        listener = asyncio.create_task(listen())
        yield asked
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener


async def test_waiting_in_a_process_asks_nothing_of_the_store(place: Place, store: Store, tmp_path: Path) -> None:
    """Fifty turns that wait for one another cost as much as fifty one after the other."""
    ann = place.people[0]
    bob = Person(ann.http, ann.bot_url, ann.channel, "bob")
    for text in ("hello", "hello again"):  # the first turn's scripts are its own; the server knows both after these
        await heard(ann, ann.activity(text=text))
    async with listening(store, place.key) as asked:
        (tmp_path / "open").touch()
        for text in ("wait open", *["hi"] * 50):
            await heard(ann, ann.activity(text=text))
        alone = 3 * 51  # to begin, to commit, to acknowledge; the last is asked after the answer is heard
        await until(lambda: len(asked) >= alone)
        assert len(asked) == alone
        waiting = [asyncio.create_task(heard(ann, ann.activity(text="wait door")))]
        await until((tmp_path / "door.waits").exists, within=SOON)
        waiting += [asyncio.create_task(heard(ann, ann.activity(text="hi"))) for _ in range(50)]
        for _ in range(10):
            await heard(bob, bob.activity(text="hi"))
        (tmp_path / "door").touch()
        await asyncio.gather(*waiting)
        await until(lambda: len(asked) >= 2 * alone)
    assert len(asked) == 2 * alone
    assert len(place.texts) == 104


async def test_waiting_for_another_process_asks_less_and_less(place: Place, store: Store, tmp_path: Path) -> None:
    """Soon at first, then four times a second: a turn of two seconds costs who waits for it about a dozen questions."""
    ann, there = place.people[:2]
    first = asyncio.create_task(heard(ann, ann.activity(text="wait door")))
    await until((tmp_path / "door.waits").exists, within=SOON)
    async with listening(store, place.key) as asked:
        behind = asyncio.create_task(heard(there, there.activity(text="hi")))
        await until(lambda: len(asked) >= 12, within=SOON)
    (tmp_path / "door").touch()
    await asyncio.gather(first, behind)
    assert asked[11] - asked[0] > 0.9


# --------------------------------------------------------------------- jobs that are quick


async def test_a_job_does_not_begin_before_its_turn_has_committed(
    place: Place, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Nobody can know of it, though two workers have nothing else to do. So its answer comes after the reply."""
    ann = place.people[0]
    said = asyncio.create_task(heard(ann, ann.activity(text="job gated")))
    await until((tmp_path / "gated.waits").exists, within=SOON)
    assert await jobs(Sender(http, ann.bot_url)) == []
    (tmp_path / "gated").touch()
    await said
    await until(lambda: len(place.texts) == 2, within=SOON)
    assert place.texts[0] == "job gated: 1 here, 1 everywhere"
    assert "answer gated" in place.texts[1]


async def test_a_job_may_end_before_its_turn_does(place: Place, http: aiohttp.ClientSession) -> None:
    """The channel takes its time with the reply, and the answer is there already: it comes after, and it comes."""
    ann = place.people[0]
    gate = asyncio.Event()
    place.channel.answers(place.conversation, Mood(before=gate))
    said = asyncio.create_task(heard(ann, ann.activity(text="job quick")))
    await until(lambda: sends(place.channel, ann, "job quick: 1 here, 1 everywhere"), within=SOON)

    async def is_done() -> bool:
        return [job["status"] for job in await jobs(Sender(http, ann.bot_url))] == ["done"]

    await until(is_done, within=SOON)
    assert place.texts == []
    gate.set()
    await said
    await until(lambda: len(place.texts) == 2, within=SOON)
    assert place.texts[0] == "job quick: 1 here, 1 everywhere"
    assert "answer quick" in place.texts[1]


async def jobs(sender: Sender) -> list[Json]:
    _, page = await sender.gets("/api/jobs")
    found: list[Json] = page["jobs"]
    return found
