"""Whom the bot can reach, and where: conversation references, kept from everything that comes in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from testkit.channel import FakeChannel, Mood
from testkit.people import Json, Person, Sender
from tests.serving import serving


class TestAConversationIsKnown:
    async def test_from_the_first_activity_on(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        known = await sender.conversation(ann)
        assert known["key"] == "msteams/a:ann"
        assert known["channelId"] == "msteams"
        assert known["conversationType"] == "personal"
        assert known["tenantId"] == "tenant-1"
        assert known["timezone"] == "Europe/Berlin"
        assert known["locale"] == "en-US"
        assert known["user"] == {"id": "29:ann", "name": "Ann", "aadObjectId": "aad-ann"}
        assert known["reachability"] == "active"
        assert known["phase"] == "free"

    async def test_without_anybody_having_spoken(self, ann: Person, sender: Sender) -> None:
        """Being installed is enough to be told something."""
        await ann.posts(ann.activity(type="installationUpdate", action="add"))
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert ann.news()[1:] == ["news"]

    async def test_by_the_latest_that_was_said_of_it(self, ann: Person, sender: Sender) -> None:
        """A field that an activity leaves out stays as it was."""
        await ann.says("hello")
        await ann.posts(ann.activity(text="hallo", locale="de-DE", localTimezone=None))
        known = await sender.conversation(ann)
        assert (known["locale"], known["timezone"]) == ("de-DE", "Europe/Berlin")

    @pytest.mark.parametrize(
        "thin",
        [
            {"type": "event", "name": "ping"},
            {"type": "messageReaction", "reactionsAdded": [{"type": "like"}]},
            {"type": "installationUpdate", "action": "add-upgrade"},
            {"type": "conversationUpdate", "membersAdded": [{"id": "28:bot"}]},
        ],
        ids=lambda thin: str(thin["type"]),
    )
    async def test_by_all_that_was_ever_said_of_it(self, ann: Person, sender: Sender, thin: Json) -> None:
        """What a thinner activity does not say stays known: the tenant, the kind, names, the directory id."""
        await ann.says("hello")
        before = await sender.conversation(ann)
        nameless = {"from": {"id": "29:ann"}, "recipient": {"id": "28:bot"}, "conversation": {"id": ann.conversation}}
        activity = ann.activity(**thin, **nameless, locale=None, localTimezone=None)
        assert (await ann.posts(activity))[0] == 200
        known = await sender.conversation(ann)
        shown = ("conversationType", "tenantId", "user", "locale", "timezone", "reachability")
        assert {name: known[name] for name in shown} == {name: before[name] for name in shown}
        ann.news()
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        sent = ann.channel.messages(ann.conversation)[-1]
        assert sent["from"] == {"id": "28:bot", "name": "Aside"}
        assert sent["recipient"]["name"] == "Ann"

    async def test_by_whoever_spoke_and_not_by_what_nobody_said(
        self, ann: Person, bob: Person, sender: Sender
    ) -> None:
        """An event of somebody else's, or of the bot itself, puts nobody in the user's place."""
        await ann.says("hello")
        for sender_of_it in ({"id": "29:bob"}, {"id": "28:bot", "name": "Aside"}):
            await ann.posts(ann.activity(type="event", name="ping", **{"from": sender_of_it}))
        assert (await sender.conversation(ann))["user"]["id"] == "29:ann"

    async def test_by_a_tenant_in_the_channel_s_data(self, ann: Person, bob: Person, sender: Sender) -> None:
        """Teams often names it there alone; a client on another channel may write what it likes there."""
        await ann.posts(
            ann.activity(
                text="hello",
                conversation={"id": ann.conversation, "conversationType": "personal"},
                channelData={"tenant": {"id": "tenant-7"}},
            )
        )
        assert (await sender.conversation(ann))["tenantId"] == "tenant-7"
        bob.extra = {"channelId": "webchat", "conversation": {"id": bob.conversation}}
        await bob.says("hello", channelData={"tenant": {"id": "tenant-7"}})
        assert (await sender.conversation(bob))["tenantId"] is None

    async def test_apart_from_others_of_the_same_user(self, ann: Person, sender: Sender) -> None:
        """A second conversation does not replace the first."""
        there = ann.elsewhere("a:ann:2")
        await ann.says("hello")
        await there.says("hello")
        for person in (ann, there):
            await sender.becomes(await sender.notifies(person, "news", mode="interject"), "delivered")
            assert person.news() == ["news"]

    async def test_apart_from_the_same_id_on_another_channel(self, ann: Person, sender: Sender) -> None:
        other = Person(ann.http, ann.bot_url, ann.channel, "ann", channelId="slack")
        await ann.says("hello")
        await other.says("hello")
        assert (await sender.conversation(ann))["key"] == "msteams/a:ann"
        assert (await sender.conversation(other))["key"] == "slack/a:ann"

    async def test_or_it_is_not(self, ann: Person, bob: Person, sender: Sender) -> None:
        """404, and nothing is recorded."""
        await ann.says("hello")
        status, problem = await sender.posts({"to": {"conversation": bob.key}, "text": "news"})
        assert (status, problem["type"]) == (404, "urn:aside:problem:unknown-conversation")
        status, _ = await sender.gets("/api/conversations/msteams%2Fa%3Abob")
        assert status == 404
        assert (await sender.gets("/api/notifications"))[1]["notifications"] == []


class TestAUser:
    async def test_is_reached_by_the_directory_id(self, ann: Person, bob: Person, sender: Sender) -> None:
        await ann.says("hello")
        await bob.says("hello")
        notification = await sender.notifies({"aadObjectId": "aad-bob"}, "news", mode="interject")
        delivery = await sender.becomes(notification, "delivered")
        assert delivery["conversation"] == bob.key
        assert ann.shows() == ["You sent: hello"]


class TestAServiceUrlThatMoved:
    @pytest.fixture
    async def moved(self) -> AsyncIterator[FakeChannel]:
        channel = await FakeChannel().start()
        yield channel
        await channel.stop()

    async def test_is_where_the_next_notification_goes(self, ann: Person, sender: Sender, moved: FakeChannel) -> None:
        await ann.says("hello")
        status, _ = await ann.posts(ann.activity(text="hello from there", serviceUrl=moved.url))
        assert status == 200
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert moved.texts(ann.conversation) == ["You sent: hello from there", "news"]
        assert ann.shows() == ["You sent: hello"]


class TestTheLocaleOfAConversation:
    service = serving(ROOT_DIALOG="tests.own_dialogs.trip:Agency")

    async def test_is_spoken_in_turns_that_nobody_asked_for(self, ann: Person, sender: Sender) -> None:
        """A prompt that is asked again offers its choices in the language it was first asked in."""
        german = Person(ann.http, ann.bot_url, ann.channel, "ann", channelId="sms", locale="de-DE")
        await german.says("hi")
        await german.says("4")
        (question,) = await german.says("fish")
        assert "Ja" in question
        assert "Nein" in question
        await sender.notifies(german, "news", mode="interject")
        await german.hears("news", question)


class TestABotThatWasRemoved:
    async def test_is_uninstalled(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        await ann.posts(ann.activity(type="installationUpdate", action="remove"))
        known = await sender.conversation(ann)
        assert known["reachability"] == "uninstalled"
        assert known["reachabilitySince"] is not None

    async def test_stays_so_while_channels_tell_of_it(self, ann: Person, sender: Sender) -> None:
        """Teams tells of a removal twice; the second activity is no sign of life."""
        await ann.says("hello")
        await ann.posts(ann.activity(type="installationUpdate", action="remove"))
        await ann.posts(ann.activity(type="conversationUpdate", membersRemoved=[{"id": "28:bot"}]))
        assert (await sender.conversation(ann))["reachability"] == "uninstalled"

    @pytest.mark.parametrize(
        "sign",
        [
            {"type": "message", "text": "hello again"},
            {"type": "installationUpdate", "action": "add"},
            {"type": "conversationUpdate", "membersAdded": [{"id": "28:bot"}]},
        ],
        ids=["the user speaks", "installed", "added"],
    )
    async def test_is_active_again(self, ann: Person, sender: Sender, sign: dict[str, object]) -> None:
        await ann.says("hello")
        await ann.posts(ann.activity(type="installationUpdate", action="remove"))
        removed = await sender.conversation(ann)
        await ann.posts(ann.activity(**sign))
        known = await sender.conversation(ann)
        assert known["reachability"] == "active"
        assert known["reachabilitySince"] > removed["reachabilitySince"]
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")

    async def test_from_the_channel_s_word_too(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        ann.channel.answers(ann.conversation, Mood(403, b'{"error":{"code":"BotNotInConversationRoster"}}'))
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "failed")
        assert (await sender.conversation(ann))["reachability"] == "uninstalled"
