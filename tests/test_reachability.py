"""Where the bot cannot speak nothing is sent, until something shows that it can again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app import Service
from domain.clock import system_clock
from domain.reachability import TRIED_EVERY, Reachability, Standing
from testkit.channel import FakeChannel, Mood
from testkit.people import Json, Person, Sender
from testkit.waiting import DEADLINE, until
from tests.own_dialogs.slow import gates
from tests.serving import impatient, serving

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")

BLOCKED = Mood(403, b'{"error":{"code":"ConversationBlockedByUser","message":"User blocked the conversation."}}')
BOT = {"id": "28:bot"}

REMOVALS: dict[str, tuple[Json, str]] = {
    "uninstalled": ({"type": "installationUpdate", "action": "remove"}, "uninstalled"),
    "the bot is removed": ({"type": "conversationUpdate", "membersRemoved": [{"id": "29:x"}, BOT]}, "uninstalled"),
    "no longer a contact": ({"type": "contactRelationUpdate", "action": "remove"}, "uninstalled"),
    "the team is deleted": ({"type": "conversationUpdate", "channelData": {"eventType": "teamDeleted"}}, "gone"),
    "the channel is deleted": (
        {"type": "conversationUpdate", "channelData": {"eventType": "channelDeleted", "channel": {"id": "a:ann"}}},
        "gone",
    ),
}
ADDITIONS: dict[str, Json] = {
    "installed": {"type": "installationUpdate", "action": "add"},
    "the bot is added": {"type": "conversationUpdate", "membersAdded": [{"id": "29:x"}, BOT]},
    "a contact": {"type": "contactRelationUpdate", "action": "add"},
    "the team is back": {"type": "conversationUpdate", "channelData": {"eventType": "teamRestored"}},
    "a message": {"type": "message", "text": "hello again"},
    "an event": {"type": "event", "name": "ping"},
    "a reaction": {"type": "messageReaction", "reactionsAdded": [{"type": "like"}]},
    "an edit": {"type": "messageUpdate", "text": "hello there"},
    "typing": {"type": "typing"},
}
NEITHER: dict[str, Json] = {
    "an upgrade takes it away": {"type": "installationUpdate", "action": "remove-upgrade"},
    "an upgrade brings it back": {"type": "installationUpdate", "action": "add-upgrade"},
    "others come": {"type": "conversationUpdate", "membersAdded": [{"id": "29:x"}]},
    "others go": {"type": "conversationUpdate", "membersRemoved": [{"id": "29:x"}]},
    "another channel is deleted": {
        "type": "conversationUpdate",
        "channelData": {"eventType": "channelDeleted", "channel": {"id": "19:x"}},
    },
    "the bot's own": {"type": "event", "name": "ping", "from": BOT},
}


def tried(channel: FakeChannel, text: str) -> int:
    return sum((body or {}).get("text") == text for _, _, _, body in channel.requests)


async def later(service: Service, person: Person, **by: Any) -> None:
    """As if it had become so, and been tried, that much earlier."""
    name = f"aside:{{{person.key}}}:c"
    for field in ("reach_since", "reach_tried"):
        if at := await service.store.run("HGET", name, field):
            await service.store.run("HSET", name, field, int(at) - int(timedelta(**by).total_seconds() * 1000))


@pytest.fixture
async def blocked(ann: Person, sender: Sender, channel: FakeChannel) -> Person:
    """Ann, who has blocked the bot, as a send has found."""
    await ann.says("hello")
    channel.answers(ann.conversation, BLOCKED)
    await sender.becomes(await sender.notifies(ann, "first", mode="interject"), "failed")
    return ann


class TestAConversation:
    @pytest.mark.parametrize(("activity", "reach"), REMOVALS.values(), ids=REMOVALS.keys())
    async def test_is_left(self, ann: Person, sender: Sender, activity: Json, reach: str) -> None:
        await ann.says("hello")
        await ann.posts(ann.activity(**activity))
        assert (await sender.conversation(ann))["reachability"] == reach

    @pytest.mark.parametrize("activity", NEITHER.values(), ids=NEITHER.keys())
    async def test_stays_as_it_is(self, ann: Person, sender: Sender, activity: Json) -> None:
        await ann.says("hello")
        await ann.posts(ann.activity(**activity))
        assert (await sender.conversation(ann))["reachability"] == "active"
        await ann.posts(ann.activity(type="installationUpdate", action="remove"))
        await ann.posts(ann.activity(**activity))
        assert (await sender.conversation(ann))["reachability"] == "uninstalled"

    @pytest.mark.parametrize("activity", ADDITIONS.values(), ids=ADDITIONS.keys())
    async def test_is_active_again(self, ann: Person, sender: Sender, channel: FakeChannel, activity: Json) -> None:
        await ann.says("hello")
        await ann.posts(ann.activity(type="installationUpdate", action="remove"))
        await ann.posts(ann.activity(**activity))
        known = await sender.conversation(ann)
        assert (known["reachability"], known["reachabilityDetail"] or None) == ("active", None)
        _, counted = await sender.posts({"to": {"all": True}, "text": "news", "dryRun": True})
        assert counted["unreachable"] == 0
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")

    async def test_is_so_since_it_became_so(self, ann: Person, sender: Sender) -> None:
        """However often it is told, and in whatever words."""
        await ann.says("hello")
        await ann.posts(ann.activity(type="installationUpdate", action="remove"))
        since = (await sender.conversation(ann))["reachabilitySince"]
        await ann.posts(ann.activity(type="conversationUpdate", membersRemoved=[BOT]))
        await ann.posts(ann.activity(type="installationUpdate", action="remove"))
        assert (await sender.conversation(ann))["reachabilitySince"] == since


class TestWhereTheBotCannotSpeak:
    @pytest.mark.parametrize("mode", ["interject", "resume", "queue"])
    async def test_nothing_is_sent(self, blocked: Person, sender: Sender, channel: FakeChannel, mode: str) -> None:
        """The delivery ends at once, with the reason, without an attempt."""
        delivery = await sender.becomes(await sender.notifies(blocked, "news", mode=mode), "failed")
        assert (delivery["reason"], delivery["attempts"]) == ("blocked", 0)
        assert tried(channel, "news") == 0

    async def test_what_failed_can_be_replayed(self, blocked: Person, sender: Sender, channel: FakeChannel) -> None:
        nid = await sender.notifies(blocked, "news", mode="interject")
        await sender.becomes(nid, "failed")
        await blocked.says("I am back")
        blocked.news()
        async with sender.http.post(f"{sender.bot_url}/api/dead-letters/{nid}.0/replay") as response:
            assert response.status == 202
        await blocked.hears("news")
        await sender.becomes(nid, "delivered")

    async def test_what_is_replayed_is_tried(self, blocked: Person, sender: Sender, channel: FakeChannel) -> None:
        """Whoever asks for that knows more; if the channel takes it, all is well again."""
        nid = await sender.notifies(blocked, "news", mode="interject")
        await sender.becomes(nid, "failed")
        async with sender.http.post(f"{sender.bot_url}/api/dead-letters/{nid}.0/replay") as response:
            assert response.status == 202
        await blocked.hears("news")
        await sender.becomes(nid, "delivered")
        assert (await sender.conversation(blocked))["reachability"] == "active"

    async def test_what_is_behind_a_send_that_finds_it_is_not_tried(
        self, ann: Person, sender: Sender, channel: FakeChannel
    ) -> None:
        """A form's question that would be asked again, here."""
        await ann.says("report")
        before = len(channel.requests)
        channel.answers(ann.conversation, BLOCKED)
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "failed")
        assert len(channel.requests) == before + 1

    async def test_is_counted(self, blocked: Person, bob: Person, sender: Sender) -> None:
        """In the answer to a notification, dry or not, to whomever."""
        await bob.says("hello")
        for to, expected in (
            ({"all": True}, (2, 1)),
            ({"all": True, "channelId": "slack"}, (0, 0)),
            ({"conversation": blocked.key}, (1, 1)),
            ({"conversations": [bob.key, blocked.key]}, (2, 1)),
            ({"user": "29:ann"}, (1, 1)),
            ({"user": "29:bob"}, (1, 0)),
        ):
            for dry in (True, False):
                _, body = await sender.posts({"to": to, "text": "news", "dryRun": dry})
                assert (body["recipients"], body["unreachable"]) == expected, to


