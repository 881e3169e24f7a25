"""Every way in which a channel can fail: each has its outcome, the chat shows nothing of it, and others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from channel import http as http_channel
from domain import sending
from testkit.channel import FakeChannel, Mood
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.serving import impatient
from tests.test_channel_answers import BLOCKED, NO_CONVERSATION, NOT_INSTALLED, attempts, mood

__all__ = ["impatient"]

TRIES = 4


class Never(asyncio.Event):
    """Does not come; unlike an event, it may be waited for in any test."""

    async def wait(self) -> Literal[True]:
        await asyncio.get_running_loop().create_future()
        return True


NEVER = Never()


@pytest.fixture(autouse=True)
async def ann_is_known(impatient: None, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts are fewer than they would be, and pauses shorter."""
    monkeypatch.setattr(sending, "TRIES", TRIES)
    monkeypatch.setattr(sending, "THROTTLED_PAUSE", 0.05)
    for person in (ann, bob):
        await person.says("hello")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """``answers`` of the channel, and what comes of a notification that meets them."""

    answers: tuple[Mood, ...]
    status: str = "delivered"
    reason: str | None = None
    attempts: int = 2
    repeated: bool = False
    shown: int = 1
    """How often the chat shows it."""
    cause: str = ""
    """How the last entry of the dead letter's history begins."""


def once(answer: Mood, **outcome: Any) -> Fault:
    return Fault(answers=(answer,), **outcome)


def for_good(answer: Mood, reason: str, cause: str, *, times: int = TRIES, **outcome: Any) -> Fault:
    failed = {"status": "failed", "reason": reason, "attempts": times, "shown": 0, "cause": cause}
    return Fault(answers=(answer,) * times, **{**failed, **outcome})


IN_DOUBT = {"repeated": True}
SHOWN_TWICE = {"repeated": True, "shown": 2}
HTML = b"<html>\xff\xfe nothing of this is JSON"

FAULTS: dict[str, Fault] = {
    "429": once(mood(429), attempts=1),
    "429 with Retry-After": once(mood(429, Retry_After="0.1"), attempts=1),
    "429 with a date": once(mood(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), attempts=1),
    "429 with nonsense": once(mood(429, Retry_After="soon"), attempts=1),
    "429 with less than nothing": once(mood(429, Retry_After="-5"), attempts=1),
    "500": once(mood(500), **IN_DOUBT),
    "502 with HTML": once(Mood(502, HTML), **IN_DOUBT),
    "503 with Retry-After": once(mood(503, Retry_After="0.1"), **IN_DOUBT),
    "5xx for good": for_good(Mood(503, HTML), "exhausted", "503 <html>", **IN_DOUBT),
    "accepts, then 504": once(mood(504, accept=True), **SHOWN_TWICE),
    "412": once(mood(412), **IN_DOUBT),
    "closes the connection": once(Mood(0), **IN_DOUBT),
    "resets the connection": once(Mood(0, resets=True), **IN_DOUBT),
    "accepts, then resets": once(Mood(0, accept=True, resets=True), **SHOWN_TWICE),
    "blocked": for_good(mood(403, BLOCKED), "blocked", "403", times=1),
    "not installed": for_good(mood(403, NOT_INSTALLED), "uninstalled", "403", times=1),
    "403 with HTML": for_good(Mood(403, HTML), "rejected", "403 <html>", times=1),
    "401": once(mood(401)),
    "401 for good": for_good(mood(401), "unauthorized", "401"),
    "404": once(mood(404, NO_CONVERSATION)),
    "404 for good": for_good(mood(404, NO_CONVERSATION), "gone", "404", times=sending.PATIENCE),
    "404 among others": Fault(answers=(mood(500), mood(404), mood(503)), attempts=4, repeated=True),
    "410 for good": for_good(mood(410), "gone", "410", times=sending.PATIENCE),
    "moved": once(mood(308, Location="https://elsewhere.example/")),
    "moved for good": for_good(mood(301, Location="https://else/"), "exhausted", "301 moved to https://else/"),
    "accepts, not in JSON": once(Mood(200, HTML), attempts=1),
    "accepts, and breaks off": once(Mood(201, cut=True), attempts=1),
    "fails, and breaks off": once(Mood(500, cut=True), **IN_DOUBT),
    "refuses, and breaks off": once(Mood(400, cut=True), **IN_DOUBT),
}
HANGING: dict[str, Fault] = {
    "hangs": once(Mood(before=NEVER, accept=False), **IN_DOUBT),
    "accepts, then hangs": once(Mood(after=NEVER), **SHOWN_TWICE),
    "hangs for good": for_good(Mood(before=NEVER, accept=False), "exhausted", "TimeoutError", **IN_DOUBT),
}
"""These take as long as a send has time."""


