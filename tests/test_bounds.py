"""Nothing grows without a bound: what is full says so and loses nothing, and what was long ago leaves nothing behind.

``ASIDE_TURNS=100000 pytest tests/test_bounds.py -k growth -s`` has a conversation of that many turns, with nothing
made smaller for the test, and prints what is left of them (some minutes).
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import re
import resource
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from types import MethodType
from typing import Any

import pytest
from botframework.connector.auth import ClaimsIdentity

from app import Service
from channel.http import HttpChannel
from domain.audience import Listed
from domain.delivery import Status
from domain.effect import Operation, Send
from domain.errors import ConversationFull, TooManySends
from domain.ids import ConversationKey, DeliveryId, JobId, NotificationId, new_id
from domain.job import JobRequest, JobStatus
from domain.notification import Content, Mode, Notification
from domain.sending import Answer, ChannelAnswer
from proactive import inbox
from sdk.activities import activity_from_json
from state import keys, mail, notifications, turn
from state.jobs import JobStore, Started
from state.store import Store
from state.turns import AlreadyProcessed
from state.work import Work
from testkit.channel import Mood
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory
from tests.own_dialogs.slow import gates
from tests.serving import impatient, serving
from tests.test_turns import NOW, URL, Bench, K, delivery
from turns import lines, pipeline
from web.messages import Messages

__all__ = ["impatient"]

SAYS_WAIT = Mood(429, headers={"Retry-After": "3600"})
COUNTING = {"ROOT_DIALOG": "tests.own_dialogs.counting:Counting", "JOBS": "tests.own_dialogs.counting"}
SLOW = {"ROOT_DIALOG": "tests.own_dialogs.slow:Slow", "FLUSH_AFTER": "3600"}


async def refusal(person: Person, activity: Json) -> tuple[str, int]:
    """The reason for which an activity was refused with 503, and the seconds after which to send it again."""
    async with person.http.post(f"{person.bot_url}/api/messages", json=activity) as response:
        body = await response.json(content_type=None)
        assert response.status == 503, body
        assert response.content_type == "application/problem+json"
        return body["detail"], int(response.headers["Retry-After"])


# --------------------------------------------------------------------- the outbox


class TestAnOutboxThatIsFull:
    """The channel says wait, and the user goes on talking."""

    @pytest.fixture(autouse=True)
    async def is_full(self, ann: Person, bob: Person, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pipeline, "OUTBOX", 3)
        await ann.says("hello")
        await bob.says("hello")
        ann.channel.answers(ann.conversation, SAYS_WAIT)
        for text in ("one", "two", "three"):
            assert await ann.says(text) == []

    async def unblocks(self, service: Service, person: Person) -> None:
        """The time has come that the channel has named."""
        await service.store.run("HSET", keys.conversation(ConversationKey(person.key)), "blocked", 1)
        await service.work.wake(ConversationKey(person.key))

    async def test_refuses_what_the_user_says_and_keeps_nothing_of_it(self, ann: Person, bob: Person) -> None:
        """The channel is told why and when to send it again. Nobody else is affected."""
        reason, again = await refusal(ann, ann.activity(text="four"))
        assert reason == "The channel accepts nothing for this conversation now."
        assert 3000 < again < 5000
        assert await bob.says("and I?") == ["You sent: and I?"]

    async def test_hears_it_when_it_is_sent_again(self, service: Service, ann: Person) -> None:
        """Everything that waited is said in order, and what had been refused once is answered once."""
        four = ann.activity(text="four")
        for _ in range(3):
            await refusal(ann, four)
        await self.unblocks(service, ann)
        await ann.hears("You sent: one", "You sent: two", "You sent: three")
        for _ in range(2):
            assert await ann.posts(four) == (200, None)
        await ann.hears("You sent: four")

    async def test_leaves_mail_in_the_mailbox(self, service: Service, ann: Person, sender: Sender) -> None:
        """Notifications are pending until the channel accepts something again, and then come in their order."""
        sent = []
        for text in ("news", "more news"):
            sent.append(await sender.notifies(ann, text, mode="interject"))
            await until(lambda: self.has_mail(sender, ann, len(sent)))
            await self.is_left_alone(service)
        assert [(await sender.delivery(notification))["status"] for notification in sent] == ["pending"] * 2
        assert (await sender.conversation(ann))["outbox"] == 3
        await self.unblocks(service, ann)
        await ann.hears("You sent: one", "You sent: two", "You sent: three", "news", "more news")

    async def test_keeps_what_was_promised(self, service: Service, ann: Person) -> None:
        """An activity that was answered with 202 is not refused any more: it waits for the channel too."""
        promised = ann.activity(text="promised")
        await service.mail.keep_input(ConversationKey(ann.key), promised["id"], promised, service.clock())
        await service.work.wake(ConversationKey(ann.key))
        await self.is_left_alone(service)
        await refusal(ann, ann.activity(text="later"))
        assert ann.shows() == ["You sent: hello"]
        await self.unblocks(service, ann)
        await ann.hears("You sent: one", "You sent: two", "You sent: three", "You sent: promised")

    async def has_mail(self, sender: Sender, person: Person, number: int) -> bool:
        return int((await sender.conversation(person))["mailbox"]) == number

    async def is_left_alone(self, service: Service) -> None:
        """Wait until its work lies again until the channel's time has come."""

        async def far_away() -> bool:
            now = int((await service.store.run("TIME"))[0]) * 1000
            due = await service.store.run("ZRANGE", keys.work("conversations"), 0, 0, "WITHSCORES")
            flat = due[0] if due and isinstance(due[0], list | tuple) else due
            return bool(flat) and float(flat[1]) > now + 3_000_000

        await until(far_away, what="the conversation is left alone")


