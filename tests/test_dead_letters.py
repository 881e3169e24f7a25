"""Dead letters: what was given up is kept with its cause and history, and can be tried again."""

from __future__ import annotations

import pytest

import domain.sending
from tests.fake_channel import Mood
from tests.people import Person, Sender
from tests.waiting import until


async def letters(sender: Sender) -> list[dict[str, object]]:
    status, body = await sender.gets("/api/dead-letters")
    assert status == 200
    found: list[dict[str, object]] = body["deadLetters"]
    return found


async def replays(sender: Sender, letter: object) -> int:
    async with sender.http.post(f"{sender.bot_url}/api/dead-letters/{letter}/replay") as response:
        return response.status


class TestADeliveryThatWasGivenUp:
    async def test_is_kept_with_its_cause(self, ann: Person, sender: Sender) -> None:
        """The channel refused the activity: the sender sees ``failed``, the operator what the channel said."""
        await ann.says("hello")
        ann.channel.answers(ann.conversation, Mood(status=400, body=b'{"error":{"code":"BadSyntax"}}'))
        notification = await sender.notifies(ann, "malformed, it says", mode="interject")
        assert (await sender.becomes(notification, "failed"))["reason"] == "rejected"
        (letter,) = await letters(sender)
        assert letter["conversation"] == ann.key
        assert letter["notification"] == notification
        assert letter["reason"] == "rejected"
        assert letter["attempts"] == 1
        assert letter["history"] == ['400 {"error":{"code":"BadSyntax"}}']

    async def test_is_kept_with_what_became_of_each_attempt(
        self, ann: Person, sender: Sender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(domain.sending, "FIRST_PAUSE", 0.001)
        monkeypatch.setattr(domain.sending, "TRIES", 3)
        await ann.says("hello")
        ann.channel.answers(ann.conversation, Mood(status=500), Mood(status=502), Mood(status=503))
        notification = await sender.notifies(ann, "nobody listens", mode="interject")
        assert (await sender.becomes(notification, "failed"))["reason"] == "exhausted"
        (letter,) = await letters(sender)
        history = letter["history"]
        assert isinstance(history, list)
        assert [entry.split()[0] for entry in history] == ["500", "502", "503"]

    async def test_does_not_hold_up_the_one_behind_it(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        ann.channel.answers(ann.conversation, Mood(status=400))
        await sender.becomes(await sender.notifies(ann, "refused", mode="interject"), "failed")
        await sender.becomes(await sender.notifies(ann, "fine", mode="interject"), "delivered")
        assert ann.news() == ["fine"]


class TestReplay:
    async def test_sends_a_notification_again(self, ann: Person, sender: Sender) -> None:
        """The delivery is pending once more, ends as what becomes of it now, and the dead letter is gone."""
        await ann.says("hello")
        ann.channel.answers(ann.conversation, Mood(status=400))
        notification = await sender.notifies(ann, "second time lucky", mode="interject")
        await sender.becomes(notification, "failed")
        (letter,) = await letters(sender)
        assert await replays(sender, letter["id"]) == 202
        await ann.hears("second time lucky")

        async def delivered() -> bool:
            return (await sender.delivery(notification))["status"] == "delivered"

        await until(delivered)
        assert await letters(sender) == []
        status, body = await sender.gets(f"/api/notifications/{notification}")
        assert (status, body["counts"]) == (200, {"delivered": 1})

    async def test_sends_the_answer_of_a_job_again(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        await ann.says("compute factor 15")
        ann.news()
        # The acknowledgement went out above: the next request of this conversation is the answer.
        ann.channel.answers(ann.conversation, *([Mood(status=400)] if len(ann.channel.requests) == 2 else []))
        await until(lambda: len(ann.channel.requests) >= 3)
        found = await until(lambda: letters(sender))
        assert await replays(sender, found[0]["id"]) == 202
        await ann.sees(lambda texts: any("3 × 5" in text for text in texts))

    async def test_of_something_unknown_is_404(self, sender: Sender) -> None:
        assert await replays(sender, "ntf_nowhere.0") == 404
