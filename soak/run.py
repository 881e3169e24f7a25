"""One soak, from the first process to the verdict."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from domain.ids import ConversationKey, UserKey
from soak.channel import MoodyChannel
from soak.dialog import HEARD
from soak.people import Chatter, Door, Notifier
from soak.plan import Plan
from soak.trouble import Trouble
from soak.verdict import Delivered, Record, Verdict, judge
from soak.world import Slot, StoreServer
from state import keys
from state.codec import Codec
from state.turn import Document
from testkit.people import FINAL, Person
from testkit.waiting import until

ROLES = ("serve", "web", "worker")
BRISK = {"": 12, " wait": 3, " job": 1}
LEISURELY = {**BRISK, " slow": 2}
"""What people wish for, and how often, compared with each other."""
SETTLES_WITHIN = 180.0
"""Seconds, after everything is whole again, for what is under way to end: leases and pauses between attempts."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    verdict: Verdict
    turns: int
    notifications: int
    jobs: int
    kills: int
    faults: int
    kinds: Counter[str] = field(default_factory=Counter)
    """The faults by their names, and what people did out of the ordinary."""
    unsettled: str = ""
    """What had not ended in time, if anything."""
    ended_by_themselves: list[int] = field(default_factory=list)
    """Exit statuses of processes that nobody killed."""

    @property
    def good(self) -> bool:
        return self.verdict.good and not self.unsettled and not self.ended_by_themselves

    def line(self) -> str:
        verdict = self.verdict
        return (
            f"turns {self.turns}, notifications {self.notifications}, jobs {self.jobs}, kills {self.kills}, "
            f"faults {self.faults}, lost {len(verdict.lost)}, repeated {verdict.repeated} "
            f"(unrecorded {len(verdict.unrecorded)}), out of order {len(verdict.out_of_order)}, "
            f"apologized {verdict.apologized}"
        )

    def kinds_line(self) -> str:
        return ", ".join(f"{name} {number}" for name, number in sorted(self.kinds.items()))

    def details(self) -> list[str]:
        verdict = self.verdict
        ends = [f"a process ended by itself with status {status}" for status in self.ended_by_themselves]
        unsettled = [f"not settled: {self.unsettled}"] if self.unsettled else []
        return [*verdict.lost, *verdict.unrecorded, *verdict.out_of_order, *ends, *unsettled]


