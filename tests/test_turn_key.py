"""A turn that is run again tells other systems that it is the same one."""

from __future__ import annotations

import asyncio

import pytest

from app import Service
from domain.ids import ConversationKey
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.own_dialogs import paying
from tests.serving import serving


@pytest.fixture(autouse=True)
def fresh() -> None:
    paying.calls.clear()
    paying.holding.clear()


class TestTheKeyOfATurn:
    service = serving(ROOT_DIALOG="tests.own_dialogs.paying:Shop")

    async def test_stays_when_the_turn_is_run_again_after_a_conflict(self, ann: Person) -> None:
        """The payment system is called twice for the lamp, and can tell."""
        paying.holding["lamp"] = asyncio.Event()
        elsewhere = ann.elsewhere("a:ann:2")
        first = asyncio.create_task(ann.says("lamp"))
        await until(lambda: paying.calls, what="the payment is under way")
        assert await elsewhere.says("rug") == ["paid: rug"]
        paying.holding["lamp"].set()
        assert await first == ["paid: rug, lamp"]
        (_, lamp), (_, rug), (item, again) = paying.calls
        assert (item, again) == ("lamp", lamp)
        assert rug != lamp

    async def test_stays_when_another_process_runs_the_turn(self, service: Service, ann: Person) -> None:
        """In place of one that died before it committed."""
        activity, key = ann.activity(text="lamp"), ConversationKey(ann.key)
        await service.mail.keep_input(key, activity["id"], activity, service.clock())
        await service.work.wake(key)
        await ann.hears("paid: lamp")
        await service.store.run("FLUSHALL")  # nothing is known of it, as to the process that died
        assert (await ann.posts(activity))[0] == 200
        (_, recovered), (_, before) = paying.calls
        assert recovered == before

    async def test_is_another_for_each_message_and_conversation(self, ann: Person, bob: Person) -> None:
        for person in (ann, ann, bob):
            await person.says("lamp")
        await ann.says("lamp", id=None)
        await ann.says("lamp", id=None)
        assert len({key for _, key in paying.calls}) == 5

    async def test_is_that_of_the_notification_that_a_dialog_is_offered(self, ann: Person, sender: Sender) -> None:
        """However often it is offered, and another than that of the next."""
        await ann.says("hello")
        paying.holding["lamp"] = asyncio.Event()
        await sender.notifies(ann, "lamp", mode="interject")
        await until(lambda: len(paying.calls) == 2, what="the payment is under way")
        await ann.elsewhere("a:ann:2").says("rug")
        paying.holding["lamp"].set()
        await until(lambda: "paid: hello, rug, lamp" in ann.shows(), what="it was run again")
        await sender.notifies(ann, "vase", mode="interject")
        await until(lambda: "paid: hello, rug, lamp, vase" in ann.shows(), what="the next is paid")
        keys = [(item, key) for item, key in paying.calls if item in ("lamp", "vase")]
        assert keys[0] == keys[1]
        assert len({key for _, key in paying.calls}) == 4
