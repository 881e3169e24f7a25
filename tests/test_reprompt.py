"""After something was said in between, the open question is again the last thing on the screen, and still open."""

from __future__ import annotations

from tests.people import Person, Sender
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

    async def test_has_its_last_message_repeated(self, ann: Person, sender: Sender) -> None:
        """It has no prompt that could be asked again; what it said last is the question, not what it said before."""
        await ann.says("hi")
        await hears_again(ann, sender, "What is your name?")
        await hears_again(ann, sender, "What is your name?", text="all clear")
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
        await hears_again(ann, sender, "What is your name?")
        assert all("replyToId" not in message for message in ann.channel.messages(ann.conversation)[-2:])


class TestAPromptThatTheParentHolds:
    service = serving(ROOT_DIALOG="tests.own_dialogs.sharing:Hotel")

    async def test_is_asked_again(self, ann: Person, sender: Sender) -> None:
        assert await ann.says("hi") == ["How many?"]
        await hears_again(ann, sender, "How many?")
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


class TestAPromptWithoutAQuestionOfItsOwn:
    service = serving(ROOT_DIALOG="tests.own_dialogs.sharing:SaidBefore")

    async def test_has_what_was_said_before_it_repeated(self, ann: Person, sender: Sender) -> None:
        assert await ann.says("hi") == ["Your name?"]
        await hears_again(ann, sender, "Your name?")
        await hears_again(ann, sender, "Your name?", text="all clear")
        assert await ann.says("Ann") == ["Hello Ann"]


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
