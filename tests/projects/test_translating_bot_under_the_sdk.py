"""The translating bot under the SDK alone: what it says wherever else it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from botbuilder.core import ConversationState, MemoryStorage, UserState
from botbuilder.schema import ActivityTypes, ChannelAccount

from tests.projects.isolated import Chat, in_project, shown

load = in_project("translating_bot")


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def rider(load: Callable[[str], Any], storage: MemoryStorage) -> Chat:
    conversation_state, user_state = ConversationState(storage), UserState(storage)
    return Chat(
        load("bots:TranslatingBot")(conversation_state, user_state),
        load("middleware:auto_save")(conversation_state, user_state),
        load("middleware:register_telemetry")(),
        load("middleware:TelemetryMiddleware")(),
        load("middleware:telemetry_logger")(),
        load("middleware:show_typing")(),
        load("middleware:transcript_logger")(),
        load("middleware:translation")(user_state),
    )


async def test_a_booking_in_the_bots_language(rider: Chat, storage: MemoryStorage) -> None:
    assert await rider.says("hi") == ["Step 1 of 3", "Which name shall I book the horse for?"]
    progress = next(iter(storage.memory["test/conversations/Convo1"].values())).progress_id
    assert await rider.says("A") == ["A name has at least two letters."]
    assert await rider.says("Ann") == ["How old is the rider?"]
    assert await rider.says("old") == ["That is no number."]
    assert await rider.says("7") == ["Riders are from 8 to 80 years old."]
    assert await rider.says("8") == ["Which day?"]
    assert await rider.says("someday") == ["I need a day like 2099-01-31, or tomorrow."]
    assert await rider.says("2001-01-31") == ["That day is over."]
    assert await rider.says("2099-01-31") == ["A horse is booked: Ann, 8 years, 2099-01-31"]

    assert [(changed.id, changed.text) for changed in rider.adapter.updated_activities] == [
        (progress, "Step 2 of 3"),
        (progress, "Step 3 of 3"),
    ]
    assert [deleted.activity_id for deleted in rider.adapter.deleted_activities] == [progress]
    profile = storage.memory["test/users/User1"]["UserProfile"]
    assert (profile.name, profile.age, profile.day) == ("Ann", 8, date(2099, 1, 31))
    assert await rider.says("hi") == ["Step 1 of 3", "Which name shall I book the horse for?"]


async def test_a_booking_in_the_users_language(rider: Chat) -> None:
    assert await rider.says("Deutsch") == ["Ich spreche jetzt deine Sprache."]
    assert await rider.says("hallo") == ["Schritt 1 von 3", "Auf welchen Namen soll ich das Pferd buchen?"]
    assert await rider.says("Jörg") == ["Wie alt ist der Reiter?"]
    assert await rider.says("90") == ["Reiter sind zwischen 8 und 80 Jahren alt."]
    assert await rider.says("44") == ["An welchem Tag?"]
    tomorrow = date.today() + timedelta(days=1)
    assert await rider.says("morgen") == [f"Ein Pferd ist gebucht: Jörg, 44 Jahre, {tomorrow}"]
    assert [changed.text for changed in rider.adapter.updated_activities] == ["Schritt 2 von 3", "Schritt 3 von 3"]
    assert await rider.says("english") == ["I speak your language now."]


async def test_who_comes_chooses_a_language(rider: Chat) -> None:
    added = [ChannelAccount(id="bot"), ChannelAccount(id="User1")]
    (choice,) = await rider.does(type=ActivityTypes.conversation_update, members_added=added)
    assert choice.text == "English or Deutsch?"
    assert [action.value for action in choice.suggested_actions.actions] == ["English", "Deutsch"]


async def test_typing_shows_while_the_bot_searches(rider: Chat) -> None:
    assert await rider.says("search") == ["(typing)", "(typing)", "Found one."]
    await asyncio.sleep(0.25)
    assert shown(rider.adapter.activity_buffer[-1]) == "Found one."


async def test_what_middleware_knows(rider: Chat, load: Callable[[str], Any]) -> None:
    for text in ("deutsch", "hallo", "Jörg", "44"):
        await rider.says(text)
    assert await rider.says("statistik") == ["2 Antworten bisher"]

    lines = load("middleware.transcript:TRANSCRIPT").lines("Convo1")
    assert lines[:3] == ["user: deutsch", "bot: Ich spreche jetzt deine Sprache.", "user: hallo"]
    assert lines[-2:] == ["user: statistik", "bot: 2 Antworten bisher"]
    assert "bot: Schritt 3 von 3" in lines

    client = load("middleware.telemetry:CLIENT")
    assert client.count("Turn", type="message") == 5
    assert [measured["messages"] for name, _, measured in client.events if name == "Turn"] == [1, 2, 1, 1, 1]
    assert client.count("BotMessageReceived") == 5
    assert client.count("BotMessageSend", text="An welchem Tag?") == 1


def test_it_starts_as_its_authors_start_it(load: Callable[[str], Any]) -> None:
    routes = {route.resource.canonical for route in load("app:APP").router.routes() if route.resource}
    assert routes == {"/api/messages"}
