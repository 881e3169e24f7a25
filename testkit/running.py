"""The whole service in the test's own process, and time that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import aiohttp

import settings as configuration
from app import Service
from domain.clock import system_clock
from state import keys
from testkit.channel import FakeChannel
from testkit.people import Person, Sender

_MILLISECOND = timedelta(milliseconds=1)


class Time:
    """The service's clock: the real one, and what it was moved ahead by."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return system_clock() + self.ahead


class Bot:
    """A service that runs. ``channel`` is where its people are, ``sender`` a system that notifies them, ``service`` its
    parts (``app.Service``)."""

    def __init__(self, service: Service, channel: FakeChannel, http: aiohttp.ClientSession, time: Time) -> None:
        self.service = service
        self.channel = channel
        self.url = f"http://127.0.0.1:{service.port}"
        self.sender = Sender(http, self.url)
        self._http = http
        self._time = time

    def person(self, name: str, conversation: str | None = None, **activity: Any) -> Person:
        """Somebody in a personal conversation; ``activity`` is what all their activities have beside the usual."""
        return Person(self._http, self.url, self.channel, name, conversation, **activity)

    @property
    def now(self) -> datetime:
        """What the service takes for the present."""
        return self._time()

    async def passes(self, **length: float) -> None:
        """Let time pass (``minutes=11``, as ``timedelta`` takes it) without waiting: the service's clock is moved, and
        what would have become due is (deadlines, times to send, quiet users who are away by then)."""
        delta = timedelta(**length)
        self._time.ahead += delta
        service = self.service
        works = {"conversations": service.work, "fanout": service.fanout_work, "jobs": service.job_work}
        for queue, work in works.items():
            flat = await service.store.run("ZRANGE", keys.work(queue), 0, -1, "WITHSCORES")
            moved = {member: float(due) - delta / _MILLISECOND for member, due in _pairs(flat)}
            for member, due in moved.items():
                await service.store.run("ZADD", keys.work(queue), "XX", due, member)
            now = system_clock().timestamp() * 1000
            await work.wake(*[member.decode() for member, due in moved.items() if due <= now])


def _pairs(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


@asynccontextmanager
async def running(**variables: str) -> AsyncIterator[Bot]:
    """The service with these settings (as in the environment). Raises ``settings.ConfigurationError``."""
    variables = {"REDIS_URL": "memory://", "PORT": "0", "DRAIN_SECONDS": "2", **variables}
    loaded = configuration.load(variables)
    if mistakes := configuration.check_imports(loaded):
        raise configuration.ConfigurationError(mistakes)
    time = Time()
    channel = await FakeChannel().start()
    try:
        async with aiohttp.ClientSession() as http, Service(loaded, clock=time) as service:
            await asyncio.wait_for(service.store_is_there(), 10)
            yield Bot(service, channel, http, time)
    finally:
        await channel.stop()
