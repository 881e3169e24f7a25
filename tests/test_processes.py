"""``python app.py`` as operators run it: several processes on one store, ends in order, beginnings that fail."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from testkit.channel import FakeChannel, Mood
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory
from tests.processes import ROOT, SOON, Nursery, Processes, ServiceProcess, sends
from tests.topologies import Servers, free_port
from tests.troubled_store import TroubledStore

SEVERITY = "How severe is it?"
COUNT = "How many people are affected?"
WHAT = "What happened?"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Processes that share nothing but what a test tells them."""
    with Processes(tmp_path) as processes:
        yield processes


@pytest.fixture
def on_one_store(tmp_path: Path, real_url: str) -> Iterator[Processes]:
    with Processes(tmp_path, REDIS_URL=real_url) as processes:
        yield processes


# ---------------------------------------------------------------------- together


async def test_any_process_serves_any_conversation(
    on_one_store: Processes, http: aiohttp.ClientSession, channel: FakeChannel
) -> None:
    """A form that is filled in at two processes in turn is one form; what one is sent, the other knows of."""
    one, two = await asyncio.gather(on_one_store.start(), on_one_store.start())
    ann = Person(http, one.url, channel)
    assert await ann.says("report") == [SEVERITY]
    ann.bot_url = two.url
    assert await ann.says("high") == [COUNT]
    notification = await Sender(http, one.url).notifies(ann, "fire drill", mode="interject")
    await Sender(http, two.url).becomes(notification, "delivered")
    ann.bot_url = one.url
    assert await ann.says("5") == ["fire drill", COUNT, WHAT]


async def test_two_processes_give_a_conversation_one_turn_at_a_time(
    nursery: Nursery, http: aiohttp.ClientSession, channel: FakeChannel, real_url: str
) -> None:
    """What is said at both at once is answered one after the other, and every turn builds on the one before."""
    one, two = [await nursery.start(REDIS_URL=real_url) for _ in range(2)]
    ann = Person(http, one.url, channel)
    await ann.says("hello")
    saying = []
    for number in range(20):
        ann.bot_url = (one, two)[number % 2].url
        saying.append(ann.posts(ann.activity(text=f"remind me in 1 hour to count {number}")))
    assert {status for status, _ in await asyncio.gather(*saying)} == {200}
    status, page = await Sender(http, one.url).gets("/api/notifications?limit=100")
    assert status == 200
    assert len(page["notifications"]) == 20
    assert len(channel.texts(ann.conversation)) == 21


