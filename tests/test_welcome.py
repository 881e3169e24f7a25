"""Who is welcomed: each user once, and a group when the bot is added to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from testkit.people import Json, Person
from tests.test_groups import in_group

BOT = [{"id": "28:bot"}]
INSTALLED: Json = {"type": "installationUpdate", "action": "add"}
ADDED: Json = {"type": "conversationUpdate", "membersAdded": BOT}


async def hears_of(person: Person, **activity: Any) -> list[str]:
    status, _ = await person.posts(person.activity(**activity))
    assert status == 200
    return person.news()


class TestAPersonalInstall:
    @pytest.mark.parametrize("first", [ADDED, INSTALLED])
    async def test_is_welcomed_once(self, ann: Person, first: Json) -> None:
        """Teams names only the bot in one activity, and sends another besides; one of them may come late, or never."""
        (welcome,) = await hears_of(ann, **first)
        assert welcome.startswith("Hi!")
        assert "`help`" in welcome
        for activity in (ADDED, INSTALLED, {"type": "conversationUpdate", "membersAdded": [{"id": "29:ann"}, *BOT]}):
            assert await hears_of(ann, **activity) == []

    async def test_is_welcomed_once_though_both_come_together(self, ann: Person) -> None:
        await asyncio.gather(*(ann.posts(ann.activity(**activity)) for activity in (ADDED, INSTALLED)))
        assert len(ann.news()) == 1

    async def test_is_not_what_an_upgrade_is(self, ann: Person) -> None:
        assert await hears_of(ann, type="installationUpdate", action="add-upgrade") == []

    async def test_is_one_for_each_conversation(self, ann: Person, bob: Person) -> None:
        assert len(await hears_of(ann, **INSTALLED)) == 1
        assert len(await hears_of(bob, **INSTALLED)) == 1


class TestAClientThatJoins:
    """Direct Line tells of the bot, and then of the user."""

    async def test_is_welcomed_once(self, ann: Person) -> None:
        ann.extra = {"channelId": "directline", "conversation": {"id": ann.conversation}}
        assert await hears_of(ann, **ADDED, **{"from": {"id": "28:bot"}}) == []
        joins: Json = {"type": "conversationUpdate", "membersAdded": [{"id": "29:ann"}]}
        assert len(await hears_of(ann, **joins)) == 1
        assert await hears_of(ann, **joins) == []
        assert await ann.says("help") != []


class TestAGroup:
    async def test_is_told_who_added_it_and_what_it_offers(self, ann: Person, bob: Person) -> None:
        """Once, whoever joins later; again when the bot has been away."""
        annie, bobby = in_group(ann), in_group(bob)
        (told,) = await hears_of(annie, **ADDED)
        assert told.startswith("Hi! Ann added me to this conversation.")
        assert "`help`" in told
        assert await hears_of(annie, **INSTALLED) == []
        await hears_of(bobby, type="conversationUpdate", membersAdded=[{"id": "29:bob"}])
        assert len(annie.shows()) == 1
        await hears_of(bobby, type="conversationUpdate", membersRemoved=BOT)
        await hears_of(bobby, **ADDED)
        assert [text.split(".")[0] for text in annie.shows()] == [
            f"Hi! {who} added me to this conversation" for who in ("Ann", "Bob")
        ]

    async def test_is_told_the_name_that_the_channel_knows(self, ann: Person) -> None:
        """Teams writes no name into these activities."""
        annie = in_group(ann)
        ann.channel.members["29:ann"] = "Ann Example"
        annie.extra["from"] = {"id": "29:ann", "aadObjectId": "aad-ann"}
        (told,) = await hears_of(annie, **INSTALLED)
        assert told.startswith("Hi! Ann Example added me to this conversation.")

    async def test_is_told_no_name_where_nobody_knows_it(self, ann: Person) -> None:
        annie = in_group(ann)
        annie.extra["from"] = {"id": "29:ann", "aadObjectId": "aad-ann"}
        (told,) = await hears_of(annie, **INSTALLED)
        assert told.startswith("Hi! I was added to this conversation.")
