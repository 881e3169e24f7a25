"""What can be said to the bot that ships, and how it helps somebody who says it wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from testkit.people import Person, Sender


class TestTheFirstContact:
    async def test_is_a_welcome_that_says_what_to_try(self, ann: Person) -> None:
        await ann.posts(ann.activity(type="conversationUpdate", membersAdded=[{"id": "29:ann"}, {"id": "28:bot"}]))
        (welcome,) = ann.news()
        assert welcome.startswith("Hi!")
        assert "`compute factor 600851475143`" in welcome
        assert "`help`" in welcome


class TestHelp:
    @pytest.mark.parametrize("said", ["help", "Help", "  HELP "])
    async def test_lists_the_commands(self, ann: Person, said: str) -> None:
        (text,) = await ann.says(said)
        for command in ("compute", "jobs", "cancel job", "remind me", "report", "cancel", "inbox"):
            assert f"`{command}" in text

    async def test_tells_nothing_that_does_not_work(self, ann: Person) -> None:
        """Every example it gives is understood."""
        (text,) = await ann.says("help")
        examples = [part for part in text.split("`")[1::2] if part != "report"]
        assert len(examples) >= 7
        for example in examples:
            answers = await ann.says(example)  # and what a job has found out by then
            assert answers and not any(answer.startswith("You sent:") for answer in answers), example


class TestAnythingElse:
    async def test_is_repeated_with_a_hint_at_help(self, ann: Person) -> None:
        assert await ann.says("how are you?") == ["You sent: how are you?"]
        actions = ann.channel.messages(ann.conversation)[-1]["suggestedActions"]["actions"]
        assert [action["value"] for action in actions] == ["help"]

    @pytest.mark.parametrize(
        "said",
        ["helpful", "computer", "{0} {text} %s", "reporting", "cancelled", "<b>&amp;", "help-desk", "open.txt"],
    )
    async def test_is_not_mistaken_for_a_command(self, ann: Person, said: str) -> None:
        assert await ann.says(said) == [f"You sent: {said}"]

    async def test_may_be_nothing(self, ann: Person) -> None:
        """A picture without a word, say."""
        picture = {"contentType": "image/png", "contentUrl": "https://example.com/me.png"}
        status, _ = await ann.posts(ann.activity(attachments=[picture]))
        assert status == 200
        assert ann.news() == ["You sent a file: image/png. I cannot read files, only what you write."]

    @pytest.mark.parametrize(
        ("fields", "answer"),
        [
            (
                {"attachments": [{"contentType": "image/png", "name": "me.png"}, {"contentType": "text/csv"}]},
                "You sent a file: me.png, text/csv. I cannot read files, only what you write.",
            ),
            (
                {"attachments": [{"contentType": " ", "contentUrl": "https://example.com/me"}]},
                "You sent a file. I cannot read files, only what you write.",
            ),
            ({"value": {"size": "L"}}, 'You sent, with a card or a button: `{"size":"L"}`'),
            ({"value": "large", "channelData": {"postBack": True}}, "You sent, with a card or a button: `large`"),
            ({"text": "  "}, "You sent a message without a text, and I can only read what you write."),
            ({}, "You sent a message without a text, and I can only read what you write."),
        ],
    )
    async def test_is_told_for_what_it_is(self, ann: Person, fields: dict[str, Any], answer: str) -> None:
        """A file, a card's submit or a button's value without a word."""
        await ann.posts(ann.activity(**fields))
        assert ann.news() == [answer]


class TestWhatIsTooLong:
    """Nobody is sent back the 900 KB that they have sent."""

    LONG = "9" * 900_000

    @pytest.mark.parametrize(
        ("said", "answer"),
        [
            (LONG, "You sent: 999"),
            (f"compute {LONG}", "I can compute"),
            (f"compute factor {LONG}", "That is too long for me."),
            (f"cancel job {LONG}", "You have no job 9999999999999999999…."),
            (f"cancel {LONG}", "There is nothing to cancel."),
            (f"report {LONG}", "Say `report`"),
            (f"cancel job{chr(10) * 400_000}x", "You have no job that is not over"),
            (f"compute factor{chr(10) * 400_000}x", "I need a whole number"),
            (f"open {LONG}", "You sent: open 999"),
            (f"inbox {LONG}", "Nothing is waiting"),
            (f"remind me in 2 hours to {LONG}", "That is too long for me."),
            (f"remind me in {LONG} hours to stretch", "I can remind you between"),
            (f"remind me in {LONG}", "Tell me when and what"),
        ],
        ids=[
            *("words", "compute", "argument", "job", "cancel", "report", "lines", "more lines"),
            *("open", "inbox", "reminder", "time", "no time"),
        ],
    )
    async def test_is_not_quoted(self, ann: Person, said: str, answer: str) -> None:
        (answered,) = await ann.says(said)
        assert answered.startswith(answer)
        assert len(answered) < 1200

    async def test_is_no_answer_to_the_form(self, ann: Person) -> None:
        for right in ("report", "low", "1"):
            (question,) = await ann.says(right)
            assert [text.endswith(question) for text in await ann.says(self.LONG)] == [True]
        assert await ann.says(self.LONG) == ["Please tell it in 1 to 1000 characters. What happened?"]
        (question,) = await ann.says("smoke")
        assert question.startswith("File this report")
        assert await ann.says(self.LONG) == [question]

    async def test_is_cut_where_a_job_quotes_it(self, ann: Person) -> None:
        (started,) = await ann.says(f"compute factor {'0' * 500}91")
        assert len(started) < 400
        await ann.sees(lambda texts: texts[-1].startswith("You asked: compute factor 000"))
        assert len(ann.shows()[-1]) < 400


class TestCompute:
    async def test_computes(self, ann: Person) -> None:
        """The shipped jobs, in processes of their own."""
        await ann.says("compute factor 600851475143")
        await ann.sees(
            lambda texts: texts[-1] == "You asked: compute factor 600851475143\n\n600851475143 = 71 × 839 × 1471 × 6857"
        )

    @pytest.mark.parametrize(
        ("said", "answer"),
        [
            ("compute", "I can compute `factor N`, `pi DIGITS` and `primes BELOW`. Try `compute factor 600851475143`."),
            ("compute cake", "I can compute `factor N`, `pi DIGITS` and `primes BELOW`."),
            ("compute 7", "I can compute `factor N`, `pi DIGITS` and `primes BELOW`."),
            ("compute factor", "I need a whole number for that, such as `compute factor 600851475143`."),
            ("compute factor 5!", "I need a whole number for that, such as `compute factor 600851475143`."),
            ("compute factor 12 34", "I need a whole number for that, such as `compute factor 600851475143`."),
            ("compute factor 0", "I can factor whole numbers from 1 on, of up to 60 digits."),
            (f"compute factor {'9' * 61}", "I can factor whole numbers from 1 on, of up to 60 digits."),
            ("compute pi many", "I need a whole number of digits for that, such as `compute pi 10000`."),
            ("compute pi \u0663", "I need a whole number of digits for that, such as `compute pi 10000`."),
            ("compute pi 99999999999", "I can compute from 1 to 100000 digits of π."),
            ("compute pi 0", "I can compute from 1 to 100000 digits of π."),
            ("compute primes", "I need a whole number for that, such as `compute primes 5000000`."),
            ("compute primes -5", "I can count the primes below whole numbers from 0 to 100000000."),
            ("compute primes 10^9", "I can count the primes below whole numbers from 0 to 100000000."),
        ],
    )
    async def test_says_at_once_what_it_cannot_compute(
        self, ann: Person, sender: Sender, said: str, answer: str
    ) -> None:
        """None of it becomes a job, which would fail later; in the middle of a form it asks again."""
        assert (await ann.says(said))[0].startswith(answer)
        for before in ("report", "low", "1"):
            await ann.says(before)
        if said not in ("compute cake", "compute 7", "compute factor 12 34"):  # these may be what has happened
            first, question = await ann.says(said)
            assert (first.startswith(answer), question) == (True, "What happened?")
        assert (await sender.gets("/api/jobs"))[1]["jobs"] == []

    @pytest.mark.parametrize("said", ["compute pi 1,000", "compute primes 10^3", "compute factor 1 000 003."])
    async def test_takes_numbers_as_people_write_them(self, ann: Person, said: str) -> None:
        assert (await ann.says(said))[0].startswith(f"I am working on it: job 1, `{said.rstrip('.')}`.")


class TestHowACommandIsWritten:
    @pytest.mark.parametrize(
        ("said", "answer"),
        [
            ("help!", "Here is what I can do:"),
            ("/help", "Here is what I can do:"),
            ("`help`", "Here is what I can do:"),
            ("Jobs.", "You have no jobs."),
            ("jobs ...", "You have no jobs."),
            ("jobs, please", "You have no jobs."),
            ("cancel  job 2", "You have no job 2."),
            ("cancel\tjob\t2.", "You have no job 2."),
            ("cancel\u00a0job\u00a0#2", "You have no job 2."),
            ("cancel job #2!", "You have no job 2."),
            ("cancel job two", "You have no job 2."),
            ("cancel jobs 2", "You have no job 2."),
            ("cancel 2", "You have no job 2."),
            ("\u200bcancel\u2009job\n2", "You have no job 2."),
            ("remind  me in  2\thours  to stretch!", "I will remind you in 2 hours: stretch!"),
            ("remind\u00a0me in 2\u00a0hours to stretch", "I will remind you in 2 hours: stretch"),
            ("remind me, in 2 hours, to stretch", "I will remind you in 2 hours: stretch"),
            ("remind in 2 hours to stretch", "I will remind you in 2 hours: stretch"),
            ("inbox?", "Nothing is waiting"),
            ("inbox  2", "Nothing is waiting"),
            ("open  one.", "I have nothing under that number."),
            ("compute  factor  0", "I can factor whole numbers"),
            ("Compute\nPI 0?", "I can compute from 1"),
            ("cancel.", "There is nothing to cancel."),
        ],
    )
    async def test_matters_little(self, ann: Person, said: str, answer: str) -> None:
        assert (await ann.says(said))[0].startswith(answer)
        for before in ("report", "low", "1"):
            await ann.says(before)
        if said == "cancel.":
            assert await ann.says(said) == ["All right, I dropped the form."]
        elif said != "jobs, please":  # a sentence, in which something may have happened
            first, question = await ann.says(said)
            assert (first.startswith(answer), question) == (True, "What happened?")

    @pytest.mark.parametrize("said", ["report", "Report!", "  report. "])
    async def test_begins_the_form_all_the_same(self, ann: Person, said: str) -> None:
        assert (await ann.says(said))[0].startswith("How severe is it?")

    @pytest.mark.parametrize("said", ["cancel the form", "Cancel report.", "cancel this form!"])
    async def test_leaves_the_form_all_the_same(self, ann: Person, said: str) -> None:
        await ann.says("report")
        assert await ann.says(said) == ["All right, I dropped the form."]

    async def test_stays_as_it_is_in_what_the_user_is_to_be_told(self, ann: Person) -> None:
        assert await ann.says("remind me in 2 hours to buy: milk,\nbread …") == [
            "I will remind you in 2 hours: buy: milk,\nbread …"
        ]


class TestACommandThatIsNotComplete:
    """It is told how it is written; in the middle of the form too, where it can be nothing else."""

    @pytest.mark.parametrize(
        ("said", "answer"),
        [
            ("cancel job", "You have no job that is not over yet, so there is none to cancel."),
            ("cancel job #", "You have no job that is not over yet, so there is none to cancel."),
            ("cancel jobs", "You have no job that is not over yet, so there is none to cancel."),
            ("cancel reminder", "I cannot take a reminder back"),
            ("cancel my reminders", "I cannot take a reminder back"),
            ("remind me", "Tell me when and what"),
            ("remind me.", "Tell me when and what"),
            ("reminder", "Tell me when and what"),
            ("open", "Which one? Say `open` with its number, such as `open 1`."),
            ("job", "You have no jobs."),
            ("compute", "I can compute `factor N`"),
            ("compute pi", "I need a whole number"),
        ],
    )
    async def test_says_what_is_missing(self, ann: Person, said: str, answer: str) -> None:
        assert (await ann.says(said))[0].startswith(answer)
        for before in ("report", "low", "1"):
            await ann.says(before)
        first, question = await ann.says(said)
        assert (first.startswith(answer), question) == (True, "What happened?")

    @pytest.mark.parametrize("said", ["report now", "report the door", "report: smoke"])
    async def test_says_how_the_form_begins(self, ann: Person, said: str) -> None:
        how = "Say `report`, and nothing else, and I begin the form: it asks for all that I need to know."
        assert await ann.says(said) == [how]


class TestTheReportForm:
    async def test_is_filled_in_question_by_question(self, ann: Person) -> None:
        await ann.says("report")
        await ann.says("medium")
        await ann.says("12")
        (question,) = await ann.says("the door is stuck")
        assert question.startswith("File this report: medium, 12 affected, “the door is stuck”?")
        assert await ann.says("yes") == ["Thank you, the report is filed: medium, 12 affected, “the door is stuck”."]

    async def test_says_what_is_wrong_with_an_answer(self, ann: Person) -> None:
        await ann.says("report")
        assert (await ann.says("terrible"))[0].startswith("Please choose one of low, medium or high.")
        await ann.says("low")
        for wrong in ("many", "0", "2.5", "100001"):
            assert (await ann.says(wrong))[0].startswith("Please give a whole number from 1 to 100000.")
        assert await ann.says("3") == ["What happened?"]

    async def test_can_be_dropped_at_the_end(self, ann: Person) -> None:
        for said in ("report", "low", "1", "nothing"):
            await ann.says(said)
        assert await ann.says("no") == ["All right, I did not file it."]
        assert await ann.says("hello") == ["You sent: hello"]

    async def test_is_left_with_cancel(self, ann: Person) -> None:
        await ann.says("report")
        assert await ann.says("Cancel") == ["All right, I dropped the form."]
        assert await ann.says("cancel") == ["There is nothing to cancel."]


class TestCommandsInTheMiddleOfTheForm:
    """Each is answered, then the open question is the last thing on the screen, and still open."""

    @pytest.mark.parametrize(
        ("said", "answer"),
        [
            ("help", "Here is what I can do:"),
            (" Inbox ", "Nothing is waiting for you"),
            ("jobs", "You have no jobs."),
            ("cancel job 2", "You have no job 2."),
            ("remind me in 2 hours to stretch", "I will remind you in 2 hours: stretch"),
            ("remind me in 2 fortnights to stretch", "Tell me when and what"),
            ("compute factor 91", "I am working on it: job 1"),
        ],
    )
    async def test_are_answered_then_it_asks_again(self, ann: Person, said: str, answer: str) -> None:
        for before in ("report", "low", "1"):
            await ann.says(before)
        first, question = await ann.says(said)
        assert first.startswith(answer)
        assert question == "What happened?"
        assert (await ann.says("smoke"))[0].startswith("File this report: low, 1 affected, “smoke”?")

    async def test_are_answered_at_every_question(self, ann: Person) -> None:
        asked = await ann.says("report")
        for said in ("low", "1", "smoke", "yes"):
            answer, *again = await ann.says("jobs")
            assert answer.startswith("You have no jobs.")
            assert again == asked
            asked = await ann.says(said)
        assert asked == ["Thank you, the report is filed: low, 1 affected, “smoke”."]

    @pytest.mark.parametrize(
        "said",
        [
            "help me with the door",
            "jobs are at risk",
            "cancel job centre visits",
            "cancel everything",
            "remind me to call Bob",
            "compute nodes are down",
            "inbox is full",
            "report",
        ],
    )
    async def test_are_not_seen_in_an_answer_that_only_begins_like_one(self, ann: Person, said: str) -> None:
        for before in ("report", "low", "1"):
            await ann.says(before)
        assert (await ann.says(said))[0].startswith(f"File this report: low, 1 affected, “{said}”?")

    async def test_are_no_part_of_the_question(self, ann: Person, sender: Sender) -> None:
        """What a command has answered is not said again with it."""
        for said in ("report", "low", "1", "jobs"):
            await ann.says(said)
        await sender.notifies(ann, "fire drill", mode="interject")
        await ann.hears("fire drill", "What happened?")

    async def test_show_what_waits_for_the_end_of_it(self, ann: Person, sender: Sender) -> None:
        await ann.says("report")
        await sender.becomes(await sender.notifies(ann, "build 7 is red", mode="resume"), "held")
        inbox, question = await ann.says("inbox")
        assert inbox.startswith("Waiting for you:")
        assert "build 7 is red" in inbox
        assert question.startswith("How severe is it?")


class TestTheInbox:
    async def test_is_empty_at_first(self, ann: Person) -> None:
        assert await ann.says("inbox") == ["Nothing is waiting for you, and there is nothing I told you lately."]

    async def test_shows_what_was_told_lately(self, ann: Person, sender: Sender) -> None:
        await ann.says("hello")
        await sender.becomes(await sender.notifies(ann, "build 7 is red", mode="interject"), "delivered")
        ann.news()
        (text,) = await ann.says("inbox")
        title, line = text.splitlines()
        assert title == "What I told you lately:"
        assert line.startswith("1. build 7 is red (")

    async def test_shows_what_waits_in_the_conversation_of_somebody_who_asks(self, ann: Person, sender: Sender) -> None:
        """What was queued is shown before the reply, as on any turn; then it is among what was told."""
        await ann.says("hello")
        await sender.becomes(await sender.notifies(ann, "the menu", mode="queue"), "queued")
        menu, inbox = await ann.says("inbox")
        assert menu == "the menu"
        assert inbox.splitlines()[-1].startswith("1. the menu (")

    @pytest.mark.parametrize(
        ("zone", "shown"),
        [
            ("Asia/Tokyo", lambda now: f"{now.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M}, just now"),
            ("Mars/Olympus", lambda now: f"{now:%H:%M} UTC, just now"),
            ("../../etc/passwd", lambda now: f"{now:%H:%M} UTC, just now"),
            ("Europe", lambda now: f"{now:%H:%M} UTC, just now"),
        ],
    )
    async def test_tells_times_in_the_zone_of_the_user(
        self, ann: Person, sender: Sender, zone: str, shown: Callable[[datetime], str]
    ) -> None:
        ann.extra["localTimezone"] = zone
        await ann.says("hello")
        before = datetime.now(UTC)
        await sender.becomes(await sender.notifies(ann, "build 7", mode="interject", source="ci"), "delivered")
        ann.news()
        (text,) = await ann.says("inbox")
        assert text.splitlines()[-1] in {
            f"1. build 7 (ci, {shown(moment)})" for moment in (before, datetime.now(UTC))
        }

    async def test_opens_what_waits_and_it_is_delivered(self, ann: Person, sender: Sender) -> None:
        """In the middle of a form, which then asks again; nothing of it is left for the end of the form."""
        await ann.says("report")
        waits = await sender.notifies(ann, "build 7 is red", title="CI", mode="resume")
        await sender.becomes(waits, "held")
        inbox, _ = await ann.says("inbox")
        assert inbox.startswith("Waiting for you:\n1. CI (")
        shown, question = await ann.says("open 1")
        assert shown == "CI\nbuild 7 is red"
        assert question.startswith("How severe is it?")
        delivery = await sender.becomes(waits, "delivered")
        assert delivery["activityId"] == ann.channel.shown[ann.conversation][-2].id
        assert (await ann.says("open #1"))[0] == "CI\nbuild 7 is red"
        assert await ann.says("cancel") == ["All right, I dropped the form."]
        assert (await sender.conversation(ann))["inbox"] == 0

    async def test_opens_what_its_buttons_stand_for(self, ann: Person, sender: Sender) -> None:
        await ann.says("report")
        for number in (1, 2):
            await sender.becomes(await sender.notifies(ann, f"news {number}", mode="resume"), "held")
        await ann.says("inbox")
        card = ann.channel.messages(ann.conversation)[-2]["attachments"][0]["content"]
        assert [button["title"] for button in card["buttons"]] == ["Open 1", "Open 2"]
        shown, question = await ann.says(card["buttons"][1]["text"], value=card["buttons"][1]["value"])
        assert shown == "news 2"
        assert question.startswith("How severe is it?")

    async def test_keeps_its_numbers_until_another_list_is_shown(self, ann: Person, sender: Sender) -> None:
        """What arrives meanwhile changes nothing of what the user sees on the screen."""
        await ann.says("hello")
        for text in ("old", "new"):
            await sender.becomes(await sender.notifies(ann, text, mode="interject"), "delivered")
        await ann.says("inbox")
        await sender.becomes(await sender.notifies(ann, "newest", mode="interject"), "delivered")
        ann.news()
        assert await ann.says("open 1") == ["new"]
        assert await ann.says("open 2") == ["old"]

    @pytest.mark.parametrize("said", ["open 1", "open 0", "Open #99999"])
    async def test_says_where_there_is_nothing_to_open(self, ann: Person, said: str) -> None:
        assert await ann.says(said) == ["I have nothing under that number. `inbox` lists what I can open."]

    @pytest.mark.parametrize("said", ["open the door", "open 2 doors"])
    async def test_opens_nothing_without_a_number(self, ann: Person, said: str) -> None:
        assert await ann.says(said) == [f"You sent: {said}"]
