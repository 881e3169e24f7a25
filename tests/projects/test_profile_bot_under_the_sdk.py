"""The profile bot under the SDK alone: what it says wherever else it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botbuilder.core import ConversationState, MemoryStorage, UserState
from botbuilder.schema import Activity, ActivityTypes, Attachment, ChannelAccount

from tests.projects.isolated import Chat, in_project

load = in_project("profile_bot")
ANN = ChannelAccount(id="User1", name="Ann")
BOT = ChannelAccount(id="bot", name="Bot")
ASKS_FIRST = "What do you swim best? (1) Crawl, (2) Breaststroke, or (3) Backstroke"
ASKS_FOR_AGE = "Shall your age be on it? (1) Yes or (2) No"
ASKS_FOR_PORTRAIT = "Send me a portrait, or say anything to go without."


class Swimmer(Chat):
    def __init__(self, load: Callable[[str], Any], storage: MemoryStorage) -> None:
        self.user_state = UserState(storage)
        dialog = load("dialogs:UserProfileDialog")(self.user_state)
        super().__init__(load("bots:DialogAndWelcomeBot")(ConversationState(storage), self.user_state, dialog))


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def ann(load: Callable[[str], Any], storage: MemoryStorage) -> Swimmer:
    return Swimmer(load, storage)


async def test_the_whole_form(ann: Swimmer, storage: MemoryStorage) -> None:
    assert await ann.says("hi") == [ASKS_FIRST]
    assert await ann.says("butterfly") == ["We only teach these. (1) Crawl, (2) Breaststroke, or (3) Backstroke"]
    assert await ann.says("crawl") == ["Whose card will it be?"]
    assert await ann.says("A") == ["Whose card will it be?"]
    assert await ann.says("Ann") == ["A card for Ann, then.", ASKS_FOR_AGE]
    assert await ann.says("yes") == ["How many years is that?"]
    assert await ann.says("200") == ["Members are between 6 and 110 years old."]
    assert await ann.says("old") == ["Members are between 6 and 110 years old."]
    assert await ann.says("very") == ["A number from 6 to 110 will do."]
    assert await ann.says("41") == [ASKS_FOR_PORTRAIT]
    pdf = Attachment(content_type="application/pdf", content_url="https://files.test/ann.pdf")
    png = Attachment(content_type="image/png", content_url="https://files.test/ann.png")
    assert await ann.says("", attachments=[pdf]) == ["A portrait is a JPEG or a PNG."]
    assert await ann.says("", attachments=[pdf, png]) == ["[hero]", "Print it like this? (1) Yes or (2) No"]
    assert await ann.says("yes") == ["Printed! See you at the pool, Ann.", "With your portrait. [image/png]"]

    profile = storage.memory["test/users/User1"]["UserProfile"]
    assert (profile.name, profile.stroke, profile.age) == ("Ann", "Crawl", 41)
    assert profile.portrait.content_url == "https://files.test/ann.png"
    assert await ann.says("again") == [ASKS_FIRST]


async def test_the_shortest_form_is_thrown_away(ann: Swimmer, storage: MemoryStorage) -> None:
    for answer in ("hi", "2", "Bea"):
        await ann.says(answer)
    assert await ann.says("no") == [ASKS_FOR_PORTRAIT]
    (card, question) = await ann.does(type=ActivityTypes.message, text="without")
    assert card.attachments[0].content.text == "of age"
    assert question.text.startswith("Print it like this?")
    assert await ann.says("no") == ["Thrown away. Write again for another one."]
    assert "UserProfile" not in storage.memory.get("test/users/User1", {})


async def test_who_comes_is_welcomed_and_asked(ann: Swimmer) -> None:
    welcome, question = await ann.does(type=ActivityTypes.conversation_update, members_added=[BOT, ANN])
    assert _heading(welcome) == "The pool is open"
    assert question.text == ASKS_FIRST
    (rules,) = await ann.does(type=ActivityTypes.message, text="Rules")
    assert (rules.text, _heading(rules)) == ("The rules of the house", "In the pool")
    assert await ann.says("3") == ["Whose card will it be?"]


async def test_the_dialog_goes_on_with_another_bot_on_its_storage(
    ann: Swimmer, load: Callable[[str], Any], storage: MemoryStorage
) -> None:
    """Everything that it needs is in its states."""
    for answer in ("hi", "crawl", "Ann"):
        await ann.says(answer)
    assert await Swimmer(load, storage).says("yes") == ["How many years is that?"]


def test_it_starts_as_its_authors_start_it(load: Callable[[str], Any]) -> None:
    routes = {route.resource.canonical for route in load("app:APP").router.routes() if route.resource}
    assert routes == {"/api/messages"}


def _heading(activity: Activity) -> str:
    return str(activity.attachments[0].content["body"][0]["text"])
