"""What the channel receives: activities addressed as the protocol wants them, in the order they were said."""

from __future__ import annotations

import asyncio

from testkit.channel import FakeChannel
from testkit.people import Person, Sender
from tests.serving import serving


class TestAReply:
    async def test_is_addressed_from_the_bot_to_the_user(self, ann: Person) -> None:
        activity = ann.activity(text="hello")
        await ann.posts(activity)
        (reply,) = ann.channel.messages(ann.conversation)
        assert reply["from"]["id"] == "28:bot"
        assert reply["recipient"]["id"] == "29:ann"
        assert reply["conversation"] == activity["conversation"]
        assert (reply["channelId"], reply["serviceUrl"]) == ("msteams", ann.channel.url)
        assert reply["locale"] == "en-US"

    async def test_names_what_it_replies_to(self, ann: Person) -> None:
        """In the activity and in the address it is posted to; the id is the channel's to give."""
        activity = ann.activity(text="hello")
        await ann.posts(activity)
        ((method, conversation, path, body),) = ann.channel.requests
        assert body is not None
        assert body["replyToId"] == activity["id"]
        assert (method, conversation) == ("POST", ann.conversation)
        assert path.endswith(f"/activities/{activity['id']}")
        assert "id" not in body

    async def test_goes_to_a_conversation_whose_id_needs_quoting(self, ann: Person) -> None:
        """Teams has ids such as ``19:…@thread.tacv2;messageid=1``, other channels worse ones."""
        there = ann.elsewhere("19:a b/c?d=1@thread.tacv2;messageid=1#x%41")
        assert await there.says("hello") == ["You sent: hello"]


class TestANotification:
    async def test_is_no_reply_to_anything(self, ann: Person, sender: Sender) -> None:
        """The made-up id of the turn's event is nobody's activity."""
        await ann.says("hello")
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        _, _, path, body = ann.channel.requests[-1]
        assert body is not None
        assert body["text"] == "news"
        assert "replyToId" not in body
        assert path.endswith("/activities")

    async def test_is_addressed_as_a_reply_would_be(self, ann: Person, sender: Sender) -> None:
        activity = ann.activity(text="hello")
        await ann.posts(activity)
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        reply, news = ann.channel.messages(ann.conversation)
        for field in ("from", "recipient", "conversation", "channelId", "serviceUrl", "locale"):
            assert news[field] == reply[field], field
        assert news["conversation"]["tenantId"] == "tenant-1"

    async def test_keeps_what_the_schema_does_not_know(self, ann: Person, sender: Sender) -> None:
        """Cards and channel data go through as they came, unknown fields and all."""
        await ann.says("hello")
        card = {"type": "AdaptiveCard", "version": "1.6", "body": [{"type": "Badge", "$when": "${x}", "n": None}]}
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
        notification = await sender.notifies(
            ann,
            "news",
            mode="interject",
            attachments=[attachment],
            channelData={"notification": {"alert": True}, "feedbackLoopEnabled": True},
        )
        await sender.becomes(notification, "delivered")
        news = ann.channel.messages(ann.conversation)[-1]
        assert news["attachments"][0]["content"] == card
        assert news["channelData"] == {"notification": {"alert": True}, "feedbackLoopEnabled": True}


class TestSeveralActivities:
    service = serving(ROOT_DIALOG="tests.own_dialogs.asking:InPassing")

    async def test_arrive_in_the_order_they_were_said(self, ann: Person, channel: FakeChannel) -> None:
        await ann.says("hi")
        texts = [body["text"] for *_, body in channel.requests if body is not None]
        assert texts == ["Welcome to the survey.", "What is your name?"]

    async def test_of_one_turn_stay_together(self, ann: Person, bob: Person, sender: Sender) -> None:
        """Turns of a conversation do not mix, however many want to speak."""
        await ann.says("hi")
        ids = [await sender.notifies(ann, f"news {number}", mode="interject") for number in range(3)]
        for one in ids:
            await sender.becomes(one, "delivered")
        texts = ann.shows()
        assert texts[-1] == "What is your name?"
        assert [text for text in texts if text.startswith("news")] == ["news 0", "news 1", "news 2"]


class TestAPersonWhoSpeaksFast:
    async def test_is_answered_in_turn(self, ann: Person) -> None:
        """Turns of one conversation run one after the other; each is answered before the next."""
        await asyncio.gather(*(ann.posts(ann.activity(text=f"line {number}")) for number in range(8)))
        assert sorted(ann.shows()) == [f"You sent: line {number}" for number in range(8)]
        replies = [body["replyToId"] for *_, body in ann.channel.requests if body is not None]
        assert len(set(replies)) == 8
