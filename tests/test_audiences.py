"""Whom a notification reaches: what is for a person goes to that person in private."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.serving import serving

CHANNEL = "19:general@thread.tacv2"


def in_shared(person: Person, conversation: str, **account: Any) -> Person:
    """The person in a conversation that others read."""
    there = person.elsewhere(conversation)
    there.extra = {**person.extra, "conversation": {"id": conversation, "tenantId": "tenant-1", **account}}
    return there


def on(person: Person, channel_id: str, conversation: str = "a:there") -> Person:
    """Whoever has the same ids on another channel."""
    return Person(person.http, person.bot_url, person.channel, person.name, conversation, channelId=channel_id)


async def reaches(sender: Sender, to: Json) -> list[str]:
    """The conversations that an audience is, by their deliveries."""
    nid = await sender.notifies(to, "news", mode="queue")
    _, body = await sender.gets(f"/api/notifications/{nid}")
    assert body["recipients"] == len(body["deliveries"])
    return sorted(delivery["conversation"] for delivery in body["deliveries"])


@pytest.fixture(params=["user", "aadObjectId"])
def to_ann(request: pytest.FixtureRequest) -> Json:
    return {"user": "29:ann"} if request.param == "user" else {"aadObjectId": "aad-ann"}


class TestAPerson:
    async def test_is_told_in_the_personal_conversation_used_last(
        self, ann: Person, sender: Sender, to_ann: Json
    ) -> None:
        other = ann.elsewhere("a:ann:2")
        await ann.says("hello")
        await other.says("hello")
        assert await reaches(sender, to_ann) == [other.key]
        await ann.says("me again")
        assert await reaches(sender, to_ann) == [ann.key]

    async def test_is_told_in_all_of_them_if_asked_for(self, ann: Person, sender: Sender, to_ann: Json) -> None:
        other = ann.elsewhere("a:ann:2")
        shared = in_shared(ann, "19:chat@thread.v2", conversationType="groupChat")
        for person in (ann, other, shared):
            await person.says("hello")
        assert await reaches(sender, {**to_ann, "every": True}) == [ann.key, other.key]

    @pytest.mark.parametrize(
        "account",
        [
            {"id": "19:chat@thread.v2", "conversationType": "groupChat"},
            {"id": f"{CHANNEL};messageid=1", "conversationType": "channel"},
            {"id": "C024BE91L", "isGroup": True},
            {"id": "19:chat@thread.v2"},
            {"id": "19:general@thread.skype"},
            {"id": f"{CHANNEL};messageid=1"},
            {"id": "somewhere", "conversationType": "room"},
            {"id": "somewhere", "conversationType": "personal", "isGroup": True},
        ],
        ids=lambda account: " ".join(map(str, account.values())),
    )
    async def test_is_never_told_where_others_read(
        self, ann: Person, sender: Sender, to_ann: Json, account: Json
    ) -> None:
        """However a channel says so, or does not."""
        shared = in_shared(ann, account["id"], **account)
        await shared.says("hello")
        status, problem = await sender.posts({"to": to_ann, "text": "news"})
        assert (status, problem["type"]) == (404, "urn:aside:problem:unknown-user")
        assert "conversationType" in problem["errors"][0]["detail"]
        await ann.says("hello")
        await shared.says("me again")
        assert await reaches(sender, to_ann) == [ann.key]

    async def test_is_told_in_private_on_a_channel_that_says_nothing_of_it(self, ann: Person, sender: Sender) -> None:
        there = on(ann, "webchat")
        await there.posts(there.activity(text="hello", conversation={"id": there.conversation}))
        assert await reaches(sender, {"user": "29:ann"}) == [there.key]

    async def test_is_not_told_where_another_has_spoken_since(
        self, ann: Person, bob: Person, sender: Sender
    ) -> None:
        """A conversation that says it is personal, and is passed on, is its present user's."""
        first = ann.elsewhere("a:passed-on")
        await ann.says("hello")
        await first.says("hello")
        await bob.elsewhere("a:passed-on").says("hello, I am Bob")
        assert await reaches(sender, {"user": "29:ann"}) == [ann.key]
        assert await reaches(sender, {"user": "29:bob"}) == [first.key]


    async def test_is_not_told_where_several_speak(self, ann: Person, bob: Person, sender: Sender) -> None:
        """Of a channel that says nothing of it: whoever spoke last is not alone there."""
        first, second = (on(person, "slack", "C024:T1") for person in (ann, bob))
        for person in (first, second):
            person.extra = {**person.extra, "conversation": {"id": "C024:T1"}}
        await first.says("hello")
        assert await reaches(sender, {"user": "29:ann"}) == [first.key]
        await second.says("hello")
        await second.says("and again")
        for user in ("29:ann", "29:bob"):
            status, _ = await sender.posts({"to": {"user": user}, "text": "news"})
            assert status == 404
        assert await reaches(sender, {"user": "29:bob", "conversationType": ["groupChat"]}) == [first.key]


