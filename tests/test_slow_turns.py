"""A turn that takes long: the user sees that the bot is at work, and what it has said so far."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from app import Service
from domain import sending
from tests.conftest import ServiceFactory
from tests.fake_channel import FakeChannel, Mood
from tests.own_dialogs.slow import gates
from tests.people import Json, Person, Sender
from tests.serving import impatient, serving
from tests.waiting import until
from web.messages import Messages

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture(autouse=True)
def closed_gates() -> Iterator[None]:
    gates.clear()
    yield
    for gate in gates.values():
        gate.set()


def begins(person: Person, text: str) -> asyncio.Task[tuple[int, Json | None]]:
    """Say something and do not wait for the turn."""
    return asyncio.create_task(person.posts(person.activity(text=text)))


async def ends(turn: asyncio.Task[tuple[int, Json | None]]) -> None:
    for gate in ("more", "end"):
        gates[gate].set()
    assert (await turn)[0] == 200


class TestATurnThatTakesLong:
    service = serving(ROOT_DIALOG="tests.own_dialogs.slow:Slow", FLUSH_AFTER="0.1")

    async def test_shows_typing_and_says_what_it_has(self, ann: Person) -> None:
        """What was collected goes out before the turn ends, what comes then at once; each once and in order."""
        turn = begins(ann, "talk")
        await ann.hears("one", "two")
        shown = [shown.activity["type"] for shown in ann.channel.shown[ann.conversation]]
        assert shown == ["typing", "message", "message"]
        gates["more"].set()
        await ann.hears("three")
        assert not turn.done()
        await ends(turn)
        assert ann.shows() == ["one", "two", "three", "four"]

    async def test_is_replied_to_as_always(self, ann: Person) -> None:
        activity = ann.activity(text="talk")
        turn = asyncio.create_task(ann.posts(activity))
        await ann.hears("one", "two")
        await ends(turn)
        assert {message["replyToId"] for message in ann.channel.messages(ann.conversation)} == {activity["id"]}

    async def test_can_change_what_is_out(self, ann: Person) -> None:
        """The id it was given is good for what was sent early too."""
        turn = begins(ann, "change")
        await ann.hears("50 %")
        await ends(turn)
        assert ann.shows() == ["100 %"]

    async def test_keeps_others_waiting_in_its_conversation_only(self, ann: Person, bob: Person) -> None:
        turn = begins(ann, "talk")
        await ann.hears("one", "two")
        behind = begins(ann, "quick")
        assert await bob.says("quick") == ["quick"]
        assert not behind.done()
        await ends(turn)
        await behind
        assert ann.news() == ["three", "four", "quick"]

    async def test_starts_everything_it_was_asked_for(self, ann: Person) -> None:
        """Two reminders of one turn are two, though a message between them went out early."""
        turn = begins(ann, "remind")
        await ann.hears("first")
        await ends(turn)
        await ann.sees(lambda texts: {"reminder one", "reminder two"} <= set(texts))

    async def test_that_fails_cannot_take_back_what_is_out(self, ann: Person, caplog: pytest.LogCaptureFixture) -> None:
        """The log says how much that was; what was not out yet is not said, but the apology is."""
        turn = begins(ann, "talk and fail")
        await ann.hears("one", "two")
        await ends(turn)
        *out, apology = ann.shows()
        assert out == ["one", "two", "three"]
        assert apology.startswith("I am sorry")
        (record,) = [record for record in caplog.records if getattr(record, "action", "") == "turn_failed"]
        assert vars(record)["sent_early"] == 3

    async def test_that_fails_does_not_show_a_notification_again(self, ann: Person, sender: Sender) -> None:
        """One that was out already is delivered, whatever becomes of the turn."""
        await ann.says("quick")
        notification = await sender.notifies(ann, "the menu", mode="queue")
        await sender.becomes(notification, "queued")
        turn = begins(ann, "talk and fail")
        await ann.sees(lambda texts: "the menu" in texts and "two" in texts)
        await ends(turn)
        await sender.becomes(notification, "delivered")
        assert await ann.says("quick")
        assert ann.shows().count("the menu") == 1


class TestAChannelInTrouble:
    """What goes out early is tried again, when the turn ends or when the channel said."""

    service = serving(ROOT_DIALOG="tests.own_dialogs.slow:Slow", FLUSH_AFTER="0.1")

    async def test_that_may_have_shown_it_makes_it_doubtful(self, ann: Person, sender: Sender) -> None:
        await ann.says("quick")
        notification = await sender.notifies(ann, "the menu", mode="queue")
        await sender.becomes(notification, "queued")
        ann.channel.answers(ann.conversation, Mood(), Mood(504, accept=True))  # the first is for typing
        turn = begins(ann, "talk")
        await ann.sees(lambda texts: "the menu" in texts)
        await ends(turn)
        delivery = await sender.becomes(notification, "delivered")
        assert (delivery["attempts"], delivery["mayBeRepeated"]) == (2, True)

    async def test_that_says_wait_is_sent_nothing_at_the_end_of_the_turn(self, ann: Person) -> None:
        ann.channel.answers(ann.conversation, Mood(), Mood(429, headers={"Retry-After": "3600"}))
        turn = begins(ann, "talk")
        await until(lambda: len(ann.channel.requests) == 2)
        await ends(turn)
        assert ann.shows() == []
        assert len(ann.channel.requests) == 2

    async def test_keeps_the_order(self, ann: Person, channel: FakeChannel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sending, "FIRST_PAUSE", 0.01)
        channel.answers(ann.conversation, Mood(), Mood(500), Mood(500))
        turn = begins(ann, "talk")
        await until(lambda: len(channel.requests) >= 2)
        await ends(turn)
        await ann.hears("one", "two", "three", "four")


class TestATurnThatIsQuick:
    service = serving(ROOT_DIALOG="tests.own_dialogs.slow:Slow", FLUSH_AFTER="3600")

    async def test_holds_its_output_back_until_it_is_over(self, ann: Person) -> None:
        """Before ``FLUSH_AFTER`` nothing is out: a failure leaves no trace."""
        turn = begins(ann, "talk and fail")
        await until(lambda: "more" in gates)
        assert ann.channel.requests == []
        await ends(turn)
        (apology,) = ann.shows()
        assert apology.startswith("I am sorry")


class TestATurnThatTakesLongerThanTheChannelWaits:
    @pytest.fixture
    async def service(self, start_service: ServiceFactory, monkeypatch: pytest.MonkeyPatch) -> Service:
        defaults = Messages.__init__.__kwdefaults__
        assert defaults is not None
        monkeypatch.setitem(defaults, "answer_within", 0.1)
        return await start_service(ROOT_DIALOG="tests.own_dialogs.slow:Slow", FLUSH_AFTER="3600")

    async def test_is_answered_before_it_is_over_and_goes_on(self, ann: Person) -> None:
        """202; what it says comes when it has said it, and the channel's repetition changes nothing."""
        activity = ann.activity(text="talk")
        assert (await ann.posts(activity))[0] == 202
        assert (await ann.posts(activity))[0] == 202
        assert ann.shows() == []
        for gate in ("more", "end"):
            gates[gate].set()
        await ann.hears("one", "two", "three", "four")
        assert (await ann.posts(activity))[0] == 200
        assert ann.news() == []
