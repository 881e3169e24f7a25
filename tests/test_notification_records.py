"""The record of a notification: what was accepted, what became of each delivery, and requests that come twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.audience import Audience, Everyone, Listed
from domain.delivery import Status, StatusReport, deliver_to
from domain.ids import ConversationKey, NotificationId, delivery_id
from domain.notification import Content, Guarantee, Mode, Notification
from state import keys
from state.delivery_rows import PAGE
from state.idempotency import IN_PROGRESS, FirstAnswer, InProgress, KeyReused, Reserved
from state.notifications import RECORDED_WITHIN, Notifications
from state.store import Store
from state.work import Work

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
N = NotificationId("ntf_1")


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


class Bench:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.fanout = Work(store, "fanout", lease=60)
        self.records = Notifications(store, self.fanout, self.clock)

    async def accept(self, nid: NotificationId = N, audience: Audience | None = None, recipients: int = 3) -> None:
        await self.records.accept(notification(nid), audience or Everyone(), recipients)

    async def report(self, index: int, status: Status, nid: NotificationId = N, **details: Any) -> None:
        await self.store.sequence(self.records.deliveries.reporting(status_report(index, status, nid, **details)))

    async def check_counts(self, nid: NotificationId = N) -> None:
        """Counts are what the rows say."""
        record = await self.records.get(nid)
        rows, following = await self.records.deliveries.page(nid, limit=10_000)
        assert record is not None
        assert following is None
        assert record.counts == Counter(row.status for row in rows)


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def notification(nid: NotificationId = N, created_at: datetime = NOW) -> Notification:
    return Notification(
        id=nid,
        content=Content(
            activity={"text": "Build 7 failed"}, title="CI", actions=({"title": "Open", "url": "https://x"},)
        ),
        created_at=created_at,
        expires_at=NOW + timedelta(days=1),
        mode=Mode.QUEUE,
        urgent=True,
        hold_for=60.0,
        guarantee=Guarantee.AT_MOST_ONCE,
    )


def status_report(index: int, status: Status, nid: NotificationId = N, **details: Any) -> StatusReport:
    report = StatusReport(delivery=delivery_id(nid, index), status=status, at=NOW, notification=nid, index=index)
    return replace(report, **details)


def conversations(number: int, start: int = 0) -> list[ConversationKey]:
    return [ConversationKey(f"msteams/19:{start + index:05}@thread v2") for index in range(number)]


# --------------------------------------------------------------------- accepting


async def test_an_accepted_notification_is_recorded_and_fanned_out(bench: Bench) -> None:
    await bench.accept()
    record = await bench.records.get(N)
    assert record is not None
    assert (record.notification, record.recipients, record.served, record.counts) == (notification(), 3, 0, {})
    progress = await bench.records.spreading.progress(N)
    assert progress is not None
    assert (progress.notification, progress.audience, progress.served, progress.after) == (
        notification(),
        Everyone(),
        0,
        None,
    )
    assert [claim.member for claim in (await bench.fanout.claim(10))[0]] == [N]


async def test_accepting_again_changes_nothing(bench: Bench) -> None:
    """Not the recipients, not how far the fan-out has come."""
    listed = Listed(conversations=tuple(conversations(3)))
    await bench.accept(audience=listed)
    assert await bench.records.spreading.advance(N, 0, 2, conversations(3)[1])
    await bench.accept(audience=listed)
    assert await bench.records.spreading.listed(N, 0) == conversations(3)
    progress = await bench.records.spreading.progress(N)
    assert progress is not None
    assert (progress.audience, progress.served, progress.after) == (None, 2, conversations(3)[1])
    assert len((await bench.records.recent())[0]) == 1


async def test_a_channels_conversations_are_an_audience(bench: Bench) -> None:
    await bench.accept(audience=Everyone(channel_id="msteams"))
    progress = await bench.records.spreading.progress(N)
    assert progress is not None
    assert progress.audience == Everyone(channel_id="msteams")


async def test_a_notification_for_later_is_fanned_out_later(bench: Bench) -> None:
    """One whose time has passed already is fanned out at once."""
    await bench.records.accept(replace(notification(), send_at=NOW + timedelta(hours=1)), Everyone(), 1)
    claims, wait = await bench.fanout.claim(10)
    assert claims == []
    assert wait is not None
    assert 3500 < wait <= 3600
    late = NotificationId("ntf_2")
    await bench.records.accept(replace(notification(late), send_at=NOW - timedelta(hours=1)), Everyone(), 1)
    assert [claim.member for claim in (await bench.fanout.claim(10))[0]] == [late]


async def test_what_is_not_known_is_none(bench: Bench) -> None:
    nid = NotificationId("ntf_unknown")
    assert await bench.records.get(nid) is None
    assert await bench.records.spreading.progress(nid) is None
    assert await bench.records.content(nid) is None
    assert await bench.records.deliveries.page(nid) == ([], None)
    assert await bench.records.spreading.listed(nid, 0) == []


async def test_what_a_notification_says_is_read_once(bench: Bench) -> None:
    """A burst to many conversations does not read it for each."""
    await bench.accept()
    assert await bench.records.content(N) == notification().content
    before = bench.store.round_trips
    assert await bench.records.content(N) == notification().content
    assert bench.store.round_trips == before


# --------------------------------------------------------------------- fan-out


async def test_listed_recipients_are_read_in_pages(bench: Bench) -> None:
    wanted = conversations(7)
    await bench.accept(audience=Listed(conversations=tuple(wanted)))
    assert await bench.records.spreading.listed(N, 0, 5) == wanted[:5]
    assert await bench.records.spreading.listed(N, 5, 5) == wanted[5:]
    assert await bench.records.spreading.listed(N, 7, 5) == []


async def test_only_one_fan_out_advances(bench: Bench) -> None:
    """Of two that serve the same page, the second learns that it is not ahead."""
    await bench.accept()
    after = conversations(2)[1]
    assert await asyncio.gather(*(bench.records.spreading.advance(N, 0, 2, after) for _ in range(2))) == [True, False]
    assert not await bench.records.spreading.advance(N, 0, 3, after)


async def test_a_page_entered_again_is_the_page_that_was_entered(bench: Bench) -> None:
    """A fan-out died before it noted its progress; conversations came and went meanwhile. What stands, stands."""
    await bench.accept()
    first = conversations(3)
    assert await bench.records.spreading.enter(N, 0, first, Status.PENDING) == first
    await bench.report(1, Status.DELIVERED)
    for other in (conversations(5, start=2), conversations(2), [*reversed(first)]):
        assert await bench.records.spreading.enter(N, 0, other, Status.PENDING) == first
    following = conversations(2, start=10)
    assert await bench.records.spreading.enter(N, 3, following, Status.PENDING) == following
    record = await bench.records.get(N)
    assert record is not None
    assert record.counts == {Status.PENDING: 4, Status.DELIVERED: 1}
    await bench.check_counts()


async def test_conversations_with_odd_ids_are_recipients_too(bench: Bench) -> None:
    """Whatever a channel calls a conversation, its delivery is found again, also after a report."""
    odd = [ConversationKey(f"x/{name}") for name in ("a b", "a\nb", '"}', "\\n", "ü", " ", "{%7B}", "failed {}")]
    await bench.accept()
    assert await bench.records.spreading.enter(N, 0, odd, Status.PENDING) == odd
    for index in range(len(odd)):
        await bench.report(index, Status.HELD)
        await bench.report(index, Status.DELIVERED)
    rows, _ = await bench.records.deliveries.page(N)
    assert [(row.conversation, row.status) for row in rows] == [(key, Status.DELIVERED) for key in odd]


# --------------------------------------------------------------------- what becomes of deliveries


async def test_a_report_is_kept_with_its_details(bench: Bench) -> None:
    await bench.accept()
    await bench.records.spreading.enter(N, 0, conversations(2), Status.PENDING)
    details: dict[str, Any] = {"reason": "exhausted", "attempts": 8, "may_be_repeated": True, "activity_id": "a1"}
    await bench.report(1, Status.FAILED, at=NOW + timedelta(seconds=5), **details)
    (first, second), following = await bench.records.deliveries.page(N)
    assert following is None
    assert (first.status, first.at, first.attempts, first.reason) == (Status.PENDING, NOW, 0, None)
    assert (second.status, second.at, second.attempts) == (Status.FAILED, NOW + timedelta(seconds=5), 8)
    assert (second.reason, second.activity_id, second.may_be_repeated) == ("exhausted", "a1", True)


@pytest.mark.parametrize("end", [status for status in Status if status.final])
async def test_what_has_ended_stays_ended(bench: Bench, end: Status) -> None:
    """Reports may come late, twice and in any order; the first end counts."""
    await bench.accept()
    await bench.records.spreading.enter(N, 0, conversations(1), Status.PENDING)
    await bench.report(0, end)
    for status in Status:
        await bench.report(0, status, reason="late")
    ((row,), _) = await bench.records.deliveries.page(N)
    assert (row.status, row.reason) == (end, None)
    await bench.check_counts()


async def test_a_failed_delivery_can_be_taken_up_again(bench: Bench) -> None:
    """And then ends once more; one that did not fail is left alone."""
    await bench.accept()
    await bench.records.spreading.enter(N, 0, conversations(2), Status.PENDING)
    await bench.report(0, Status.FAILED, reason="exhausted")
    await bench.report(1, Status.DELIVERED)
    for index in (0, 1, 2):
        await bench.records.deliveries.reopen(N, index, NOW)
    rows, _ = await bench.records.deliveries.page(N)
    assert [(row.status, row.reason) for row in rows] == [(Status.PENDING, None), (Status.DELIVERED, None)]
    assert [row.conversation for row in rows] == conversations(2)
    await bench.check_counts()
    await bench.report(0, Status.DELIVERED)
    await bench.check_counts()


async def test_a_report_on_what_is_not_there_changes_nothing(bench: Bench) -> None:
    """A delivery that was never entered, a notification that is gone: nothing of them is made again."""
    await bench.accept()
    await bench.report(0, Status.DELIVERED)
    await bench.report(0, Status.DELIVERED, NotificationId("ntf_gone"))
    assert await bench.records.get(NotificationId("ntf_gone")) is None
    await bench.records.spreading.enter(N, 0, conversations(1), Status.PENDING)
    await bench.store.run("DEL", keys.notification(N))
    await bench.report(0, Status.DELIVERED)
    assert not await bench.store.run("EXISTS", keys.notification(N)), "a count would live for ever"


reports = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(Status)), max_size=30)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports)
def test_counts_are_what_the_rows_say(told: list[tuple[int, Status]]) -> None:
    """After any reports in any order."""

    async def run() -> None:
        bench = Bench(Store.connect("memory://"))
        await bench.accept()
        await bench.records.spreading.enter(N, 0, conversations(6), Status.PENDING)
        await asyncio.gather(*(bench.report(index, status) for index, status in told))
        await bench.check_counts()
        rows, _ = await bench.records.deliveries.page(N)
        for row in rows:
            mine = [status for index, status in told if index == row.index]
            ends = [status for status in mine if status.final]
            assert row.status is (ends[0] if ends else mine[-1] if mine else Status.PENDING)
        await bench.store.close()

    asyncio.run(run())


STEPS = ("enter", "report", "ask", "cancel", "withdraw", "reopen", "take up")
steps = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3), st.sampled_from(Status)), max_size=25)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.booleans())
def test_everybody_is_counted_once(taken: list[tuple[str, int, Status]], twice: bool) -> None:
    """Cancelled, asked for, taken up and replayed in any order, each step once or repeated by who got no answer."""

    async def step(bench: Bench, what: str, index: int, status: Status) -> None:
        rows = {row.index: row for row in (await bench.records.deliveries.page(N))[0]}
        if what == "enter":
            await bench.records.spreading.enter(N, 2, conversations(2, 2), Status.PENDING)
        elif what == "report":
            await bench.report(index, status, may_be_repeated=index == 0)
        elif what == "ask":
            await bench.records.deliveries.wanted([deliver_to(notification(), index, NOW)], asking=True)
        elif what == "cancel":
            await bench.records.spreading.cancel(N)
        elif what == "withdraw" and (progress := await bench.records.spreading.progress(N)) is not None:
            await bench.records.spreading.withdraw(N, progress, 2)
        elif what == "reopen":
            await bench.records.deliveries.reopen(N, index, NOW)
        elif what == "take up" and index in rows:
            await bench.records.deliveries.take_up(N, rows[index])

    async def run() -> None:
        bench = Bench(Store.connect("memory://"))
        await bench.accept(recipients=4)
        await bench.records.spreading.enter(N, 0, conversations(2), Status.PENDING)
        for each in taken:
            for _ in range(1 + twice):
                await step(bench, *each)
        await bench.check_counts()
        values = await bench.store.run("HVALS", keys.deliveries(N))
        asked = sum(b'"asked":1' in value for value in values)
        assert int(await bench.store.run("HGET", keys.notification(N), "asked") or 0) == asked
        record = await bench.records.get(N)
        assert record is not None
        assert sum(record.counts_at(NOW).values()) == 4
        ended = sum(count for status, count in record.counts.items() if status.final)
        cancelled = record.counts.get(Status.CANCELLED, 0)
        assert await bench.records.spreading.cancel(N) == 4 - (ended - cancelled) - asked
        await bench.store.close()

    asyncio.run(run())


# --------------------------------------------------------------------- reading


async def test_deliveries_are_read_in_pages(bench: Bench) -> None:
    """All of them once, in the order of the recipients, whatever the page's size."""
    number = PAGE + 20
    await bench.accept(recipients=number)
    for first in range(0, number, PAGE):
        await bench.records.spreading.enter(N, first, conversations(min(PAGE, number - first), first), Status.PENDING)
    for limit in (7, 100, PAGE, number, number + 1):
        seen: list[int] = []
        start: int | None = 0
        while start is not None:
            rows, start = await bench.records.deliveries.page(N, start=start, limit=limit)
            assert len(rows) <= limit
            seen += [row.index for row in rows]
        assert seen == list(range(number))


