"""Those who use the service, as it sees them: people who chat, and systems that post notifications."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp

from testkit.channel import FakeChannel
from testkit.waiting import until

Json = dict[str, Any]

FINAL = frozenset({"delivered", "failed", "unknown", "expired", "cancelled"})


class Person:
    """Somebody in a personal conversation on the fake channel."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        bot_url: str,
        channel: FakeChannel,
        name: str = "ann",
        conversation: str | None = None,
        **activity: Any,
    ) -> None:
        self.http = http
        self.bot_url = bot_url
        self.channel = channel
        self.name = name
        self.conversation = conversation or f"a:{name}"
        self.extra = activity
        self._numbers = itertools.count(1)
        self._run = uuid.uuid4().hex[:8]
        self._heard = 0

    @property
    def key(self) -> str:
        """The conversation key, as the API writes it."""
        return f"{self.extra.get('channelId', 'msteams')}/{self.conversation}"

    def elsewhere(self, conversation: str) -> Person:
        """The same person in another conversation."""
        return Person(self.http, self.bot_url, self.channel, self.name, conversation, **self.extra)

    def activity(self, **fields: Any) -> Json:
        return {
            "type": "message",
            "id": f"{self._run}-{self.name}-{next(self._numbers)}",
            "timestamp": "2026-01-05T12:00:00.000Z",
            "channelId": "msteams",
            "serviceUrl": self.channel.url,
            "from": {"id": f"29:{self.name}", "name": self.name.title(), "aadObjectId": f"aad-{self.name}"},
            "recipient": {"id": "28:bot", "name": "Aside"},
            "conversation": {"id": self.conversation, "conversationType": "personal", "tenantId": "tenant-1"},
            "locale": "en-US",
            "localTimezone": "Europe/Berlin",
            **self.extra,
            **fields,
        }

    async def posts(self, activity: Json) -> tuple[int, Json | None]:
        """Post an activity; the answer's status and JSON body."""
        async with self.http.post(f"{self.bot_url}/api/messages", json=activity) as response:
            body = await response.json(content_type=None) if response.content_length else None
            return response.status, body

    async def says(self, text: str, **fields: Any) -> list[str]:
        """Say something and wait until the bot's turn is over; what was shown since the last time."""
        status, _ = await self.posts(self.activity(text=text, **fields))
        assert status == 200, status
        return self.news()

    def news(self) -> list[str]:
        """What was shown since the last time."""
        texts = self.channel.texts(self.conversation)
        news, self._heard = texts[self._heard :], len(texts)
        return news

    def shows(self) -> list[str]:
        """What the whole conversation shows by now; it may have been changed since it was said."""
        return self.channel.texts(self.conversation)

    async def hears(self, *expected: str) -> None:
        """Wait until exactly this was shown since the last time."""
        end = self._heard + len(expected)
        await until(
            lambda: len(self.channel.texts(self.conversation)) >= end,
            what=f"{self.name} hears {expected}, heard {self.channel.texts(self.conversation)[self._heard:]}",
        )
        assert self.news() == list(expected)

    async def next(self, count: int) -> list[str]:
        """Wait until so many were shown since the last time, and answer them."""
        end = self._heard + count
        await until(lambda: len(self.channel.texts(self.conversation)) >= end, what=f"{self.name} hears {count}")
        return self.news()

    async def sees(self, condition: Callable[[list[str]], Any]) -> list[str]:
        """Wait until the texts of the whole conversation fulfil a condition."""
        return await self.channel.until_texts(self.conversation, condition)


class Sender:
    """A system that posts notifications."""

    def __init__(self, http: aiohttp.ClientSession, bot_url: str, key: str | None = None) -> None:
        self.http = http
        self.bot_url = bot_url
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def posts(self, body: Any, **headers: str) -> tuple[int, Json]:
        data = {"data": body} if isinstance(body, bytes | str) else {"json": body}
        async with self.http.post(
            f"{self.bot_url}/api/notify", headers={**self.headers, **headers}, **data
        ) as response:
            return response.status, await response.json(content_type=None)

    async def notifies(self, to: Person | Json, text: str, **fields: Any) -> str:
        """Post a notification that is accepted; its id."""
        audience = {"conversation": to.key} if isinstance(to, Person) else to
        status, body = await self.posts({"to": audience, "text": text, **fields})
        assert status == 202, body
        return str(body["id"])

    async def gets(self, path: str) -> tuple[int, Json]:
        async with self.http.get(f"{self.bot_url}{path}", headers=self.headers) as response:
            return response.status, await response.json(content_type=None)

    async def delivery(self, notification: str, index: int = 0) -> Json:
        """What became of one delivery."""
        status, body = await self.gets(f"/api/notifications/{notification}")
        assert status == 200, body
        deliveries: list[Json] = body["deliveries"]
        return deliveries[index] if len(deliveries) > index else {"status": "none"}

    async def becomes(self, notification: str, status: str, index: int = 0) -> Json:
        """Wait until a delivery has this status; fails as soon as it has ended in another."""

        async def reached() -> Json | None:
            delivery = await self.delivery(notification, index)
            assert delivery["status"] == status or delivery["status"] not in FINAL, delivery
            return delivery if delivery["status"] == status else None

        delivery: Json = await until(reached, what=f"{notification} becomes {status}")
        return delivery

    async def conversation(self, person: Person) -> Json:
        status, body = await self.gets(f"/api/conversations/{quote(person.key, safe='')}")
        assert status == 200, body
        return body
