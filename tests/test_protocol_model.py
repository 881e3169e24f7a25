"""The protocol of turns keeps its promises in every order of events, and the service's scripts are that protocol."""

from __future__ import annotations

from random import Random

import pytest

from app import Service
from domain.ids import ConversationKey
from state.store import Store
from testkit.people import Person
from testkit.waiting import until
from tests.model.protocol import Faulty, Item, Protocol, State, start
from tests.model.replay import LONG, Replay, held, seen
from tests.model.walk import walk

MOMENT = 0.001

pytestmark = pytest.mark.timeout(180)

WORLDS: dict[str, tuple[Protocol, State]] = {
    "two inputs": (Protocol(faults=False), start(inputs=2, mail=())),
    "two pieces of mail": (Protocol(), start(inputs=0, mail=("m1", "x2"))),
    "an input and mail": (Protocol(faults=False), start(inputs=1, mail=("m1",))),
    "an input": (Protocol(), start(inputs=1, mail=())),
    "mail that is shown early": (Protocol(early=True), start(inputs=0, mail=("m1", "m2"))),
    "an input and mail that is shown early": (Protocol(faults=False, early=True), start(inputs=1, mail=("m1",))),
}
"""Small, so that each is walked through whole. Processes crash anywhere, as often as may be, in all of them."""

FOUND_WITH: dict[Faulty, tuple[int, tuple[Item, ...]]] = {
    Faulty.OPENS_ONCE: (1, ("m1",)),
    Faulty.OPENS_AFTER_BEGINNING: (1, ("m1",)),
    Faulty.FORGETS_OTHER_INPUTS: (2, ()),
}
"""Inputs and mail with which a mistake shows; the others do with two pieces of mail."""

EARLY = {Faulty.SPEAKS_EARLY_WITHOUT_MARK, Faulty.FORGETS_MARK}
"""Mistakes of turns that show something before their commit."""


@pytest.mark.parametrize("name", WORLDS)
def test_no_order_of_events_breaks_a_promise(name: str) -> None:
    """Nothing committed is lost, nothing overwritten, nothing shown out of order, repeated only if that is recorded and
    at most once never, nothing forgotten while nobody is to look at it; and every state leads to the end."""
    protocol, first = WORLDS[name]
    walked = walk(protocol, first)
    assert not walked.wrong, walked
    assert walked.stuck == 0
    assert walked.states > 3000


@pytest.mark.parametrize("mistake", Faulty)
def test_a_mistake_in_the_protocol_is_found(mistake: Faulty) -> None:
    """Each rule is needed: without it some order of events breaks a promise."""
    inputs, mail = FOUND_WITH.get(mistake, (0, ("m1", "x2")))
    walked = walk(Protocol(mistake, early=mistake in EARLY), start(inputs=inputs, mail=mail))
    assert walked.wrong


@pytest.mark.parametrize("seed", range(20))
async def test_the_scripts_are_the_protocol(store: Store, seed: int) -> None:
    """Whatever happens in whichever order, they answer, and leave in the store, what the protocol says."""
    random = Random(seed)
    protocol, state = Protocol(early=True), start()
    replay = Replay(store, ConversationKey(f"msteams/{seed}"), lease=random.choice((LONG, MOMENT)))
    happened = []
    for _ in range(80):
        steps = list(protocol.steps(state))
        if not steps:
            break  # everything was said and shown
        weights = [0.2 if "crash" in step.name else 1.0 for step in steps]
        (step,) = random.choices(steps, weights)
        happened.append((step.name, step.who, step.saw))
        assert seen(await replay.after(state, step)) == seen(step.saw), happened
        state = step.after
        assert await replay.holds() == held(state), happened


async def test_all_that_was_promised_is_answered(service: Service, ann: Person) -> None:
    """Several inputs that were kept by a process that died are all run by another, in their order."""
    await ann.says("hello")
    for number in ("1", "2", "3"):
        activity = ann.activity(text=number)
        key = ConversationKey(ann.key)
        await service.mail.keep_input(key, activity["id"], activity, service.clock())
    await service.work.wake(ConversationKey(ann.key))
    await until(lambda: len([text for text in ann.shows() if text.startswith("You sent")]) >= 4)
    said = [text.split()[2].strip(".") for text in ann.shows() if text.startswith("You sent")]
    assert [word for word in said if word.isdigit()] == ["1", "2", "3"]
