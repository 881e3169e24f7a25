"""Dialogs written for the plain SDK run unchanged: ROOT_DIALOG names them, and that is all there is to it."""

from __future__ import annotations

import pytest

from app import Service
from testkit.channel import Mood
from testkit.people import Person, Sender
from tests.conftest import ServiceFactory
from tests.serving import impatient, serving

__all__ = ["impatient"]

MISSING = b'{"error":{"code":"ActivityNotFoundInConversation"}}'


async def queued(person: Person, sender: Sender, **numbers: int) -> None:
    """Have so many of each category queued for somebody's next turn."""
    for category, number in numbers.items():
        for index in range(1, number + 1):
            sent = await sender.notifies(person, f"{category} {index}", mode="queue", category=category)
            await sender.becomes(sent, "queued")


class TestComponentsAndPrompts:
    service = serving(ROOT_DIALOG="tests.own_dialogs.trip:Agency")

    async def test_a_form_two_components_deep_goes_from_question_to_question(self, ann: Person) -> None:
        """Each answer comes in a turn of its own, with the whole stack stored in between."""
        assert await ann.says("hi") == ["How many guests?"]
        assert await ann.says("4") == ["Which meal?"]
        assert await ann.says("salad") == ["Book it?"]
        assert await ann.says("yes") == ["Booked: 4 x salad"]
        assert await ann.says("hi again") == ["How many guests?"]

    async def test_a_validator_refuses_and_counts(self, ann: Person) -> None:
        await ann.says("hi")
        assert await ann.says("100") == ["From 1 to 9, please (try 1)."]
        assert await ann.says("none") == ["From 1 to 9, please (try 2)."]
        assert await ann.says("9") == ["Which meal?"]

    async def test_the_stack_shows_in_the_api(self, ann: Person, sender: Sender) -> None:
        """From the root to the prompt that waits."""
        await ann.says("hi")
        conversation = await sender.conversation(ann)
        assert conversation["dialogs"] == ["agency", "trip", "trip_steps", "guests", "guest_steps", "number"]
        assert conversation["phase"] == "busy"


class TestClassesOfTheirOwn:
    service = serving(ROOT_DIALOG="tests.own_dialogs.basket:Shop")

    async def test_in_step_values_and_user_state_come_back_as_what_they_were(self, ann: Person) -> None:
        """A dataclass and a plain class in step values, a plain class in the state that two conversations share."""
        here, there = ann, ann.elsewhere("a:ann:2")
        for person, item in ((here, "lamp"), (there, "rug")):
            await person.says("hi")
            await person.says(item)
        (bought,) = await here.says("Elm Street")
        assert bought == "lamp to Elm Street on 01 March, gift; basket: lamp (2 sizes); visit 1"
        (bought,) = await there.says("Oak Street")
        assert bought == "rug to Oak Street on 01 March, gift; basket: lamp, rug (2 sizes); visit 1"
        await here.says("hi")
        await here.says("vase")
        assert (await here.says("Elm Street"))[0].endswith("basket: lamp, rug, vase (2 sizes); visit 2")


class TestMessagesThatChange:
    service = serving(ROOT_DIALOG="tests.own_dialogs.cards:Board")

    async def test_an_activity_of_an_earlier_turn_is_updated(self, ann: Person) -> None:
        """The id that the turn was given is not the channel's, and works all the same."""
        await ann.says("new 1:0")
        await ann.says("set 2:0")
        await ann.says("set 2:1")
        assert ann.shows() == ["board: 2:1"]

    async def test_an_activity_of_the_same_turn_is_updated(self, ann: Person) -> None:
        await ann.says("quick 3:0")
        assert ann.shows() == ["board: 3:0", "working"]
        await ann.says("set 4:0")
        assert ann.shows() == ["board: 4:0", "working"]

    async def test_a_tap_names_what_it_is_on_as_the_dialog_stored_it(self, ann: Person) -> None:
        """The channel names it by its own id. And what the tap names can be updated."""
        await ann.says("new 1:0")
        board = ann.channel.shown[ann.conversation][0].id
        assert await ann.says("tap 2:0", replyToId=board) == ["on the board"]
        assert ann.shows() == ["board: 2:0", "on the board"]
        assert await ann.says("tap 3:0", replyToId="something else") == ["elsewhere"]

    async def test_what_replies_to_a_stored_activity_names_it_as_the_channel_does(self, ann: Person) -> None:
        await ann.says("new 1:0")
        await ann.says("below it is")
        board, reply = ann.channel.shown[ann.conversation]
        assert reply.activity["replyToId"] == board.id

    async def test_activities_are_deleted_in_the_same_turn_and_later(self, ann: Person) -> None:
        await ann.says("new 1:0")
        await ann.says("fleeting hello")
        assert ann.shows() == ["board: 1:0", "hello"]
        await ann.says("drop")
        assert ann.shows() == ["hello"]

    async def test_an_activity_that_is_no_longer_there_harms_nothing_else(self, ann: Person, sender: Sender) -> None:
        """The channel does not know what is to be updated: the conversation is not taken for gone."""
        assert await ann.says("lost news") == ["went on"]
        updates = [request for request in ann.channel.requests if request[0] == "PUT"]
        assert len(updates) == 1
        assert (await sender.conversation(ann))["reachability"] == "active"