class TestAnIdOnSeveralChannels:
    async def test_is_not_taken_for_one_person(self, ann: Person, sender: Sender) -> None:
        """The channels are named, and nothing is recorded."""
        await ann.says("hello")
        await on(ann, "slack").says("hello")
        status, problem = await sender.posts({"to": {"user": "29:ann", "every": True}, "text": "news"})
        assert status == 422
        (error,) = problem["errors"]
        assert error["pointer"] == "/to/user"
        assert "msteams, slack" in error["detail"]
        assert "channelId" in error["detail"]
        assert (await sender.gets("/api/notifications"))[1]["notifications"] == []

    async def test_is_whom_the_channels_say(self, ann: Person, sender: Sender) -> None:
        """One channel or a list; the latest conversation on each."""
        slack, sms = on(ann, "slack"), on(ann, "sms")
        for person in (ann, ann.elsewhere("a:ann:2"), slack, sms):
            await person.says("hello")
        to = {"user": "29:ann"}
        assert await reaches(sender, {**to, "channelId": "slack"}) == [slack.key]
        assert await reaches(sender, {**to, "channelId": ["sms"]}) == [sms.key]
        assert await reaches(sender, {**to, "channelId": ["msteams", "slack"]}) == ["msteams/a:ann:2", slack.key]
        status, problem = await sender.posts({"to": {**to, "channelId": ["webchat", "x"]}, "text": "news"})
        assert (status, problem["type"]) == (404, "urn:aside:problem:unknown-user")

    async def test_need_not_be_a_person_of_each_in_private(self, ann: Person, sender: Sender) -> None:
        """Somebody who has this id in a group of another channel may still be somebody else."""
        await ann.says("hello")
        await in_shared(on(ann, "slack"), "C024BE91L", isGroup=True).says("hello")
        status, _ = await sender.posts({"to": {"user": "29:ann"}, "text": "news"})
        assert status == 422


class TestADirectoryId:
    async def test_is_no_client_s_to_claim(self, ann: Person, bob: Person, sender: Sender) -> None:
        """Web Chat passes on whatever its client writes; Teams vouches for it."""
        await ann.says("hello")
        mallory = on(bob, "webchat", "a:mallory")
        await mallory.posts(mallory.activity(text="hello", **{"from": {"id": "mallory", "aadObjectId": "aad-ann"}}))
        assert await reaches(sender, {"aadObjectId": "aad-ann"}) == [ann.key]
        assert (await sender.conversation(mallory))["user"] == {"id": "mallory", "name": None, "aadObjectId": None}
        status, _ = await sender.posts({"to": {"aadObjectId": "aad-ann", "channelId": "webchat"}, "text": "news"})
        assert status == 404

    async def test_is_no_client_s_to_claim_on_the_local_channel(self, ann: Person, sender: Sender) -> None:
        """Neither when the conversation begins nor with what is said; the bot is not told of it either."""
        claim = {"id": "mallory", "aadObjectId": "aad-ann", "AadObjectID": "aad-ann"}
        base = f"{ann.bot_url}/v3/directline/conversations"
        async with ann.http.post(base, json={"user": claim}) as response:
            began = await response.json()
        url = f"{base}/{began['conversationId']}/activities"
        authorization = {"Authorization": f"Bearer {began['token']}"}
        said = {"type": "message", "text": "hello", "from": claim}
        async with ann.http.post(url, json=said, headers=authorization) as response:
            assert response.status == 200
        async with ann.http.get(url, headers=authorization) as response:
            accounts = [activity["from"] for activity in (await response.json())["activities"]]
        assert {"id": "mallory", "role": "user"} in accounts
        status, _ = await sender.posts({"to": {"aadObjectId": "aad-ann"}, "text": "news"})
        assert status == 404


