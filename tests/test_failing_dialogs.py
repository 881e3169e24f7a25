"""A dialog that fails: nothing of its turn remains but one plain apology, and nothing else is held up."""

from __future__ import annotations

import logging
import re

import pytest

from proactive.delivering import SAY_TRIES
from testkit.people import Json, Person, Sender
from tests.serving import impatient, serving
from tests.test_dead_letters import letters

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")

APOLOGY = re.compile(r"I am sorry, something went wrong on my side\. Please try again\. \(Reference: ([0-9a-z]{8})\)")

OFFER = re.compile(
    r"I am sorry, something went wrong on my side again\. Try again later, or say `start over` to begin anew; "
    r"nothing that waits for you is lost\. \(Reference: [0-9a-z]{8}\)"
)


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if getattr(record, "action", "") == "turn_failed"]


class TestADialogThatRaises:
    service = serving(ROOT_DIALOG="tests.own_dialogs.failing:Counting")

    async def test_is_apologized_for_in_one_sentence(self, ann: Person, caplog: pytest.LogCaptureFixture) -> None:
        """None of the half-finished output; no exception text; a reference that leads to the log."""
        (apology,) = await ann.says("fail")
        reference = APOLOGY.fullmatch(apology)
        assert reference is not None
        (record,) = failures(caplog)
        assert vars(record)["reference"] == reference[1]
        assert vars(record)["conversation"] == ann.key
        assert record.exc_info is not None
        assert "hunter2" not in str(ann.channel.requests)

    @pytest.mark.parametrize("way", ["exit", "cancelled"])
    async def test_does_not_end_the_service_by_leaving(
        self, ann: Person, bob: Person, caplog: pytest.LogCaptureFixture, way: str
    ) -> None:
        """``sys.exit()``, or waiting for what is cancelled, is a failed turn like any other."""
        (apology,) = await ann.says(way)
        assert APOLOGY.fullmatch(apology)
        assert [record.exc_info is not None for record in failures(caplog)] == [True]
        assert await ann.says("count") == ["count 1 1"]
        assert await bob.says("count") == ["count 1 1"]

    async def test_leaves_both_states_as_they_were(self, ann: Person) -> None:
        assert await ann.says("count") == ["count 1 1"]
        await ann.says("fail")
        assert await ann.says("count") == ["count 2 2"]
        await ann.says("fail")
        assert await ann.elsewhere("a:ann:2").says("count") == ["count 1 3"]

    async def test_starts_no_job(self, ann: Person, sender: Sender) -> None:
        await ann.says("fail")
        _, jobs = await sender.gets("/api/jobs")
        assert jobs["jobs"] == []

    async def test_is_not_run_again_when_the_channel_repeats_the_activity(self, ann: Person) -> None:
        activity = ann.activity(text="fail")
        await ann.posts(activity)
        await ann.posts(activity)
        assert len(ann.shows()) == 1

    async def test_keeps_the_mail_that_lay_there(self, ann: Person, sender: Sender) -> None:
        """What was queued for the turn that failed is shown by the next one."""
        await ann.says("count")
        await sender.becomes(await sender.notifies(ann, "the menu", mode="queue"), "queued")
        (apology,) = await ann.says("fail")
        assert APOLOGY.fullmatch(apology)
        assert await ann.says("count") == ["the menu", "count 2 2"]

    async def test_answers_in_the_body_where_replies_are_expected(self, ann: Person) -> None:
        """Nothing is sent to the channel then, not even the apology."""
        status, body = await ann.posts(ann.activity(text="fail", deliveryMode="expectReplies"))
        assert status == 200
        assert body is not None
        (reply,) = body["activities"]
        assert APOLOGY.fullmatch(reply["text"])
        assert ann.shows() == []

    async def test_does_not_forget_what_is_held(self, ann: Person, sender: Sender) -> None:
        """What waits for its deadline in the inbox is said at its deadline, though a turn failed meanwhile."""
        await ann.says("stay")
        held = await sender.notifies(ann, "now or never", mode="resume", holdFor=1)
        await sender.becomes(held, "held")
        await ann.says("fail")
        await sender.becomes(held, "delivered")

    async def test_keeps_the_conversation_known(self, ann: Person, sender: Sender) -> None:
        """Even if the very first turn failed, the user can be reached."""
        await ann.says("fail")
        ann.news()
        await sender.becomes(await sender.notifies(ann, "hello", mode="interject"), "delivered")
        assert ann.news() == ["hello"]