class TestAChannelThatGivesNoIds:
    service = serving(ROOT_DIALOG="tests.own_dialogs.cards:Board")

    @pytest.mark.parametrize("word", ["set two", "drop"])
    async def test_is_not_asked_to_change_what_it_never_named(
        self, ann: Person, caplog: pytest.LogCaptureFixture, word: str
    ) -> None:
        """Under an id that is ours it could not know it: the change is given up with a line in the log."""
        ann.channel.answers(ann.conversation, Mood(202, b"", accept=True))
        await ann.says("new one")
        await ann.says(word)
        assert {method for method, *_ in ann.channel.requests} == {"POST"}
        assert [record for record in caplog.records if getattr(record, "action", "") == "send_given_up"]
        assert await ann.says("new three") == ["board: three"]

    async def test_is_not_asked_in_the_same_turn_either(self, ann: Person) -> None:
        ann.channel.answers(ann.conversation, Mood(202, b"", accept=True))
        assert await ann.says("quick done") == ["board: ...", "working"]
        assert {method for method, *_ in ann.channel.requests} == {"POST"}


class TestAnActivityPrompt:
    service = serving(ROOT_DIALOG="tests.own_dialogs.asking:AnyActivity")

    async def test_takes_a_message(self, ann: Person) -> None:
        assert await ann.says("hi") == ["Press the button."]
        assert await ann.says("there") == ["pressed: message there"]

    async def test_takes_an_event_of_the_channel(self, ann: Person) -> None:
        await ann.says("hi")
        status, _ = await ann.posts(ann.activity(type="event", name="button/pressed"))
        assert status == 200
        assert ann.news() == ["pressed: event button/pressed"]


class TestTimesAndAttachments:
    service = serving(ROOT_DIALOG="tests.own_dialogs.asking:Appointment")

    async def test_are_understood(self, ann: Person) -> None:
        assert await ann.says("hi") == ["When?"]
        assert await ann.says("1 March 2027 at 5 pm") == ["A picture, please."]
        assert await ann.says("what picture?") == ["A picture, please."]
        picture = {"contentType": "image/png", "contentUrl": "https://example.com/me.png", "name": "me.png"}
        assert await ann.says("", attachments=[picture]) == ["2027-03-01T17: me.png"]


class TestAWaterfallWithoutPrompts:
    service = serving(ROOT_DIALOG="tests.own_dialogs.asking:InPassing")

    async def test_asks_with_plain_messages(self, ann: Person) -> None:
        assert await ann.says("hi") == ["Welcome to the survey.", "What is your name?"]
        assert await ann.says("Ann") == ["Your favourite colour?"]
        assert await ann.says("green") == ["Ann likes green"]


class TestWhatARootDialogIsGiven:
    service = serving(ROOT_DIALOG="tests.own_dialogs.various:make_greeter")

    async def test_a_factory_gets_what_its_parameters_name(self, ann: Person) -> None:
        """Conversation state, user state and the service's services, in any order."""
        assert await ann.says("hi") == ["1 here, 1 everywhere, 0 jobs"]
        assert await ann.elsewhere("a:ann:2").says("hi") == ["1 here, 2 everywhere, 0 jobs"]
        assert await ann.says("hi") == ["2 here, 3 everywhere, 0 jobs"]


class TestHandlersOnWhatIsSent:
    service = serving(ROOT_DIALOG="tests.own_dialogs.various:Shouting")

    async def test_change_it_and_see_the_ids(self, ann: Person) -> None:
        """``context.on_send_activities`` works as in the SDK."""
        assert await ann.says("hi") == ["ONE", "TWO", "2 IDS"]