async def test_deliveries_are_filtered_by_status(bench: Bench) -> None:
    """A page is full while there is enough of them, however far they lie apart."""
    number = 2 * PAGE
    await bench.accept(recipients=number)
    for page in (0, PAGE):
        await bench.records.spreading.enter(N, page, conversations(PAGE, page), Status.PENDING)
    wanted = [3, 4, PAGE - 1, PAGE, number - 1]
    for index in wanted:
        await bench.report(index, Status.FAILED)
    first = await bench.records.look(N, limit=3, status=Status.FAILED)
    assert first is not None
    assert ([row.index for row in first.rows], first.following) == (wanted[:3], PAGE)
    rest = await bench.records.look(N, start=first.following, limit=3, status=Status.FAILED)
    assert rest is not None
    assert ([row.index for row in rest.rows], rest.following) == (wanted[3:], number)
    none = await bench.records.look(N, status=Status.EXPIRED)
    assert none is not None
    assert (none.rows, none.following) == ([], number)


async def test_of_many_deliveries_a_bounded_number_is_looked_at(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few have the status that is asked for; the next page goes on from there."""
    monkeypatch.setattr("state.notifications.LOOKED_AT_MOST", 10)
    await bench.accept(recipients=25)
    await bench.records.spreading.enter(N, 0, conversations(25), Status.PENDING)
    await bench.report(22, Status.FAILED)
    seen = []
    start = 0
    while start < 25:
        look = await bench.records.look(N, start=start, status=Status.FAILED)
        assert look is not None
        seen.append(([row.index for row in look.rows], look.following))
        start = look.following
    assert seen == [([], 10), ([], 20), ([22], 25)]


async def test_a_look_is_of_one_moment(bench: Bench) -> None:
    """While a fan-out enters its pages and deliveries change, what is counted is what is listed."""
    number = 60
    await bench.accept(audience=Listed(conversations=tuple(conversations(number))), recipients=number)

    async def spread() -> None:
        for first in range(0, number, 10):
            await bench.records.spreading.enter(N, first, conversations(10, first), Status.PENDING)
            for index in range(first, first + 10):
                await bench.report(index, Status.DELIVERED)

    spreading = asyncio.create_task(spread())
    while not spreading.done():
        look = await bench.records.look(N, limit=number)
        assert look is not None
        rows = [row.status for row in look.rows] + [look.record.status_of_unserved(NOW)] * len(look.unserved)
        assert Counter(rows) == look.record.counts_at(NOW)
        assert len(rows) == number
    await spreading


async def test_deliveries_are_kept_as_long_as_their_notification(bench: Bench) -> None:
    """Also of one that expires late."""
    await bench.records.accept(replace(notification(), expires_at=NOW + timedelta(days=300)), Everyone(), 1)
    await bench.records.spreading.enter(N, 0, conversations(1), Status.PENDING)
    kept = [await bench.store.run("TTL", name) for name in (keys.notification(N), keys.deliveries(N))]
    assert kept[1] >= kept[0] - 1


async def test_recent_notifications_are_read_newest_first(bench: Bench) -> None:
    """In pages; those that have expired are passed over and forgotten, and none is left out for it."""
    for number in range(10):
        nid = NotificationId(f"ntf_{number}")
        await bench.records.accept(notification(nid, NOW + timedelta(seconds=number)), Everyone(), 1)
    for gone in (3, 7, 8):
        await bench.store.run("DEL", keys.notification(NotificationId(f"ntf_{gone}")))
    bench.clock.now += 2 * RECORDED_WITHIN
    seen: list[str] = []
    before: int | None = None
    for _ in range(10):
        page, before = await bench.records.recent(before=before, limit=3)
        seen += [record.notification.id for record in page]
        if before is None:
            break
    assert seen == [f"ntf_{number}" for number in (9, 6, 5, 4, 2, 1, 0)]
    assert await bench.store.run("ZCARD", keys.notifications()) == 7


async def test_a_notification_that_is_being_recorded_stays_in_the_list(bench: Bench) -> None:
    """On a cluster it may be listed a moment before its record is there."""
    await bench.accept()
    record = await bench.store.run("HGETALL", keys.notification(N))
    await bench.store.run("DEL", keys.notification(N))
    assert await bench.records.recent(limit=1) == ([], 1)
    await bench.store.run("HSET", keys.notification(N), *flat(record))
    assert [found.notification.id for found in (await bench.records.recent(limit=1))[0]] == [N]


def flat(record: Any) -> list[bytes]:
    """The fields and values of a hash, however the client answers them."""
    return [part for pair in record.items() for part in pair] if isinstance(record, dict) else record


async def test_notifications_that_are_gone_leave_the_list(bench: Bench) -> None:
    """Also if nobody ever reads it."""
    await bench.accept()
    bench.clock.now += timedelta(seconds=keys.NOTIFICATION_TTL + 1)
    later = NotificationId("ntf_2")
    await bench.records.accept(notification(later, bench.clock.now), Everyone(), 1)
    assert await bench.store.run("ZRANGE", keys.notifications(), 0, -1) == [later.encode()]


# --------------------------------------------------------------------- requests that come twice


async def reserve(bench: Bench, body: bytes = b"body", key: str = "k", sender: str = "ci") -> Reserved | FirstAnswer:
    return await bench.records.requests.reserve(sender, key, body)


async def test_a_request_that_is_repeated_gets_the_first_answer(bench: Bench) -> None:
    reserved = await reserve(bench)
    assert isinstance(reserved, Reserved)
    await bench.records.requests.answered("ci", "k", b"body", reserved.id, {"id": reserved.id})
    assert await reserve(bench) == FirstAnswer(body={"id": reserved.id})
    bench.clock.now += timedelta(hours=23)
    assert await reserve(bench) == FirstAnswer(body={"id": reserved.id})


async def test_a_key_with_another_body_is_refused(bench: Bench) -> None:
    """Before the first answer and after it."""
    reserved = await reserve(bench)
    assert isinstance(reserved, Reserved)
    with pytest.raises(KeyReused):
        await reserve(bench, b"other")
    await bench.records.requests.answered("ci", "k", b"body", reserved.id, {})
    with pytest.raises(KeyReused):
        await reserve(bench, b"other")


async def test_a_key_is_its_senders_own(bench: Bench) -> None:
    """Another sender may use the same key, and no pair of names is taken for another pair."""
    ids = [await reserve(bench, b"body", key, sender) for sender, key in (("ci", "k"), ("shop", "k"), ("ci", "k2"))]
    assert len({reserved.id for reserved in ids if isinstance(reserved, Reserved)}) == 3


async def test_of_requests_at_once_one_goes_on(bench: Bench) -> None:
    outcomes = await asyncio.gather(*(reserve(bench) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(outcome, Reserved) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, InProgress) for outcome in outcomes) == 9


async def test_a_request_whose_process_died_is_carried_on_under_its_id(bench: Bench) -> None:
    """After half a minute, not before; what the first had recorded already is then not recorded twice."""
    first = await reserve(bench)
    bench.clock.now = NOW + IN_PROGRESS - timedelta(milliseconds=1)
    with pytest.raises(InProgress):
        await reserve(bench)
    bench.clock.now = NOW + IN_PROGRESS
    assert await reserve(bench) == first


async def test_a_key_whose_request_was_refused_is_free(bench: Bench) -> None:
    """The sender corrects the body and uses it again."""
    first = await reserve(bench)
    await bench.records.requests.abandon("ci", "k")
    second = await reserve(bench, b"corrected")
    assert isinstance(first, Reserved)
    assert isinstance(second, Reserved)
    assert first.id != second.id


async def test_fresh_ids_sort_by_their_time(bench: Bench) -> None:
    """And are all different."""
    reserved = [await reserve(bench, key=f"k{number}") for number in range(20)]
    ids = [one.id for one in reserved if isinstance(one, Reserved)]
    assert len(set(ids)) == 20
    assert all(one[: len("ntf_") + 10] <= other[: len("ntf_") + 10] for one, other in pairwise(ids))
