"""What becomes of a delivery when the channel is busy, broken, or will not have it."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging

import pytest

from domain import sending
from testkit.channel import FakeChannel, Mood
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.serving import impatient

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")

BLOCKED = {"error": {"code": "Forbidden", "message": json.dumps({"subCode": "MessageWritesBlocked"})}}
BLOCKED_BY_USER = {"error": {"code": "ConversationBlockedByUser", "message": "User blocked the conversation."}}
NOT_INSTALLED = {"error": {"code": "ForbiddenOperationException", "message": "Not installed."}}
NOT_IN_ROSTER = {"error": {"code": "BotNotInConversationRoster", "message": "Not in the roster."}}
NO_CONVERSATION = {"error": {"code": "ConversationNotFound", "message": "Conversation not found."}}


def mood(status: int, body: object = None, *, accept: bool = False, **headers: str) -> Mood:
    data = None if body is None else json.dumps(body).encode()
    return Mood(status, data, {name.replace("_", "-"): value for name, value in headers.items()}, accept)


@pytest.fixture(autouse=True)
async def ann_is_known(ann: Person, bob: Person) -> None:
    await ann.says("hello")
    await bob.says("hello")


def attempts(channel: FakeChannel, text: str) -> int:
    """How often the channel was sent this."""
    return sum((body or {}).get("text") == text for *_, body in channel.requests)


class TestAChannelThatSaysWait:
    async def test_is_asked_again_later(self, ann: Person, sender: Sender, channel: FakeChannel) -> None:
        """429 is known not to have been shown: it is sent again, and cannot be repeated."""
        channel.answers(ann.conversation, mood(429, Retry_After="0"), mood(429, Retry_After="0"))
        notification = await sender.notifies(ann, "news", mode="interject")
        delivery = await sender.becomes(notification, "delivered")
        assert delivery["mayBeRepeated"] is False
        assert attempts(channel, "news") == 3
        assert ann.news() == ["news"]

    async def test_is_sent_nothing_before_its_time(self, ann: Person, bob: Person, sender: Sender) -> None:
        """What the user says is still heard, in turn after turn; others are not held up."""
        ann.channel.answers(ann.conversation, mood(429, Retry_After="3600"))
        first = await sender.notifies(ann, "news", mode="interject")
        await until(lambda: attempts(ann.channel, "news"))
        for text in ("one", "two", "three"):
            assert await ann.says(text) == []
        second = await sender.notifies(ann, "more news", mode="interject")
        await sender.becomes(await sender.notifies(bob, "for bob", mode="interject"), "delivered")
        await until(lambda: self._waiting(sender, ann, 5))
        assert len([1 for _, conversation, *_ in ann.channel.requests if conversation == ann.conversation]) == 2
        for notification in (first, second):
            assert (await sender.delivery(notification))["status"] == "pending"

    async def _waiting(self, sender: Sender, person: Person, number: int) -> bool:
        return int((await sender.conversation(person))["outbox"]) >= number

    async def test_is_sent_everything_in_order_when_its_time_has_come(
        self, ann: Person, sender: Sender, channel: FakeChannel
    ) -> None:
        """Turns went on meanwhile, and what they said stands behind what waited."""
        channel.answers(ann.conversation, mood(429, Retry_After="1"))
        await sender.notifies(ann, "news", mode="interject")
        await until(lambda: attempts(channel, "news"))
        assert await ann.says("one") == []
        assert await ann.says("two") == []
        await ann.hears("news", "You sent: one", "You sent: two")


class TestAChannelThatFails:
    async def test_is_tried_again(self, ann: Person, sender: Sender, channel: FakeChannel) -> None:
        """After a 500 nobody knows whether it was shown: it is sent again, and that is recorded."""
        channel.answers(ann.conversation, mood(500))
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert (delivery["attempts"], delivery["mayBeRepeated"]) == (2, True)
        assert ann.news() == ["news"]

    @pytest.mark.parametrize("status", [504, 0], ids=["504", "connection closed"])
    async def test_may_have_shown_it(self, ann: Person, sender: Sender, channel: FakeChannel, status: int) -> None:
        """Shown, but the answer was lost: it is repeated once, and the sender can tell."""
        channel.answers(ann.conversation, mood(status, accept=True))
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert (delivery["attempts"], delivery["mayBeRepeated"]) == (2, True)
        assert ann.news() == ["news", "news"]

    @pytest.mark.parametrize("status", [500, 504, 0])
    async def test_is_not_tried_again_where_once_is_enough(
        self, ann: Person, sender: Sender, channel: FakeChannel, status: int
    ) -> None:
        """``at_most_once`` ends as unknown, and what comes after it is sent."""
        channel.answers(ann.conversation, mood(status))
        notification = await sender.notifies(ann, "news", mode="interject", guarantee="at_most_once")
        await sender.becomes(notification, "unknown")
        assert await ann.says("still there?") == ["You sent: still there?"]
        assert attempts(channel, "news") == 1

    async def test_is_tried_again_where_it_is_known_not_to_have_shown_it(
        self, ann: Person, sender: Sender, channel: FakeChannel
    ) -> None:
        """``at_most_once`` does not mean that a 429 loses it."""
        channel.answers(ann.conversation, mood(429, Retry_After="0"))
        notification = await sender.notifies(ann, "news", mode="interject", guarantee="at_most_once")
        await sender.becomes(notification, "delivered")
        assert ann.news() == ["news"]

    async def test_for_good_is_given_up(
        self, ann: Person, sender: Sender, channel: FakeChannel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After so many attempts the delivery has failed; the conversation goes on."""
        monkeypatch.setattr(sending, "TRIES", 3)
        channel.answers(ann.conversation, *[mood(500)] * 3)
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "failed")
        assert (delivery["reason"], delivery["attempts"]) == ("exhausted", 3)
        assert await ann.says("still there?") == ["You sent: still there?"]

    async def test_keeps_the_order_of_what_comes_after(self, ann: Person, sender: Sender, channel: FakeChannel) -> None:
        let_go = asyncio.Event()
        channel.answers(ann.conversation, Mood(503, before=let_go))
        await sender.notifies(ann, "first", mode="interject")
        await until(lambda: attempts(channel, "first"))
        saying = asyncio.create_task(ann.posts(ann.activity(text="second")))
        await sender.notifies(ann, "third", mode="queue")
        let_go.set()
        await saying
        texts = await ann.sees(lambda texts: "You sent: second" in texts and "first" in texts)
        assert texts.index("first") < texts.index("You sent: second")