class TestATurnThatDoesNotStopTalking:
    service = serving(**COUNTING)

    async def test_fails(self, ann: Person) -> None:
        """Its dialog gets an exception; nothing of it is shown but the apology, and the next turn is as ever."""
        assert await ann.says("hi") == ["hi: 1 here, 1 everywhere"]
        (apology,) = await ann.says("babble")
        assert apology.startswith("I am sorry")
        assert await ann.says("hi") == ["hi: 2 here, 2 everywhere"]


async def test_a_turn_may_send_so_much_and_no_more(store: Store) -> None:
    """Updates count as well. What was taken back does not, nor does what went out early."""
    talking = await Bench(store).turn()
    for _ in range(turn.SENDS):
        talking.send({"type": "message"}, URL)
    with pytest.raises(TooManySends, match="up to 200"):
        talking.send({"type": "message"}, URL)
    with pytest.raises(TooManySends, match="up to 200"):
        talking.change(Operation.UPDATE, "act-1", {"type": "message"}, URL)
    talking.report(delivery("a"), Status.HELD)
    talking.effects.pop(0)
    talking.send({"type": "message"}, URL)


# --------------------------------------------------------------------- before a turn begins


@pytest.fixture
def closed_gates() -> Iterator[None]:
    gates.clear()
    yield
    for gate in gates.values():
        gate.set()