class TestADirectoryIdOnOtherChannels:
    service = serving(AAD_CHANNELS="msteams, webchat")

    async def test_is_believed_if_that_is_wanted(self, ann: Person, sender: Sender) -> None:
        there = on(ann, "webchat")
        await there.says("hello")
        assert await reaches(sender, {"aadObjectId": "aad-ann"}) == [there.key]


class TestWhatOthersMayRead:
    async def test_goes_where_the_person_was_heard(self, ann: Person, sender: Sender, to_ann: Json) -> None:
        """Each group chat, and of a channel one thread: that which was used last."""
        chats = [in_shared(ann, f"19:{name}@thread.v2", conversationType="groupChat") for name in ("x", "y")]
        threads = [in_shared(ann, f"{CHANNEL};messageid={number}", conversationType="channel") for number in (1, 2)]
        for person in (ann, *chats, threads[1], threads[0]):
            await person.says("hello")
        everywhere = {**to_ann, "conversationType": ["personal", "groupChat", "channel"]}
        assert await reaches(sender, everywhere) == sorted(each.key for each in (ann, *chats, threads[0]))
        assert await reaches(sender, {**to_ann, "conversationType": ["channel"]}) == [threads[0].key]

    async def test_is_addressed_to_the_person_meant(
        self, ann: Person, bob: Person, sender: Sender, to_ann: Json
    ) -> None:
        """Not to whoever spoke last."""
        chat = "19:x@thread.v2"
        annie, bobby = (in_shared(person, chat, conversationType="groupChat") for person in (ann, bob))
        await annie.says("hello")
        await ann.says("hello")
        await bobby.says("hello")
        to = {**to_ann, "conversationType": ["groupChat"]}
        await sender.becomes(await sender.notifies(to, "news", mode="interject"), "delivered")
        sent = ann.channel.messages(chat)[-1]
        assert sent["text"] == "news"
        assert sent["recipient"]["id"] == "29:ann"
        await sender.becomes(await sender.notifies(bobby, "to all", mode="interject"), "delivered")
        assert ann.channel.messages(chat)[-1]["recipient"]["id"] == "29:bob"


class TestSomebodyWhoLeft:
    """A group, a channel or a team."""

    def in_thread(self, person: Person, root: str, number: int = 1) -> Person:
        there = in_shared(person, f"{root};messageid={number}", conversationType="channel")
        there.extra["channelData"] = {"team": {"id": CHANNEL}, "channel": {"id": root}}
        return there

    async def leaves(self, group: Person, member: Json, **fields: Any) -> None:
        """Another tells it, as Teams does."""
        said = {"type": "conversationUpdate", "from": {"id": "29:owner"}, "membersRemoved": [member], **fields}
        assert (await group.posts(group.activity(**said)))[0] == 200

    async def found(self, sender: Sender, to: Json) -> list[str]:
        everywhere = {**to, "conversationType": ["personal", "groupChat", "channel"]}
        status, _ = await sender.posts({"to": everywhere, "text": "news", "dryRun": True})
        return await reaches(sender, everywhere) if status == 200 else []

    @pytest.mark.parametrize("member", [{"id": "29:ann"}, {"id": "29:ann", "aadObjectId": "aad-ann"}])
    async def test_is_not_found_in_the_group(
        self, ann: Person, bob: Person, sender: Sender, to_ann: Json, member: Json
    ) -> None:
        """Also if another spoke last; those who stay are, and so is who comes back and speaks."""
        annie, bobby = (in_shared(person, "19:x@thread.v2", conversationType="groupChat") for person in (ann, bob))
        for person in (ann, annie, bobby):
            await person.says("hello")
        assert await self.found(sender, to_ann) == [annie.key, ann.key]
        await self.leaves(bobby, member)
        assert await self.found(sender, to_ann) == [ann.key]
        assert await self.found(sender, {"user": "29:bob"}) == [bobby.key]
        await annie.says("back again")
        assert await self.found(sender, to_ann) == [annie.key, ann.key]
        await self.leaves(bobby, member)
        assert (await sender.conversation(annie))["user"] is None
        await annie.says("and again")
        assert await self.found(sender, to_ann) == [annie.key, ann.key]

    async def test_is_not_found_in_any_channel_of_the_team(self, ann: Person, sender: Sender, to_ann: Json) -> None:
        """The team tells it once, in its own conversation."""
        other = "19:other@thread.tacv2"
        threads = [self.in_thread(ann, CHANNEL), self.in_thread(ann, other), self.in_thread(ann, other, 2)]
        elsewhere = in_shared(ann, "19:elsewhere@thread.tacv2;messageid=1", conversationType="channel")
        for person in (*threads, elsewhere):
            await person.says("hello")
        assert len(await self.found(sender, to_ann)) == 3
        team = in_shared(ann, CHANNEL, conversationType="channel")
        await self.leaves(team, {"id": "29:ann"}, channelData={"team": {"id": CHANNEL}})
        assert await self.found(sender, to_ann) == [elsewhere.key]

    async def test_one_channel_alone_is_found_in_the_others(self, ann: Person, sender: Sender, to_ann: Json) -> None:
        one, two = self.in_thread(ann, "19:one@thread.tacv2"), self.in_thread(ann, "19:two@thread.tacv2")
        for person in (one, two):
            await person.says("hello")
        channel = in_shared(ann, "19:one@thread.tacv2", conversationType="channel")
        data = {"team": {"id": CHANNEL}, "eventType": "channelMemberRemoved"}
        await self.leaves(channel, {"id": "29:ann"}, channelData=data)
        assert await self.found(sender, to_ann) == [two.key]