def somebody(ann: Person, name: str) -> Person:
    """In a tenant of their own: what happens to one is nothing to the others."""
    person = Person(ann.http, ann.bot_url, ann.channel, name)
    person.extra["conversation"] = {"id": person.conversation, "tenantId": f"tenant of {name}"}
    return person


async def outcome_of(name: str, fault: Fault, person: Person, sender: Sender) -> Fault:
    """What comes of a notification while the channel does this to one conversation, told as that fault."""
    channel, text = person.channel, f"news of {name}"
    await person.says("hello")
    channel.answers(person.conversation, *fault.answers)
    notification = await sender.notifies(person, text, mode="interject")
    delivery = await sender.becomes(notification, fault.status)
    shown = person.news()
    assert set(shown) <= {text}, name
    refused = [answer for answer in fault.answers if not answer.shows]
    assert attempts(channel, text) == len(refused) + max(len(shown), fault.status == "delivered"), name
    cause = await _replayed(person, sender, notification, text) if fault.status == "failed" else ""
    assert await person.says("still there?") == ["You sent: still there?"], name
    return Fault(
        answers=fault.answers,
        status=delivery["status"],
        reason=delivery["reason"],
        attempts=delivery["attempts"],
        repeated=delivery["mayBeRepeated"],
        shown=len(shown),
        cause=fault.cause if cause.startswith(fault.cause) else cause,
    )


async def _replayed(person: Person, sender: Sender, notification: str, text: str) -> str:
    """Replay what failed, which then arrives; the cause that was listed with it."""

    async def letters() -> list[dict[str, Any]]:
        _, body = await sender.gets("/api/dead-letters?limit=100")
        return [letter for letter in body["deadLetters"] if letter["notification"] == notification]

    (letter,) = await letters()
    assert letter["reason"] == (await sender.delivery(notification))["reason"]
    assert len(letter["history"]) == letter["attempts"]
    async with sender.http.post(f"{sender.bot_url}/api/dead-letters/{letter['id']}/replay") as response:
        assert response.status == 202
    await person.hears(text)
    assert await letters() == []
    return str(letter["history"][-1])


async def test_every_fault_has_its_outcome(ann: Person, bob: Person, sender: Sender) -> None:
    """All of them at once, each in a conversation of its own. The sender can read what came of it; the chat shows the
    notification, or nothing; others get theirs meanwhile; and it is not tried more often than it says. What failed is
    listed with its cause and what became of each attempt, and arrives when it is replayed."""
    await _have_their_outcomes(FAULTS, ann, bob, sender)


