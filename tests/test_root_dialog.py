"""What ``ROOT_DIALOG`` may name: what is wrong is told in one line, and what lies beside it belongs to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

import app
from app import Service
from domain.errors import UndecodableState
from settings import ConfigurationError, check_imports, load
from testkit.channel import FakeChannel
from testkit.people import Person
from tests.conftest import ServiceFactory, url_of

BOT = """
from botbuilder.core import ActivityHandler
from botbuilder.dialogs import ComponentDialog, Dialog
from botbuilder.dialogs.prompts import OAuthPrompt, OAuthPromptSettings, TextPrompt


class Bot(ActivityHandler): ...


class Plain: ...


class Demanding(ComponentDialog):
    def __init__(self, user_state, recognizer, booking, retries=3, *more, **others): ...


class Failing(ComponentDialog):
    def __init__(self):
        super().__init__("failing")
        self.add_dialog(None)


class Unfinished(Dialog):
    def __init__(self):
        super().__init__("unfinished")


class Holding(ComponentDialog):
    def __init__(self):
        super().__init__("holding")
        inner = ComponentDialog("inner")
        inner.add_dialog(TextPrompt("text"))
        self.add_dialog(inner)
        self.add_dialog(TextPrompt("menu"))


class Signing(ComponentDialog):
    def __init__(self):
        super().__init__("signing")
        self.add_dialog(OAuthPrompt("token", OAuthPromptSettings(connection_name="c", title="t")))


made = Signing()


def make_bot(user_state):
    return Bot()


def make_nothing():
    pass


async def make_later():
    return Signing()
"""

WRONG = {
    "Bot": "it is an ActivityHandler (Bot)); name the dialog that it runs, and the handler as BOT",
    "Plain": "it is no Dialog); name a class derived from one, such as ComponentDialog, or a function that returns one",
    "Demanding": "nobody offers its parameters recognizer, booking); conversation_state, user_state, services, "
    "adapter are offered: give the rest a default, or name a function that takes these and returns the dialog",
    "made": "it is a dialog already); name its class, or a function that returns it",
    "make_later": "it is a coroutine function); write it as a plain function: def, not async def",
}
WRONG_WHEN_MADE = {
    "make_bot": "(it returned an ActivityHandler (Bot)); name the dialog that it runs, and the handler as BOT",
    "make_nothing": "(it returned a NoneType, which is no Dialog); name a class derived from one, such as "
    "ComponentDialog, or a function that returns one",
    "Failing": "a_wrong_bot.py:20); correct it there",
    "Unfinished": "a_wrong_bot.py:23); correct it there",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a bot lies, which is forgotten afterwards."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_wrong_bot.py").write_text(BOT)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_dialog_is_told_before_the_start(name: str) -> None:
    (line,) = check_imports(load({"ROOT_DIALOG": f"a_wrong_bot:{name}"}))
    assert line == f"ROOT_DIALOG: 'a_wrong_bot:{name}' cannot be used ({WRONG[name]}"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", WRONG_WHEN_MADE)
async def test_what_makes_no_dialog_is_told_at_the_start_and_by_a_check(
    start_service: ServiceFactory, real_url: str, name: str
) -> None:
    root = {"ROOT_DIALOG": f"a_wrong_bot:{name}"}
    with pytest.raises(ConfigurationError) as refused:
        await start_service(**root)
    (line,) = refused.value.mistakes
    assert line.startswith(f"ROOT_DIALOG: 'a_wrong_bot:{name}' cannot be ")
    assert WRONG_WHEN_MADE[name] in line
    assert await app._check(load({"REDIS_URL": real_url, **root})) == [line]


@pytest.mark.usefixtures("folder")
async def test_a_check_tells_a_store_that_is_away_beside_it() -> None:
    """With the setting, the place and what to do, never with the password."""
    url = "redis://ann:hunter2@127.0.0.1:1/0?password=hunter2"
    dialog, store = await app._check(load({"REDIS_URL": url, "ROOT_DIALOG": "a_wrong_bot:make_nothing"}))
    assert dialog.startswith("ROOT_DIALOG: ")
    assert store.startswith("REDIS_URL: The store cannot be reached: ")
    assert "; see that a server runs at 127.0.0.1:1, " in store
    assert "hunter2" not in store


@pytest.mark.usefixtures("folder")
async def test_a_dialog_that_wants_a_sign_in_without_an_app_id_is_told_of_it(
    start_service: ServiceFactory, http: aiohttp.ClientSession, channel: FakeChannel, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, and again where a user comes to it."""
    service = await start_service(ROOT_DIALOG="a_wrong_bot:Signing")
    assert "sign_in_unavailable" in [vars(record).get("action") for record in caplog.records]
    ann = Person(http, url_of(service), channel, "ann")
    (apology,) = await ann.says("hello")
    (failed,) = [record for record in caplog.records if vars(record).get("action") == "turn_failed"]
    assert "something went wrong" in apology
    assert "set MicrosoftAppId" in str(failed.exc_info and failed.exc_info[1])


