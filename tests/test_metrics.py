"""What ``/metrics`` tells: of deliveries, sends, pauses, queues and jobs, as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from testkit.channel import Mood
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory
from tests.own_jobs import gates
from tests.serving import impatient, serving
from tests.test_jobs_in_chat import becomes

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")


async def metrics(sender: Sender) -> dict[str, float]:
    """Samples by name and labels, as they are written."""
    async with sender.http.get(f"{sender.bot_url}/metrics") as response:
        assert response.status == 200
        found = re.findall(r"^(aside_\w+(?:\{.*\})?) (\S+)$", await response.text(), re.M)
    return {name: float(number) for name, number in found}


async def tells(sender: Sender, name: str, number: float) -> None:
    """Wait for this sample: what is counted may be so a moment after what it counts is seen."""

    async def told() -> bool:
        return (await metrics(sender)).get(name) == number

    await until(told, what=f"{name} is {number:g}")


async def test_a_delivery_that_had_to_wait_for_the_channel(ann: Person, sender: Sender) -> None:
    """Each answer of the channel, the pause, the status it came to, and how long it took in all."""
    await ann.says("hello")
    before = await metrics(sender)
    ann.channel.answers(ann.conversation, Mood(429, headers={"Retry-After": "0.1"}))
    notification = await sender.notifies(ann, "news", mode="interject")
    await sender.becomes(notification, "delivered")
    await tells(sender, 'aside_deliveries_total{reason="",status="delivered"}', 1)
    now = await metrics(sender)
    assert now['aside_sends_total{outcome="throttled"}'] == 1
    assert now['aside_sends_total{outcome="accepted"}'] == before['aside_sends_total{outcome="accepted"}'] + 1
    assert now['aside_send_pause_seconds_count{cause="channel"}'] == 1
    assert now['aside_send_pause_seconds_sum{cause="channel"}'] >= 0.1
    assert now['aside_delivery_seconds_count{mode="interject"}'] == 1
    assert now['aside_delivery_seconds_sum{mode="interject"}'] >= 0.1
    assert now["aside_outbox_size_sum"] >= 1, "the turn left it in the outbox"


async def test_a_delivery_that_is_given_up(ann: Person, sender: Sender) -> None:
    await ann.says("hello")
    ann.channel.answers(ann.conversation, Mood(400))
    notification = await sender.notifies(ann, "news", mode="interject")
    await sender.becomes(notification, "failed")
    await tells(sender, 'aside_deliveries_total{reason="rejected",status="failed"}', 1)
    now = await metrics(sender)
    assert now['aside_sends_total{outcome="rejected"}'] == 1
    assert now["aside_dead_letters"] == 1


async def test_a_delivery_that_waits_for_its_user(ann: Person, sender: Sender) -> None:
    await ann.says("hello")
    notification = await sender.notifies(ann, "news", mode="queue")
    await sender.becomes(notification, "queued")
    await tells(sender, 'aside_deliveries_total{reason="",status="queued"}', 1)
    await tells(sender, "aside_inbox_size_sum", 1)


class TestJobs:
    service = serving(JOBS="tests.own_jobs")

    @pytest.fixture(autouse=True)
    def closed_gates(self) -> Iterator[None]:
        gates.clear()
        yield
        for gate in gates.values():
            gate.set()

    async def test_are_told_by_state_and_how_long_they_waited(self, ann: Person, sender: Sender) -> None:
        await ann.says("compute pi 7")
        await becomes(sender, "running")
        now = await metrics(sender)
        assert (now['aside_jobs{state="waiting"}'], now['aside_jobs{state="running"}']) == (0, 1)
        assert now["aside_job_wait_seconds_count"] == 1
        gates["7"].set()
        await becomes(sender, "done")
        await tells(sender, 'aside_jobs_ended_total{status="done"}', 1)
        await tells(sender, 'aside_jobs{state="running"}', 0)


class TestJobsOfAWorkerElsewhere:
    """Which listens to nobody: what the store holds of them is told by whoever does."""

    service = serving(role="web", JOBS="tests.own_jobs")

    async def test_are_told_by_state(self, ann: Person, sender: Sender, start_service: ServiceFactory) -> None:
        gates.clear()
        await ann.says("compute pi 7")
        await tells(sender, 'aside_jobs{state="waiting"}', 1)
        await tells(sender, 'aside_work_due{queue="jobs"}', 1)
        await start_service(role="worker", JOBS="tests.own_jobs")
        await tells(sender, 'aside_jobs{state="running"}', 1)
        await tells(sender, 'aside_jobs{state="waiting"}', 0)
        gates["7"].set()
        await becomes(sender, "done")
        await tells(sender, 'aside_jobs{state="running"}', 0)
        assert not [name for name in await metrics(sender) if name.startswith("aside_jobs_ended_total")]


async def test_no_counter_has_a_double(ann: Person, sender: Sender) -> None:
    """That says when it began: twice as many series for nothing."""
    await ann.says("hello")
    assert not [name for name in await metrics(sender) if "_created" in name]
