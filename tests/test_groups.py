"""Conversations of several people: one conversation, one turn at a time, and each person's own things."""

from __future__ import annotations

import pytest

from app import Service
from state.activities import activity_from_json
from tests.people import Person, Sender
from tests.serving import serving

THREAD = "19:general@thread.tacv2;messageid=1"


def in_group(person: Person, conversation: str = THREAD) -> Person:
    there = person.elsewhere(conversation)
    there.extra = {"conversation": {"id": conversation, "conversationType": "channel", "tenantId": "tenant-1"}}
    return there


@pytest.fixture
def annie(ann: Person) -> Person:
    """Ann in the group."""
    return in_group(ann)


@pytest.fixture
def bobby(bob: Person) -> Person:
    """Bob in the group."""
    return in_group(bob)


class TestAGroup:
    async def test_is_one_conversation_whoever_speaks(self, annie: Person, bobby: Person, sender: Sender) -> None:
        await annie.says("hello")
        await bobby.says("hello")
        _, body = await sender.gets("/api/conversations")
        (known,) = body["conversations"]
        assert known["key"] == f"msteams/{THREAD}"
        assert known["conversationType"] == "channel"

    async def test_is_told_a_notification_once(self, annie: Person, bobby: Person, sender: Sender) -> None:
        await annie.says("hello")
        await bobby.says("hello")
        await sender.becomes(await sender.notifies(annie, "news", mode="interject"), "delivered")
        assert annie.shows() == ["You sent: hello", "You sent: hello", "news"]

    async def test_has_threads_that_are_conversations_of_their_own(self, ann: Person, sender: Sender) -> None:
        """A form in one thread keeps nobody busy in another."""
        one, two = in_group(ann, f"{THREAD}0"), in_group(ann, f"{THREAD}1")
        await one.says("report")
        await two.says("hello")
        await sender.becomes(await sender.notifies(two, "news", mode="resume"), "delivered")
        await sender.becomes(await sender.notifies(one, "news", mode="resume"), "held")

    async def test_may_have_nobody_who_spoke(self, annie: Person, sender: Sender) -> None:
        """A bot that was added to a channel can speak there first, though there is no user to know."""
        activity = annie.activity(type="conversationUpdate", membersAdded=[{"id": "28:bot"}])
        del activity["from"]
        assert (await annie.posts(activity))[0] == 200
        await sender.becomes(await sender.notifies(annie, "news", mode="interject"), "delivered")
        assert annie.news() == ["news"]
        assert (await sender.conversation(annie))["user"] is None


class TestAMention:
    """In a channel, people call the bot by its name; what they want is the rest."""

    MENTION = "<at>Aside</at>"

    async def says(self, person: Person, text: str) -> list[str]:
        entity = {"type": "mention", "text": self.MENTION, "mentioned": {"id": "28:bot", "name": "Aside"}}
        return await person.says(f"{self.MENTION} {text}", entities=[entity])

    async def test_is_no_part_of_a_command(self, annie: Person) -> None:
        assert (await self.says(annie, "remind me"))[0].startswith("Tell me when and what")
        assert await self.says(annie, "hello Aside") == ["You sent: hello Aside"]

    async def test_is_no_part_of_an_answer(self, annie: Person) -> None:
        await self.says(annie, "report")
        assert await self.says(annie, "high") == ["How many people are affected?"]
        assert await self.says(annie, "cancel") == ["All right, I dropped the form."]


class TestTheStateOfAGroup:
    service = serving(ROOT_DIALOG="tests.own_dialogs.failing:Counting")

    async def test_is_shared_and_that_of_each_person_is_not(self, annie: Person, bobby: Person, bob: Person) -> None:
        """Counted here, and for each person everywhere."""
        assert await annie.says("hi") == ["count 1 1"]
        await bobby.says("hi")
        assert annie.shows()[-1] == "count 2 1"
        assert await bob.says("hi") == ["count 1 2"]
        await annie.says("hi")
        assert annie.shows()[-1] == "count 3 2"


class TestAPersonWhoseTurnIsRunLater:
    service = serving(ROOT_DIALOG="tests.own_dialogs.names:Names")

    async def test_is_not_taken_for_another(self, service: Service, annie: Person, bobby: Person) -> None:
        """What a process had promised to answer when it died is answered by the turn of whoever speaks next."""
        await annie.says("Ann")
        await bobby.says("Bob")
        assert await service.pipeline.keep(activity_from_json(annie.activity(text="me again")), 1.0)
        await bobby.says("and me")
        assert annie.shows() == ["Hello Ann", "Hello Bob", "Hello Ann", "Hello Bob"]