@pytest.mark.usefixtures("folder")
async def test_a_dialog_that_is_named_idle_and_is_nowhere_is_told(
    start_service: ServiceFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """With what was meant, or what there is; ids and paths at which one can be are no mistake."""
    right = "holding,menu,text,inner/text,holding/inner/text,holding/inner/menu,holding/inner/inner"
    wrong = "holding/mneu,inner/steps,holding/text,menu/text,zzz"
    await start_service(ROOT_DIALOG="a_wrong_bot:Holding", IDLE_DIALOGS=f"{right},{wrong}")
    told = [record for record in caplog.records if vars(record).get("action") == "idle_dialog_unknown"]
    lines = [record.getMessage() for record in told]
    assert [line.split("'")[1] for line in lines] == wrong.split(",")
    assert lines[0] == (
        "IDLE_DIALOGS: 'holding/mneu' is no dialog that the root dialog holds when it is made; "
        "did you mean holding/menu?"
    )
    assert lines[-1].endswith("; there are holding, inner, menu, text")


MAIN = """
from botbuilder.dialogs import ComponentDialog, WaterfallDialog
from botbuilder.dialogs.prompts import PromptOptions, TextPrompt
from botbuilder.core import MessageFactory
from booking_details import BookingDetails
from data_models.card import Card


class Main(ComponentDialog):
    def __init__(self, user_state):
        super().__init__("main")
        self.cards = user_state.create_property("cards")
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.book]))
        self.add_dialog(TextPrompt("text"))

    async def ask(self, step):
        step.values["booking"] = BookingDetails("Riga")
        await self.cards.set(step.context, Card("blue"))
        return await step.prompt("text", PromptOptions(prompt=MessageFactory.text("When?")))

    async def book(self, step):
        booking, card = step.values["booking"], await self.cards.get(step.context)
        await step.context.send_activity(f"{type(booking).__name__} {booking.where} {step.result} {card.colour}")
        return await step.end_dialog()
"""


def lay_out(folder: Path, main: str) -> None:
    """A bot as the samples have it, and a script beside it that the bot does not import."""
    for name, text in {
        main: MAIN,
        "booking_details.py": "class BookingDetails:\n    def __init__(self, where):\n        self.where = where\n",
        "data_models/card.py": "class Card:\n    def __init__(self, colour):\n        self.colour = colour\n",
        "deploy.py": "raise SystemExit('deployed')\n\nclass Order: ...\n",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize("main", ["main_dialog", "its_dialogs.main_dialog"])
async def test_classes_beside_the_root_dialog_are_stored(
    folder: Path, start_service: ServiceFactory, http: aiohttp.ClientSession, channel: FakeChannel, main: str
) -> None:
    """In modules and packages, whether the root dialog lies beside them or in a package that does."""
    lay_out(folder, f"{main.replace('.', '/')}.py")
    service = await start_service(ROOT_DIALOG=f"{main}:Main")
    ann = Person(http, url_of(service), channel, "ann")
    assert await ann.says("hi") == ["When?"]
    assert await ann.says("today") == ["BookingDetails Riga today blue"]


async def test_nothing_else_is_storable_for_lying_there(folder: Path, start_service: ServiceFactory) -> None:
    """No script that the bot does not import, nothing installed, nothing of Python or of this service."""
    lay_out(folder, "main_dialog.py")
    service: Service = await start_service(ROOT_DIALOG="main_dialog:Main")
    for name in ("deploy:Order", "aiohttp:ClientSession", "string:Template", "config:ApiKey", "app:Service"):
        stored = json.dumps({"$type": name, "v": {}}).encode()
        with pytest.raises(UndecodableState, match="may not be read"):
            service.codec.decode(stored)
    assert "deploy" not in sys.modules


async def test_a_root_dialog_of_this_project_makes_none_of_its_own_classes_storable(service: Service) -> None:
    with pytest.raises(UndecodableState, match="may not be read"):
        service.codec.decode(b'{"$type": "state.turn:Turn", "v": {}}')