class TestStateThatCannotBeStored:
    service = serving(ROOT_DIALOG="tests.own_dialogs.failing:Counting")

    async def test_fails_the_turn_and_the_log_names_the_place(
        self, ann: Person, caplog: pytest.LogCaptureFixture
    ) -> None:
        await ann.says("count")
        (apology,) = await ann.says("lambda")
        assert APOLOGY.fullmatch(apology)
        (record,) = failures(caplog)
        assert record.exc_info is not None
        assert "state.kept.orders[0].price" in str(record.exc_info[1])
        assert await ann.says("count") == ["count 2 2"]


class TestAQuestionThatCannotBeRepeated:
    service = serving(ROOT_DIALOG="tests.own_dialogs.failing:AskingOnce")

    @pytest.fixture(autouse=True)
    async def the_prompt_waits(self, ann: Person) -> None:
        assert await ann.says("hi") == ["Your name?"]

    async def test_costs_no_notification(
        self, ann: Person, sender: Sender, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is shown at the first try, what the question was comes after it, and the log has the dialog's mistake."""
        delivery = await sender.becomes(await sender.notifies(ann, "fire drill", mode="interject"), "delivered")
        assert delivery["attempts"] == 1
        assert ann.news() == ["fire drill", "Your name?"]
        assert [record.action for record in caplog.records if hasattr(record, "action")].count(
            "question_not_repeated"
        ) == 1

    async def test_does_not_hold_up_the_mail_behind_it(self, ann: Person, sender: Sender) -> None:
        shown = await sender.notifies(ann, "fire drill", mode="interject")
        behind = await sender.notifies(ann, "the menu", mode="queue")
        await sender.becomes(behind, "queued")
        await sender.becomes(shown, "delivered")
        ann.news()
        assert await ann.says("Ann") == ["the menu", "Hello Ann"]

    async def test_costs_none_that_was_held_either(self, ann: Person, sender: Sender) -> None:
        """Its deadline came while the question was open."""
        notification = await sender.notifies(ann, "now or never", mode="resume", holdFor=0.2)
        await sender.becomes(notification, "delivered")
        assert ann.news() == ["now or never", "Your name?"]
        assert (await sender.conversation(ann))["inbox"] == 0
        assert await ann.says("Ann") == ["Hello Ann"]

    async def test_leaves_the_dialog_as_it_was(self, ann: Person, sender: Sender) -> None:
        await sender.becomes(await sender.notifies(ann, "fire drill", mode="interject"), "delivered")
        ann.news()
        assert await ann.says("Ann") == ["Hello Ann"]


class TestADialogThatAlwaysFails:
    service = serving(ROOT_DIALOG="tests.own_dialogs.failing:Stuck")

    async def fails_thrice(self, ann: Person) -> None:
        for _ in range(2):
            (apology,) = await ann.says("Ann")
            assert APOLOGY.fullmatch(apology)
        (apology,) = await ann.says("Ann")
        assert OFFER.fullmatch(apology)

    async def test_can_be_left(self, ann: Person, sender: Sender) -> None:
        """By the word or the button that the third apology offers; what was held is said then, and nothing else that
        the bot keeps is lost."""
        assert await ann.says("hi") == ["Visit 1: your name?"]
        await sender.becomes(await sender.notifies(ann, "the answer", mode="resume"), "held")
        await self.fails_thrice(ann)
        (card,) = ann.channel.messages(ann.conversation)[-1]["attachments"]
        assert card["content"]["buttons"] == [{"type": "imBack", "title": "Start over", "value": "start over"}]
        await sender.becomes(await sender.notifies(ann, "the menu", mode="queue"), "queued")
        said = await ann.says("Start over ")
        assert said == ["the menu", "All right, we begin anew. What can I do for you?", "the answer"]
        known = await sender.conversation(ann)
        assert (known["dialogs"], known["phase"], known["inbox"]) == ([], "free", 0)
        assert await ann.says("hi") == ["Visit 2: your name?"]

    async def test_is_offered_again_until_it_is_taken(self, ann: Person) -> None:
        await ann.says("hi")
        await self.fails_thrice(ann)
        (apology,) = await ann.says("Bob")
        assert OFFER.fullmatch(apology)
        assert await ann.says("start over") == ["All right, we begin anew. What can I do for you?"]

    async def test_is_not_left_by_a_word_that_was_not_offered(self, ann: Person) -> None:
        await ann.says("hi")
        (apology,) = await ann.says("start over")
        assert APOLOGY.fullmatch(apology)
        assert await ann.says("nobody") == ["Good bye.", "Visit 2: your name?"]
        await self.fails_thrice(ann)

    async def test_is_offered_where_replies_are_expected(self, ann: Person) -> None:
        await ann.says("hi")
        for _ in range(3):
            _, body = await ann.posts(ann.activity(text="Ann", deliveryMode="expectReplies"))
        assert body is not None
        (reply,) = body["activities"]
        assert OFFER.fullmatch(reply["text"])
        assert reply["attachments"][0]["content"]["buttons"][0]["value"] == "start over"

    async def test_that_comes_through_a_turn_is_in_no_row_with_what_failed_before(self, ann: Person) -> None:
        await ann.says("hi")
        for _ in range(2):
            for _ in range(2):
                (apology,) = await ann.says("Ann")
                assert APOLOGY.fullmatch(apology)
            assert (await ann.says("nobody"))[0] == "Good bye."


class TestADialogThatFailsOverANotification:
    service = serving(ROOT_DIALOG="tests.own_dialogs.failing:Booking")

    async def given_up(self, ann: Person, sender: Sender) -> Json:
        """The delivery of what the dialog fails over, once its tries are used up. Other mail hurries them."""
        assert await ann.says("hi") == ["Which day?"]
        poison = await sender.notifies(ann, "news", mode="interject")
        await sender.becomes(poison, "held")
        for _ in range(SAY_TRIES - 1):
            await sender.becomes(await sender.notifies(ann, "later", mode="queue"), "queued")
        return await sender.becomes(poison, "failed")

    async def test_does_not_ask_again_since_nothing_was_said(self, ann: Person, sender: Sender) -> None:
        """The question is still the last thing on the screen, and its answer is taken."""
        await self.given_up(ann, sender)
        assert ann.shows() == ["Which day?"]
        assert "Booked: Monday" in await ann.says("Monday")

    async def test_is_named_by_the_dead_letter(self, ann: Person, sender: Sender) -> None:
        """By what it raised at each try, without what that said; and the channel is not blamed."""
        assert (await self.given_up(ann, sender))["reason"] == "exhausted"
        (letter,) = await letters(sender)
        assert (letter["reason"], letter["attempts"]) == ("exhausted", SAY_TRIES)
        assert letter["history"] == ["LookupError"] * SAY_TRIES


class TestADialogThatFailsBeforeItHasBegun:
    service = serving(ROOT_DIALOG="tests.own_dialogs.failing:Spoilt")

    async def test_can_be_left_too(self, ann: Person) -> None:
        """No dialog is active: what else is kept of the conversation stands in the way."""
        assert await ann.says("spoilt") == ["kept"]
        for _ in range(3):
            (apology,) = await ann.says("anybody there?")
        assert OFFER.fullmatch(apology)
        await ann.says("start over")
        assert await ann.says("fresh") == ["kept"]


class TestADialogThatHandlesErrors:
    service = serving(ROOT_DIALOG="tests.own_dialogs.failing:Forgiving")

    async def test_is_asked_first(self, ann: Person, caplog: pytest.LogCaptureFixture) -> None:
        """The SDK's error event reaches the dialogs of the stack before the turn is given up."""
        assert await ann.says("hi") == ["Which file?"]
        assert await ann.says("notes.txt") == ["There is no such file.", "Which file?"]
        assert failures(caplog) == []