class TestOneSendADay:
    async def test_tries_whether_it_still_is(
        self, service: Service, blocked: Person, sender: Sender, channel: FakeChannel
    ) -> None:
        """The first a day after it became so; it stays since when it was, and one that is accepted ends it."""
        since = (await sender.conversation(blocked))["reachabilitySince"]
        await later(service, blocked, hours=23)
        await sender.becomes(await sender.notifies(blocked, "too early", mode="interject"), "failed")
        assert tried(channel, "too early") == 0
        await later(service, blocked, hours=2)
        since = (await sender.conversation(blocked))["reachabilitySince"]
        channel.answers(blocked.conversation, BLOCKED)
        delivery = await sender.becomes(await sender.notifies(blocked, "a try", mode="interject"), "failed")
        assert (delivery["reason"], delivery["attempts"]) == ("blocked", 1)
        await sender.becomes(await sender.notifies(blocked, "no second", mode="interject"), "failed")
        assert (tried(channel, "a try"), tried(channel, "no second")) == (1, 0)
        assert (await sender.conversation(blocked))["reachabilitySince"] == since
        await later(service, blocked, hours=25)
        await sender.becomes(await sender.notifies(blocked, "the next day", mode="interject"), "delivered")
        assert (await sender.conversation(blocked))["reachability"] == "active"
        _, counted = await sender.posts({"to": {"all": True}, "text": "news", "dryRun": True})
        assert counted["unreachable"] == 0
        await sender.becomes(await sender.notifies(blocked, "more", mode="interject"), "delivered")


