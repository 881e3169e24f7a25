"""What a whole tenant waits for, its limit or the channel's word, keeps nobody's answer, and nobody else, waiting."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from testkit.channel import FakeChannel, Mood
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.serving import impatient, serving

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")

People = Callable[..., Awaitable[list[Person]]]


@pytest.fixture
def people(ann: Person) -> People:
    """So many of a tenant, who have said hello."""

    async def make(count: int, tenant: str = "tenant-1", **elsewhere: Any) -> list[Person]:
        names = [f"{tenant} {number}" for number in range(count)]
        made = [Person(ann.http, ann.bot_url, ann.channel, name, **elsewhere) for name in names]
        for person in made:
            person.extra["conversation"] = {"id": person.conversation, **({} if elsewhere else {"tenantId": tenant})}
            await person.says("hello")
        return made

    return make


def all_of(people: list[Person]) -> Json:
    return {"conversations": [person.key for person in people]}


def tried(channel: FakeChannel, text: str) -> Counter[str]:
    """How often each conversation was sent this."""
    return Counter(conversation for _, conversation, _, body in channel.requests if (body or {}).get("text") == text)


async def in_outboxes(sender: Sender, people: list[Person]) -> list[int]:
    return [(await sender.conversation(person))["outbox"] for person in people]


async def counts(sender: Sender, notification: str) -> Json:
    _, body = await sender.gets(f"/api/notifications/{notification}")
    return dict(body["counts"])


async def proactive_turns(sender: Sender) -> int:
    async with sender.http.get(f"{sender.bot_url}/metrics") as response:
        found = re.findall(r'^aside_turns_total\{kind="proactive",outcome="\w+"\} (\S+)', await response.text(), re.M)
    return round(sum(map(float, found)))


class TestATenantThatIsToldToWait:
    """By a 429 to three of its conversations within moments."""

    @pytest.fixture(autouse=True)
    def long_moments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For machines that have much to do."""
        monkeypatch.setattr("domain.throttling.WINDOW", 30.0)
        monkeypatch.setattr("state.rates.WINDOW", 30.0)

    async def told(self, people: list[Person], sender: Sender, retry_after: str) -> None:
        for person in people:
            person.channel.answers(person.conversation, Mood(429, headers={"Retry-After": retry_after}))
        notification = await sender.notifies(all_of(people), "too much", mode="interject")

        async def recorded() -> bool:
            deliveries = [await sender.delivery(notification, index) for index in range(len(people))]
            return all(delivery.get("attempts") for delivery in deliveries)

        await until(recorded)

    async def test_waits_as_a_whole(self, people: People, sender: Sender, channel: FakeChannel) -> None:
        """What is for others of the tenant is not tried; other tenants get theirs. Who speaks is answered, and what
        waits in that conversation for nobody's sake but the tenant's is shown before."""
        *told, eve = await people(4)
        (else_where,) = await people(1, "tenant-2")
        await self.told(told, sender, "3600")
        held = await sender.notifies(eve, "for eve", mode="interject")
        await sender.becomes(await sender.notifies(else_where, "for others", mode="interject"), "delivered")
        await until(lambda: self._waits(sender, eve))
        assert tried(channel, "for eve") == {}
        assert (await sender.delivery(held))["status"] == "pending"
        assert (await sender.delivery(held))["attempts"] == 0
        eve.news()
        assert await eve.says("anything new?") == ["for eve", "You sent: anything new?"]
        assert (await sender.becomes(held, "delivered"))["attempts"] == 1
        told[0].news()
        assert await told[0].says("anything new?") == [], "this conversation was told to wait itself"

    @pytest.mark.parametrize("named", [True, False], ids=["named in the channel's data", "not named"])
    async def test_is_nobody_else_s_tenant(
        self, people: People, sender: Sender, channel: FakeChannel, named: bool
    ) -> None:
        """Where the tenant stands in the channel's data alone, and where it stands nowhere."""

        def data(tenant: str) -> Json:
            return {"tenant": {"id": tenant}} if named else {}

        *told, eve = await people(4, "tenant-8", channelData=data("tenant-8"))
        (else_where,) = await people(1, "tenant-9", channelData=data("tenant-9"))
        await self.told(told, sender, "3600")
        await sender.becomes(await sender.notifies(else_where, "for others", mode="interject"), "delivered")
        held = await sender.notifies(eve, "for eve", mode="interject")
        if named:
            await until(lambda: self._waits(sender, eve))
            assert tried(channel, "for eve") == {}
        else:
            await sender.becomes(held, "delivered")

    async def _waits(self, sender: Sender, person: Person) -> bool:
        return await in_outboxes(sender, [person]) == [1]

    async def test_shows_in_an_answer_what_was_queued_for_it(self, people: People, sender: Sender) -> None:
        """Also if the channel says wait once more: then it waits for that, but not for its tenant."""
        *told, eve = await people(4)
        await self.told(told, sender, "3600")
        await sender.becomes(await sender.notifies(eve, "for later", mode="queue"), "queued")
        eve.news()
        eve.channel.answers(eve.conversation, Mood(429, headers={"Retry-After": "0"}))
        await eve.posts(eve.activity(text="anything new?"))
        await eve.hears("for later", "You sent: anything new?")

    async def test_goes_on_when_its_time_has_come(self, people: People, sender: Sender, channel: FakeChannel) -> None:
        """Each delivery is tried once, by its second turn: the first decides, the second is for the send."""
        everybody = await people(23)
        told, others = everybody[:3], everybody[3:]
        await self.told(told, sender, "1")
        before = await proactive_turns(sender)
        notification = await sender.notifies(all_of(others), "news", mode="interject")
        await until(lambda: self._all(sender, notification, "delivered", len(others)))
        assert tried(channel, "news") == {person.conversation: 1 for person in others}
        assert await proactive_turns(sender) - before <= 2 * len(others) + 2 * len(told)
        await until(lambda: sum(tried(channel, "too much").values()) == 2 * len(told))

    async def _all(self, sender: Sender, notification: str, status: str, number: int) -> bool:
        return (await counts(sender, notification)).get(status) == number