class Soak:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._record = Record()
        self._ended: set[str] = set()
        """Notifications of which all deliveries have ended."""

    async def run(self) -> Outcome:
        async with self._started():
            people = self._people()
            chatters = self._chatters(people)
            self._notifier = Notifier(self._door, people, self._plan.random("notify"))
            await asyncio.gather(*(chatter.says() for chatter in chatters))
            await self._under_load(chatters)
            unsettled = await self._settled()
            for _ in range(2):  # whoever was being asked something is free then, and is told what was kept
                await asyncio.gather(*(chatter.says() for chatter in chatters))
            unsettled = await self._settled(emptied=True) or unsettled
            return await self._outcome(people, unsettled)

    # ------------------------------------------------------------------ the world

    @asynccontextmanager
    async def _started(self) -> AsyncIterator[None]:
        plan = self._plan
        async with AsyncExitStack() as stack:
            self._store = StoreServer(self._folder)
            stack.push_async_callback(self._store.end)
            await self._store.start()
            self._channel = MoodyChannel(plan.random("moods"), share=plan.moods, hang=plan.hang)
            await self._channel.start()
            stack.push_async_callback(self._channel.stop)
            http = await stack.enter_async_context(aiohttp.ClientSession())
            variables = {
                "REDIS_URL": self._store.url,
                "ROOT_DIALOG": "soak.dialog:CountingDialog",
                "JOBS": "soak.jobs",
                "JOBS_PER_USER": "1000",
                "AWAY_AFTER": "5",
                "FLUSH_AFTER": str(plan.flush_after),
                "SLOWLY": str(2 * plan.flush_after),
                "RATE_PER_CONVERSATION": "20/1s",
            }
            self._slots = [Slot(role, self._folder, plan.lease, **variables) for role in ROLES]
            for slot in self._slots:
                stack.callback(slot.end)
            self._trouble = Trouble(plan, self._slots, self._store)
            self._door = Door(http, self._slots, plan.random("door"))
            keeping = [asyncio.create_task(slot.run(), name=slot.role) for slot in self._slots]
            stack.push_async_callback(_cancel, keeping)
            await self._all_ready()
            yield

    async def _all_ready(self) -> None:
        await until(lambda: all(slot.is_ready for slot in self._slots), within=120, what="all processes are ready")

    def _people(self) -> list[Person]:
        """Every user has two conversations of their own, and is in every group."""
        people = []
        for user in range(self._plan.users):
            people += [self._person(user, f"a:user{user}-{number}", "personal") for number in (1, 2)]
            people += [self._person(user, f"19:group{number}", "groupChat") for number in range(self._plan.groups)]
        return people

    def _chatters(self, people: Sequence[Person]) -> list[Chatter]:
        """In everybody's first conversation nothing is slow: each interruption repeats one message there at most."""
        numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))
        return [
            Chatter(
                *(self._door, person, self._record, numbers[person.conversation]),
                BRISK if person.conversation.endswith("-1") else LEISURELY,
                self._plan.random(f"{person.name} {person.conversation}"),
            )
            for person in people
        ]

    def _person(self, user: int, conversation: str, kind: str) -> Person:
        person = Person(self._door._http, "", self._channel, f"user{user}", conversation)
        person.extra["conversation"] = {"id": conversation, "conversationType": kind, "tenantId": "tenant-1"}
        return person

    # ------------------------------------------------------------------ the load

    async def _under_load(self, chatters: list[Chatter]) -> None:
        plan = self._plan
        over = asyncio.Event()
        users = [chatter.chats(over, plan.chat_pause) for chatter in chatters]
        using: asyncio.Future[Any] = asyncio.gather(*users, self._notifier.notifies(over, plan.notify_pause))
        trouble: asyncio.Future[Any] = asyncio.create_task(self._trouble.run(), name="trouble")
        try:
            done, _ = await asyncio.wait({using, trouble}, timeout=plan.seconds, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:  # before its time: it failed
                ended.result()
        finally:
            await _cancel([trouble])
        over.set()
        self._channel.heal()
        for slot in self._slots:
            slot.heal()
        await self._store.heal()
        await self._all_ready()
        await using

    # ------------------------------------------------------------------ the end

    async def _settled(self, *, emptied: bool = False) -> str:
        """Wait until nothing is under way any more; what still is, if it takes too long. ``emptied``: nor kept."""

        async def settled() -> bool:
            self._pending = await self._under_way(emptied)
            return not self._pending

        try:
            await until(settled, within=SETTLES_WITHIN)
        except AssertionError:
            return self._pending
        return ""

    async def _under_way(self, emptied: bool) -> str:
        redis = self._store.client
        for pattern in ("aside:{*}:out", "aside:{*}:mail"):
            async for key in redis.scan_iter(match=pattern, count=10_000):
                return str(key)
        for queue in ("fanout", "jobs"):
            if left := await redis.zrange(keys.work(queue), 0, -1):
                return f"{queue}: {left}"
        open_ones = {"pending", "scheduled"} | ({"held", "queued"} if emptied else set())
        for text in self._notifier.accepted.keys() - self._ended:
            deliveries = await self._deliveries_of(text)
            for delivery in deliveries:
                if delivery.status in open_ones:
                    return str(delivery)
            if all(delivery.status in FINAL for delivery in deliveries):
                self._ended.add(text)
        return ""

    async def _deliveries_of(self, text: str) -> list[Delivered]:
        body = await self._door.gets(f"/api/notifications/{self._notifier.accepted[text]['id']}?limit=500")
        return [
            Delivered(
                text=text,
                conversation=one["conversation"].partition("/")[2],
                status=one["status"],
                may_be_repeated=one["mayBeRepeated"],
                at_most_once=body["guarantee"] == "at_most_once",
                cancelled=text in self._notifier.cancelled,
            )
            for one in body["deliveries"]
        ]

    async def _outcome(self, people: list[Person], unsettled: str) -> Outcome:
        record, channel, redis = self._record, self._channel, self._store.client
        turns = 0
        for person in {person.conversation: person for person in people}.values():
            key = keys.conversation(ConversationKey(person.key))
            turns += int(await redis.hget(key, "version") or 0)
            record.heard[person.conversation] = await self._heard(key)
            record.shown[person.conversation] = person.shows()
        for user in record.said_by:
            record.heard_of_users[user] = await self._heard(keys.user(UserKey(f"msteams/29:{user}")))
        deliveries = [one for text in self._notifier.accepted for one in await self._deliveries_of(text)]
        expected = sum(
            answer["recipients"]
            for text, answer in self._notifier.accepted.items()
            if text not in self._notifier.cancelled
        )
        entered = sum(not delivery.cancelled for delivery in deliveries)
        kills = sum(slot.kills for slot in self._slots)
        holds = sum(slot.holds for slot in self._slots)
        record.deliveries, record.missing_deliveries = deliveries, max(0, expected - entered)
        record.in_doubt = channel.in_doubt
        record.interruptions = kills + holds + self._store.interruptions
        kinds = self._trouble.kinds + channel.kinds
        faults = sum(number for name, number in kinds.items() if not name.startswith("killed"))
        kinds["notifications cancelled"] = len(self._notifier.cancelled)
        assert all(one.status in FINAL for one in deliveries) or unsettled
        return Outcome(
            verdict=judge(record),
            turns=turns,
            notifications=len(self._notifier.accepted),
            jobs=sum(map(len, record.jobs.values())),
            kills=kills,
            faults=faults,
            kinds=kinds,
            unsettled=unsettled,
            ended_by_themselves=[status for slot in self._slots for status in slot.ended_by_itself],
        )

    async def _heard(self, key: str) -> list[Any]:
        raw: Any = await self._store.client.hget(key, "state")
        return list(Document(Codec(["soak"]), raw, 0).load().get(HEARD, ()))


async def _cancel(running: Sequence[asyncio.Future[Any]]) -> None:
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)
