"""How a notification enters a conversation: interject, queue and resume, for people who are free, busy and away."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from proactive import inbox as inbox_of_the_service
from testkit.channel import FakeChannel
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory, url_of
from tests.serving import impatient, serving

__all__ = ["impatient"]

SEVERITY = "How severe is it?"
COUNT = "How many people are affected?"


async def opens_the_form(person: Person) -> None:
    (question,) = await person.says("report")
    assert question.startswith(SEVERITY)


async def fills_in_the_rest(person: Person) -> list[str]:
    await person.says("high")
    await person.says("5")
    await person.says("it broke")
    return await person.says("yes")


class TestSomebodyWhoIsFree:
    async def test_is_told_an_interjection_at_once(self, ann: Person, sender: Sender) -> None:
        """Nobody is being asked anything: it is said."""
        await ann.says("hello")
        notification = await sender.notifies(ann, "build 7 is red", mode="interject")
        await ann.hears("build 7 is red")
        delivery = await sender.becomes(notification, "delivered")
        assert delivery["activityId"].startswith("act-")
        assert delivery["attempts"] == 1

    async def test_is_told_an_answer_at_once(self, ann: Person, sender: Sender) -> None:
        """``resume`` has nothing to wait for."""
        await ann.says("hello")
        await sender.becomes(await sender.notifies(ann, "done", mode="resume"), "delivered")
        assert ann.news() == ["done"]

    async def test_sees_what_was_queued_before_the_next_reply(self, ann: Person, sender: Sender) -> None:
        """``queue`` waits for the user to speak, and comes before what the bot replies."""
        await ann.says("hello")
        notification = await sender.notifies(ann, "the menu for today", mode="queue")
        await sender.becomes(notification, "queued")
        assert ann.news() == []
        assert await ann.says("thanks") == ["the menu for today", "You sent: thanks"]
        await sender.becomes(notification, "delivered")


class TestSomebodyWhoIsBusy:
    async def test_is_asked_again_after_an_interjection(self, ann: Person, sender: Sender) -> None:
        """The open question is again the last thing on the screen, and the answer to it still counts."""
        await opens_the_form(ann)
        await sender.becomes(await sender.notifies(ann, "fire drill", mode="interject"), "delivered")
        said, question = await ann.next(2)
        assert said == "fire drill"
        assert question.startswith(SEVERITY)
        (answer,) = await ann.says("high")
        assert answer == COUNT

    async def test_sees_what_was_queued_before_the_next_question(self, ann: Person, sender: Sender) -> None:
        await opens_the_form(ann)
        await sender.becomes(await sender.notifies(ann, "lunch is ready", mode="queue"), "queued")
        assert await ann.says("high") == ["lunch is ready", COUNT]

    async def test_is_not_told_an_answer_before_the_form_is_done(self, ann: Person, sender: Sender) -> None:
        """``resume`` waits through every step, and is said right after the turn that frees the user."""
        await opens_the_form(ann)
        notification = await sender.notifies(ann, "your number is 42", mode="resume")
        await sender.becomes(notification, "held")
        assert ann.news() == []
        done, answer = await fills_in_the_rest(ann)
        assert done.startswith("Thank you")
        assert answer == "your number is 42"
        await sender.becomes(notification, "delivered")

    async def test_is_told_an_answer_when_the_form_is_left(self, ann: Person, sender: Sender) -> None:
        await opens_the_form(ann)
        await sender.becomes(await sender.notifies(ann, "your number is 42", mode="resume"), "held")
        assert await ann.says("cancel") == ["All right, I dropped the form.", "your number is 42"]

    async def test_is_told_an_answer_at_its_deadline(self, ann: Person, sender: Sender) -> None:
        """``holdFor`` is the longest that ``resume`` waits; then it is said, and the question is asked again."""
        await opens_the_form(ann)
        notification = await sender.notifies(ann, "now or never", mode="resume", holdFor=0.5)
        await sender.becomes(notification, "delivered")
        said, question = await ann.next(2)
        assert said == "now or never"
        assert question.startswith(SEVERITY)

    async def test_sees_several_queued_in_their_order(self, ann: Person, sender: Sender) -> None:
        await opens_the_form(ann)
        for text in ("first", "second", "third"):
            await sender.becomes(await sender.notifies(ann, text, mode="queue"), "queued")
        assert await ann.says("low") == ["first", "second", "third", COUNT]


class TestSomebodyWhoIsAway:
    async def test_is_told_an_answer_and_asked_again(
        self, start_service: ServiceFactory, http: aiohttp.ClientSession, channel: FakeChannel
    ) -> None:
        """A user who left a form open and has been silent for ``AWAY_AFTER`` is told what was held."""
        service = await start_service(AWAY_AFTER="0.5")
        ann, sender = Person(http, url_of(service), channel), Sender(http, url_of(service))
        await opens_the_form(ann)
        notification = await sender.notifies(ann, "the answer", mode="resume")
        await sender.becomes(notification, "delivered")
        said, question = await ann.next(2)
        assert said == "the answer"
        assert question.startswith(SEVERITY)


class TestManyAtOnce:
    async def test_more_than_three_are_one_digest_with_a_way_to_open_each(self, ann: Person, sender: Sender) -> None:
        """Urgent first, then as they were accepted, with source and time; a button opens the one it stands for."""
        await ann.says("hello")
        for number in range(1, 5):
            fields = {"urgent": number == 2, **({"source": "ci"} if number == 4 else {})}
            await sender.becomes(await sender.notifies(ann, f"news {number}", mode="queue", **fields), "queued")
        digest, reply = await ann.says("what is new?")
        title, *lines = digest.splitlines()
        assert title == "4 things arrived for you:"
        today = r"\d\d:\d\d, just now"
        told = ("1. (urgent) news 2 (", "2. news 1 (", "3. news 3 (", "4. news 4 (ci, ")
        for line, expected in zip(lines, told, strict=True):
            assert re.fullmatch(re.escape(expected) + today + r"\)", line)
        assert reply == "You sent: what is new?"
        card = ann.channel.messages(ann.conversation)[-2]["attachments"][0]["content"]
        button = card["buttons"][2]
        assert await ann.says(button["text"], value=button["value"]) == ["news 3"]
        assert await ann.says(button["text"], value=json.dumps(button["value"])) == ["news 3"]
        assert await ann.says("open 3") == ["news 3"]

    async def test_every_line_of_a_digest_can_be_opened(self, ann: Person, sender: Sender) -> None:
        """Twenty lines; the inbox has the rest."""
        await ann.says("hello")
        for number in range(1, 31):
            await sender.notifies(ann, f"news {number};", mode="queue", urgent=number == 30)
        await until(lambda: holds(sender, ann, 30), what="all of it is in the inbox")
        digest, _ = await ann.says("what is new?")
        lines = digest.splitlines()
        assert lines[0] == "30 things arrived for you:"
        assert [line.split(";")[0] for line in lines[1:3]] == ["1. (urgent) news 30", "2. news 1"]
        assert len(lines) == 22
        assert lines[-1] == "… and 10 more: `inbox`"
        cards = [card["content"]["buttons"] for card in ann.channel.messages(ann.conversation)[-2]["attachments"]]
        assert [len(card) for card in cards] == [6, 6, 6, 3]  # Teams shows no more on one
        *buttons, more = [button for card in cards for button in card]
        opened = [await ann.says(button["text"], value=button["value"]) for button in buttons]
        assert opened == [[f"news {number};"] for number in (30, *range(1, 20))]
        (first,) = await ann.says(more["text"], value=more["value"])
        assert first.splitlines()[-1] == "… and 10 more: `inbox 2`"
        (second,) = await ann.says("inbox 2")
        assert [line.split(";")[0] for line in second.splitlines()[1:]] == [
            f"{number}. news {number - 1}" for number in range(21, 31)
        ]
        assert await ann.says("open 30") == ["news 29;"]

    async def test_a_tap_on_a_line_is_no_answer_to_the_form(self, ann: Person, sender: Sender) -> None:
        """Not where a channel drops the button's value either, and not of what is no longer kept."""
        for said in ("report", "low", "1"):
            await ann.says(said)
        for number in range(1, 5):
            await sender.becomes(await sender.notifies(ann, f"news {number}", mode="queue"), "queued")
        await ann.says("jobs")
        (card,) = ann.channel.messages(ann.conversation)[-3]["attachments"]
        for number, button in enumerate(card["content"]["buttons"], 1):
            assert await ann.says(button["text"]) == [f"news {number}", "What happened?"]
        gone = button["text"].replace("ntf_", "ntf_0")
        assert await ann.says(gone) == ["I no longer have that one.", "What happened?"]

    async def test_the_users_own_stand_by_themselves_before_it(
        self, ann: Person, sender: Sender, impatient: None
    ) -> None:
        """A reminder and a job's answer are what the user waits for; they are no line among others."""
        await ann.says("report")
        for number in range(1, 5):
            await sender.becomes(await sender.notifies(ann, f"news {number}"), "held")
        await ann.says("remind me in 1 second to stretch")
        await ann.says("compute factor 91")
        await until(lambda: holds(sender, ann, 6), what="all of it is in the inbox")
        dropped, *own, digest = await ann.says("cancel")
        assert dropped == "All right, I dropped the form."
        assert sorted(own) == ["Reminder: stretch", "You asked: compute factor 91\n\n91 = 7 × 13"]
        assert digest.startswith("4 things arrived for you:")