class TestABroadcastThatIsSlow:
    """With a limit that lets almost nothing through."""

    service = serving(RATE_GLOBAL="1/100000s")

    async def test_does_not_keep_users_waiting(self, people: People, sender: Sender) -> None:
        """Not those who are in it, who are shown it before they are answered; not those who are not; nor those for
        whom something was queued or held."""
        others = await people(8)
        bystander, queued, held = others[:3]
        recipients = others[3:]
        broadcast = await sender.notifies(all_of(recipients), "for all", mode="interject")
        await until(lambda: self._wait(sender, recipients))
        await sender.becomes(await sender.notifies(queued, "for later", mode="queue"), "queued")
        await held.says("report")
        await sender.becomes(await sender.notifies(held, "when free", mode="resume"), "held")
        for person in others:
            person.news()
        assert await bystander.says("hi") == ["You sent: hi"]
        assert await queued.says("hi") == ["for later", "You sent: hi"]
        assert (await held.says("cancel"))[-1] == "when free"
        assert await recipients[0].says("hi") == ["for all", "You sent: hi"]
        assert await recipients[0].says("more") == ["You sent: more"]
        assert await counts(sender, broadcast) == {"delivered": 1, "pending": len(recipients) - 1}
        assert [person.news() for person in recipients[1:]] == [[]] * (len(recipients) - 1)

    async def _wait(self, sender: Sender, people: list[Person]) -> bool:
        return await in_outboxes(sender, people) == [1] * len(people)

    async def test_does_not_keep_those_waiting_who_asked_for_something(self, people: People, sender: Sender) -> None:
        """The answer of a job comes when it is there."""
        (ann,) = await people(1)
        assert (await ann.says("compute factor 15"))[-1:] != []
        await ann.sees(lambda texts: "3 × 5" in texts[-1])

    async def test_keeps_what_a_conversation_is_sent_in_order(self, people: People, sender: Sender) -> None:
        """Whoever speaks is shown everything that waits for them, oldest first."""
        (ann,) = await people(1)
        ann.news()
        for text in ("first", "second", "third"):
            waiting = (await in_outboxes(sender, [ann]))[0]
            await sender.notifies(ann, text, mode="interject")
            await until(partial(self._more, sender, ann, waiting))
        assert await ann.says("hi") == ["first", "second", "third", "You sent: hi"]

    async def _more(self, sender: Sender, person: Person, than: int) -> bool:
        return (await in_outboxes(sender, [person]))[0] > than


class TestABroadcast:
    """With a limit that it exceeds for a while."""

    service = serving(RATE_GLOBAL="20/0.2s")

    async def test_costs_two_turns_a_delivery_at_most(
        self, people: People, sender: Sender, channel: FakeChannel
    ) -> None:
        """One that decides what is said, and one at the time at which it may be sent; it is not tried before."""
        everybody = await people(100)
        before = await proactive_turns(sender)
        notification = await sender.notifies(all_of(everybody), "news", mode="interject")

        async def arrived() -> bool:
            return await counts(sender, notification) == {"delivered": len(everybody)}

        await until(arrived)
        assert tried(channel, "news") == {person.conversation: 1 for person in everybody}
        assert len(everybody) < await proactive_turns(sender) - before <= 2 * len(everybody)