class TestDialogsThatAreIdle:
    @pytest.fixture
    async def service(self, start_service: ServiceFactory, variables: dict[str, str]) -> Service:
        return await start_service(**variables)

    @pytest.mark.parametrize(
        ("variables", "phase"),
        [
            ({"ROOT_DIALOG": "tests.own_dialogs.various:Lounge"}, "free"),
            ({"ROOT_DIALOG": "tests.own_dialogs.various:Waiting", "IDLE_DIALOGS": "waiting"}, "free"),
            ({"ROOT_DIALOG": "tests.own_dialogs.various:Waiting", "IDLE_DIALOGS": "text, steps"}, "free"),
            ({"ROOT_DIALOG": "tests.own_dialogs.various:Waiting", "IDLE_DIALOGS": "other"}, "busy"),
        ],
        ids=["by attribute", "by id", "by the prompt's id", "another id"],
    )
    async def test_may_be_spoken_into(self, ann: Person, sender: Sender, phase: str) -> None:
        """They wait, and yet the user counts as free: an answer comes at once, and nothing is asked again."""
        await ann.says("hi")
        assert (await sender.conversation(ann))["phase"] == phase
        notification = await sender.notifies(ann, "your number is 42", mode="resume")
        if phase == "busy":
            await sender.becomes(notification, "held")
            assert ann.news() == []
        else:
            await sender.becomes(notification, "delivered")
            assert ann.news() == ["your number is 42"]
            assert await ann.says("go on") == ["so: go on", "What next?"]


class TestAMenuThatIsIdle:
    """It may be spoken into; the form that it opens may not."""

    @pytest.fixture
    async def service(self, start_service: ServiceFactory, variables: dict[str, str]) -> Service:
        root = f"tests.own_dialogs.various:{variables['ROOT_DIALOG']}"
        return await start_service(**{**variables, "ROOT_DIALOG": root})

    @pytest.mark.parametrize(
        "variables",
        [
            {"ROOT_DIALOG": "IdleLobby"},
            {"ROOT_DIALOG": "Lobby", "IDLE_DIALOGS": "lobby"},
            {"ROOT_DIALOG": "Lobby", "IDLE_DIALOGS": "menu"},
            {"ROOT_DIALOG": "Reception", "IDLE_DIALOGS": "reception/lobby/menu"},
            {"ROOT_DIALOG": "Reception", "IDLE_DIALOGS": "lobby/text"},
        ],
        ids=["by attribute", "by the component's id", "by id", "by path", "by a part of the path"],
    )
    @pytest.mark.parametrize(("form", "question"), [("bell", "Whom shall I call?"), ("in_passing", "Your name?")])
    async def test_makes_no_form_idle_that_it_opens(
        self, ann: Person, sender: Sender, form: str, question: str
    ) -> None:
        assert await ann.says("hi") == ["What next?"]
        assert (await sender.conversation(ann))["phase"] == "free"
        assert await ann.says(form) == [question]
        assert (await sender.conversation(ann))["phase"] == "busy"
        assert await ann.says("Bob") == ["What next?"]
        assert (await sender.conversation(ann))["phase"] == "free"

    @pytest.mark.parametrize(
        "variables",
        [
            {"ROOT_DIALOG": "Reception", "IDLE_DIALOGS": "reception"},
            {"ROOT_DIALOG": "Reception", "IDLE_DIALOGS": "reception/menu"},
            {"ROOT_DIALOG": "Lobby", "IDLE_DIALOGS": "bell/text"},
        ],
        ids=["a component further out", "another path", "the prompt of another"],
    )
    async def test_is_not_idle_by_the_name_of_another(self, ann: Person, sender: Sender) -> None:
        assert await ann.says("hi") == ["What next?"]
        assert (await sender.conversation(ann))["phase"] == "busy"


