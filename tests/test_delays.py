"""``delay`` activities space what a turn says, as under the SDK."""

from __future__ import annotations

import asyncio

import pytest

from sdk import adapter
from testkit.people import Person
from tests.serving import serving


class TestADelay:
    service = serving(ROOT_DIALOG="tests.own_dialogs.pausing:Pausing", FLUSH_AFTER="60")

    @pytest.mark.parametrize("how", ["at once", "one by one"])
    async def test_is_seen_between_two_messages(self, ann: Person, how: str) -> None:
        """What comes before it is shown before it, without any typing, and what comes after it after it."""
        turn = asyncio.create_task(ann.posts(ann.activity(text=how)))
        await ann.hears("one")
        assert not turn.done()
        assert (await turn)[0] == 200
        await ann.hears("two")
        assert [shown.activity["type"] for shown in ann.channel.shown[ann.conversation]] == ["message", "message"]

    async def test_before_the_first_message_leaves_the_turn_one_transaction(self, ann: Person) -> None:
        """Nothing is to be seen before it, so nothing goes out before the commit."""
        (apology,) = await ann.says("fail")
        assert "went wrong" in apology

    async def test_that_says_no_time_is_no_mistake(self, ann: Person) -> None:
        """A second where it says nothing or no number, none where it is negative, and never longer than is promised."""
        pauses = [adapter._pause(value) for value in (None, 0, "soon", -5, 250, 10**9)]
        assert pauses == [1.0, 1.0, 1.0, 0.0, 0.25, adapter.LONGEST_DELAY]
        assert await ann.says("else") == ["hello"]

    async def test_in_an_answer_that_goes_out_in_the_response_changes_nothing(self, ann: Person) -> None:
        status, body = await ann.posts(ann.activity(text="else", deliveryMode="expectReplies"))
        assert status == 200
        assert body is not None
        assert body["activities"][-1]["text"] == "hello"
