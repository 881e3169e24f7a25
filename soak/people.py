"""Those who use the service during a soak: they say what they have to say until it is accepted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import aiohttp

from soak.verdict import Record
from soak.world import Slot
from testkit.people import Person

PATIENCE = aiohttp.ClientTimeout(total=13)
"""Seconds; a turn is answered within 10, if only with a promise."""
PAUSES = (0.05, 1.0)
"""First and longest pause before something is posted again."""

Json = dict[str, Any]
Wishes = Mapping[str, int]
"""What is wished for with a number, and how often."""


class Refused(Exception):
    """The service answered what no repetition will change."""


class Door:
    """The way in: any process that listens, and another if that one fails."""

    def __init__(self, http: aiohttp.ClientSession, slots: Sequence[Slot], random: Random) -> None:
        self._http = http
        self._slots = slots
        self._random = random

    async def posts(self, path: str, body: Json, **headers: str) -> Json:
        """Post until the answer is 2xx; that answer."""
        return await self._asks("POST", path, json=body, headers=headers)

    async def gets(self, path: str) -> Json:
        return await self._asks("GET", path)

    async def deletes(self, path: str) -> Json:
        return await self._asks("DELETE", path)

    async def _asks(self, method: str, path: str, **more: Any) -> Json:
        pause, longest = PAUSES
        while True:
            urls = [slot.url for slot in self._slots if slot.url]
            if urls:
                try:
                    url = self._random.choice(urls) + path
                    async with self._http.request(method, url, timeout=PATIENCE, **more) as response:
                        text = await response.text()
                        if response.status < 300:
                            return dict(await response.json()) if "json" in response.content_type and text else {}
                        if response.status < 500 and response.status not in (409, 429):
                            raise Refused(f"{method} {path}: {response.status} {text}")
                except (aiohttp.ClientError, OSError, TimeoutError):
                    pass
            await asyncio.sleep(pause)
            pause = min(longest, 2 * pause)


class Chatter:
    """Somebody in one conversation, perhaps with others: says what is the next number there, now and then several at
    once or one twice."""

    def __init__(
        self, door: Door, person: Person, record: Record, numbers: Iterator[int], wishes: Wishes, random: Random
    ) -> None:
        self._door = door
        self._person = person
        self._record = record
        self._random = random
        self._numbers = numbers
        self._wishes = wishes
        record.said.setdefault(person.conversation, set())
        record.jobs.setdefault(person.conversation, set())
        record.said_by.setdefault(person.name, set())

    async def chats(self, over: asyncio.Event, pause: float) -> None:
        """Until it is ``over``, with pauses of ``pause`` seconds on average."""
        while not over.is_set():
            together = self._random.choice((1, 1, 1, 1, 2, 3))
            wishes = self._random.choices(list(self._wishes), list(self._wishes.values()), k=together)
            await asyncio.gather(*(self.says(wish) for wish in wishes))
            await asyncio.sleep(self._random.expovariate(1 / pause))

    async def says(self, wish: str = "") -> None:
        number = next(self._numbers)
        activity = self._person.activity(text=f"{number}{wish}")
        times_at_once, times_again = self._random.choice(((1, 0),) * 8 + ((2, 0), (1, 1)))
        await asyncio.gather(*(self._door.posts("/api/messages", activity) for _ in range(times_at_once)))
        self._record.said[self._person.conversation].add(number)
        self._record.said_by[self._person.name].add(f"{self._person.conversation} {number}")
        if wish == " slow":
            self._record.slow.add(self._person.conversation)
        if wish == " job":
            self._record.jobs[self._person.conversation].add(number)
        for _ in range(times_again):
            await self._door.posts("/api/messages", activity)


class Notifier:
    """A system that notifies one, several or all, and now and then cancels what it has just sent.

    ``accepted`` has what it was answered, by text; ``cancelled`` the texts that it cancelled.
    """

    def __init__(self, door: Door, people: Sequence[Person], random: Random) -> None:
        self._door = door
        self._people = people
        self._random = random
        self.accepted: dict[str, Json] = {}
        self.cancelled: set[str] = set()

    async def notifies(self, over: asyncio.Event, pause: float) -> None:
        async with asyncio.TaskGroup() as posts:
            for number in itertools.count(1):
                if over.is_set():
                    return
                posts.create_task(self._notify(f"note-{number};"))
                await asyncio.sleep(self._random.expovariate(1 / pause))

    async def _notify(self, text: str) -> None:
        random = self._random
        body: Json = {
            "to": self._audience(),
            "text": text,
            "mode": random.choice(("interject", "queue", "resume")),
            "urgent": random.random() < 0.1,
            "guarantee": random.choice(("at_least_once", "at_least_once", "at_most_once")),
        }
        if random.random() < 0.2:
            body["holdFor"] = random.uniform(1, 5)
        key = f"{text}{random.random()}"
        cancels_after = random.uniform(0, 3) if random.random() < 0.15 else None
        self.accepted[text] = await self._door.posts("/api/notify", body, **{"Idempotency-Key": key})
        if cancels_after is not None:
            await asyncio.sleep(cancels_after)
            self.cancelled.add(text)
            await self._door.deletes(f"/api/notifications/{self.accepted[text]['id']}")

    def _audience(self) -> Json:
        someone = self._random.choice(self._people)
        known = sorted({person.key for person in self._people})
        several = self._random.sample(known, min(3, len(known)))
        return self._random.choice(
            (
                {"conversation": someone.key},
                {"conversations": several},
                {"user": f"29:{someone.name}"},
                {"all": True},
            )
        )
