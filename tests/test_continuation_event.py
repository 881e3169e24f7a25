"""A notification is a turn like any other: the bot's own handler sees the event that the SDK would make."""

from __future__ import annotations

import pytest

from testkit.people import Person, Sender
from tests.serving import serving


class TestTheEvent:
    service = serving(ROOT_DIALOG="tests.own_dialogs.listening:Witness")

    @pytest.fixture(autouse=True)
    async def a_dialog_waits(self, ann: Person) -> None:
        assert await ann.says("stay", locale="de-DE") == ["begun 1: message"]

    async def test_has_the_name_the_locale_the_user_and_what_is_to_be_said(self, ann: Person, sender: Sender) -> None:
        """``ContinueConversation``, from the user, related to the conversation; its value lists the deliveries."""
        await sender.notifies(ann, "news", mode="interject", category="ci")
        await ann.hears("event ContinueConversation de-DE 29:ann ['ci'] True", "begun 1: message")

    async def test_tells_the_same_of_every_delivery(self, ann: Person, sender: Sender) -> None:
        """What was left at its default is there too."""
        await sender.notifies(ann, "news", mode="interject")
        await ann.hears("event ContinueConversation de-DE 29:ann ['general'] True", "begun 1: message")

    async def test_does_not_continue_the_dialog(self, ann: Person, sender: Sender) -> None:
        await sender.notifies(ann, "news", mode="interject")
        await ann.hears("event ContinueConversation de-DE 29:ann ['general'] True", "begun 1: message")
        assert await ann.says("go on") == ["continued: message"]

    async def test_does_not_begin_the_root_dialog(self, ann: Person, sender: Sender) -> None:
        await ann.says("go on")
        ann.news()
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert ann.news() == ["news"]
        assert (await sender.conversation(ann))["dialogs"] == []

    async def test_brings_whatever_lies_in_the_mailbox(self, ann: Person, sender: Sender) -> None:
        """In the order in which it was accepted."""
        await ann.says("go on")
        ids = [await sender.notifies(ann, f"news {number}", mode="queue") for number in range(3)]
        for one in ids:
            await sender.becomes(one, "queued")
        assert await ann.says("hello") == ["news 0", "news 1", "news 2", "begun 2: message"]


class TestAnEventOfTheChannel:
    service = serving(ROOT_DIALOG="tests.own_dialogs.listening:Witness")

    async def test_begins_nothing(self, ann: Person) -> None:
        """An event is nobody's opening words."""
        await ann.posts(ann.activity(type="event", name="page/opened"))
        assert ann.news() == []

    async def test_continues_the_dialog_that_waits(self, ann: Person) -> None:
        await ann.says("stay")
        await ann.posts(ann.activity(type="event", name="page/opened"))
        assert ann.news() == ["continued: event"]

    async def test_that_calls_itself_a_continuation_begins_nothing(self, ann: Person) -> None:
        """The name alone gives nobody power over the dialogs."""
        await ann.says("stay")
        await ann.posts(ann.activity(type="event", name="ContinueConversation"))
        assert ann.news() == []
        assert await ann.says("go on") == ["continued: message"]
