"""A store that misbehaves as a test wants, and users who go on using the service meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence, Sized
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.ids import ConversationKey
from state import keys
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.topologies import Servers, free_port

PATIENCE = aiohttp.ClientTimeout(total=14)
"""No request takes longer, whatever the store does: channels wait 15 s."""
PAUSE = 0.05
"""Before the next thing is posted, or the same once more."""
WITHIN = 20.0
"""In which the service has found out that something is wrong, or that all is well again."""


class TroubledStore:
    """A server that writes to its disk before it answers, on a port that it keeps."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.client = Redis(port=self.port, protocol=2)

    async def start(self) -> None:
        options = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        self._servers.start(*options, port=self.port)
        await until(self._answers, within=WITHIN, what="the store answers")

    async def _answers(self) -> bool:
        with suppress(RedisError, OSError):
            return bool(await self.client.ping())
        return False

    async def close(self) -> None:
        await self.client.aclose()

    def kill(self) -> None:
        self._servers.kill(self.port)

    def stop(self) -> None:
        self._servers.stop(self.port)

    def hold(self) -> None:
        self._servers.hold(self.port)

    def go_on(self) -> None:
        self._servers.go_on(self.port)

    async def is_full(self, full: bool) -> None:
        """Out of memory, or not any more."""
        await self.client.config_set("maxmemory", "1" if full else "0")

    async def refusals(self) -> int:
        """How often it has refused something for want of memory."""
        errors = await self.client.info("errorstats")
        return int(errors.get("errorstat_OOM", {"count": 0})["count"])

    async def hang_up(self) -> None:
        """On everybody else, whatever they wait for."""
        await self.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def lease_of(self, person: Person) -> tuple[Any, int] | None:
        """Whose turn somebody's conversation has, and until when it is its own; None if it has none."""
        token, until_ms = await self.client.hmget(keys.conversation(ConversationKey(person.key)), "lock", "until")
        return (token, int(until_ms)) if token and until_ms else None

    async def outbox_of(self, person: Person) -> int:
        return int(await self.client.llen(keys.outbox(ConversationKey(person.key))))