class TestManyForABotOfOnesOwn:
    """It needs no commands for what a digest promises."""

    service = serving(ROOT_DIALOG="tests.own_dialogs.trip:Agency")

    async def test_can_be_opened_all_of_them(self, ann: Person, sender: Sender) -> None:
        await ann.says("hi")
        for number in range(25):
            await sender.notifies(ann, f"news {number};", mode="queue")
        await until(lambda: holds(sender, ann, 25), what="all of it is in the inbox")
        digest, question = await ann.says("4")
        assert (digest.splitlines()[-1], question) == ("… and 5 more: `inbox`", "Which meal?")
        more = buttons_of(ann, -2)[-1]
        inbox, question = await ann.says(more["text"], value=more["value"])
        assert (inbox.splitlines()[-1], question) == ("… and 5 more: `inbox 2`", "Which meal?")
        more = buttons_of(ann, -2)[-1]
        inbox, question = await ann.says(more["text"], value=more["value"])
        assert len(inbox.splitlines()) == 6
        last = buttons_of(ann, -2)[-1]
        assert await ann.says(last["text"], value=last["value"]) == ["news 24;", "Which meal?"]
        for said, end in (("Inbox", "… and 5 more: `inbox 2`"), ("inbox  2.", ", just now)")):
            inbox, question = await ann.says(said)
            assert (inbox.splitlines()[-1][-len(end):], question) == (end, "Which meal?"), inbox
        assert await ann.says("fish") == ["Book it?"]


    async def test_takes_no_word_for_the_inbox_that_it_has_not_offered(
        self, ann: Person, sender: Sender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before a list has offered it, and when that is long ago, it is the dialog's as any other."""
        await ann.says("hi")
        await ann.says("4")
        (retry,) = await ann.says("inbox")
        assert retry.startswith("Which meal?")
        for number in range(25):
            await sender.notifies(ann, f"news {number};", mode="queue")
        await until(lambda: holds(sender, ann, 25), what="all of it is in the inbox")
        await ann.says("spam")
        assert (await ann.says("inbox"))[0].startswith("What I told you lately:")
        monkeypatch.setattr(inbox_of_the_service, "OFFERED_FOR", timedelta(0))
        assert await ann.says("inbox") == [retry]


def buttons_of(person: Person, message: int) -> list[Json]:
    cards = person.channel.messages(person.conversation)[message]["attachments"]
    return [button for card in cards for button in card["content"]["buttons"]]


async def holds(sender: Sender, person: Person, count: int) -> bool:
    return int((await sender.conversation(person))["inbox"]) == count


class TestExpiry:
    async def test_what_expired_in_the_inbox_is_never_shown(self, ann: Person, sender: Sender) -> None:
        """An expired delivery ends as ``expired``, without waiting for the user to say something."""
        await opens_the_form(ann)
        soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        notification = await sender.notifies(ann, "today only", mode="queue", expiresAt=soon)
        await sender.becomes(notification, "expired")
        assert await ann.says("low") == [COUNT]
