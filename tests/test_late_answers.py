"""``continue_conversation`` outside a turn is one of its own; what else a turn that is over is asked to do raises."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from botbuilder.core import Middleware, TurnContext

from app import Service
from domain.errors import TurnOver
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.own_dialogs import late
from tests.serving import serving
from turns import pipeline


@pytest.fixture(autouse=True)
def fresh() -> None:
    late.start, late.go_on = asyncio.Event(), asyncio.Event()
    late.tasks.clear()
    late.begun.clear()


async def outcome() -> Any:
    """What becomes of the last task, once it may go on."""
    late.go_on.set()
    (result,) = await asyncio.wait_for(asyncio.gather(late.tasks[-1], return_exceptions=True), 10)
    return result


class Seen(Middleware):
    def __init__(self) -> None:
        self.names: list[str | None] = []

    async def on_turn(self, context: TurnContext, logic: Any) -> None:
        self.names.append(context.activity.name)
        await logic()


class TestALateAnswer:
    service = serving(ROOT_DIALOG="tests.own_dialogs.late:Late")

    async def test_is_a_turn_of_its_own(self, service: Service, ann: Person) -> None:
        """It passes through middleware, is said, and keeps what it writes."""
        seen = Seen()
        service.pipeline._adapter.use(seen)
        assert await ann.says("later tea") == ["I will see"]
        assert await outcome() is None
        await ann.hears("tea is ready (1)")
        assert seen.names == [None, "ContinueConversation"]
        assert await ann.says("count") == ["answered 1"]

    async def test_waits_for_the_turn_that_runs(self, ann: Person) -> None:
        """And reads what that one wrote."""
        await ann.says("later tea")
        holding = asyncio.create_task(ann.posts(ann.activity(text="hold")))
        await until(lambda: late.begun == ["hold"], what="the turn runs")
        assert await outcome() is None
        assert (await holding)[0] == 200
        await ann.hears("holding", "tea is ready (1)")

    async def test_that_fails_says_and_keeps_nothing_and_tells_whoever_began_it(
        self, ann: Person, caplog: pytest.LogCaptureFixture
    ) -> None:
        await ann.says("badly tea")
        assert isinstance(await outcome(), ValueError)
        assert await ann.says("count") == ["answered 0"]
        assert "turn_failed" in [vars(record).get("action") for record in caplog.records]

    @pytest.mark.parametrize("mode", ["interject", "queue", "resume"])
    async def test_leaves_mail_to_the_next_turn(self, ann: Person, sender: Sender, mode: str) -> None:
        """What came in meanwhile is said as it would have been."""
        await ann.says("slowly tea")
        late.start.set()
        await until(lambda: late.begun == ["tea"], what="the answer is under way")
        sent = await sender.notifies(ann, "news", mode=mode)
        assert await outcome() is None
        await ann.hears("tea is ready (1)", *(() if mode == "queue" else ("news",)))
        await sender.becomes(sent, "queued" if mode == "queue" else "delivered")

    async def test_is_no_question(self, ann: Person, sender: Sender) -> None:
        """What is asked again after a notification is what the dialog asked."""
        await ann.says("later tea")
        assert await ann.says("ask") == ["Which colour?"]
        assert await outcome() is None
        await ann.hears("tea is ready (1)")
        await sender.notifies(ann, "news", mode="interject")
        await ann.hears("news", "Which colour?")
        assert await ann.says("blue") == ["blue it is"]

    async def test_that_a_turn_of_its_conversation_waits_for_is_refused_in_the_end(
        self, ann: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Rather than that both wait for ever."""
        monkeypatch.setattr(pipeline, "OWN_PATIENCE", 0.05)
        await ann.says("later tea")
        assert await ann.says("await") == ["never mind"]
        assert "continuation_refused" in [vars(record).get("action") for record in caplog.records]

    async def test_to_another_conversation_is_no_question_of_this_one(
        self, ann: Person, bob: Person, sender: Sender
    ) -> None:
        """Within a turn it goes out with that turn."""
        await bob.says("count")
        assert await ann.says(f"tell {bob.conversation}") == ["Told. Which colour?"]
        await bob.hears(f"{bob.conversation} is ready (1)")
        await sender.notifies(ann, "news", mode="interject")
        await ann.hears("news", "Told. Which colour?")

    @pytest.mark.parametrize(
        ("how", "said"), [("now", ["tea is ready (1)", "that was all"]), ("together", ["tea is ready (1)"])]
    )
    async def test_within_a_turn_is_part_of_it(self, ann: Person, how: str, said: list[str]) -> None:
        """Also from a task that the turn waits for."""
        assert await ann.says(f"{how} tea") == said


class TestATurnThatIsOver:
    service = serving(ROOT_DIALOG="tests.own_dialogs.late:Late")

    @pytest.mark.parametrize("what", ["send", "update", "delete", "read", "save", "clear", "remind", "begin"])
    async def test_refuses_what_it_is_asked_to_do(
        self, ann: Person, caplog: pytest.LogCaptureFixture, what: str
    ) -> None:
        """With an error and a line in the log, and nothing is said."""
        await ann.says(what)
        error = await outcome()
        assert isinstance(error, TurnOver)
        assert "continue_conversation" in str(error)
        (line,) = [record for record in caplog.records if vars(record).get("action") == "turn_is_over"]
        assert "late.py" in str(line.stack_info)
        assert await ann.says("count") == ["answered 0"]

    async def test_refuses_what_would_have_gone_out_in_its_answer(self, ann: Person) -> None:
        """A reply to a request that has been answered."""
        status, body = await ann.posts(ann.activity(text="send", deliveryMode="expectReplies"))
        assert (status, body) == (200, {"activities": []})
        assert isinstance(await outcome(), TurnOver)
