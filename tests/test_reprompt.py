"""After something was said in between, the open question is again the last thing on the screen, and still open."""

from __future__ import annotations

import pytest

from state import codec
from testkit.people import Person, Sender
from tests.serving import serving


async def hears_again(person: Person, sender: Sender, *question: str, text: str = "fire drill") -> None:
    """Interject; the person hears it, and then the question."""
    notification = await sender.notifies(person, text, mode="interject")
    await person.hears(text, *question)
    await sender.becomes(notification, "delivered")


class TestAFormTwoComponentsDeep:
    service = serving(ROOT_DIALOG="tests.own_dialogs.trip:Agency")

    async def test_is_asked_again_at_every_question(self, ann: Person, sender: Sender) -> None:
        """Number, choice and confirmation alike; and every answer is still accepted."""
        for said, question in (("hi", "How many guests?"), ("4", "Which meal?"), ("fish", "Book it?")):
            assert await ann.says(said) == [question]
            await hears_again(ann, sender, question)
        assert await ann.says("yes") == ["Booked: 4 x fish"]
        await hears_again(ann, sender)

    async def test_offers_the_choices_again(self, ann: Person, sender: Sender) -> None:
        """The repeated question is the whole question, buttons and all."""
        await ann.says("hi")
        await ann.says("4")
        first = ann.channel.messages(ann.conversation)[-1]
        await hears_again(ann, sender, "Which meal?")
        again = ann.channel.messages(ann.conversation)[-1]
        for field in ("text", "attachments", "suggestedActions", "inputHint"):
            assert again.get(field) == first.get(field)
        assert "salad" in str(again)

    async def test_costs_no_attempt(self, ann: Person, sender: Sender) -> None:
        """The validator does not run, and what it counts is what the user tried."""
        await ann.says("hi")
        assert await ann.says("100") == ["From 1 to 9, please (try 1)."]
        for _ in range(3):
            await hears_again(ann, sender, "How many guests?")
        assert await ann.says("200") == ["From 1 to 9, please (try 2)."]

    async def test_leaves_the_stack_as_it_is(self, ann: Person, sender: Sender) -> None:
        await ann.says("hi")
        before = (await sender.conversation(ann))["dialogs"]
        await hears_again(ann, sender, "How many guests?")
        assert (await sender.conversation(ann))["dialogs"] == before


class TestAnActivityPrompt:
    service = serving(ROOT_DIALOG="tests.own_dialogs.asking:AnyActivity")

    async def test_does_not_take_the_event_for_an_answer(self, ann: Person, sender: Sender) -> None:
        """It takes any activity; the one that brings a notification never reaches it."""
        await ann.says("hi")
        await hears_again(ann, sender, "Press the button.")
        await sender.becomes(await sender.notifies(ann, "later", mode="resume"), "held")
        assert ann.news() == []
        assert await ann.says("pressed") == ["pressed: message pressed", "later"]


class TestAWaterfallThatAsksInPassing:
    service = serving(ROOT_DIALOG="tests.own_dialogs.asking:InPassing")

    async def test_has_all_that_it_said_with_its_question_repeated(self, ann: Person, sender: Sender) -> None:
        """It has no prompt that could be asked again; nobody knows which of its messages is the question."""
        await ann.says("hi")
        await hears_again(ann, sender, "Welcome to the survey.", "What is your name?")
        await hears_again(ann, sender, "Welcome to the survey.", "What is your name?", text="all clear")
        assert await ann.says("Ann") == ["Your favourite colour?"]
        await hears_again(ann, sender, "Your favourite colour?")
        assert await ann.says("green") == ["Ann likes green"]
        await hears_again(ann, sender)

    async def test_takes_no_notification_for_its_question(self, ann: Person, sender: Sender) -> None:
        """What was queued and shown before the reply is not repeated as if it had been asked."""
        await ann.says("hi")
        await sender.becomes(await sender.notifies(ann, "the menu", mode="queue"), "queued")
        assert await ann.says("Ann") == ["the menu", "Your favourite colour?"]
        await hears_again(ann, sender, "Your favourite colour?")

    async def test_is_repeated_as_no_reply_to_anything(self, ann: Person, sender: Sender) -> None:
        await ann.says("hi")
        await hears_again(ann, sender, "Welcome to the survey.", "What is your name?")
        assert all("replyToId" not in message for message in ann.channel.messages(ann.conversation)[-3:])


