"""Conversations of several people: one conversation, one turn at a time, and each person's own things."""

from __future__ import annotations

from typing import Any

import pytest

from app import Service
from sdk.activities import activity_from_json
from testkit.people import Person, Sender
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
        assert annie.news()[1:] == ["news"]
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

    @pytest.mark.parametrize(
        ("written", "mention"),
        [
            ("<AT>aside</AT>", {"text": "<at>Aside</at>"}),
            ("<at>Aside</at>\xa0", {"text": "<at>Aside</at>"}),
            ('<at id="0">Aside</at>', {"text": "<at>Aside</at>"}),
            ("<at>R&amp;D Bot</at>", {"mentioned": {"id": "28:bot", "name": "R&D Bot"}}),
            ("<at>R&D Bot</at>", {"text": "<at>R&amp;D Bot</at>"}),
            ("<at>R&amp;D Bot</at>", {"text": "<at>R&D Bot</at>"}),
            ("@Aside", {"mentioned": {"id": "28:bot", "name": "Aside"}}),
            ("<at>Bot (1)*</at>", {"text": "<at>Bot (1)*</at>"}),
        ],
    )
    async def test_is_found_however_it_is_written(self, annie: Person, written: str, mention: dict[str, Any]) -> None:
        """Teams leaves its text out where the name has an ampersand, and does not keep to one case."""
        entity = {"type": "mention", "mentioned": {"id": "28:bot"}, **mention}
        assert await annie.says(f"{written} hello", entities=[None, entity]) == ["You sent: hello"]

    @pytest.mark.parametrize("mentioned", [{"id": "29:bob", "name": "Bob"}, "Bob", None])
    async def test_of_somebody_else_stays(self, annie: Person, mentioned: Any) -> None:
        entity = {"type": "mention", "text": "<at>Bob</at>", "mentioned": mentioned}
        assert await annie.says("<at>Bob</at> hello", entities=[entity]) == ["You sent: <at>Bob</at> hello"]

    async def test_in_a_notification_is_shown_where_its_entity_is(self, annie: Person, sender: Sender) -> None:
        """Channels look for it in the text of the message: on a card it would notify nobody."""
        await annie.says("hello")
        mention = {"type": "mention", "text": "<at>Bob</at>", "mentioned": {"id": "29:bob", "name": "Bob"}}
        activity = {"type": "message", "text": "<at>Bob</at> please look", "entities": [mention]}
        status, accepted = await sender.posts(
            {"to": {"conversation": annie.key}, "activity": activity, "title": "Build 7", "mode": "interject"}
        )
        assert status == 202
        await sender.becomes(accepted["id"], "delivered")
        shown = annie.channel.messages(annie.conversation)[-1]
        assert shown["text"] == "<at>Bob</at> please look"
        assert shown["attachments"][0]["content"]["title"] == "Build 7"
        assert "please look" not in str(shown["attachments"])

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
