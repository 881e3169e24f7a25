"""Every key has an end, or is declared to have none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from fnmatch import fnmatchcase

import orjson
import pytest

from devchannel.tokens import Grant, Tokens
from domain.audience import Everyone, Listed
from domain.clock import system_clock
from domain.delivery import Delivery, Status, StatusReport
from domain.effect import Submit
from domain.ids import ConversationKey, DeliveryId, JobId, NotificationId, UserKey, new_id
from domain.job import JobRequest, JobStatus
from domain.notification import Content, Mode, Notification
from domain.reachability import Reachability, Standing
from state import keys
from state.codec import Codec
from state.conversations import Conversations, index_of
from state.dead_letters import DeadLetters
from state.idempotency import Reserved
from state.jobs import JobStore, Started
from state.mail import Mail
from state.notifications import Notifications
from state.rates import Rates
from state.store import Store
from state.transcripts import Transcripts
from state.turns import Begun, Turns, UserStateChanged
from state.work import Work

K = ConversationKey("directline/c[1]{*}?")
ANN = UserKey("directline/ann")
NID = NotificationId("ntf_1")


@pytest.fixture
async def store(real_url: str) -> AsyncIterator[Store]:
    """The real server: the one that must not fill up."""
    store = Store.connect(real_url)
    yield store
    await store.close()


class Life:
    """Everything that happens in a conversation's life, on one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.conversations = Work(store, "conversations", lease=60)
        self.fanout = Work(store, "fanout", lease=60)
        self.work = Work(store, "jobs", lease=60)
        self.turns = Turns(store, Codec(), system_clock)
        self.mail = Mail(store, self.conversations)
        self.notifications = Notifications(store, self.fanout, system_clock)
        self.jobs = JobStore(store, jobs=self.work, conversations=self.conversations)
        self.transcripts = Transcripts(store)

    async def a_glance(self) -> None:
        """A proactive turn finds a conversation that nobody ever had."""
        key = ConversationKey("directline/nobody")
        begun = await self.turns.begin(key, "glance")
        assert isinstance(begun, Begun)
        await self.turns.commit(begun.turn)
        await self.store.sequence(self.turns.acknowledgement(key, "glance", [], release=True))

    async def a_turn(self, token: str, *, sends: int = 1) -> None:
        await self.mail.keep_input(K, f"act-{token}", {"id": f"act-{token}"}, system_clock())
        begun = await self.turns.begin(K, token, user=ANN, activity_id=f"act-{token}")
        assert isinstance(begun, Begun)
        turn = begun.turn
        reference = {"user": {"id": "ann", "aadObjectId": "00-a"}, "conversation": {"id": "c"}}
        turn.fields["record"] = orjson.dumps({"reference": reference, "firstSeen": 1}).decode()
        turn.state.own["inbox"] = [token]
        assert turn.user_state is not None
        turn.user_state.keep({"name": token})
        for _ in range(sends):
            turn.send({"type": "message", "text": "hi"}, "https://x")
        turn.effects.append(Submit(job=request(JobId(f"job-{token}"))))
        committed = await self.turns.commit(turn)
        assert not isinstance(committed, UserStateChanged)
        thread = ConversationKey("msteams/19:c@thread.tacv2;messageid=1")
        for key in (K, thread):
            await self.store.sequence(*Conversations.indexing(index_of(key, reference)))
        await self.store.sequence(*Conversations.counting(K, active=False))
        sent = [(turn.provisional_id(), "real")]
        done = [entry.id for entry in committed[1:]]
        await self.store.sequence(
            self.turns.acknowledgement(K, token, done, sent=sent, blocked_for=5, release=True),
        )
        turn.state.unreadable = True
        await self.turns.put_aside(turn)

    async def a_notification(self) -> None:
        now = system_clock()
        notification = Notification(id=NID, content=Content(), created_at=now, expires_at=now + timedelta(days=1))
        reserved = await self.notifications.requests.reserve("ci", "k", b"body")
        assert isinstance(reserved, Reserved)
        await self.notifications.requests.answered("ci", "k", b"body", reserved.id, {})
        await self.notifications.requests.reserve("ci", "k2", b"body")
        await self.notifications.accept(notification, Listed(conversations=(K,)), 1)
        await self.notifications.accept(
            Notification(**{**vars(notification), "id": NotificationId("ntf_2")}), Everyone(), 1
        )
        await self.notifications.spreading.enter(NID, 0, [K], Status.PENDING)
        await self.store.sequence(self.notifications.deliveries.answering(NID, 0, "yes"))
        await self.mail.put([(K, delivery("ntf_1.0"))])
        await self.mail.put_again(K, delivery("ntf_1.0"))
        await self.mail.withdraw(K, DeliveryId("ntf_1.0"))
        report = StatusReport(delivery=DeliveryId("ntf_1.0"), status=Status.FAILED, at=now, notification=NID)
        await self.store.sequence(self.notifications.deliveries.reporting(report))
        await self.store.sequence(*DeadLetters.recording(K, report, ["400"]))
        await self.notifications.deliveries.reopen(NID, 0, now)
        rates = Rates(self.store, per_conversation=((7, 1.0),), per_tenant=((30, 1.0),))
        await rates.reserve(K, "tenant", answer=False)

    async def jobs_of_every_kind(self) -> None:
        for name in ("waiting", "running", "done", "failed", "cancelled", "again"):
            await self.jobs.submit(K, request(JobId(name)))
        fences = {}
        for name in ("running", "done", "failed", "again"):
            started = await self.jobs.start(K, JobId(name), f"w-{name}", lease=60)
            assert isinstance(started, Started)
            fences[name] = started.fence
        await self.jobs.progress(K, JobId("running"), fences["running"], 0.5)
        await self.jobs.renew([(K, JobId("running"), fences["running"])], lease=60)
        await self.jobs.finish(K, JobId("done"), fences["done"], JobStatus.DONE, answer=delivery("a"))
        await self.jobs.finish(K, JobId("failed"), fences["failed"], JobStatus.FAILED, error="e")
        await self.jobs.retry(K, JobId("again"), fences["again"], "e")
        await self.jobs.cancel(K, JobId("cancelled"))
        reported = (self.jobs.reporting_answer(K, JobId(name), Status.DELIVERED) for name in ("done", "gone"))
        await self.store.sequence(*reported)

    async def a_chat(self) -> None:
        await self.transcripts.create("c1", "ann")
        spoken = await self.transcripts.append("c1", {"type": "message", "text": "hi"})
        await self.transcripts.update("c1", spoken, {"type": "message", "text": "ho"})
        await Tokens(self.store).issue(Grant(conversation_id="c1", user_id="ann"))


