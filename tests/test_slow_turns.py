"""A turn that takes long: the user sees that the bot is at work, and what it has said so far."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from app import Service
from channel.http import HttpChannel
from domain import sending
from domain.effect import Send
from domain.ids import ConversationKey
from domain.sending import ChannelAnswer
from state import keys, pins
from state.codec import Codec
from state.pins import Pin, Waiting
from state.store import HURRIED
from state.turn import Turn
from state.turns import Begun, Turns
from testkit.channel import FakeChannel, Mood
from testkit.people import Json, Person, Sender
from testkit.waiting import DEADLINE, until
from tests.conftest import ServiceFactory
from tests.own_dialogs.slow import gates
from tests.serving import impatient, serving
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


def is_typing(person: Person) -> bool:
    """Whether the bot shows the person that it is at work."""
    return any(shown.activity["type"] == "typing" for shown in person.channel.shown[person.conversation])


async def ends(turn: asyncio.Task[tuple[int, Json | None]]) -> None:
    for gate in ("more", "end"):
        gates[gate].set()
    assert (await turn)[0] == 200


class TestWhatAUserIsToldEarly:
    service = serving(ROOT_DIALOG="tests.own_dialogs.slow:Pondering", FLUSH_AFTER="0.3")

    async def test_does_not_wait_behind_what_nobody_waits_for(
        self, ann: Person, bob: Person, sender: Sender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It leaves with the priority of its own turn, whoever else's turn became slow before it."""
        hurried: dict[str, bool] = {}
        carry = HttpChannel.carry

        async def noted(self: HttpChannel, send: Send, activity_id: str | None) -> ChannelAnswer:
            hurried[f"{send.activity['conversation']['id']} {send.activity.get('text')}"] = HURRIED.get()
            return await carry(self, send, activity_id)

        monkeypatch.setattr(HttpChannel, "carry", noted)
        assert await ann.says("quick") == ["quick"]
        loop = asyncio.get_running_loop()
        long_ago = loop.time() + 0.35
        await until(lambda: loop.time() > long_ago, what="nothing of her turn is left")
        notification = await sender.notifies(ann, "news", mode="interject")
        await asyncio.wait_for(gates["pondering"].wait(), DEADLINE)
        turn = begins(bob, "talk")
        await bob.hears("one", "two")
        await ends(turn)
        await sender.becomes(notification, "delivered")
        bobs = ("None", "one", "two", "three", "four")  # the first is that the bot is typing
        assert {said: hurried[f"a:bob {said}"] for said in bobs} == dict.fromkeys(bobs, True)
        assert hurried["a:ann news"] is False


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

    async def test_waits_with_what_is_to_be_shown_at_most_once(self, ann: Person, sender: Sender) -> None:
        """Should its process die before the commit, another shows it, which must be the only time. Order is kept."""
        await ann.says("quick")
        notification = await sender.notifies(ann, "the menu", mode="queue", guarantee="at_most_once")
        await sender.becomes(notification, "queued")
        turn = begins(ann, "talk")
        await until(lambda: is_typing(ann))
        gates["more"].set()
        await until(lambda: "end" in gates)
        assert ann.news() == []
        await ends(turn)
        assert ann.news() == ["the menu", "one", "two", "three", "four"]
        delivery = await sender.becomes(notification, "delivered")
        assert not delivery.get("mayBeRepeated")

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


