"""Stores, the service and those who use it, for every test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

import settings as configuration
from app import Service
from state.embedded import find_server
from state.store import Store
from testkit.channel import FakeChannel
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.processes import Nursery

ServiceFactory = Callable[..., Awaitable[Service]]


LONG = ("test_store_faults", "test_kill", "test_documentation", "test_soak", "test_jobs_worker", "test_processes")
"""Files that take long; the others fill up what time they leave."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, so that no process is left with one of them in the end."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests say what the configuration is; what the developer's shell says does not matter."""
    for name in list(os.environ):
        if name.startswith("MicrosoftApp") or name.lower() in configuration.Settings.model_fields:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A real server on a socket of its own, for this run of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="aside-test-"))
    socket = folder / "s.sock"
    command = [find_server(None), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"unix://{socket}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


@pytest.fixture
async def real_url(server_url: str) -> str:
    """The real server, empty."""
    redis = Redis.from_url(server_url)

    async def emptied() -> bool:
        try:
            return bool(await redis.flushall())
        except OSError:
            return False
        except Exception as error:
            if "onnect" in str(error) or "loading" in str(error).lower():
                return False
            raise

    await until(emptied, what="the server answers")
    await redis.aclose()
    return server_url


@pytest.fixture(params=["fakeredis", "server"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Every storage test runs on both."""
    if request.param == "fakeredis":
        return "memory://"
    return str(request.getfixturevalue("real_url"))


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = Store.connect(store_url)
    yield store
    await store.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def channel() -> AsyncIterator[FakeChannel]:
    channel = await FakeChannel().start()
    yield channel
    await channel.stop()


@pytest.fixture
async def start_service(real_url: str) -> AsyncIterator[ServiceFactory]:
    """Starts the whole service in this process, on a free port and the real server; keywords are variables."""
    async with AsyncExitStack() as stack:

        async def start(*, role: str = "serve", **variables: str) -> Service:
            settings = configuration.load({"REDIS_URL": real_url, "PORT": "0", "DRAIN_SECONDS": "2", **variables})
            return await stack.enter_async_context(Service(settings, role=role))

        yield start


@pytest.fixture
async def service(start_service: ServiceFactory) -> Service:
    return await start_service()


def url_of(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


@pytest.fixture
def ann(service: Service, http: aiohttp.ClientSession, channel: FakeChannel) -> Person:
    return Person(http, url_of(service), channel, "ann")


@pytest.fixture
def bob(service: Service, http: aiohttp.ClientSession, channel: FakeChannel) -> Person:
    return Person(http, url_of(service), channel, "bob")


@pytest.fixture
def sender(service: Service, http: aiohttp.ClientSession) -> Sender:
    return Sender(http, url_of(service))


@pytest.fixture(scope="module")
def shared_nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("processes")) as nursery:
        yield nursery


@pytest.fixture
async def nursery(shared_nursery: Nursery) -> AsyncIterator[Nursery]:
    """Processes that start within a moment, whose leases are short, and that do not outlive the test."""
    yield shared_nursery
    await shared_nursery.end_all()
