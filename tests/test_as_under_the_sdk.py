"""Dialogs of many kinds read as under the SDK, apart from the notification: in every mode, at every point of the
conversation, over right and wrong answers, with and without something else queued.

What the SDK says to each input is found out by running it: its adapter, its state, its storage in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import aiohttp
import pytest
from botbuilder.core import BotAdapter, ConversationState, MemoryStorage, TurnContext
from botbuilder.dialogs import Dialog, DialogContext, DialogSet, DialogTurnStatus
from botbuilder.schema import Activity, ActivityTypes, ResourceResponse

from domain.notification import Json
from sdk.activities import activity_from_json, to_json
from testkit.channel import FakeChannel
from testkit.people import Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory, url_of

NEWS, MENU = {"text": "fire drill"}, {"text": "the menu"}


@dataclass(frozen=True)
class Script:
    """``says``: what the user says, a wrong answer with a ``!`` before it. ``whole``: whether all messages of the turn
    that asked come back although the SDK could repeat some. ``idle``: after which of the inputs a dialog waits that may
    be spoken into."""

    root: str
    says: tuple[str, ...]
    whole: bool = False
    idle: tuple[int, ...] = ()


SCRIPTS = (
    Script("trip:Agency", ("hi", "!100", "4", "!meat", "fish", "yes", "hi")),
    Script("asking:InPassing", ("hi", "Ann", "green", "hi")),
    Script("sharing:Hotel", ("hi", "!a few", "!more", "4", "hi")),
    Script("sharing:Desk", ("hi", "sing", "book", "Riga", "!some", "3", "book", "!help", "cancel")),
    Script("sharing:SaidBefore", ("hi", "Ann", "hi")),
    Script("unasked:CardThenPrompt", ("hi", "done", "hi")),
    Script("unasked:ChoicesAlone", ("hi", "!green", "red", "hi"), whole=True),
    Script("unasked:Leaf", ("hi", "Ann", "hi")),
    Script("unasked:Bare", ("hi", "Ann", "42", "hi")),
    Script("unasked:QuestionAndHint", ("hi", "Ann", "hi")),
    Script("unasked:Patient", ("hi", "!A", "!B", "Ann", "hi")),
    Script("unasked:Apologetic", ("weather", "what?", "weather")),
    Script("unasked:Shouting", ("hi", "Ann", "hi")),
    Script("unasked:HalfSaid", ("hi", "Ann", "hi"), whole=True),
    Script("various:IdleLobby", ("hi", "bell", "Bob", "in_passing", "Eve", "bell"), idle=(0, 2, 4)),
)


class PlainAdapter(BotAdapter):
    """The SDK's, with a channel that is a list."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Json] = []

    async def send_activities(self, context: TurnContext, activities: list[Activity]) -> list[ResourceResponse]:
        self.shown += [_seen(to_json(activity)) for activity in activities if activity.type == ActivityTypes.message]
        return [ResourceResponse(id=f"sent-{len(self.shown)}") for _ in activities]

    async def update_activity(self, context: TurnContext, activity: Activity) -> None:
        raise NotImplementedError

    async def delete_activity(self, context: TurnContext, reference: object) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Turn:
    """What the SDK shows in one turn, what it says when it is asked to repeat its question then, and whether it
    waits for an answer."""

    shows: list[Json]
    repeats: list[Json]
    waits: bool


async def under_the_sdk(root: Dialog, heard: Sequence[Json]) -> list[Turn]:
    adapter, state = PlainAdapter(), ConversationState(MemoryStorage())
    dialogs = DialogSet(state.create_property("DialogState"))
    dialogs.add(root)
    turns = []
    waits: list[bool] = []

    async def turn(context: TurnContext) -> None:
        dialog_context = await dialogs.create_context(context)
        result = await dialog_context.continue_dialog()
        if result.status == DialogTurnStatus.Empty:
            await dialog_context.begin_dialog(root.id)
        await state.save_changes(context)

    async def repeat(context: TurnContext) -> None:
        dialog_context = await dialogs.create_context(context)
        waits.append(bool(dialog_context.stack))
        await _innermost(dialog_context).reprompt_dialog()

    for body in heard:
        adapter.shown = []
        waits.clear()
        await adapter.run_pipeline(TurnContext(adapter, activity_from_json(body)), turn)
        shows, adapter.shown = adapter.shown, []
        try:
            await adapter.run_pipeline(TurnContext(adapter, activity_from_json(body)), repeat)
            repeats = adapter.shown
        except Exception:  # what is said then is half a question
            repeats = []
        turns.append(Turn(shows=shows, repeats=repeats, waits=waits[0]))
    return turns