async def test_what_is_posted_one_after_the_other_is_shown_in_that_order(
    start_service: ServiceFactory, http: aiohttp.ClientSession, channel: FakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever accepts it, and though what else is to be spread takes long: it need not be spread any more."""
    services = [await start_service() for _ in range(2)]
    never = asyncio.Event()
    for service in services:
        monkeypatch.setattr(service.fanout, "page", lambda _: never.wait())
    urls = [f"http://127.0.0.1:{service.port}" for service in services]
    ann = Person(http, urls[0], channel)
    await ann.says("hello")
    texts = [f"number {number}" for number in range(20)]
    for number, text in enumerate(texts):
        await Sender(http, urls[number % 2]).notifies(ann, text, mode="interject")
    await until(lambda: "number 19" in "".join(channel.texts(ann.conversation)))
    shown = re.findall(r"number \d+", "\n".join(channel.texts(ann.conversation)))  # some of them as a digest
    assert [*dict.fromkeys(shown)] == texts


async def test_web_and_worker_are_processes_of_their_own(
    on_one_store: Processes, http: aiohttp.ClientSession, channel: FakeChannel
) -> None:
    """A web process runs no job; it waits for a worker, and its answer comes back without anybody asking."""
    web = await on_one_store.start("web")
    ann = Person(http, web.url, channel)
    await ann.says("compute primes 100")
    status, page = await Sender(http, web.url).gets("/api/jobs")
    assert (status, [job["status"] for job in page["jobs"]]) == (200, ["waiting"])
    worker = await on_one_store.start("worker")
    assert "jobs only" in worker.log
    await until(lambda: "the largest is 97" in channel.texts(ann.conversation)[-1], within=SOON, what="the answer")
    assert await web.stop() == 0
    assert await worker.stop() == 0


# ---------------------------------------------------------------------- the end


async def test_sigterm_lets_the_running_turn_finish(
    on_one_store: Processes, http: aiohttp.ClientSession, channel: FakeChannel
) -> None:
    """The turn is answered and its effects are out, new work is refused meanwhile, and the exit status is 0."""
    process = await on_one_store.start()
    ann, bob = Person(http, process.url, channel), Person(http, process.url, channel, "bob")
    gate = asyncio.Event()
    channel.answers(ann.conversation, Mood(before=gate))
    saying = asyncio.create_task(ann.says("hello"))
    await until(lambda: sends(channel, ann, "You sent: hello"), within=SOON)
    process.terminate()
    await process.says("draining")
    refused, _ = await bob.posts(bob.activity(text="hello"))
    assert refused == 503
    gate.set()
    assert await saying == ["You sent: hello"]
    assert await process.ends() == 0
    assert channel.texts(bob.conversation) == []
    assert "Traceback" not in process.log


async def test_a_process_that_is_to_end_serves_on_until_nobody_is_sent_to_it(
    nursery: Nursery, http: aiohttp.ClientSession, channel: FakeChannel, real_url: str
) -> None:
    """It says that it is not ready, and whoever still comes is served; a second signal has it drain."""
    process = await nursery.start(REDIS_URL=real_url, DRAIN_BEFORE="3600")
    ann = Person(http, process.url, channel)
    process.terminate()
    await process.says("not ready any more")
    async with http.get(f"{process.url}/health/ready") as answer:
        assert answer.status == 503
        assert (await answer.json())["dependencies"]["service"] == "shutting down"
    assert await ann.says("hello") == ["You sent: hello"]
    notification = await Sender(http, process.url).notifies(ann, "the news")
    await Sender(http, process.url).becomes(notification, "delivered")
    assert "draining" not in process.log
    process.terminate()
    await process.ends()
    assert "draining" in process.log


async def test_sigterm_takes_no_new_deliveries(
    nursery: Nursery, http: aiohttp.ClientSession, channel: FakeChannel, real_url: str
) -> None:
    """What comes in during the drain is kept for another process."""
    process = await nursery.start(REDIS_URL=real_url)
    ann, bob = Person(http, process.url, channel), Person(http, process.url, channel, "bob")
    await bob.says("hello")
    gate = asyncio.Event()
    channel.answers(ann.conversation, Mood(before=gate))
    saying = asyncio.create_task(ann.says("hello"))
    await until(lambda: sends(channel, ann, "You sent: hello"), within=SOON)
    process.terminate()
    await process.says("draining")
    notification = await Sender(http, process.url).notifies(bob, "the news")
    gate.set()
    await saying
    await process.ends()
    assert bob.news() == []
    other = await nursery.start(REDIS_URL=real_url)
    await Sender(http, other.url).becomes(notification, "delivered")
    assert bob.news() == ["the news"]


async def test_sigterm_lets_the_running_job_finish(
    nursery: Nursery, http: aiohttp.ClientSession, channel: FakeChannel, real_url: str, tmp_path: Path
) -> None:
    """Its answer is recorded before the worker ends; who has the conversation tells it."""
    ends = tmp_path / "ends"
    web = await nursery.start("web", REDIS_URL=real_url)
    worker = await nursery.start("worker", REDIS_URL=real_url, JOBS="tests.faults.jobs", JOB_ENDS=str(ends))
    ann = Person(http, web.url, channel)
    await ann.says("compute pi 10")
    await worker.says("job started")
    worker.terminate()
    await worker.says("draining")
    ends.touch()
    await worker.ends()
    assert "job done" in worker.log
    await until(lambda: "pi to 10 digits" in channel.texts(ann.conversation)[-1], within=SOON, what="the answer")


async def test_sigterm_gives_a_job_that_takes_longer_to_another_worker(
    nursery: Nursery, http: aiohttp.ClientSession, channel: FakeChannel, real_url: str, tmp_path: Path
) -> None:
    """It is neither lost nor counted as a crash."""
    web = await nursery.start("web", REDIS_URL=real_url)
    endless = {"JOBS": "tests.faults.jobs", "JOB_ENDS": str(tmp_path / "never")}
    worker = await nursery.start("worker", REDIS_URL=real_url, DRAIN_SECONDS="0.1", **endless)
    ann = Person(http, web.url, channel)
    await ann.says("compute pi 10")
    await worker.says("job started")
    await worker.stop()
    assert "a job was given back" in worker.log
    await nursery.start("worker", REDIS_URL=real_url)
    await until(lambda: "π = 3.1415926535" in channel.texts(ann.conversation)[-1], within=SOON, what="the answer")


# ---------------------------------------------------------------------- a store that is not there yet


@pytest.mark.parametrize("role", ["serve", "worker"])
async def test_a_process_that_starts_while_the_store_is_away_waits_for_it(
    role: str, processes: Processes, http: aiohttp.ClientSession, channel: FakeChannel
) -> None:
    """It lives, is not ready, refuses what needs the store, and serves as soon as the store is there."""
    port = free_port()
    with Servers() as servers:
        store = TroubledStore(servers)
        process = processes.launch(role, REDIS_URL=store.url, PORT=str(port))
        await process.says("waiting for the store: REDIS_URL: The store cannot be reached")
        ann = Person(http, f"http://127.0.0.1:{port}", channel)
        if role == "serve":
            async with http.get(f"{ann.bot_url}/health/live") as live, http.get(f"{ann.bot_url}/health/ready") as ready:
                assert (live.status, ready.status) == (200, 503)
                assert "The store cannot be reached" in await ready.text()
            refused, _ = await ann.posts(ann.activity(text="hello"))
            assert refused == 503
        assert "ready: " not in process.log
        await store.start()
        await process.ready()
        if role == "serve":
            async with http.get(f"{ann.bot_url}/health/ready") as ready:
                assert ready.status == 200
            assert await ann.says("hello") == ["You sent: hello"]
        assert process.log.count("waiting for the store") == 1
        assert "Traceback" not in process.log
        assert await process.stop() == 0
        await store.close()


async def test_a_process_that_waits_for_the_store_can_be_told_to_end(processes: Processes) -> None:
    process = processes.launch(REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    await process.says("waiting for the store")
    assert await process.stop() == 0
    assert "Traceback" not in process.log


# ---------------------------------------------------------------------- the embedded store


class TestTheEmbeddedStore:
    @pytest.mark.parametrize("ending", ["stop", "kill"])
    async def test_what_was_accepted_is_there_after(
        self, ending: str, nursery: Nursery, http: aiohttp.ClientSession, channel: FakeChannel, tmp_path: Path
    ) -> None:
        """The form goes on where it was, and what had been queued or only just been accepted is shown."""
        process = await nursery.start(DATA_DIR=str(tmp_path))
        ann = Person(http, process.url, channel)
        assert await ann.says("report") == [SEVERITY]
        sender = Sender(http, process.url)
        queued = await sender.notifies(ann, "the menu for today", mode="queue")
        await sender.becomes(queued, "queued")
        accepted = await sender.notifies(ann, "see you tomorrow", mode="queue")
        await getattr(process, ending)()
        process = await nursery.start(DATA_DIR=str(tmp_path))
        ann.bot_url = sender.bot_url = process.url
        await sender.becomes(accepted, "queued")
        assert await ann.says("high") == ["the menu for today", "see you tomorrow", COUNT]
        await sender.becomes(queued, "delivered")

    async def test_another_process_is_told_whose_the_data_are(self, processes: Processes, tmp_path: Path) -> None:
        """It ends at once, with a sentence that says what to do; the first goes on."""
        first = await processes.start(DATA_DIR=str(tmp_path / "data"))
        second = processes.launch(DATA_DIR=str(tmp_path / "data"))
        assert await second.ends() == 1
        (line,) = second.log.splitlines()
        assert f"belongs to process {first.pid}, which is running" in line
        assert "set REDIS_URL" in line
        assert await first.stop() == 0

    async def test_check_works_beside_a_service_that_runs(self, processes: Processes, tmp_path: Path) -> None:
        """Its port and its data folder are in use, and that is as it should be."""
        data = str(tmp_path / "data")
        first = await processes.start(DATA_DIR=data)
        port = first.url.rpartition(":")[2]
        assert await failing(processes.launch("check", DATA_DIR=data, PORT=port)) == (0, ["Everything is in order."])
        assert await first.stop() == 0


# ---------------------------------------------------------------------- beginnings that fail


async def failing(process: ServiceProcess) -> tuple[int, list[str]]:
    """The exit status and the lines of a process that ends by itself."""
    return await process.ends(), process.log.splitlines()


async def test_every_mistake_is_in_one_report(processes: Processes) -> None:
    """Values, names that cannot be imported and what is missing, each with its variable; exit 2, no stack trace."""
    status, lines = await failing(
        processes.launch(
            HOST="0.0.0.0", PORT="eighty", ROOT_DIALOG="nobody.has:This", JOBS="jobs.examples,no.such", AWAY_AFTER="-1"
        )
    )
    assert status == 2
    heading, *mistakes = lines
    assert heading == "The configuration cannot be used:"
    named = sorted(mistake.strip().partition(":")[0] for mistake in mistakes)
    assert named == ["AWAY_AFTER", "JOBS", "NOTIFY_API_KEYS", "PORT", "ROOT_DIALOG"]


async def test_a_port_in_use_is_told_before_anything_else_is_started(processes: Processes, tmp_path: Path) -> None:
    """In one line with the remedy; no store was started for it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        launched = processes.launch(DATA_DIR=str(tmp_path / "data"), PORT=port)
        assert await failing(launched) == (
            1,
            [f"PORT: {port} is taken by another program; end it, or set PORT to another (0 for any that is free)"],
        )
    assert not (tmp_path / "data").exists()


async def test_an_address_of_another_machine_is_told(processes: Processes) -> None:
    launched = processes.launch(HOST="203.0.113.7", NOTIFY_API_KEYS="ci:0123456789abcdef", REDIS_URL="memory://")
    status, (line,) = await failing(launched)
    assert status == 1
    assert line.startswith("HOST: '203.0.113.7' is no address of this machine")


@pytest.mark.parametrize("role", ["web", "worker"])
@pytest.mark.parametrize(("store", "told"), [("", "is not set"), ("memory://", "one process")])
async def test_a_half_needs_a_store_that_the_other_reaches(
    processes: Processes, role: str, store: str, told: str
) -> None:
    status, (_, line) = await failing(processes.launch(role, REDIS_URL=store))
    assert status == 2
    assert line.strip().startswith("REDIS_URL:")
    assert told in line and repr(role) in line


async def test_a_mistake_among_the_jobs_begins_with_their_variable(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "no_jobs.py").write_text("")
    status, (_, line) = await failing(processes.launch("check", JOBS="no_jobs"))
    assert status == 2
    assert line.strip().startswith("JOBS: ")


async def test_a_slip_in_the_file_is_told(processes: Processes, tmp_path: Path) -> None:
    """A name that no setting has; it stops nothing, for others may read the same file."""
    (tmp_path / ".env").write_text("REDDIS_URL=redis://h\nCOMPOSE_PROJECT=x\n")
    status, lines = await failing(processes.launch("check", REDIS_URL="memory://"))
    assert status == 0
    assert any("'REDDIS_URL' is no setting of this service; did you mean REDIS_URL?" in line for line in lines)
    assert any("'COMPOSE_PROJECT' is no setting of this service  [" in line for line in lines)


async def test_a_python_without_what_the_service_needs_is_told_which_has_it(tmp_path: Path) -> None:
    """In a line that can be pasted, not as a traceback."""
    bare = await asyncio.create_subprocess_exec(
        *(sys.executable, "-S", "-I", str(ROOT / "app.py")), stderr=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    _, output = await bare.communicate()
    (line,) = output.decode().splitlines()
    assert bare.returncode == 1
    assert "`.venv/bin/python app.py`" in line
    assert "pip install -r requirements.txt -c constraints.txt" in line


async def test_an_unknown_command_is_told_what_there_is(processes: Processes) -> None:
    assert await failing(processes.launch("swim")) == (2, ["usage: .venv/bin/python app.py [serve|web|worker|check]"])


async def test_check_says_whether_what_is_configured_can_be_reached(processes: Processes, real_url: str) -> None:
    """Exit 0 if it can, 1 if it cannot, with what to look at; 2 for what cannot be meant."""
    good = processes.launch("check", REDIS_URL=real_url)
    bad = processes.launch("check", REDIS_URL="redis://ann:hunter2@127.0.0.1:1/0")
    wrong = processes.launch("check", REDIS_URL="http://127.0.0.1")
    assert await failing(good) == (0, ["Everything is in order."])
    status, lines = await failing(bad)
    assert status == 1
    assert lines[-1].startswith("REDIS_URL: The store cannot be reached")
    assert "see that a server runs at 127.0.0.1:1, " in lines[-1]
    assert "hunter2" not in "".join(lines)
    assert not any("Traceback" in line for line in lines)
    status, lines = await failing(wrong)
    assert (status, lines[0]) == (2, "The configuration cannot be used:")
    assert lines[1].strip().startswith("REDIS_URL")
