"""One soak, from the first process to the verdict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, get_args

import aiohttp

from bots.fault_points import Point
from domain.ids import ConversationKey, UserKey
from soak.channel import MoodyChannel
from soak.dialog import HEARD
from soak.people import Chatter, Door, Notifier
from soak.verdict import Delivered, Record, Verdict, judge
from soak.world import Slot, StoreServer
from state import keys
from state.codec import Codec
from state.turn import Document
from state.turns import LEASE
from tests.people import FINAL, Person
from tests.waiting import until

ROLES = ("serve", "web", "worker")
SETTLES_WITHIN = 180.0
"""Seconds, after everything is whole again, for what is under way to end: leases and pauses between attempts."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a soak does. What is chosen at random is chosen by ``seed``; ``lease`` None is the service's own."""

    seconds: float
    seed: int
    lease: float | None = None
    users: int = 4
    chat_pause: float = 0.6
    """Average seconds between what is said in a conversation."""
    notify_pause: float = 1.0
    trouble_pause: float = 3.0
    moods: float = 0.1
    """Share of the sends that the channel answers badly."""
    hang: float = 20.0

    def random(self, purpose: str) -> Random:
        return Random(f"{self.seed} {purpose}")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    verdict: Verdict
    turns: int
    notifications: int
    jobs: int
    kills: int
    faults: int
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
            f"(unrecorded {len(verdict.unrecorded)}), out of order {len(verdict.out_of_order)}"
        )

    def details(self) -> list[str]:
        verdict = self.verdict
        ends = [f"a process ended by itself with status {status}" for status in self.ended_by_themselves]
        unsettled = [f"not settled: {self.unsettled}"] if self.unsettled else []
        return [*verdict.lost, *verdict.unrecorded, *verdict.out_of_order, *ends, *unsettled]


class Soak:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._random = plan.random("trouble")
        self._record = Record()
        self._flushes = 0

    async def run(self) -> Outcome:
        async with self._started():
            people = self._people()
            chatters = [
                Chatter(self._door, person, self._record, self._plan.random(person.conversation)) for person in people
            ]
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
                "AWAY_AFTER": "5",
                "FLUSH_AFTER": "3600",  # what goes out before a commit can be repeated; that is not what is soaked
                "RATE_PER_CONVERSATION": "20/1s",
            }
            self._slots = [Slot(role, self._folder, plan.lease, **variables) for role in ROLES]
            for slot in self._slots:
                stack.callback(slot.end)
            self._door = Door(http, self._slots, plan.random("door"))
            keeping = [asyncio.create_task(slot.run(), name=slot.role) for slot in self._slots]
            stack.push_async_callback(_cancel, keeping)
            await self._all_ready()
            yield

    async def _all_ready(self) -> None:
        await until(lambda: all(slot.is_ready for slot in self._slots), within=120, what="all processes are ready")

    def _people(self) -> list[Person]:
        """Every user has two conversations."""
        return [
            Person(self._door._http, "", self._channel, f"user{user}", f"a:user{user}-{number}")
            for user in range(self._plan.users)
            for number in (1, 2)
        ]

    # ------------------------------------------------------------------ the load

    async def _under_load(self, chatters: list[Chatter]) -> None:
        plan = self._plan
        over = asyncio.Event()
        users = [chatter.chats(over, plan.chat_pause) for chatter in chatters]
        using: asyncio.Future[Any] = asyncio.gather(*users, self._notifier.notifies(over, plan.notify_pause))
        trouble: asyncio.Future[Any] = asyncio.create_task(self._trouble(), name="trouble")
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
        if not await self._store._answers():
            await self._store.start()
        await self._all_ready()
        await using

    async def _trouble(self) -> None:
        async with asyncio.TaskGroup() as troubles:
            while True:
                await asyncio.sleep(self._random.expovariate(1 / self._plan.trouble_pause))
                troubles.create_task(self._one_trouble())

    def _one_trouble(self) -> Coroutine[Any, Any, None]:
        random = self._random
        slot = random.choice(self._slots)
        point, times = random.choice(get_args(Point)), random.randint(1, 8)
        lease = self._plan.lease or LEASE.total_seconds()
        seconds = lease * random.choice((0.3, 1.5))

        async def kill() -> None:
            slot.kill()

        async def die() -> None:
            slot.dies_at(point, times)

        async def restart_store() -> None:
            await self._store.restart(kill=random.random() < 0.5)

        async def forget_scripts() -> None:
            if await self._store._answers():
                self._flushes += 1
                await self._store.client.script_flush()

        kinds = {
            kill: 3,
            die: 5,
            lambda: slot.hold(seconds): 2,
            lambda: slot.holds_at(point, times, seconds): 3,
            restart_store: 1,
            forget_scripts: 1,
        }
        (kind,) = random.choices(list(kinds), list(kinds.values()))
        return kind()

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
        for delivery in [one for text in self._notifier.accepted for one in await self._deliveries_of(text)]:
            if delivery.status in open_ones:
                return str(delivery)
        return ""

    async def _deliveries_of(self, text: str) -> list[Delivered]:
        body = await self._door.gets(f"/api/notifications/{self._notifier.accepted[text]['id']}?limit=500")
        return [
            Delivered(
                text=text,
                conversation=one["conversation"].partition("/")[2],
                status=one["status"],
                may_be_repeated=one["mayBeRepeated"],
                at_most_once=body["delivery"] == "at_most_once",
            )
            for one in body["deliveries"]
        ]

    async def _outcome(self, people: list[Person], unsettled: str) -> Outcome:
        record, channel, redis = self._record, self._channel, self._store.client
        turns = 0
        for person in people:
            key = keys.conversation(ConversationKey(person.key))
            turns += int(await redis.hget(key, "version") or 0)
            record.heard[person.conversation] = await self._heard(key)
            record.heard_of_users[person.name] = await self._heard(keys.user(UserKey(f"msteams/29:{person.name}")))
            record.shown[person.conversation] = person.shows()
        deliveries = [one for text in self._notifier.accepted for one in await self._deliveries_of(text)]
        expected = sum(answer["recipients"] for answer in self._notifier.accepted.values())
        kills = sum(slot.kills for slot in self._slots)
        holds = sum(slot.holds for slot in self._slots)
        record.deliveries, record.missing_deliveries = deliveries, max(0, expected - len(deliveries))
        record.in_doubt = channel.in_doubt
        record.interruptions = kills + holds + self._store.restarts
        assert all(one.status in FINAL for one in deliveries) or unsettled
        return Outcome(
            verdict=judge(record),
            turns=turns,
            notifications=len(self._notifier.accepted),
            jobs=sum(map(len, record.jobs.values())),
            kills=kills,
            faults=channel.faults + holds + self._store.restarts + self._flushes,
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
