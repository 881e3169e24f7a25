"""What a bot sends is addressed as by the SDK, without being copied to its last button."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from botbuilder.core import TurnContext
from botbuilder.schema import (
    Activity,
    ActivityTypes,
    ChannelAccount,
    ConversationAccount,
    HeroCard,
    ResourceResponse,
    SuggestedActions,
)

from domain.notification import Json
from sdk.activities import to_json
from sdk.turn_context import LightTurnContext


class Recorder:
    """An adapter that keeps what it is given, as it is at that moment."""

    def __init__(self) -> None:
        self.sent: list[Json] = []

    async def send_activities(self, context: TurnContext, activities: list[Activity]) -> list[ResourceResponse]:
        self.sent += [to_json(activity) for activity in activities]
        return [ResourceResponse(id=str(number)) for number, _ in enumerate(activities)]


def heard(**fields: Any) -> Activity:
    known: dict[str, Any] = {
        "type": ActivityTypes.message,
        "id": "heard-1",
        "channel_id": "msteams",
        "service_url": "https://smba.example/emea/",
        "locale": "de-CH",
        "from_property": ChannelAccount(id="ann", name="Ann"),
        "recipient": ChannelAccount(id="bot"),
        "conversation": ConversationAccount(id="19:thread", tenant_id="t1"),
    }
    return Activity(**{**known, **fields})


HEARD = {
    "a message": heard(),
    "without an id": heard(id=None),
    "an event": heard(type=ActivityTypes.event),
    "people who joined": heard(type=ActivityTypes.conversation_update),
    "Direct Line": heard(channel_id="directline"),
    "Web Chat": heard(channel_id="webchat"),
}
SENT: dict[str, Callable[[], list[Activity]]] = {
    "a text without a type": lambda: [Activity(text="hello")],
    "its own address": lambda: [
        Activity(type="message", text="x", id="mine", reply_to_id="r", locale="fr", channel_id="y")
    ],
    "a hint": lambda: [Activity(type="message", text="?", input_hint="expectingInput")],
    "a trace": lambda: [Activity(type="trace", name="t")],
    "several": lambda: [Activity(text="one"), Activity(type="typing"), Activity(type="trace")],
    "a card": lambda: [
        Activity(
            type="message",
            suggested_actions=SuggestedActions(to=["ann"]),
            value={"card": HeroCard(title="T")},
            channel_data={"a": [1, {"b": 2}]},
        )
    ],
}


async def outcome(kind: type[TurnContext], activity: Activity, sent: list[Activity]) -> tuple[Any, ...]:
    adapter = Recorder()
    context = kind(adapter, activity)
    answers = await context.send_activities(sent)
    return adapter.sent, [answer.id for answer in answers], context.responded, [to_json(one) for one in sent]


@pytest.mark.parametrize("make", SENT.values(), ids=SENT.keys())
@pytest.mark.parametrize("activity", HEARD.values(), ids=HEARD.keys())
async def test_sends_what_the_sdk_sends(activity: Activity, make: Callable[[], list[Activity]]) -> None:
    """The same goes out, with the same answers; what the caller handed in stays as it was."""
    assert await outcome(LightTurnContext, activity, make()) == await outcome(TurnContext, activity, make())


async def test_handlers_may_change_what_is_sent_but_not_what_was_handed_in() -> None:
    """A middleware that listens to what is sent gets a copy that is its own, down to the last value."""

    async def shout(context: TurnContext, activities: list[Activity], go_on: Callable[[], Awaitable[Any]]) -> None:
        activities[0].channel_data["a"] = "changed"
        await go_on()

    adapter = Recorder()
    context = LightTurnContext(adapter, heard())
    context.on_send_activities(shout)
    mine = Activity(type="message", channel_data={"a": "mine"})
    await context.send_activities([mine])
    assert adapter.sent[0]["channelData"] == {"a": "changed"}
    assert mine.channel_data == {"a": "mine"}


async def test_what_waits_for_the_response_is_a_copy_of_its_own() -> None:
    """With ``expectReplies`` a reply goes out at the end of the turn, as it was when it was sent."""
    context = LightTurnContext(Recorder(), heard(delivery_mode="expectReplies"))
    mine = Activity(type="message", channel_data={"a": "then"})
    await context.send_activities([mine])
    mine.channel_data["a"] = "later"
    assert context.buffered_reply_activities[0].channel_data == {"a": "then"}
