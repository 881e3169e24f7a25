"""Actions of a notification: a tap is an answer to it, recorded for its sender, and never one to an open form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testkit.channel import Mood
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.serving import serving

APPROVE = {"title": "Approve", "value": "approve 17"}
REJECT = {"title": "Reject", "value": "reject 17"}
NOTED = "Thank you, I have passed it on: Approve"
STANDS = "You have answered that already; your first answer stands."
SEVERITY = "How severe is it?"


async def asked(person: Person, sender: Sender, *actions: Json, **fields: Any) -> tuple[str, list[Json]]:
    """Interject something with these actions; its id, and the buttons that the person sees."""
    before = len(person.channel.messages(person.conversation))
    notification = await sender.notifies(person, "Deploy?", mode="interject", actions=list(actions), **fields)
    await sender.becomes(notification, "delivered")
    person.news()
    card = person.channel.messages(person.conversation)[before]["attachments"][0]["content"]
    buttons: list[Json] = card["buttons"]
    return notification, buttons


async def taps(person: Person, button: Json) -> list[str]:
    """As a client does it."""
    if button["type"] == "imBack":
        return await person.says(button["value"])
    assert button["type"] == "messageBack"
    return await person.says(button["text"], value=button["value"])


async def result(sender: Sender, notification: str) -> Any:
    """What the sender reads of the answer, as soon as there is one."""

    async def given() -> Json | None:
        delivery = await sender.delivery(notification)
        return delivery if delivery["result"] is not None else None

    return (await until(given, what="the answer is recorded"))["result"]


class TestAnAnswer:
    async def test_is_told_to_the_sender(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        notification, (approve, _) = await asked(ann, sender, APPROVE, REJECT)
        assert (await sender.delivery(notification))["result"] is None
        assert await taps(ann, approve) == [NOTED]
        assert await result(sender, notification) == "approve 17"
        delivery = await sender.delivery(notification)
        assert (delivery["status"], delivery["attempts"]) == ("delivered", 1)

    async def test_shows_the_title_where_it_is_said(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        _, (approve, _) = await asked(ann, sender, APPROVE, REJECT)
        assert (approve["title"], approve["displayText"]) == ("Approve", "Approve")

    async def test_is_none_to_the_form_that_is_open(self, ann: Person, sender: Sender) -> None:
        """Even where the form would take it; its question comes back."""
        for said in ("report", "low", "1"):
            await ann.says(said)
        notification, (approve, _) = await asked(ann, sender, APPROVE, REJECT)
        assert await taps(ann, approve) == [NOTED, "What happened?"]
        assert await result(sender, notification) == "approve 17"
        assert (await ann.says("smoke"))[0].startswith("File this report: low, 1 affected, “smoke”?")

    @pytest.mark.parametrize("drops", ["value as text", "no value"])
    async def test_is_understood_however_a_channel_sends_it(self, ann: Person, sender: Sender, drops: str) -> None:
        for said in ("report", "low", "1"):
            await ann.says(said)
        notification, (approve, _) = await asked(ann, sender, APPROVE, REJECT)
        value = {"value": json.dumps(approve["value"])} if drops == "value as text" else {}
        assert await ann.says(approve["text"] if drops == "no value" else "", **value) == [NOTED, "What happened?"]
        assert await result(sender, notification) == "approve 17"

    async def test_stands_once_it_is_given(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        notification, (approve, reject) = await asked(ann, sender, APPROVE, REJECT)
        assert await taps(ann, approve) == [NOTED]
        assert await taps(ann, reject) == [STANDS]
        assert await taps(ann, approve) == [STANDS]
        assert await result(sender, notification) == "approve 17"

    async def test_is_told_at_once_though_the_channel_says_wait(self, ann: Person, sender: Sender) -> None:
        """Only what is to be shown waits for the channel."""
        await ann.says("hello")
        notification, (approve, reject) = await asked(ann, sender, APPROVE, REJECT)
        ann.channel.answers(ann.conversation, Mood(status=429, headers={"Retry-After": "2"}))
        assert await ann.says("hello") == []
        await taps(ann, approve)
        assert (await sender.delivery(notification))["result"] == "approve 17"
        await taps(ann, reject)
        await ann.sees(lambda texts: texts[-2:] == [NOTED, STANDS])

    async def test_can_be_given_to_what_is_opened_later(self, ann: Person, sender: Sender) -> None:
        """What waited is answered as what was told, and so is what a digest has a line of."""
        await ann.says("report")
        waits = await sender.notifies(ann, "Deploy?", mode="resume", actions=[APPROVE])
        await sender.becomes(waits, "held")
        await ann.says("inbox")
        await ann.says("open 1")
        (approve,) = ann.channel.messages(ann.conversation)[-2]["attachments"][0]["content"]["buttons"]
        assert (await taps(ann, approve))[0] == NOTED
        assert await result(sender, waits) == "approve 17"

    async def test_is_refused_in_a_conversation_that_was_not_asked(
        self, ann: Person, bob: Person, sender: Sender
    ) -> None:
        """The button says which delivery it answers; nobody answers for others by writing it."""
        await ann.says("hello")
        await bob.says("hello")
        notification, (approve,) = await asked(ann, sender, APPROVE)
        assert await taps(bob, approve) == ["I no longer have that one."]
        assert (await sender.delivery(notification))["result"] is None
        assert await taps(ann, approve) == [NOTED]

    @pytest.mark.parametrize(
        "value",
        [
            {"asideAnswer": "ntf_unknown.0", "action": 0},
            {"asideAnswer": "{delivery}", "action": 7},
            {"asideAnswer": "{delivery}", "action": 1},
        ],
    )
    async def test_has_to_be_one_that_was_offered(self, ann: Person, sender: Sender, value: Json) -> None:
        await ann.says("hello")
        link = {"title": "Log", "url": "https://ci.example.com/17"}
        notification, (approve, _) = await asked(ann, sender, APPROVE, link)
        forged = {**value, "asideAnswer": value["asideAnswer"].format(delivery=approve["value"]["asideAnswer"])}
        assert await ann.says("", value=forged) == ["I no longer have that one."]
        assert (await sender.delivery(notification))["result"] is None

    @pytest.mark.parametrize("value", [{"asideAnswer": None}, {"asideAnswer": ["x"], "action": {}}, "{no JSON", [1], 7])
    async def test_is_not_seen_in_other_values(self, ann: Person, value: Any) -> None:
        assert await ann.says("hello", value=value) == ["You sent: hello"]


class TestOtherActions:
    async def test_say_a_text_as_the_user_would(self, ann: Person, sender: Sender) -> None:
        """That is for the form, if one is open."""
        await ann.says("report")
        notification, (high, jobs) = await asked(
            ann, sender, {"title": "It is bad", "say": "high"}, {"title": "My jobs", "say": "jobs"}
        )
        assert (await taps(ann, jobs))[0].startswith("You have no jobs.")
        assert await taps(ann, high) == ["How many people are affected?"]
        assert (await sender.delivery(notification))["result"] is None

    async def test_open_an_address(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        _, (button,) = await asked(ann, sender, {"title": "Log", "url": "https://ci.example.com/17"})
        assert button == {"type": "openUrl", "title": "Log", "value": "https://ci.example.com/17"}


class TestDialogsThatWantToKnow:
    service = serving(ROOT_DIALOG="tests.own_dialogs.answering:Clerk")

    async def test_are_offered_it_while_they_wait(self, ann: Person, sender: Sender) -> None:
        await ann.says("hi")
        notification, (approve, reject) = await asked(ann, sender, APPROVE, REJECT)
        assert await taps(ann, approve) == ["Approve: approve 17, first: True"]
        assert await taps(ann, reject) == [STANDS, "Your name?"]
        assert await result(sender, notification) == "approve 17"
        assert await ann.says("Ann") == ["Hello Ann"]

    async def test_are_offered_it_while_nothing_waits(self, ann: Person, sender: Sender) -> None:
        """The root dialog is, and is not begun by it."""
        await ann.says("hi")
        await ann.says("Ann")
        _, (approve, _) = await asked(ann, sender, APPROVE, REJECT)
        assert await taps(ann, approve) == ["Approve: approve 17, first: True"]
        assert await taps(ann, approve) == ["Approve: approve 17, first: False"]
        assert (await sender.conversation(ann))["dialogs"] == []