class TestATurnThatTakesLong:
    service = serving(ROOT_DIALOG="tests.own_dialogs.slow:Pondering", FLUSH_AFTER="0.05")

    async def test_shows_nothing_before_it_is_known_whether_it_can(
        self, service: Service, ann: Person, sender: Sender, channel: FakeChannel
    ) -> None:
        """The one send of a day is the notification, not that the bot is typing."""
        gates.clear()
        await ann.says("quick")
        await ann.posts(ann.activity(type="installationUpdate", action="remove"))
        await later(service, ann, hours=25)
        before = len(channel.requests)
        notification = await sender.notifies(ann, "news", mode="interject")
        await asyncio.wait_for(gates["pondering"].wait(), DEADLINE)
        loop = asyncio.get_running_loop()
        long_ago = loop.time() + 0.2
        await until(lambda: loop.time() > long_ago, what="the turn takes long")
        gates["end"].set()
        await sender.becomes(notification, "delivered")
        sent = [body or {} for _, _, _, body in channel.requests[before:]]
        assert sent[0].get("text") == "news"
        assert "typing" not in {activity.get("type") for activity in sent}


def test_a_day_is_counted_from_when_it_became_so_and_from_each_try() -> None:
    now = system_clock()
    gone = Standing().after(Reachability.GONE, now)
    assert gone.bars(now)
    assert not gone.bars(now + TRIED_EVERY)
    again = gone.after(Reachability.GONE, now + TRIED_EVERY)
    assert again.since == now
    assert again.bars(now + TRIED_EVERY)
    assert not again.bars(now + 2 * TRIED_EVERY)
    assert not again.after(Reachability.ACTIVE, now).bars(now)