def _innermost(outer: DialogContext) -> DialogContext:
    """Where the active dialog is found also through its parents, which the SDK does when it goes on, and forgets when
    it asks again."""
    while outer.stack and "dialogs" in outer.active_dialog.state and outer.active_dialog.state["dialogs"].dialog_stack:
        inner = DialogContext(
            outer.find_dialog_sync(outer.active_dialog.id)._dialogs,
            outer.context,
            outer.active_dialog.state["dialogs"],
        )
        inner.parent = outer
        outer = inner
    return outer


def _seen(message: Json) -> Json:
    """Of a message what a user sees of it."""
    return {field: message[field] for field in ("text", "attachments", "suggestedActions") if message.get(field)}


class Chat:
    """Somebody who goes through a script, and is told something after some of its turns. ``plain``: what the SDK
    shows."""

    def __init__(self, person: Person, sender: Sender, script: Script, plain: list[Turn]) -> None:
        self.person = person
        self.sender = sender
        self.script = script
        self.plain = plain
        self._seen = 0

    async def goes(self, told_after: Collection[int], mode: str, also_queued: bool) -> None:
        before: list[Json] = []
        held: list[Json] = []
        for number, text in enumerate(self.script.says):
            await self.person.says(text.removeprefix("!"))
            busy = self._busy(number)
            released = [] if busy else held
            assert await self._sees() == [*before, *self.plain[number].shows, *released], (number, text)
            before, held = [], held if busy else []
            if number in told_after:
                before, held = await self._is_told(number, mode, also_queued)

    async def _is_told(self, at: int, mode: str, also_queued: bool) -> tuple[list[Json], list[Json]]:
        """What is shown before the next reply, and what when the user is free."""
        queued: list[Json] = []
        if also_queued:
            await self._notifies(MENU["text"], "queue", "queued")
            queued.append(MENU)
        if mode == "queue":
            await self._notifies(NEWS["text"], mode, "queued")
            return [*queued, NEWS], []
        if mode == "resume" and self._busy(at):
            await self._notifies(NEWS["text"], mode, "held")
            assert await self._sees() == []
            return queued, [NEWS]
        expected = [NEWS, *self._question(at)] if self._busy(at) else [NEWS]
        await self._notifies(NEWS["text"], mode, "delivered")
        assert await self._sees(len(expected)) == expected, at
        return queued, []

    def _busy(self, at: int) -> bool:
        return self.plain[at].waits and at not in self.script.idle

    def _question(self, at: int) -> list[Json]:
        if self.plain[at].repeats and not self.script.whole:
            return self.plain[at].repeats
        asked = max(number for number in range(at + 1) if not self.script.says[number].startswith("!"))
        return self.plain[asked].shows

    async def _notifies(self, text: str, mode: str, status: str) -> None:
        await self.sender.becomes(await self.sender.notifies(self.person, text, mode=mode), status)

    async def _sees(self, count: int = 0) -> list[Json]:
        """What is new, once it is so many messages at least."""
        channel, conversation = self.person.channel, self.person.conversation
        await until(
            lambda: len(channel.messages(conversation)) >= self._seen + count,
            what=f"{count} more than {self._seen} of {channel.texts(conversation)}",
        )
        seen = channel.messages(conversation)
        new, self._seen = seen[self._seen :], len(seen)
        return [_seen(message) for message in new]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.root)
async def test_reads_as_under_the_sdk_apart_from_the_notification(
    script: Script, start_service: ServiceFactory, http: aiohttp.ClientSession, channel: FakeChannel
) -> None:
    module, _, name = f"tests.own_dialogs.{script.root}".partition(":")
    make: Any = getattr(import_module(module), name)
    service = await start_service(ROOT_DIALOG=f"{module}:{name}")
    sender = Sender(http, url_of(service))

    def person(name: str) -> Person:
        return Person(http, url_of(service), channel, name)

    heard = [person("nobody").activity(text=text.removeprefix("!")) for text in script.says]
    plain = await under_the_sdk(make(), heard)
    assert any(turn.shows for turn in plain)
    chats = [
        Chat(person(f"ann-{number}"), sender, script, plain).goes(*case)
        for number, case in enumerate(_cases(script))
    ]
    await asyncio.gather(*chats)


def _cases(script: Script) -> Iterator[tuple[Collection[int], str, bool]]:
    """What is said at once or queued goes in between everywhere; what is held is still held at the next question."""
    everywhere = range(len(script.says))
    for also_queued in (False, True):
        yield everywhere, "interject", also_queued
        yield everywhere, "queue", also_queued
    for at in everywhere:
        yield [at], "resume", at % 2 == 1
