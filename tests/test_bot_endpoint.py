"""``POST /api/messages``: every kind of activity that a channel posts, and how it is answered."""

from __future__ import annotations

import asyncio

import pytest

from sdk.activities import activity_from_json
from testkit.people import Json, Person, Sender
from tests.serving import serving
from turns.heard import known_as


class TestAMessage:
    async def test_is_answered_when_the_turn_is_over(self, ann: Person) -> None:
        """200 without a body; by then the reply is out."""
        status, body = await ann.posts(ann.activity(text="hello"))
        assert (status, body) == (200, None)
        assert ann.shows() == ["You sent: hello"]

    async def test_that_comes_twice_is_processed_once(self, ann: Person) -> None:
        """A channel that did not hear the answer posts again; it is answered 200 as before."""
        activity = ann.activity(text="hello")
        assert (await ann.posts(activity))[0] == 200
        assert (await ann.posts(activity))[0] == 200
        assert ann.shows() == ["You sent: hello"]

    async def test_that_comes_twice_at_once_is_processed_once(self, ann: Person) -> None:
        activity = ann.activity(text="hello")
        answers = await asyncio.gather(*(ann.posts(activity) for _ in range(5)))
        assert {status for status, _ in answers} == {200}
        assert ann.shows() == ["You sent: hello"]

    async def test_may_have_an_id_that_another_conversation_had(self, ann: Person, bob: Person) -> None:
        activity = ann.activity(text="hello")
        await ann.posts(activity)
        await bob.posts(bob.activity(text="hello", id=activity["id"]))
        assert bob.shows() == ["You sent: hello"]

    async def test_without_an_id_is_processed(self, ann: Person) -> None:
        activity = ann.activity(text="hello")
        del activity["id"]
        await ann.posts(activity)
        await ann.posts(activity)
        assert ann.shows() == ["You sent: hello"] * 2

    @pytest.mark.parametrize("kind", ["messageUpdate", "messageDelete", "messageReaction"])
    async def test_is_not_swallowed_by_what_happened_to_it_and_came_first(self, ann: Person, kind: str) -> None:
        """An edit has the id of its message, and may overtake it."""
        message = ann.activity(text="hello")
        await ann.posts({**message, "type": kind})
        await ann.posts(message)
        await ann.posts(message)
        assert ann.shows() == ["You sent: hello"]

    @pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
    async def test_is_json_or_refused(self, ann: Person, content_type: str) -> None:
        """Also without any Content-Type: a problem, not a crash."""
        headers = {"Content-Type": content_type} if content_type else {}
        async with ann.http.post(
            f"{ann.bot_url}/api/messages",
            data=b'{"type": "message"}',
            headers=headers,
            skip_auto_headers=["Content-Type"],
        ) as response:
            assert response.status == 415
            assert response.content_type == "application/problem+json"


class TestAConversationUpdate:
    async def test_welcomes_who_is_new(self, ann: Person) -> None:
        status, _ = await ann.posts(ann.activity(type="conversationUpdate", membersAdded=[{"id": "29:ann"}]))
        assert status == 200
        (welcome,) = ann.news()
        assert "help" in welcome

    async def test_says_nothing_of_who_left(self, ann: Person) -> None:
        await ann.posts(ann.activity(type="conversationUpdate", membersRemoved=[{"id": "29:ann"}]))
        assert ann.news() == []


class TestOtherActivities:
    @pytest.mark.parametrize(
        "activity",
        [
            {"type": "installationUpdate", "action": "add-upgrade"},
            {"type": "typing"},
            {"type": "messageReaction", "reactionsAdded": [{"type": "like"}]},
            {"type": "endOfConversation"},
            {"type": "messageUpdate", "text": "hello"},
            {"type": "somethingNew", "text": "hello"},
        ],
        ids=lambda activity: activity["type"],
    )
    async def test_are_taken_without_a_word(self, ann: Person, activity: dict[str, object]) -> None:
        status, body = await ann.posts(ann.activity(**activity))
        assert (status, body) == (200, None)
        assert ann.channel.requests == []

    async def test_do_not_disturb_a_form(self, ann: Person) -> None:
        (question,) = await ann.says("report")
        for kind in ("typing", "messageReaction", "event", "conversationUpdate"):
            await ann.posts(ann.activity(type=kind))
        assert ann.news() == []
        assert await ann.says("high") == ["How many people are affected?"]
        assert question.startswith("How severe")