class TestEverybody:
    async def test_is_a_channel_once(self, ann: Person, bob: Person, sender: Sender) -> None:
        """Not each of its threads, which are all known and listed."""
        threads = [in_shared(ann, f"{CHANNEL};messageid={number}", conversationType="channel") for number in (1, 2)]
        for person in (*threads, bob):
            await person.says("hello")
        assert await everybody(sender) == sorted([threads[1].key, bob.key])
        _, body = await sender.gets("/api/conversations")
        assert [known["key"] for known in body["conversations"]] == sorted([*(each.key for each in threads), bob.key])

    async def test_is_the_channel_itself_where_it_is_known(self, ann: Person, sender: Sender) -> None:
        channel = in_shared(ann, CHANNEL, conversationType="channel")
        await in_shared(ann, f"{CHANNEL};messageid=1", conversationType="channel").says("hello")
        await channel.posts(channel.activity(type="conversationUpdate", membersAdded=[{"id": "28:bot"}]))
        assert await everybody(sender) == [channel.key]


async def everybody(sender: Sender) -> list[str]:
    """The conversations that have a delivery of a notification for everybody, as many as were counted."""
    status, body = await sender.posts({"to": {"all": True}, "text": "news", "mode": "queue"})
    assert status == 202

    async def spread() -> list[str]:
        _, record = await sender.gets(f"/api/notifications/{body['id']}")
        return [delivery["conversation"] for delivery in record["deliveries"] if delivery["status"] == "queued"]

    found = await until(lambda: _as_many(spread, body["recipients"]))
    return sorted(found)


async def _as_many(read: Callable[[], Awaitable[list[str]]], count: int) -> list[str]:
    found = await read()
    return found if len(found) == count else []


@pytest.mark.parametrize(
    ("to", "pointer"),
    [
        ({"user": "u", "channelId": []}, "/to/channelId"),
        ({"user": "u", "channelId": ["no/channel"]}, "/to/channelId"),
        ({"user": "u", "channelId": 7}, "/to/channelId"),
        ({"user": "u", "conversationType": ["room"]}, "/to/conversationType/0"),
        ({"user": "u", "conversationType": []}, "/to/conversationType"),
        ({"user": "u", "every": "yes"}, "/to/every"),
        ({"all": True, "every": True}, "/to/every"),
        ({"conversation": "x/y", "conversationType": ["personal"]}, "/to/conversationType"),
        ({"all": True, "channelId": ["msteams", "slack"]}, "/to/channelId"),
    ],
)
async def test_what_narrows_and_widens_is_checked(sender: Sender, to: Json, pointer: str) -> None:
    status, problem = await sender.posts({"to": to, "text": "news"})
    assert status == 422
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