class SlowWay:
    """A way to a server on which every answer takes ``seconds`` longer."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._seconds = seconds
        self._listener: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self.url = ""

    async def __aenter__(self) -> SlowWay:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        for carrying in self._carrying:
            carrying.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, commands = await asyncio.open_connection("127.0.0.1", self._port)
        for carrying in (_carry(reader, commands, 0.0), _carry(answers, writer, self._seconds)):
            task = asyncio.create_task(carrying)
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float) -> None:
    try:
        with suppress(OSError):
            while data := await source.read(65536):
                await asyncio.sleep(seconds)
                target.write(data)
                await target.drain()
    finally:
        target.close()


# --------------------------------------------------------------------- users


@dataclass(frozen=True)
class Answer:
    status: int
    kind: str
    headers: dict[str, str]
    body: Json

    def tells(self, reason: str) -> None:
        """It is a 503, as a problem document, that says what is wrong and when to come again."""
        assert (self.status, self.kind) == (503, "application/problem+json"), self
        assert (self.body["status"], self.body["title"]) == (503, "Temporarily unavailable"), self
        assert reason in self.body["detail"], self
        assert int(self.headers["Retry-After"]) > 0, self


async def ask(http: aiohttp.ClientSession, method: str, url: str, **more: Any) -> Answer:
    """One request, which is answered in time."""
    async with http.request(method, url, timeout=PATIENCE, **more) as response:
        text = await response.text()
        body = json.loads(text) if "json" in response.content_type and text else {}
        return Answer(response.status, response.content_type, dict(response.headers), body)


MESSAGES, NOTIFY = "/api/messages", "/api/notify"


@dataclass
class Load:
    """People who chat and are notified all the time. What is not accepted is posted again: activities as channels do
    it, notifications under their idempotency keys."""

    people: Sequence[Person]
    reason: str | None = None
    """What a 503 says; None if there is to be none."""
    said: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By conversation what was accepted, in its order."""
    notes: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    """By conversation the notifications that were accepted: text and id."""
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often each path answered with each status."""
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _users: list[asyncio.Task[None]] = field(default_factory=list)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[Load]:
        """While this is entered; left when everything that was accepted is shown and recorded."""
        self._users = [asyncio.create_task(uses(who)) for who in self.people for uses in (self._chats, self._notifies)]
        try:
            yield self
            self._over.set()
            await until(lambda: self._well() and all(user.done() for user in self._users), what="all is accepted")
            await until(self._is_shown, within=WITHIN, what="all is shown")
            await until(self._is_recorded, within=WITHIN, what="all is recorded")
        finally:
            for user in self._users:
                user.cancel()
            await asyncio.gather(*self._users, return_exceptions=True)

    async def accepts(self, count: int) -> None:
        """Wait until everybody has had so many more activities and notifications accepted."""
        accepted: list[Sized] = [of[who.conversation] for who in self.people for of in (self.said, self.notes)]
        aims = [len(each) + count for each in accepted]
        await until(
            lambda: self._well() and all(len(each) >= aim for each, aim in zip(accepted, aims, strict=True)),
            within=WITHIN,
            what=f"{count} more of each are accepted",
        )

    async def is_refused(self, count: int) -> None:
        """Wait until so many more activities, and as many notifications, were answered with 503."""
        aims = {path: self.answers[path, 503] + count for path in (MESSAGES, NOTIFY)}
        await until(
            lambda: self._well() and all(self.answers[path, 503] >= aim for path, aim in aims.items()),
            within=WITHIN,
            what=f"{count} more of each are refused",
        )

    def was_shown_once(self) -> None:
        """Every reply, in its order, and every notification."""
        for person in self.people:
            shown = person.shows()
            replies = [text for text in shown if text.startswith("You sent: word ")]
            assert replies == [f"You sent: {text}" for text in self.said[person.conversation]]
            # Several that waited may have been shown as one digest.
            times = {text: sum(one.count(text) for one in shown) for text in self.notes[person.conversation]}
            assert not {text: count for text, count in times.items() if count != 1}, shown[:40]

    # ------------------------------------------------------------------ one user

    async def _chats(self, person: Person) -> None:
        for number in itertools.count(1):
            text = f"word {number}"
            await self._insists(person, MESSAGES, person.activity(text=text))
            self.said[person.conversation].append(text)
            if self._over.is_set():
                return

    async def _notifies(self, person: Person) -> None:
        for number in itertools.count(1):
            text = f"note {number} for {person.name};"
            body = {"id": text, "to": {"conversation": person.key}, "text": text, "mode": "interject"}
            self.notes[person.conversation][text] = (await self._insists(person, NOTIFY, body)).body["id"]
            if self._over.is_set():
                return

    async def _insists(self, person: Person, path: str, body: Json) -> Answer:
        while True:
            answer = await ask(person.http, "POST", person.bot_url + path, json=body)
            self.answers[path, answer.status] += 1
            await asyncio.sleep(PAUSE)
            if answer.status in (200, 202):
                return answer
            # 409: the same request, which was answered 503, has gone further than was known.
            if self.reason is None or answer.status != 409:
                answer.tells(self.reason or "no reason at all")

    def _well(self) -> bool:
        """Raises what a user could not put up with."""
        for user in self._users:
            if user.done():
                user.result()
        return True

    # ------------------------------------------------------------------ the end

    def _is_shown(self) -> bool:
        return all(
            any(text in shown for shown in person.shows())
            for person in self.people
            for text in (*self.said[person.conversation], *self.notes[person.conversation])
        )

    async def _is_recorded(self) -> bool:
        """Of every notification that it was delivered."""
        asked = [
            Sender(person.http, person.bot_url).delivery(note)
            for person in self.people
            for note in self.notes[person.conversation].values()
        ]
        return all(delivery["status"] == "delivered" for delivery in await asyncio.gather(*asked))
