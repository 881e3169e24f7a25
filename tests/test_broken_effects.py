"""What a turn has committed and nobody can carry out is put aside: its conversation goes on."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from channel.http import HttpChannel
from domain.effect import Send, effect_from_json
from domain.errors import NewerState
from domain.ids import ConversationKey
from domain.sending import ChannelAnswer
from state import keys
from state.jobs import JobStore
from testkit.people import Person, Sender
from tests.serving import impatient, serving
from tests.test_dead_letters import letters, replays

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")


class TestAChangeThatCannotBeCarriedOut:
    service = serving(ROOT_DIALOG="tests.own_dialogs.failing:Changing")

    @pytest.mark.parametrize("text", ["no id", "a number", "no address", "nowhere", "no conversation"])
    async def test_is_told_to_the_dialog_that_wants_it(self, ann: Person, sender: Sender, text: str) -> None:
        """And not found out after the commit, when there is nobody left to be told."""
        assert await ann.says(text) == ["said", "NotAddressed"]
        assert await ann.says("and now") == ["said"]
        assert await letters(sender) == []

    @pytest.mark.parametrize("text", ["its own", "delete its own"])
    async def test_of_what_goes_out_in_the_response_too(self, ann: Person, text: str) -> None:
        """A reply in the response has no id, neither under the SDK."""
        status, body = await ann.posts(ann.activity(text=text, deliveryMode="expectReplies"))
        assert status == 200
        assert body is not None
        assert [reply["text"] for reply in body["activities"]][:2] == ["said", "NotAddressed"]
        assert await ann.says("and now") == ["said"]

    async def test_is_not_one_of_an_id_that_was_answered(self, ann: Person) -> None:
        assert await ann.says("its own") == ["changed"]
        assert await ann.says("delete its own") == []


class TestAnEffectThatRaises:
    """Whatever it is that nobody expected."""

    async def test_ends_its_delivery_and_what_is_behind_it_goes_on(
        self, ann: Person, sender: Sender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        await ann.says("hello")
        poisoned(monkeypatch, "poison")
        poison = await sender.notifies(ann, "poison", mode="interject")
        delivery = await sender.becomes(poison, "failed")
        assert (delivery["reason"], delivery["attempts"]) == ("rejected", 1)
        assert ann.news() == []
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert await ann.says("hi") == ["news", "You sent: hi"]
        (letter,) = await letters(sender)
        assert (letter["notification"], letter["conversation"]) == (poison, ann.key)
        assert letter["history"] == ["AttributeError: what nobody expected"]
        (record,) = [record for record in caplog.records if getattr(record, "action", "") == "effect_put_aside"]
        assert vars(record)["conversation"] == ann.key
        assert record.exc_info is not None
        monkeypatch.undo()
        assert await replays(sender, letter["id"]) == 202
        await ann.hears("poison")

    async def test_is_kept_as_a_dead_letter_if_it_is_a_reply(
        self, ann: Person, sender: Sender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of which there is nothing to replay."""
        poisoned(monkeypatch, "You sent: poison")
        assert await ann.says("poison") == []
        assert await ann.says("hi") == ["You sent: hi"]
        (letter,) = await letters(sender)
        assert letter["history"] == ["AttributeError: what nobody expected"]
        assert await replays(sender, letter["id"]) == 409

    async def test_is_tried_more_than_once_where_that_does_no_harm(
        self, ann: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a broken connection may look like is not given up at once."""
        submit, tries = JobStore.submit, []

        async def shaky(self: JobStore, *args: Any) -> Any:
            tries.append(args)
            if len(tries) == 1:
                raise RuntimeError("the handler is closed")
            return await submit(self, *args)

        monkeypatch.setattr(JobStore, "submit", shaky)
        await ann.says("compute factor 15")
        await ann.sees(lambda texts: any("3 × 5" in text for text in texts))

    async def test_is_kept_if_it_is_a_job(
        self, ann: Person, sender: Sender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_: Any) -> None:
            raise KeyError("job")

        monkeypatch.setattr(JobStore, "submit", broken)
        await ann.says("compute factor 15")
        assert await ann.says("hi") == ["You sent: hi"]
        (letter,) = await letters(sender)
        assert letter["history"] == ["KeyError: 'job'"]
        assert str(letter["job"]).startswith("job_")


class TestAnOutboxWithSomethingUnreadable:
    async def test_is_worked_off_all_the_same(self, ann: Person, sender: Sender, real_url: str) -> None:
        await ann.says("hello")
        redis = Redis.from_url(real_url)
        await redis.rpush(keys.outbox(ConversationKey(ann.key)), b'0.0 {"kind":"submit","job":{"surprise":1}}')
        await redis.aclose()
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert await ann.says("hi") == ["news", "You sent: hi"]
        (letter,) = await letters(sender)
        assert "surprise" in str(letter["history"])

    def test_leaves_what_is_newer_to_newer_processes(self) -> None:
        with pytest.raises(NewerState):
            effect_from_json({"kind": "from the future"})


def poisoned(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The channel's client raises over one text."""
    carry = HttpChannel.carry

    async def raising(self: HttpChannel, send: Send, activity_id: str | None) -> ChannelAnswer:
        if send.activity.get("text") == text or text in str(send.activity.get("attachments")):
            raise AttributeError("what nobody expected")
        return await carry(self, send, activity_id)

    monkeypatch.setattr(HttpChannel, "carry", raising)