def delivery(name: str) -> Delivery:
    now = system_clock()
    return Delivery(id=DeliveryId(name), mode=Mode.QUEUE, created_at=now, expires_at=now + timedelta(days=1))


def request(job_id: JobId) -> JobRequest:
    return JobRequest(id=job_id, number=1, name="n", arguments={}, asked="a", owner=ANN)


async def lifetimes(store: Store) -> dict[str, int]:
    """Every key and its seconds to live, -1 for one without an end."""
    names = [name.decode() for name in await store.run("KEYS", "*")]
    ttls = await asyncio.gather(*(store.run("TTL", name) for name in names))
    return dict(zip(names, ttls, strict=True))


def permanent(name: str) -> list[str]:
    return [pattern for pattern in keys.PERMANENT if fnmatchcase(name, pattern)]


async def a_whole_life(store: Store) -> Life:
    life = Life(store)
    await life.a_glance()
    await life.a_turn("t1", sends=3)
    await life.a_notification()
    await life.jobs_of_every_kind()
    await life.a_chat()
    await life.a_turn("t2")
    await life.mail.put([(K, delivery("late"))])
    return life


async def test_every_key_has_an_end_or_is_declared_permanent(store: Store) -> None:
    """After turns, mail, notifications, jobs and chats: nothing is left that nobody would ever delete."""
    await a_whole_life(store)
    found = await lifetimes(store)
    assert len(found) > 30
    endless = [name for name, ttl in found.items() if ttl == -1 and not permanent(name)]
    assert endless == []