class TestAPromptThatTheParentHolds:
    service = serving(ROOT_DIALOG="tests.own_dialogs.sharing:Hotel")

    async def test_is_asked_again(self, ann: Person, sender: Sender) -> None:
        assert await ann.says("hi") == ["How many?"]
        await hears_again(ann, sender, "How many?")
        assert await ann.says("4") == ["Booked for 4"]

    async def test_is_asked_again_when_what_was_held_has_to_be_said(self, ann: Person, sender: Sender) -> None:
        await ann.says("hi")
        notification = await sender.notifies(ann, "now or never", mode="resume", holdFor=0.2)
        await ann.hears("now or never", "How many?")
        await sender.becomes(notification, "delivered")
        assert await ann.says("4") == ["Booked for 4"]

    async def test_is_asked_again_when_a_line_of_a_digest_was_opened(self, ann: Person, sender: Sender) -> None:
        await ann.says("hi")
        for number in range(4):
            await sender.becomes(await sender.notifies(ann, f"news {number}", mode="queue"), "queued")
        assert (await ann.says("a few"))[1:] == ["A number!"]
        digest = ann.channel.messages(ann.conversation)[-2]
        button = digest["attachments"][0]["content"]["buttons"][2]
        assert await ann.says(button["text"], value=button["value"]) == ["news 2", "How many?"]
        assert await ann.says("4") == ["Booked for 4"]

    async def test_asks_again_after_a_wrong_answer_though_something_was_shown_first(
        self, ann: Person, sender: Sender
    ) -> None:
        """The SDK's prompts are silent where somebody has responded; what the service says does not count."""
        await ann.says("hi")
        await sender.becomes(await sender.notifies(ann, "the menu", mode="queue"), "queued")
        assert await ann.says("a few") == ["the menu", "A number!"]
        assert await ann.says("4") == ["Booked for 4"]


class TestADialogThatReplacesItselfInsideItself:
    service = serving(ROOT_DIALOG="tests.own_dialogs.sharing:Round")

    async def test_is_asked_again(self, ann: Person, sender: Sender) -> None:
        assert await ann.says("hi") == ["What can I do?"]
        assert await ann.says("sing") == ["What else?"]
        await hears_again(ann, sender, "What else?")
        assert await ann.says("dance") == ["What else?"]

    async def test_goes_on_for_as_many_rounds_as_the_sdk_can(self, ann: Person, sender: Sender) -> None:
        """Each round lies a component deeper; the SDK itself, with its storage in memory, carries fewer than forty."""
        await ann.says("hi")
        for number in range(45):
            assert await ann.says(f"song {number}") == ["What else?"]
        await hears_again(ann, sender, "What else?")

    @pytest.mark.parametrize("last", ["sing", "sink"])
    async def test_ends_in_beginning_anew(
        self, ann: Person, sender: Sender, monkeypatch: pytest.MonkeyPatch, last: str
    ) -> None:
        """Where it is too deep to be stored, or to be run. What waits in the inbox stays."""
        await ann.says("hi")
        for _ in range(25):
            assert await ann.says("sing") == ["What else?"]
        await sender.becomes(await sender.notifies(ann, "the answer", mode="resume"), "held")
        monkeypatch.setattr(codec, "MAX_DEPTH", codec.PART_DEPTH)
        (sentence,) = await ann.says(last)
        assert sentence.startswith("I am sorry, I lost track of what we were doing")
        known = await sender.conversation(ann)
        assert (known["dialogs"], known["phase"], known["inbox"]) == ([], "free", 1)
        await ann.hears("the answer")
        assert await ann.says("hi") == ["What can I do?"]

    async def test_does_not_end_by_a_recursion_of_its_own(self, ann: Person, sender: Sender) -> None:
        await ann.says("hi")
        (sentence,) = await ann.says("sink")
        assert sentence.startswith("I am sorry, something went wrong")
        assert await ann.says("sing") == ["What else?"]


class TestAPromptWithoutAQuestionOfItsOwn:
    service = serving(ROOT_DIALOG="tests.own_dialogs.sharing:SaidBefore")

    async def test_has_what_was_said_before_it_repeated(self, ann: Person, sender: Sender) -> None:
        assert await ann.says("hi") == ["Your name?"]
        await hears_again(ann, sender, "Your name?")
        await hears_again(ann, sender, "Your name?", text="all clear")
        assert await ann.says("Ann") == ["Hello Ann"]