class TestDialogsThatListen:
    """A dialog may take care of a notification itself: the dialog event ``aside.notification``."""

    service = serving(ROOT_DIALOG="tests.own_dialogs.listening:Market")

    @pytest.fixture(autouse=True)
    async def the_prompt_waits(self, ann: Person) -> None:
        assert await ann.says("hi") == ["Buy or sell?"]

    async def test_say_it_in_their_own_way(self, ann: Person, sender: Sender) -> None:
        """The prompt inside the component is offered it, and what it sends counts as the delivery."""
        notification = await sender.notifies(ann, "EUR 7", mode="interject", category="price")
        delivery = await sender.becomes(notification, "delivered")
        assert delivery["activityId"].startswith("act-")
        await ann.hears("price: EUR 7", "Buy or sell?")
        assert await ann.says("buy") == ["order: buy"]

    async def test_update_what_they_said(self, ann: Person, sender: Sender) -> None:
        """What shows a delivery can be updated in a later turn, as any activity."""
        for price in ("EUR 7", "EUR 8"):
            await sender.becomes(await sender.notifies(ann, price, mode="interject", category="price"), "delivered")
        assert ann.shows()[1] == "price: EUR 8"
        assert not [text for text in ann.shows() if "EUR 7" in text]

    async def test_say_nothing(self, ann: Person, sender: Sender) -> None:
        """Taken care of without a word: recorded as delivered, and by whom."""
        notification = await sender.notifies(ann, "win!", mode="interject", category="spam")
        delivery = await sender.becomes(notification, "delivered")
        assert delivery["reason"] == "handled_by_dialog"
        assert await ann.says("buy") == ["order: buy"]
        assert ann.shows() == ["Buy or sell?", "order: buy"]

    async def test_have_not_delivered_what_the_channel_did_not_update(self, ann: Person, sender: Sender) -> None:
        """A delivery that was put on an earlier message ends as the update of that message does."""
        await sender.becomes(await sender.notifies(ann, "EUR 7", mode="interject", category="price"), "delivered")
        await ann.hears("price: EUR 7", "Buy or sell?")
        ann.channel.answers(ann.conversation, Mood(status=404, body=MISSING))
        notification = await sender.notifies(ann, "EUR 8", mode="interject", category="price")
        assert (await sender.becomes(notification, "failed"))["reason"] == "rejected"

    @pytest.mark.usefixtures("impatient")
    async def test_have_an_update_repeated_without_harm(self, ann: Person, sender: Sender) -> None:
        """Where the channel's answer left it open: nothing shows twice, so nothing is marked, and once is enough."""
        await sender.becomes(await sender.notifies(ann, "EUR 7", mode="interject", category="price"), "delivered")
        await ann.hears("price: EUR 7", "Buy or sell?")
        ann.channel.answers(ann.conversation, Mood(status=504, accept=True))
        once = {"guarantee": "at_most_once", "category": "price", "mode": "interject"}
        delivery = await sender.becomes(await sender.notifies(ann, "EUR 8", **once), "delivered")
        assert (delivery["attempts"], delivery["mayBeRepeated"]) == (2, False)
        assert ann.shows()[1] == "price: EUR 8"

    async def test_have_delivered_what_they_said_whatever_they_updated_too(self, ann: Person, sender: Sender) -> None:
        """Words count more than the change of an earlier message."""
        await sender.becomes(await sender.notifies(ann, "EUR 7", mode="interject", category="price"), "delivered")
        await ann.hears("price: EUR 7", "Buy or sell?")
        ann.channel.answers(ann.conversation, Mood(status=404, body=MISSING))
        notification = await sender.notifies(ann, "EUR 0", mode="interject", category="alarm")
        delivery = await sender.becomes(notification, "delivered")
        shown = {shown.id: shown.activity.get("text") for shown in ann.channel.shown[ann.conversation]}
        assert shown[delivery["activityId"]] == "Look!"

    async def test_have_not_delivered_what_they_leave_to_the_service(self, ann: Person, sender: Sender) -> None:
        """What a dialog says before it passes on the event is not the delivery."""
        delivery = await sender.becomes(
            await sender.notifies(ann, "sale", mode="interject", category="hint"), "delivered"
        )
        shown = {shown.id: shown.activity.get("text") for shown in ann.channel.shown[ann.conversation]}
        assert (shown[delivery["activityId"]], "Psst." in shown.values()) == ("sale", True)

    async def test_are_offered_each_of_many(self, ann: Person, sender: Sender) -> None:
        """Only what no dialog takes care of goes into the digest."""
        await queued(ann, sender, general=4, price=2, spam=1)
        price, digest, reply = await ann.says("buy")
        assert price == "price: price 2"
        assert [line.split(" (")[0] for line in digest.splitlines()[1:]] == [
            f"{number}. general {number}" for number in (1, 2, 3, 4)
        ]
        assert reply == "order: buy"

    async def test_leave_too_few_for_a_digest(self, ann: Person, sender: Sender) -> None:
        """Up to three are said as messages of their own, however many were offered."""
        await queued(ann, sender, price=2, general=3)
        assert await ann.says("buy") == ["price: price 2", "general 1", "general 2", "general 3", "order: buy"]

    async def test_leave_the_rest_as_it_is(self, ann: Person, sender: Sender) -> None:
        await sender.notifies(ann, "fire drill", mode="interject")
        await ann.hears("fire drill", "Buy or sell?")