async def test_what_is_declared_permanent_is_there(store: Store) -> None:
    """No pattern is left over from a key that is spelled otherwise by now, or covers what has an end after all."""
    await a_whole_life(store)
    found = await lifetimes(store)
    covered = {pattern for name in found for pattern in permanent(name)}
    assert covered == set(keys.PERMANENT)
    # One may: a conversation that was only locked.
    ending = {name for name, ttl in found.items() if ttl > 0 and permanent(name)}
    assert ending == {keys.conversation(ConversationKey("directline/nobody"))}


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        (keys.mail_ids(K), keys.MAIL_IDS_TTL),
        (keys.activity_ids(K), keys.ACTIVITY_IDS_TTL),
        (keys.sent_ids(K), keys.SENT_IDS_TTL),
        (keys.sent_order(K), keys.SENT_IDS_TTL),
        (keys.unreadable(K), keys.UNREADABLE_TTL),
        (keys.notification(NID), keys.NOTIFICATION_TTL),
        (keys.recipients(NID), keys.NOTIFICATION_TTL),
        (keys.deliveries(NID), keys.NOTIFICATION_TTL),
        (keys.results(NID), keys.NOTIFICATION_TTL),
        (keys.job(K, JobId("done")), keys.JOB_TTL),
        (keys.job(K, JobId("cancelled")), keys.JOB_TTL),
        (keys.transcript("c1"), keys.TRANSCRIPT_TTL),
        (keys.direct_line_key(), keys.DIRECT_LINE_KEY_TTL),
        (keys.conversation(ConversationKey("directline/nobody")), keys.UNKNOWN_CONVERSATION_TTL),
    ],
)
async def test_a_key_lives_as_long_as_it_says(store: Store, name: str, seconds: int) -> None:
    await a_whole_life(store)
    assert seconds - 60 <= await store.run("TTL", name) <= seconds


async def test_a_store_where_everything_is_done_holds_only_what_is_known(store: Store) -> None:
    """Work, mail and outboxes are deleted by being empty."""
    life = await a_whole_life(store)
    begun = await life.turns.begin(K, "t9")
    assert isinstance(begun, Begun)
    begun.turn.mail_ids += [f"in:act-{token}" for token in ("t1", "t2")]
    committed = await life.turns.commit(begun.turn)
    assert not isinstance(committed, UserStateChanged)
    entries = [entry.id for entry in [*begun.leftovers, *committed]]
    await store.sequence(life.turns.acknowledgement(K, "t9", entries, release=True))
    for name, work in (("conversations", life.conversations), ("fanout", life.fanout), ("jobs", life.work)):
        for member in await store.run("ZRANGE", keys.work(name), 0, -1):
            await work.close(await work.open(member.decode()))
    left = {name for name, ttl in (await lifetimes(store)).items() if ttl == -1}
    assert left == {
        keys.conversation(K),
        keys.user(ANN),
        keys.conversations(),
        keys.channels(),
        keys.threads(),
        keys.unreachable(),
        keys.by_user("ann"),
        keys.by_aad_object("00-a"),
        keys.notifications(),
        keys.recent_jobs(),
        keys.dead_letters(),
    }


async def test_a_conversation_that_cannot_be_reached_is_still_one(store: Store) -> None:
    """Saying so of one that nobody knows makes no key that stays."""
    life = Life(store)
    await life.a_glance()
    key = ConversationKey("directline/nobody")
    gone = Standing().after(Reachability.GONE, system_clock())
    await store.sequence(*Conversations.reaching(key, gone, "404", Standing()))
    assert await store.run("TTL", keys.conversation(key)) > 0


def test_ids_are_not_taken_for_patterns() -> None:
    """What a channel calls its conversations cannot make a key permanent that is not."""
    for odd in ("x}:c", "*", "[c]", "}:c"):
        key = ConversationKey(f"directline/{odd}")
        assert not permanent(keys.job(key, JobId(new_id("job"))))
        assert not permanent(keys.sent_ids(key))
        assert not permanent(keys.activity_ids(key))
        assert permanent(keys.conversation(key)) == ["aside:{*}:c"]