class TestAPromptThatHasChoicesAlone:
    service = serving(ROOT_DIALOG="tests.own_dialogs.unasked:ChoicesAlone")

    async def test_has_the_question_repeated_too(self, ann: Person, sender: Sender) -> None:
        asked = await ann.says("hi")
        assert asked[0] == "Which colour?"
        await hears_again(ann, sender, *asked)
        assert await ann.says("red") == ["Got red"]


class TestACardThatIsTheQuestion:
    service = serving(ROOT_DIALOG="tests.own_dialogs.unasked:CardThenPrompt")

    async def test_is_shown_again(self, ann: Person, sender: Sender) -> None:
        await ann.says("hi")
        first = ann.channel.messages(ann.conversation)[-1]
        await sender.becomes(await sender.notifies(ann, "fire drill", mode="interject"), "delivered")
        *_, told, again = ann.channel.messages(ann.conversation)
        assert told["text"] == "fire drill"
        assert again["attachments"] == first["attachments"]
        ann.news()
        assert await ann.says("done") == ["Got done"]


class TestAComponentWithoutDialogs:
    service = serving(ROOT_DIALOG="tests.own_dialogs.unasked:Leaf")

    async def test_has_its_question_repeated(self, ann: Person, sender: Sender) -> None:
        assert await ann.says("hi") == ["Your name?"]
        await hears_again(ann, sender, "Your name?")
        assert await ann.says("Ann") == ["Got Ann"]


class TestAQuestionOfTwoMessages:
    service = serving(ROOT_DIALOG="tests.own_dialogs.unasked:QuestionAndHint")

    async def test_comes_back_with_both(self, ann: Person, sender: Sender) -> None:
        assert await ann.says("hi") == ["Your name?", "(Say cancel to leave.)"]
        await hears_again(ann, sender, "Your name?", "(Say cancel to leave.)")
        await hears_again(ann, sender, "Your name?", "(Say cancel to leave.)", text="all clear")
        assert await ann.says("Ann") == ["Got Ann"]

    async def test_comes_back_where_the_answers_body_carried_it(self, ann: Person, sender: Sender) -> None:
        """And no notification that the same answer carried is taken for a part of it."""
        await ann.says("hi")
        await ann.says("Ann")
        await sender.becomes(await sender.notifies(ann, "hello", mode="queue"), "queued")
        await ann.posts(ann.activity(text="hi", deliveryMode="expectReplies"))
        await hears_again(ann, sender, "Your name?", "(Say cancel to leave.)")


class TestAQuestionThatWasCorrected:
    service = serving(ROOT_DIALOG="tests.own_dialogs.unasked:Corrected")

    async def test_comes_back_as_it_was_left(self, ann: Person, sender: Sender) -> None:
        assert await ann.says("hi") == ["Your name?"]
        await hears_again(ann, sender, "Your name?")


class TestSomebodyWhoJoinsWhileADialogWaits:
    service = serving(ROOT_DIALOG="tests.own_dialogs.unasked:Welcoming")

    @pytest.mark.parametrize("asked", [["Your name?"], []], ids=["for an answer", "for whatever comes"])
    async def test_leaves_its_question_as_it_was(self, ann: Person, sender: Sender, asked: list[str]) -> None:
        """What was said to welcome somebody is no question."""
        assert await ann.says("ask" if asked else "listen") == asked
        await ann.posts(ann.activity(type="conversationUpdate", text=None, membersAdded=[{"id": "29:bob"}]))
        assert ann.news() == ["Welcome!"]
        await hears_again(ann, sender, *asked)
        assert ann.news() == []


class TestAPromptThatHasRefusedAnAnswer:
    service = serving(ROOT_DIALOG="tests.own_dialogs.unasked:Patient")

    async def test_has_its_question_repeated_and_not_its_refusal(self, ann: Person, sender: Sender) -> None:
        assert await ann.says("hi") == ["Your name?"]
        assert await ann.says("A") == ["Longer, please."]
        await hears_again(ann, sender, "Your name?")
        await sender.becomes(await sender.notifies(ann, "the menu", mode="queue"), "queued")
        assert await ann.says("A") == ["the menu", "Longer, please."]
        await hears_again(ann, sender, "Your name?")
        assert await ann.says("Ann") == ["Got Ann"]


