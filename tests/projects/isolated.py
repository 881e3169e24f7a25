"""Projects side by side although their modules have the same names, and the names of this service's own."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botbuilder.core.adapters import TestAdapter
from botbuilder.schema import Activity, ActivityTypes, ChannelAccount, ConversationAccount

FOLDER = Path(__file__).parent
SOMEBODY = Activity(
    channel_id="test",
    service_url="https://channel.test",
    from_property=ChannelAccount(id="User1", name="Ann"),
    recipient=ChannelAccount(id="bot", name="Bot"),
    conversation=ConversationAccount(id="Convo1"),
)


@contextmanager
def project(name: str) -> Iterator[Callable[[str], Any]]:
    """Be in the folder of a project as if it were started there; what is given finds ``module:attribute`` in it."""
    folder = FOLDER / name
    own = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    others = _taken_out(own)
    before = Path.cwd()
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    importlib.invalidate_caches()
    try:
        yield _attribute
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        _taken_out(own)
        sys.modules.update(others)


def _taken_out(names: set[str]) -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}


def _attribute(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def in_project(name: str) -> Any:
    """A fixture: the test runs in this project."""

    @pytest.fixture
    def load() -> Iterator[Callable[[str], Any]]:
        with project(name) as attribute:
            yield attribute

    return load


class Chat:
    """One user of a bot under the SDK's adapter for tests."""

    def __init__(self, bot: Any, *middleware: Any) -> None:
        self.adapter = TestAdapter(bot.on_turn, SOMEBODY)
        for each in middleware:
            self.adapter.use(each)

    async def does(self, **fields: Any) -> list[Activity]:
        """Give the bot an activity; what it sent."""
        self.adapter.activity_buffer.clear()
        await self.adapter.receive_activity(Activity(**fields))
        return list(self.adapter.activity_buffer)

    async def says(self, text: str, **fields: Any) -> list[str]:
        return [shown(activity) for activity in await self.does(type=ActivityTypes.message, text=text, **fields)]


def shown(activity: Activity) -> str:
    """What the user reads: a text, or in brackets what kind of card it is, or what else it is."""
    if activity.type != ActivityTypes.message:
        return f"({ActivityTypes(activity.type).value})"
    cards = [f"[{attachment.content_type.rpartition('.')[2]}]" for attachment in activity.attachments or []]
    return " ".join(filter(None, [activity.text, *cards]))