class TestAnInvoke:
    service = serving(ROOT_DIALOG="tests.own_dialogs.various:Invoked")

    async def test_is_answered_by_the_dialog_that_waits(self, ann: Person) -> None:
        """Its answer is the response: status and body as the dialog gave them, and nothing goes to the channel."""
        await ann.says("hi")
        before = len(ann.channel.requests)
        status, body = await ann.posts(ann.activity(type="invoke", name="task/fetch", value={"title": "Details"}))
        assert status == 200
        assert body == {"task": {"type": "continue", "value": {"title": "Details"}}}
        assert len(ann.channel.requests) == before

    async def test_that_nobody_knows_is_not_implemented(self, ann: Person) -> None:
        assert (await ann.posts(ann.activity(type="invoke", name="unheard/of")))[0] == 501
        await ann.says("hi")
        assert (await ann.posts(ann.activity(type="invoke", name="unheard/of")))[0] == 501

    async def test_that_nobody_takes_is_answered_with_a_body(self, ann: Person) -> None:
        """Also the one for whose name the SDK calls a method that it does not have."""
        for name in ("unheard/of", "signin/tokenExchange", "signin/verifyState"):
            for _ in range(2):
                status, body = await ann.posts(ann.activity(type="invoke", name=name, value={}))
                assert (status, body and body["error"]["code"]) == (501, "NotImplemented")
            await ann.says("hi")

    async def test_that_comes_twice_is_answered_as_the_first_time(self, ann: Person) -> None:
        """Whatever the dialog would answer by now; and whatever the answer was."""
        await ann.says("hi")
        fetch = ann.activity(type="invoke", name="task/fetch", value={"title": "Details"})
        for activity in (fetch, ann.activity(type="invoke", name="break"), ann.activity(type="invoke", name="no/one")):
            first = await ann.posts(activity)
            assert first[1] is not None
            assert await ann.posts({**activity, "value": {"title": "Other"}}) == first

    async def test_does_not_begin_the_root_dialog(self, ann: Person) -> None:
        await ann.posts(ann.activity(type="invoke", name="task/fetch", value={"title": "Details"}))
        assert ann.shows() == []

    async def test_that_fails_says_so_without_the_reason(self, ann: Person) -> None:
        await ann.says("hi")
        status, body = await ann.posts(ann.activity(type="invoke", name="break"))
        assert status == 500
        assert "secret" not in str(body)
        assert "secret" not in str(ann.channel.requests)


class TestRepliesInTheBody:
    """``deliveryMode: expectReplies``."""

    async def test_are_all_there_and_nothing_is_sent(self, ann: Person) -> None:
        status, body = await ann.posts(ann.activity(text="hello", deliveryMode="expectReplies"))
        assert status == 200
        assert body is not None
        assert [activity["text"] for activity in body["activities"]] == ["You sent: hello"]
        assert ann.channel.requests == []

    async def test_are_the_same_for_one_that_comes_twice(self, ann: Person) -> None:
        activity = ann.activity(text="hello", deliveryMode="expectReplies")
        first = await ann.posts(activity)
        assert first[1] is not None and first[1]["activities"]
        assert await ann.posts(activity) == first

    async def test_include_what_was_queued(self, ann: Person, sender: Sender) -> None:
        """In its place, before the reply; and it counts as delivered."""
        await ann.says("hello")
        ann.news()
        notification = await sender.notifies(ann, "the menu", mode="queue")
        await sender.becomes(notification, "queued")
        _, body = await ann.posts(ann.activity(text="thanks", deliveryMode="expectReplies"))
        assert body is not None
        assert [activity["text"] for activity in body["activities"]] == ["the menu", "You sent: thanks"]
        assert (await sender.becomes(notification, "delivered"))["reason"] == "in_response"
        assert ann.news() == []

    async def test_may_be_none(self, ann: Person) -> None:
        status, body = await ann.posts(ann.activity(type="typing", deliveryMode="expectReplies"))
        assert status == 200
        assert body == {"activities": []}

    async def test_are_kept_apart_from_what_comes_later(self, ann: Person, sender: Sender) -> None:
        """A notification is sent to the channel, however the last message wanted its replies."""
        await ann.posts(ann.activity(text="hello", deliveryMode="expectReplies"))
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert ann.shows() == ["news"]


class TestAQuestionAskedInTheBody:
    service = serving(ROOT_DIALOG="tests.own_dialogs.asking:InPassing")

    async def test_is_asked_again_after_an_interjection(self, ann: Person, sender: Sender) -> None:
        """A question that went out in a response is a question like any other."""
        await ann.posts(ann.activity(text="hi", deliveryMode="expectReplies"))
        await sender.notifies(ann, "news", mode="interject")
        await ann.hears("news", "Welcome to the survey.", "What is your name?")


def test_what_happens_to_a_message_is_known_by_its_time_too() -> None:
    """Two edits of one message are two; one that is sent again is the same."""
    at = {"type": "messageUpdate", "id": "1", "timestamp": "2026-01-05T12:00:00Z"}
    known = [known_as(activity_from_json(body)) for body in (at, at, {**at, "timestamp": "2026-01-05T12:00:01Z"})]
    assert known[0] == known[1] != known[2]
    assert known_as(activity_from_json({"type": "message"})) is None


@pytest.mark.parametrize(
    "activity",
    [
        {"type": "conversationUpdate", "membersAdded": [None, {"id": "28:bot"}]},
        {"type": "conversationUpdate", "membersRemoved": [None, {"id": "29:x"}]},
        {"type": "messageReaction", "reactionsAdded": [None]},
        {"type": "messageReaction", "reactionsRemoved": [None]},
        {"type": "message", "text": "hello", "attachments": [None], "entities": [None]},
    ],
    ids=lambda activity: " ".join(activity),
)
async def test_null_in_a_list_fails_no_turn(ann: Person, activity: Json) -> None:
    """In a conversation, and in one that others read."""
    for place in ("personal", "groupChat"):
        there = ann.elsewhere(f"a:{place}")
        account = {"id": there.conversation, "conversationType": place}
        status, _ = await there.posts(there.activity(conversation=account, **activity))
        assert status == 200
        await there.says("hello")
        assert "sorry" not in " ".join(there.shows())