class TestABotThatAnswersWhereNobodyHas:
    service = serving(ROOT_DIALOG="tests.own_dialogs.unasked:Apologetic")

    async def test_does_not_count_what_the_service_said(self, ann: Person, sender: Sender) -> None:
        await ann.says("weather")
        for said, answer in (("weather", "Sunny"), ("blah", "Sorry, I did not understand.")):
            await sender.becomes(await sender.notifies(ann, "the menu", mode="queue"), "queued")
            assert await ann.says(said) == ["the menu", answer]


class TestADialogWithAHookOnWhatIsSent:
    service = serving(ROOT_DIALOG="tests.own_dialogs.unasked:Shouting")

    async def test_sees_what_dialogs_send_alone(self, ann: Person, sender: Sender) -> None:
        """What is held until the form is over is said after the hook was set."""
        assert await ann.says("hi") == ["YOUR NAME?"]
        await sender.becomes(await sender.notifies(ann, "the answer", mode="resume"), "held")
        assert await ann.says("Ann") == ["GOT ANN", "the answer"]


class TestAQuestionThatIsHalfSaid:
    service = serving(ROOT_DIALOG="tests.own_dialogs.unasked:HalfSaid")

    async def test_is_said_as_a_whole_instead(self, ann: Person, sender: Sender) -> None:
        await ann.says("hi")
        await hears_again(ann, sender, "Your name?")

    async def test_is_not_in_the_answers_body_either(self, ann: Person, sender: Sender) -> None:
        """A tap on a digest's line is answered there with the line, and then the question."""
        await ann.says("hi")
        for number in range(4):
            await sender.becomes(await sender.notifies(ann, f"news {number}", mode="queue"), "queued")
        await ann.says("Ann")
        assert await ann.says("hi") == ["Your name?"]
        (card,) = [message for message in ann.channel.messages(ann.conversation) if message.get("attachments")]
        button = card["attachments"][0]["content"]["buttons"][2]
        _, body = await ann.posts(ann.activity(value=button["value"], deliveryMode="expectReplies"))
        assert body is not None
        assert [reply["text"] for reply in body["activities"]] == ["news 2", "Your name?"]


class TestAQuestionThatIsSlowlyHalfSaid:
    service = serving(ROOT_DIALOG="tests.own_dialogs.unasked:SlowlyHalfSaid", FLUSH_AFTER="0.05")

    async def test_is_not_said_early(self, ann: Person, sender: Sender) -> None:
        await ann.says("hi")
        await hears_again(ann, sender, "Your name?")


class TestADialogThatFailsToAskAgain:
    service = serving(ROOT_DIALOG="tests.own_dialogs.sharing:Sulking")

    async def test_costs_no_notification(self, ann: Person, sender: Sender) -> None:
        """Its last message is said again in place of what it failed to say."""
        await ann.says("hi")
        await hears_again(ann, sender, "Your name?")
        assert await ann.says("Ann") == ["Hello Ann"]


class TestTimesAndAttachments:
    service = serving(ROOT_DIALOG="tests.own_dialogs.asking:Appointment")

    async def test_are_asked_for_again(self, ann: Person, sender: Sender) -> None:
        assert await ann.says("hi") == ["When?"]
        await hears_again(ann, sender, "When?")
        assert await ann.says("1 March 2027 at 5 pm") == ["A picture, please."]
        await hears_again(ann, sender, "A picture, please.")
        picture = {"contentType": "image/png", "contentUrl": "https://example.com/me.png", "name": "me.png"}
        assert await ann.says("", attachments=[picture]) == ["2027-03-01T17: me.png"]


class TestARootDialogThatCountsItsBeginnings:
    service = serving(ROOT_DIALOG="tests.own_dialogs.listening:Witness")

    async def test_is_not_begun_by_a_notification(self, ann: Person, sender: Sender) -> None:
        """On an empty stack the SDK would begin the root dialog with the event."""
        assert await ann.says("hello") == ["begun 1: message"]
        await hears_again(ann, sender)
        await sender.becomes(await sender.notifies(ann, "done", mode="resume"), "delivered")
        assert ann.news() == ["done"]
        assert await ann.says("hello") == ["begun 2: message"]
        assert (await sender.conversation(ann))["dialogs"] == []