class TestOtherConversationsOfItsUser:
    """A turn that has said something cannot be run again; so nobody comes in between."""

    service = serving(ROOT_DIALOG="tests.own_dialogs.slow:Counts", FLUSH_AFTER="0.1")

    @pytest.fixture
    def waits(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """Whom turns have waited for."""
        waits = []
        wait = Waiting.for_

        async def noted(self: Waiting, token: bytes) -> None:
            waits.append(token)
            await wait(self, token)

        monkeypatch.setattr(Waiting, "for_", noted)
        return waits

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Pin]:
        """What turns were told that wanted to speak early."""
        asked = []
        pin = Turns.pin

        async def noted(self: Turns, turn: Turn) -> Pin:
            asked.append(await pin(self, turn))
            return asked[-1]

        monkeypatch.setattr(Turns, "pin", noted)
        return asked

    async def test_let_it_commit_first(self, ann: Person, waits: list[bytes]) -> None:
        """And then count on; nobody hears an apology, and no update is lost."""
        elsewhere = ann.elsewhere("a:elsewhere")
        turn = begins(ann, "count end")
        await ann.hears("count 1")
        other = begins(elsewhere, "count")
        await until(lambda: waits)
        assert elsewhere.shows() == []
        gates["end"].set()
        assert [status for status, _ in await asyncio.gather(turn, other)] == [200, 200]
        assert (ann.news(), elsewhere.news()) == ([], ["count 2"])

    async def test_that_change_nothing_of_the_user_do_not_wait(self, ann: Person, waits: list[bytes]) -> None:
        turn = begins(ann, "count end")
        await ann.hears("count 1")
        assert await ann.elsewhere("a:elsewhere").says("look") == ["look 0"]
        assert not waits
        gates["end"].set()
        await turn

    async def test_go_on_when_it_changed_nothing(self, ann: Person, waits: list[bytes]) -> None:
        """What they have done is still good, and need not be done again."""
        elsewhere = ann.elsewhere("a:elsewhere")
        turn = begins(ann, "look end")
        await ann.hears("look 0")
        other = begins(elsewhere, "count")
        await until(lambda: waits)
        gates["end"].set()
        await asyncio.gather(turn, other)
        assert elsewhere.news() == ["count 1"]

    async def test_go_on_when_it_failed(self, ann: Person, waits: list[bytes]) -> None:
        elsewhere = ann.elsewhere("a:elsewhere")
        turn = begins(ann, "fail end")
        await ann.hears("fail 0")
        other = begins(elsewhere, "count")
        await until(lambda: waits)
        gates["end"].set()
        await asyncio.gather(turn, other)
        assert elsewhere.news() == ["count 1"]

    async def test_say_nothing_early_in_its_place(self, ann: Person, asked: list[Pin]) -> None:
        """Of two that take long one speaks; the other has yet to learn what the first has changed, and is run again."""
        elsewhere = ann.elsewhere("a:elsewhere")
        turn = begins(ann, "count end")
        await ann.hears("count 1")
        other = begins(elsewhere, "count more")
        await until(lambda: Pin.TAKEN in asked)
        gates["end"].set()
        await turn
        await until(lambda: Pin.CHANGED in asked)
        assert elsewhere.news() == []
        gates["more"].set()
        await other
        assert elsewhere.news() == ["count 2"]

    async def test_speak_early_when_it_has_ended(self, ann: Person, asked: list[Pin]) -> None:
        """It changed nothing, so that what the other has to say holds."""
        elsewhere = ann.elsewhere("a:elsewhere")
        turn = begins(ann, "look end")
        await ann.hears("look 0")
        other = begins(elsewhere, "count more")
        await until(lambda: Pin.TAKEN in asked)
        gates["end"].set()
        await turn
        await elsewhere.hears("count 1")
        gates["more"].set()
        await other
        assert elsewhere.shows() == ["count 1"]

    async def test_lose_their_patience_in_the_end(
        self, ann: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A turn that hangs does not stop its user everywhere. It has to apologize; no update is lost."""
        monkeypatch.setattr(pins, "PATIENCE", 0.05)
        elsewhere = ann.elsewhere("a:elsewhere")
        turn = begins(ann, "count end")
        await ann.hears("count 1")
        assert await elsewhere.says("count") == ["count 1"]
        assert "pin_removed" in {getattr(record, "action", "") for record in caplog.records}
        gates["end"].set()
        await turn
        (apology,) = ann.news()
        assert apology.startswith("I am sorry")
        assert await ann.says("count") == ["count 2"]


class TestATurnThatLostItsConversation:
    service = serving(ROOT_DIALOG="tests.own_dialogs.slow:Counts", FLUSH_AFTER="3600")

    async def test_and_fails_leaves_it_to_the_one_that_has_it(self, ann: Person, service: Service) -> None:
        """It does not even apologize: the activity comes again, and its turn may not fail elsewhere."""
        activity = ann.activity(text="fail end")
        turn = asyncio.create_task(ann.posts(activity))
        await until(lambda: "end" in gates)
        key = ConversationKey(ann.key)
        await service.store.run("HSET", keys.conversation(key), "until", 1)
        other = Turns(service.store, Codec(), service.clock)
        assert isinstance(await other.begin(key, "other"), Begun)
        gates["end"].set()
        status, problem = await turn
        assert problem is not None
        assert (status, "took the conversation over" in problem["detail"]) == (503, True)
        assert ann.shows() == []
        await service.store.sequence(other.acknowledgement(key, "other", [], release=True))
        assert (await ann.posts(activity))[0] == 200
        (apology,) = ann.news()
        assert apology.startswith("I am sorry")


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
        """Nor in the next, before its time."""
        ann.channel.answers(ann.conversation, Mood(), Mood(429, headers={"Retry-After": "3600"}))
        turn = begins(ann, "talk")
        await until(lambda: len(ann.channel.requests) == 2)
        await ends(turn)
        await ends(begins(ann, "talk"))
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

        async def is_over() -> bool:
            return (await ann.posts(activity))[0] == 200

        await until(is_over)  # until then it may be answered 202 on a busy machine
        assert ann.news() == []