class TestAChannelThatRefuses:
    @pytest.mark.parametrize(
        ("answer", "reason", "reachability"),
        [
            (mood(403, BLOCKED), "blocked", "blocked"),
            (mood(403, BLOCKED_BY_USER), "blocked", "blocked"),
            (mood(403, NOT_INSTALLED), "uninstalled", "uninstalled"),
            (mood(403, NOT_IN_ROSTER), "uninstalled", "uninstalled"),
            (mood(400, {"error": {"code": "BadSyntax"}}), "rejected", "active"),
            (mood(413), "rejected", "active"),
        ],
        ids=["blocked", "blocked by the user", "not installed", "not in the roster", "bad", "too large"],
    )
    async def test_says_why(
        self, ann: Person, sender: Sender, channel: FakeChannel, answer: Mood, reason: str, reachability: str
    ) -> None:
        """One attempt; the reason is on the delivery, and on the conversation where it is about that."""
        channel.answers(ann.conversation, answer)
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "failed")
        assert (delivery["reason"], delivery["attempts"]) == (reason, 1)
        assert (await sender.conversation(ann))["reachability"] == reachability
        assert attempts(channel, "news") == 1

    async def test_is_believed_until_the_user_speaks(self, ann: Person, sender: Sender, channel: FakeChannel) -> None:
        """Somebody who unblocked the bot can be reached again."""
        channel.answers(ann.conversation, mood(403, BLOCKED))
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "failed")
        blocked = await sender.conversation(ann)
        assert "MessageWritesBlocked" in blocked["reachabilityDetail"]
        assert await ann.says("I am back") == ["You sent: I am back"]
        active = await sender.conversation(ann)
        assert active["reachability"] == "active"
        assert not active["reachabilityDetail"]

    async def test_for_a_moment_is_asked_again(self, ann: Person, sender: Sender, channel: FakeChannel) -> None:
        """ConversationNotFound comes and goes."""
        channel.answers(ann.conversation, mood(404, NO_CONVERSATION))
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert (delivery["attempts"], delivery["mayBeRepeated"]) == (2, False)

    async def test_for_good_is_gone(self, ann: Person, sender: Sender, channel: FakeChannel) -> None:
        channel.answers(ann.conversation, *[mood(404, NO_CONVERSATION)] * sending.PATIENCE)
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "failed")
        assert (delivery["reason"], delivery["attempts"]) == ("gone", sending.PATIENCE)
        assert (await sender.conversation(ann))["reachability"] == "gone"

    async def test_is_logged_without_what_was_said(
        self, ann: Person, sender: Sender, channel: FakeChannel, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "aside")
        channel.answers(ann.conversation, mood(400, {"error": {"code": "BadSyntax"}}))
        await sender.becomes(await sender.notifies(ann, "my secret news", mode="interject"), "failed")
        (record,) = [record for record in caplog.records if getattr(record, "action", "") == "send_given_up"]
        assert "BadSyntax" in record.getMessage()
        assert "my secret news" not in caplog.text


class TestAnAcceptanceThatCannotBeRead:
    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"id": true}'], ids=["empty", "html", "list", "none"])
    async def test_is_an_acceptance(self, ann: Person, sender: Sender, channel: FakeChannel, body: bytes) -> None:
        """The channel has it; only its id is not known."""
        channel.answers(ann.conversation, Mood(200, body))
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert delivery["activityId"] is None
        assert ann.news() == ["news"]

    async def test_may_be_compressed_and_its_id_a_number(
        self, ann: Person, sender: Sender, channel: FakeChannel
    ) -> None:
        """Though nobody asked for that."""
        channel.answers(ann.conversation, Mood(200, gzip.compress(b'{"id": 7}'), {"Content-Encoding": "gzip"}))
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert delivery["activityId"] == "7"

    async def test_is_understood_also_where_it_is_a_refusal(
        self, ann: Person, sender: Sender, channel: FakeChannel
    ) -> None:
        body = gzip.compress(json.dumps(BLOCKED).encode())
        channel.answers(ann.conversation, Mood(403, body, {"Content-Encoding": "gzip"}, accept=False))
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "failed")
        assert delivery["reason"] == "blocked"