async def test_a_channel_that_hangs_is_one_that_fails(
    ann: Person, bob: Person, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as a send has taken longer than it has time: it may have been shown."""
    monkeypatch.setattr(http_channel, "SEND_SECONDS", 1.0)
    await asyncio.gather(_have_their_outcomes(HANGING, ann, bob, sender), _is_answered(HANGING["hangs"], ann))


async def _have_their_outcomes(faults: dict[str, Fault], ann: Person, bob: Person, sender: Sender) -> None:
    going_on = asyncio.gather(*(outcome_of(name, fault, somebody(ann, name), sender) for name, fault in faults.items()))
    bob.news()
    last = [*faults][-1]
    await until(lambda: attempts(ann.channel, f"news of {last}"))
    await sender.becomes(await sender.notifies(bob, "for bob", mode="interject"), "delivered")
    assert bob.news() == ["for bob"]
    assert dict(zip(faults, await going_on, strict=True)) == faults


@pytest.mark.parametrize("name", ["429", "500", "resets the connection", "401", "404", "moved"])
async def test_an_answer_meets_faults_too(ann: Person, name: str) -> None:
    """The channel is told that its activity was taken; the answer comes as soon as it can, and nothing else."""
    await _is_answered(FAULTS[name], ann)


async def _is_answered(fault: Fault, person: Person) -> None:
    person.news()
    person.channel.answers(person.conversation, *fault.answers)
    status, _ = await person.posts(person.activity(text="anybody there?"))
    assert status == 200
    await person.hears("You sent: anybody there?")


class TestAChannelThatSaysWaitForEver:
    async def test_is_not_asked_once_nobody_needs_the_answer(
        self, ann: Person, sender: Sender, channel: FakeChannel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What expires while it waits to be sent is not shown days later; what comes after it is."""
        monkeypatch.setattr(sending, "LONGEST_PAUSE", 0.2)
        ann.news()
        channel.answers(ann.conversation, *[mood(429, Retry_After="0")] * 1000)
        expires = datetime.now(UTC) + timedelta(seconds=2)
        stale = await sender.notifies(ann, "stale", mode="interject", expiresAt=expires.isoformat())
        fresh = await sender.notifies(ann, "fresh", mode="interject")
        await until(lambda: attempts(channel, "stale"))
        await sender.becomes(stale, "expired")
        tried = attempts(channel, "stale")
        channel.moods.clear()
        await sender.becomes(fresh, "delivered")
        assert ann.news() == ["fresh"]
        assert attempts(channel, "stale") == tried
        _, body = await sender.gets("/api/dead-letters")
        assert body["deadLetters"] == []

    async def test_is_given_up_in_the_end(
        self, ann: Person, sender: Sender, channel: FakeChannel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also for what does not expire."""
        monkeypatch.setattr(sending, "THROTTLED_TRIES", 3)
        ann.news()
        channel.answers(ann.conversation, *[mood(429)] * 3)
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "failed")
        assert delivery["reason"] == "exhausted"
        assert attempts(channel, "news") == 3
        assert await ann.says("still there?") == ["You sent: still there?"]

    async def test_is_not_believed_without_bounds(
        self, ann: Person, sender: Sender, channel: FakeChannel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sending, "LONGEST_THROTTLE", 0.1)
        ann.news()
        channel.answers(ann.conversation, mood(429, Retry_After="1e300"), mood(429, Retry_After="inf"))
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert ann.news() == ["news"]


class TestAChannelThatIsAway:
    async def test_is_tried_again_until_it_is_back(self, ann: Person, sender: Sender, channel: FakeChannel) -> None:
        """Who is refused a connection has sent nothing: ``at_most_once`` may try again, and nothing is repeated."""
        await channel.stop()
        notification = await sender.notifies(ann, "news", mode="interject", guarantee="at_most_once")
        await until(lambda: self._tried(sender, notification))
        await channel.comes_back()
        delivery = await sender.becomes(notification, "delivered")
        assert delivery["mayBeRepeated"] is False
        assert attempts(channel, "news") == 1

    async def _tried(self, sender: Sender, notification: str) -> bool:
        return bool((await sender.delivery(notification)).get("attempts"))

    async def test_for_good_is_given_up(self, ann: Person, sender: Sender, channel: FakeChannel) -> None:
        await channel.stop()
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "failed")
        assert (delivery["reason"], delivery["attempts"]) == ("exhausted", TRIES)
        assert delivery["mayBeRepeated"] is False
        _, body = await sender.gets("/api/dead-letters")
        assert body["deadLetters"][0]["history"] == ["ConnectionRefusedError"] * TRIES


class TestAConversationThatMoves:
    @pytest.fixture
    async def moved(self) -> AsyncIterator[FakeChannel]:
        moved = await FakeChannel().start()
        yield moved
        await moved.stop()

    @pytest.fixture
    def ann_there(self, ann: Person, moved: FakeChannel) -> Person:
        return Person(ann.http, ann.bot_url, moved, ann.name, ann.conversation)

    @pytest.mark.parametrize("answer", [Mood(0), mood(308), mood(404), mood(429, Retry_After="3600")])
    async def test_takes_along_what_waits_for_it(
        self,
        ann: Person,
        ann_there: Person,
        sender: Sender,
        monkeypatch: pytest.MonkeyPatch,
        answer: Mood,
    ) -> None:
        """The service URL of what the user sends last is the conversation's: what the old one would not take goes to
        the new one, at once, and before the answer."""
        monkeypatch.setattr(sending, "FIRST_PAUSE", 100.0)
        ann.channel.answers(ann.conversation, answer)
        notification = await sender.notifies(ann, "news", mode="interject")
        await until(lambda: attempts(ann.channel, "news"))
        assert await ann_there.says("I am here now") == ["news", "You sent: I am here now"]
        await sender.becomes(notification, "delivered")
        await sender.becomes(await sender.notifies(ann, "more", mode="interject"), "delivered")
        assert ann_there.news() == ["more"]
        assert attempts(ann.channel, "news") == 1