@pytest.mark.usefixtures("closed_gates")
class TestTurnsThatWait:
    service = serving(**SLOW)

    async def test_are_so_many_and_no_more(self, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever comes then is to come again; those before are answered, and other conversations go on."""
        monkeypatch.setattr(lines, "LINE", 2)
        talking = asyncio.create_task(ann.posts(ann.activity(text="talk")))
        await until(lambda: "more" in gates)
        waiting = [asyncio.create_task(ann.posts(ann.activity(text="quick"))) for _ in range(3)]
        (refused,), _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert refused.result()[0] == 503
        told = "Too many turns wait for this conversation."
        assert await refusal(ann, ann.activity(text="quick")) == (told, 5)
        assert await bob.says("quick") == ["quick"]
        await ends(talking)
        await asyncio.wait(waiting)
        assert ann.news() == ["one", "two", "three", "four", "quick", "quick"]


@pytest.mark.usefixtures("closed_gates")
class TestTurnsThatArePromised:
    @pytest.fixture
    async def service(self, start_service: ServiceFactory, monkeypatch: pytest.MonkeyPatch) -> Service:
        defaults = Messages.__init__.__kwdefaults__
        assert defaults is not None
        monkeypatch.setitem(defaults, "answer_within", 0.1)
        monkeypatch.setattr(mail, "MAILBOX", 0.5)
        return await start_service(**SLOW)

    async def test_are_so_many_and_no_more(self, ann: Person) -> None:
        """What cannot be kept is not answered with 202: it is to be sent again, and is answered once all the same."""
        talk, quick = ann.activity(text="talk"), ann.activity(text="quick")
        talking = asyncio.create_task(ann.posts(talk))
        assert (await talking)[0] == 202
        reason, _ = await refusal(ann, quick)
        assert reason == "Too much that was said here waits for its turn."
        assert (await ann.posts(talk))[0] == 202
        for gate in ("more", "end"):
            gates[gate].set()
        await ann.hears("one", "two", "three", "four", "quick")

        async def is_over() -> bool:
            return (await ann.posts(quick))[0] == 200

        await until(is_over)  # until then it may be answered 202 on a busy machine
        assert ann.news() == []


async def ends(talking: asyncio.Task[tuple[int, Json | None]]) -> None:
    for gate in ("more", "end"):
        gates[gate].set()
    assert (await talking)[0] == 200


async def test_what_one_person_asks_for_is_refused_rather_than_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To withdraw and to replay finds room in a full mailbox; where even that is taken, whoever asks is told."""
    monkeypatch.setattr(mail, "MAILBOX", 1)
    bench = Bench(store)
    await bench.put("a")
    for _ in range(2):
        await bench.mail.withdraw(K, DeliveryId("a"))
    with pytest.raises(ConversationFull, match="mailbox"):
        await bench.mail.put_again(K, delivery("b"))
    with pytest.raises(ConversationFull, match="mailbox"):
        await bench.mail.withdraw(K, DeliveryId("b"))
    await bench.whole_turn("t1")
    await bench.mail.put_again(K, delivery("b"))
    assert [mail.id for mail in (await bench.turn("t2")).mail] == ["b"]


async def test_what_is_promised_has_room_where_mail_has_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mailbox that senders have filled does not keep a user from being heard."""
    monkeypatch.setattr(mail, "MAILBOX", 2)
    bench = Bench(store)
    await bench.put("a", "b", "c")
    for name in ("one", "two", "two"):
        await bench.mail.keep_input(K, name, {"id": name}, NOW)
    with pytest.raises(ConversationFull):
        await bench.mail.keep_input(K, "three", {"id": "three"}, NOW)
    begun = await bench.turn()
    assert ([mail.id for mail in begun.mail], len(begun.inputs)) == (["a", "b"], 2)


# --------------------------------------------------------------------- what is remembered


async def test_the_newest_activity_ids_are_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there were in these minutes."""
    monkeypatch.setattr(keys, "ACTIVITY_IDS_KEPT", 3)
    bench = Bench(store)
    for number in range(5):
        await bench.commit(await bench.turn(f"t{number}", activity_id=f"act{number}"))
        await bench.acknowledge(f"t{number}", [])
    assert isinstance(await bench.turns.begin(K, "t", activity_id="act2"), AlreadyProcessed)
    assert await store.run("ZCARD", keys.activity_ids(K)) == 3


async def test_the_newest_mail_is_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there was in this hour."""
    monkeypatch.setattr(keys, "MAIL_IDS_KEPT", 2)
    bench = Bench(store)
    await bench.put("a", "b", "c")
    assert await store.run("ZRANGE", keys.mail_ids(K), 0, -1) == [b"b", b"c"]


async def test_what_lies_in_the_mailbox_is_not_put_twice(store: Store) -> None:
    """Though it may be so long there that nobody remembers it: it stays as it is."""
    bench = Bench(store)
    await bench.put("a")
    failed = await bench.turn()
    failed.bumped = [delivery("a", attempts=1)]
    await bench.commit(failed)
    await store.run("DEL", keys.mail_ids(K))
    await bench.put("a")
    assert [(mail.id, mail.attempts) for mail in (await bench.turn()).mail] == [("a", 1)]


async def test_mail_is_forgotten_in_time(store: Store) -> None:
    """Also where more keeps coming."""
    bench = Bench(store)
    await bench.put("a")
    await store.run("ZADD", keys.mail_ids(K), 1, "ancient")
    await bench.put("b")
    assert await store.run("ZRANGE", keys.mail_ids(K), 0, -1) == [b"a", b"b"]


class TestJobs:
    @pytest.fixture
    def jobs(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> JobStore:
        monkeypatch.setattr(keys, "JOBS_KEPT", 2)
        works = [Work(store, name, lease=60) for name in ("jobs", "conversations")]
        return JobStore(store, jobs=works[0], conversations=works[1])

    async def submit(self, jobs: JobStore, number: int) -> JobId:
        job_id = JobId(f"job_{number}")
        request = JobRequest(id=job_id, number=number, name="n", arguments={}, asked="a", owner="o")
        await jobs.submit(K, request)
        return job_id

    async def finish(self, jobs: JobStore, job_id: JobId) -> None:
        started = await jobs.start(K, job_id, job_id, lease=60)
        assert isinstance(started, Started)
        await jobs.finish(K, job_id, started.fence, JobStatus.DONE)

    async def test_that_are_over_make_room(self, store: Store, jobs: JobStore) -> None:
        """The newest are kept, and nothing is left of the others."""
        for number in range(5):
            await self.finish(jobs, await self.submit(jobs, number))
        assert [job.number for job in await jobs.list(K)] == [3, 4]
        assert [job.number for job in (await jobs.recent(10))[0]] == [4, 3]
        assert await jobs.find(JobId("job_2")) is None
        names = [name.decode() for name in await store.run("KEYS", "*job*")]
        assert len([name for name in names if "job_" in name]) == 4

    async def test_that_are_not_over_are_kept(self, jobs: JobStore) -> None:
        """However many there are; as soon as they are over they make room."""
        first, *others = [await self.submit(jobs, number) for number in range(4)]
        assert len(await jobs.list(K)) == 4
        for job_id in others:
            await self.finish(jobs, job_id)
        await self.submit(jobs, 4)
        assert [job.id for job in await jobs.list(K)] == [first, "job_3", "job_4"]

    async def test_whose_records_are_gone_make_room(self, store: Store, jobs: JobStore) -> None:
        """Nobody has to ask for the list first."""
        for number in range(4):
            await store.run("DEL", keys.job(K, await self.submit(jobs, number)))
        await self.submit(jobs, 4)
        assert await store.run("ZRANGE", keys.jobs(K), 0, -1) == [b"job_3", b"job_4"]


# --------------------------------------------------------------------- a long life

TURNS = int(os.environ.get("ASIDE_TURNS", 0))


@dataclass
class Size:
    """What a store holds of one kind of key."""

    keys: int = 0
    members: int = 0
    memory: int = 0

    def larger_than(self, before: Size) -> bool:
        """Numbers may have become longer by a digit, and of a sorted set's towers the server draws the heights: those
        of 200 members differ by 2 % now and then. What grew would have grown by half and more."""
        return (self.keys, self.members) > (before.keys, before.members) or self.memory > 1.05 * before.memory + 64


@dataclass
class Life:
    """A conversation that goes on and on, with a channel that accepts everything at once."""

    service: Service
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def goes_on(self, turns: int) -> None:
        """So many turns of the user, in every fifth a notification and in every tenth a job; until all is done."""
        for number in itertools.islice(self.numbers, turns):
            if number % 5 == 3:
                await self.is_notified(list(Mode)[number // 5 % len(Mode)])
            await self.says("job done" if number % 10 == 6 else "hi")
        await until(self.is_served, within=60)
        await self.says("job last")  # what was queued is shown, and the jobs that are over make room
        await until(self.is_quiet, within=60)

    async def says(self, text: str) -> None:
        people = {"from": {"id": "ann"}, "recipient": {"id": "bot"}, "conversation": {"id": "a:ann"}}
        body = {"type": "message", "id": new_id("act"), "channelId": "msteams", "serviceUrl": URL, **people}
        await self.service.pipeline.user_turn(ClaimsIdentity({}, True), activity_from_json({**body, "text": text}))

    async def is_notified(self, mode: Mode) -> None:
        now = self.service.clock()
        notification = Notification(
            id=NotificationId(new_id("ntf")),
            content=Content(activity={"type": "message", "text": "news"}),
            created_at=now,
            expires_at=now + timedelta(days=1),
            mode=mode,
        )
        await self.service.notifications.accept(notification, Listed(conversations=(ANN,)), 1)

    async def is_served(self) -> bool:
        """Whether all mail is there; what is queued then waits for the user."""
        return not any([await work.length() for work in (self.service.fanout_work, self.service.job_work)])

    async def is_quiet(self) -> bool:
        """Whether nothing is to be done: mail is put before its conversation is woken."""
        works = (self.service.work, self.service.fanout_work, self.service.job_work)
        mail = await self.service.store.run("HLEN", keys.mailbox(ANN))
        return not mail and not any([await work.length() for work in works])

    async def in_store(self) -> dict[str, Size]:
        """By kind of key; without those that last a minute."""
        store = self.service.store
        sizes: dict[str, Size] = {}

        async def measure(name: bytes) -> None:
            ttl = await store.run("TTL", name)
            if ttl != -1 and ttl <= keys.MINUTE:
                return
            kind = (await store.run("TYPE", name)).decode()
            memory = await store.run("MEMORY", "USAGE", name, "SAMPLES", 0)
            if kind == "none" or memory is None:
                return  # gone meanwhile
            members = await store.run(COUNTED[kind], name)
            size = sizes.setdefault(re.sub(r"(ntf|job)_\w+", r"\1_", name.decode()), Size())
            size.keys, size.members, size.memory = size.keys + 1, size.members + members, size.memory + memory

        names = await store.run("KEYS", "*")
        for start in range(0, len(names), 500):
            await asyncio.gather(*map(measure, names[start : start + 500]))
        return sizes

    async def at_rest(self) -> dict[str, Size]:
        """What is in the store while nothing is to be done: a turn that ends may wake its conversation once more, for
        mail that the next has taken in meanwhile."""

        async def look() -> dict[str, Size] | None:
            sizes = await self.in_store()
            return None if sizes.keys() & {keys.work(queue) for queue in ("conversations", "fanout", "jobs")} else sizes

        sizes: dict[str, Size] = await until(look)
        return sizes

    def in_process(self) -> int:
        """Members of all collections that the service's own objects hold, and tasks."""
        members, seen, found = len(asyncio.all_tasks()), set(), deque[Any]([self.service])
        while found:
            one = found.popleft()
            if id(one) in seen:
                continue
            seen.add(id(one))
            if isinstance(one, dict | list | set | tuple | deque):
                members += len(one)
                found += [*one.keys(), *one.values()] if isinstance(one, dict) else one
            elif isinstance(one, MethodType):
                found.append(one.__self__)
            elif type(one).__module__.partition(".")[0] in PACKAGES:
                found += getattr(one, "__dict__", {}).values()
        return members


ANN = ConversationKey("msteams/a:ann")
PACKAGES = {
    *("app", "web", "devchannel", "delivery", "jobs", "turns", "channel", "sdk", "proactive", "dialogs", "state"),
    "tests",
}
COUNTED = {"hash": "HLEN", "list": "LLEN", "zset": "ZCARD", "set": "SCARD", "string": "STRLEN"}
SENDERS_RECORDS = {"aside:{ntf_}:n", "aside:{ntf_}:d", "aside:{ntf_}:to", "aside:notifications"}
"""What is kept of each notification for its sender, for as long as is promised."""


@pytest.fixture
async def life(start_service: ServiceFactory, monkeypatch: pytest.MonkeyPatch) -> Life:
    async def accepts(self: HttpChannel, send: Send, activity_id: str | None) -> ChannelAnswer:
        return ChannelAnswer(answer=Answer.ACCEPTED, activity_id=new_id("shown"))

    monkeypatch.setattr(HttpChannel, "carry", accepts)
    if not TURNS:
        for module, name in (
            *((keys, name) for name in ("ACTIVITY_IDS_KEPT", "MAIL_IDS_KEPT", "SENT_IDS_KEPT", "JOBS_KEPT")),
            (keys, "RECENT_JOBS"),
            (notifications, "CACHED_CONTENTS"),
            (inbox, "RECENT"),
        ):
            monkeypatch.setattr(module, name, 20)
    return Life(await start_service(**COUNTING, RATE_PER_CONVERSATION="100000/1s", RATE_GLOBAL="100000/1s"))


@pytest.mark.timeout(60 + TURNS / 10)
async def test_a_long_conversation_leaves_no_growth(life: Life) -> None:
    """After all of its turns the store holds as much as after half of them, except what is kept for senders; and so
    does the process."""
    half = (TURNS or 400) // 2
    await life.goes_on(half)
    before, members_before = await life.at_rest(), life.in_process()
    await life.goes_on(half)
    after, members = await life.at_rest(), life.in_process()
    if TURNS:
        lines = [f"{kind:36} {before.get(kind)} -> {size}" for kind, size in sorted(after.items())]
        lines.append(f"members of collections in the process {members_before} -> {members}")
        lines.append(f"resident memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} KiB")
        sys.stdout.write("\n".join(["", *lines, ""]))
    assert after.keys() == before.keys()
    assert {kind for kind, size in after.items() if size.larger_than(before[kind])} == SENDERS_RECORDS
    assert members - members_before < 10


@pytest.mark.skipif(bool(TURNS), reason="long lives only")
async def test_turns_leave_little_to_the_garbage_collector(life: Life) -> None:
    """A delivery leaves nothing behind in cycles, and a user's turn only what the SDK's dialog contexts are: while the
    collector looks through what a few hundred turns under way are made of, everybody waits."""

    async def left_by(turn: Callable[[], Awaitable[None]]) -> float:
        await turn()
        await until(life.is_quiet)
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await turn()
            await until(life.is_quiet)
            return gc.collect() / 20
        finally:
            gc.enable()

    assert await left_by(lambda: life.is_notified(Mode.INTERJECT)) < 5
    assert await left_by(lambda: life.says("hi")) < 40
