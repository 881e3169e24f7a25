"""Dead letters: what was given up is kept with its cause and history, and can be tried again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import domain.sending
from app import Service
from domain.errors import StoreUnavailable
from testkit.channel import Mood
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.test_cancelling import spared


async def letters(sender: Sender) -> list[dict[str, object]]:
    status, body = await sender.gets("/api/dead-letters")
    assert status == 200
    found: list[dict[str, object]] = body["deadLetters"]
    return found


async def replays(sender: Sender, letter: object) -> int:
    async with sender.http.post(f"{sender.bot_url}/api/dead-letters/{letter}/replay") as response:
        return response.status


async def replays_many(sender: Sender, reason: str, **query: str) -> Json:
    url = f"{sender.bot_url}/api/dead-letters/replay"
    async with sender.http.post(url, params={"reason": reason, **query}) as response:
        assert response.status == 202
        body: Json = await response.json()
        return body


async def fails(ann: Person, sender: Sender, text: str, **fields: Any) -> str:
    """A notification that the channel refuses."""
    ann.channel.answers(ann.conversation, Mood(status=400))
    notification = await sender.notifies(ann, text, mode="interject", **fields)
    await sender.becomes(notification, "failed")
    return notification


async def ends_as(sender: Sender, notification: str, status: str) -> Json:
    """Unlike ``Sender.becomes``, from whatever end it had before."""

    async def ended() -> Json | None:
        delivery = await sender.delivery(notification)
        return delivery if delivery["status"] == status else None

    delivery: Json = await until(ended, what=f"{notification} ends as {status}")
    return delivery


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

    async def test_says_what_was_said_and_to_whom(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        await fails(ann, sender, "malformed, it says")
        (letter,) = await letters(sender)
        assert letter["user"] == {"id": "29:ann", "name": "Ann", "aadObjectId": "aad-ann"}
        assert letter["text"] == "malformed, it says"
        assert letter["content"] == {"text": "malformed, it says"}

    async def test_is_kept_too_if_nobody_knows_whether_it_was_shown(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        ann.channel.answers(ann.conversation, Mood(status=500, accept=True))
        notification = await sender.notifies(ann, "once", mode="interject", guarantee="at_most_once")
        await sender.becomes(notification, "unknown")
        (letter,) = await letters(sender)
        assert (letter["reason"], letter["text"]) == ("unknown", "once")
        assert await replays(sender, letter["id"]) == 409
        assert (await sender.delivery(notification))["status"] == "unknown"
        assert ann.news() == ["once"]

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

    async def test_is_done_once(self, ann: Person, sender: Sender) -> None:
        """However often it is asked for at the same moment."""
        await ann.says("hello")
        notification = await fails(ann, sender, "once more")
        (letter,) = await letters(sender)
        answers = await asyncio.gather(*(replays(sender, letter["id"]) for _ in range(10)))
        assert 202 in answers
        assert set(answers) <= {202, 404, 409}
        await ends_as(sender, notification, "delivered")
        await ann.says("anything else?")
        assert ann.shows().count("once more") == 1

    async def test_goes_on_where_it_broke_off(
        self, ann: Person, sender: Sender, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The store goes away when it lies in the mailbox already; it is shown, and then asked for again."""
        await ann.says("hello")
        notification = await fails(ann, sender, "once more")
        (letter,) = await letters(sender)

        async def is_away(_: object) -> None:
            raise StoreUnavailable("away")

        with monkeypatch.context() as broken:
            broken.setattr(service.dead_letters, "remove", is_away)
            assert await replays(sender, letter["id"]) == 503
        await ends_as(sender, notification, "delivered")
        assert [each["id"] for each in await letters(sender)] == [letter["id"]]
        assert await replays(sender, letter["id"]) == 409
        assert await letters(sender) == []
        await ann.says("anything else?")
        assert ann.shows().count("once more") == 1

    async def test_begins_again_where_it_did_not_come_far(
        self, ann: Person, sender: Sender, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The record has taken it up, and the mailbox has not: asked for again, it is shown."""
        await ann.says("hello")
        notification = await fails(ann, sender, "once more")
        (letter,) = await letters(sender)

        async def is_away(*_: object) -> bool:
            raise StoreUnavailable("away")

        with monkeypatch.context() as broken:
            broken.setattr(service.mail, "put_again", is_away)
            assert await replays(sender, letter["id"]) == 503
        assert await replays(sender, letter["id"]) == 202
        await ends_as(sender, notification, "delivered")
        assert ann.shows().count("once more") == 1
        assert await letters(sender) == []

    async def test_that_fails_anew_can_be_repeated(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        notification = await fails(ann, sender, "third time lucky")
        for _ in range(2):
            (letter,) = await letters(sender)
            ann.channel.answers(ann.conversation, Mood(status=400))
            assert await replays(sender, letter["id"]) == 202

            async def failed_anew(before: object = letter["at"]) -> bool:
                return [each["at"] for each in await letters(sender)] not in ([], [before])

            await until(failed_anew)
        (letter,) = await letters(sender)
        assert await replays(sender, letter["id"]) == 202
        await ends_as(sender, notification, "delivered")

    async def test_says_that_it_may_have_been_shown(
        self, ann: Person, sender: Sender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The attempts before may have been accepted: the sender is told also after the replay."""
        monkeypatch.setattr(domain.sending, "FIRST_PAUSE", 0.001)
        monkeypatch.setattr(domain.sending, "TRIES", 2)
        await ann.says("hello")
        ann.channel.answers(ann.conversation, Mood(status=500, accept=True), Mood(status=500))
        notification = await sender.notifies(ann, "twice", mode="interject")
        assert (await sender.becomes(notification, "failed"))["mayBeRepeated"] is True
        (letter,) = await letters(sender)
        assert await replays(sender, letter["id"]) == 202
        assert (await ends_as(sender, notification, "delivered"))["mayBeRepeated"] is True
        assert ann.shows().count("twice") == 2

    async def test_of_what_was_withdrawn_says_so(self, ann: Person, sender: Sender) -> None:
        """It can be replayed all the same; cancelled again, it is cancelled."""
        await ann.says("hello")
        notification = await fails(ann, sender, "never mind")
        assert await spared(sender, notification) == 0
        (letter,) = await letters(sender)
        ann.channel.answers(ann.conversation, Mood(status=429, headers={"Retry-After": "3600"}))
        async with sender.http.post(f"{sender.bot_url}/api/dead-letters/{letter['id']}/replay") as response:
            assert (await response.json())["withdrawn"] is True

        async def tried() -> bool:
            delivery = await sender.delivery(notification)
            return (delivery["status"], delivery["attempts"]) == ("pending", 1)

        await until(tried)
        assert await spared(sender, notification) == 1
        await ends_as(sender, notification, "cancelled")
        assert ann.news() == []

    async def test_of_what_was_withdrawn_shows_it(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        notification = await fails(ann, sender, "after all")
        await spared(sender, notification)
        (letter,) = await letters(sender)
        assert await replays(sender, letter["id"]) == 202
        await ends_as(sender, notification, "delivered")
        assert ann.news() == ["after all"]

    async def test_of_many_at_once(self, ann: Person, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those with the reason; what was withdrawn stays, and the answer says why."""
        await ann.says("hello")
        refused = [await fails(ann, sender, f"news {number}") for number in range(3)]
        withdrawn = await fails(ann, sender, "never mind")
        await spared(sender, withdrawn)
        monkeypatch.setattr(domain.sending, "TRIES", 1)
        ann.channel.answers(ann.conversation, Mood(status=500))
        exhausted = await sender.notifies(ann, "nobody listens", mode="interject")
        await sender.becomes(exhausted, "failed")
        answer = await replays_many(sender, "rejected")
        assert (answer["replayed"], answer["next"]) == (3, None)
        assert [each["id"] for each in answer["left"]] == [f"{withdrawn}.0"]
        assert "cancelled" in answer["left"][0]["detail"]
        for notification in refused:
            await ends_as(sender, notification, "delivered")
        assert sorted(ann.news()) == ["news 0", "news 1", "news 2"]
        assert {each["text"] for each in await letters(sender)} == {"never mind", "nobody listens"}

    async def test_of_many_goes_on_page_by_page(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        notifications = [await fails(ann, sender, f"news {number}") for number in range(3)]
        first = await replays_many(sender, "rejected", limit="2")
        assert first["replayed"] == 2
        second = await replays_many(sender, "rejected", limit="2", cursor=first["next"])
        assert (second["replayed"], second["next"]) == (1, None)
        for notification in notifications:
            await ends_as(sender, notification, "delivered")

    async def test_asked_for_again_says_that_it_may_be_done(self, ann: Person, sender: Sender) -> None:
        """Whoever lost the first answer is not told that there never was such a letter."""
        await ann.says("hello")
        notification = await fails(ann, sender, "once more")
        (letter,) = await letters(sender)
        assert await replays(sender, letter["id"]) == 202
        await ends_as(sender, notification, "delivered")
        async with sender.http.post(f"{sender.bot_url}/api/dead-letters/{letter['id']}/replay") as response:
            answer = await response.json()
        assert (response.status, "replayed already" in answer["detail"]) == (404, True)

    async def test_of_something_unknown_is_404(self, sender: Sender) -> None:
        assert await replays(sender, "ntf_nowhere.0") == 404
