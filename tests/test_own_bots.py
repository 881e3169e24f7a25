"""Bots that others wrote, in the layout of the SDK's samples, run unchanged (``BOT_DIR``, ``BOT``, ``MIDDLEWARE``,
``ROUTES``).

What each says under the SDK alone is in ``tests/projects``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from sdk.own_parts import WrongPart, enter
from settings import check_imports, load
from testkit.channel import FakeChannel
from testkit.people import Person, Sender
from tests.processes import ROOT, Nursery, ServiceProcess

PROJECTS = ROOT / "tests" / "projects"
TRANSLATES = (
    "middleware:auto_save,middleware:register_telemetry,middleware:TelemetryMiddleware,middleware:telemetry_logger,"
    "middleware:show_typing,middleware:transcript_logger,middleware:translation"
)
VARIABLES = {
    "profile_bot": {"BOT": "bots:DialogAndWelcomeBot", "ROOT_DIALOG": "dialogs:UserProfileDialog"},
    "translating_bot": {"BOT": "bots:TranslatingBot", "MIDDLEWARE": TRANSLATES},
    "teams_bot": {
        "BOT": "bots:TeamsBot",
        "MIDDLEWARE": "middleware:error_handling",
        "ROUTES": "routes:add_status_page",
    },
}

pytestmark = pytest.mark.timeout(120)


class Project:
    """A project under ``tests/projects`` in a process of its own, with somebody who chats and a system that sends."""

    name = ""

    @pytest.fixture
    async def process(self, nursery: Nursery, real_url: str) -> AsyncIterator[ServiceProcess]:
        folder = {"BOT_DIR": str(PROJECTS / self.name), "REDIS_URL": real_url, "LOG_LEVEL": "info"}
        yield await nursery.start(**folder, **VARIABLES[self.name])

    @pytest.fixture
    def ann(self, process: ServiceProcess, http: aiohttp.ClientSession, channel: FakeChannel) -> Person:
        return Person(http, process.url, channel, channelData={"tenant": {"id": "tenant-1"}})

    @pytest.fixture
    def sender(self, process: ServiceProcess, http: aiohttp.ClientSession) -> Sender:
        return Sender(http, process.url)


class TestADialogBot(Project):
    name = "profile_bot"

    async def test_its_form_is_busy_and_asked_again(self, ann: Person, sender: Sender) -> None:
        """What is interjected comes between, and the prompt's own question after it; what is held comes at the end."""
        (first,) = await ann.says("hi")
        notification = await sender.notifies(ann, "Pool closes at 8", mode="interject")
        await ann.hears("Pool closes at 8", first)
        held = await sender.notifies(ann, "Towels are in")
        await sender.becomes(notification, "delivered")
        await sender.becomes(held, "held")
        assert await ann.says("crawl") == ["Whose card will it be?"]
        for answer in ("Ann", "no", "without"):
            await ann.says(answer)
        assert "Towels are in" in await ann.says("no")

    async def test_state_of_its_own_classes_is_kept(self, ann: Person) -> None:
        for answer in ("hi", "crawl", "Ann", "yes", "41", "without"):
            await ann.says(answer)
        assert (await ann.says("yes"))[0] == "Printed! See you at the pool, Ann."

    async def test_its_files_are_found_and_a_dialog_may_begin_with_a_welcome(self, ann: Person) -> None:
        joined = ann.activity(type="conversationUpdate", membersAdded=[{"id": "29:ann"}])
        status, _ = await ann.posts(joined)
        assert status == 200
        assert "What do you swim best?" in ann.news()[-1]


class TestAnActivityHandlerWithMiddleware(Project):
    name = "translating_bot"

    async def test_what_is_said_is_translated_notifications_too(self, ann: Person, sender: Sender) -> None:
        english = await ann.says("hello")
        assert english == ["Step 1 of 3", "Which name shall I book the horse for?"]
        await ann.says("deutsch")
        notification = await sender.notifies(ann, "Found one.", mode="interject")
        await sender.becomes(notification, "delivered")
        translated = (await ann.next(1))[0]
        assert translated != "Found one."

    async def test_its_flow_without_dialogs_keeps_its_state(self, ann: Person) -> None:
        await ann.says("hello")
        assert (await ann.says("Ann"))[-1] == "How old is the rider?"


class TestATeamsBot(Project):
    name = "teams_bot"

    async def test_invokes_are_answered_by_the_bot(self, ann: Person) -> None:
        data = {"type": "task/fetch", "data": "Book a room"}
        invoke = ann.activity(type="invoke", name="task/fetch", value={"data": data})
        status, body = await ann.posts(invoke)
        assert status == 200 and body and "task" in body

    async def test_it_answers_late_from_a_task(self, ann: Person) -> None:
        assert await ann.says("break") == ["Until later."]
        await ann.hears("The break is over.")

    async def test_reactions_reach_it(self, ann: Person) -> None:
        (answer,) = await ann.says("nothing it knows")
        assert answer.startswith("I know: ")
        reaction = ann.activity(type="messageReaction", reactionsAdded=[{"type": "like"}], replyToId="1")
        status, _ = await ann.posts(reaction)
        assert status == 200 and "Thanks for the like" in ann.news()[-1]

    async def test_its_pages_are_served(
        self, ann: Person, process: ServiceProcess, http: aiohttp.ClientSession
    ) -> None:
        await ann.says("hello")
        async with http.get(f"{process.url}/team/status") as response:
            assert response.status == 200

    async def test_its_error_handler_tells_the_user(self, ann: Person) -> None:
        """What the failed turn said is not shown; what the bot's ``on_turn_error`` says is, in the apology's place."""
        said = await ann.says("fall over")
        assert "Watch me." not in said and len(said) == 1


class TestWhatIsWrong:
    def test_a_folder_that_will_not_do_is_told(self, tmp_path: Path) -> None:
        folder = tmp_path
        (folder / "state.py").write_text("")
        with pytest.raises(WrongPart, match="needs the top-level name state"):
            enter(folder)
        with pytest.raises(WrongPart, match="no such folder"):
            enter(folder / "nowhere")
        (line,) = check_imports(load({"BOT_DIR": str(folder / "nowhere")}))
        assert line.startswith("BOT_DIR: ")

    @pytest.mark.parametrize(
        ("variable", "name", "why"),
        [
            ("BOT", "testkit.people:Nobody", "has no attribute"),
            ("BOT", "testkit.people:FINAL", "neither a class nor a factory"),
            ("BOT", "testkit.people:Person", "has no on_turn"),
            ("MIDDLEWARE", "testkit.people:Sender", "has no on_turn"),
            ("ROUTES", "testkit.people:FINAL", "cannot be called"),
        ],
    )
    def test_a_wrong_part_is_one_line(self, variable: str, name: str, why: str) -> None:
        (line,) = check_imports(load({variable: name}))
        assert line.startswith(f"{variable}: {name!r} cannot be used") and why in line
