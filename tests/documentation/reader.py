"""Somebody who follows a page from its first line to its last, with a shell, an editor and a chat."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from testkit.channel import FakeChannel
from testkit.people import Person
from testkit.waiting import until
from tests.documentation.pages import ROOT, Block
from tests.processes import Processes, ServiceProcess

DOCUMENTED = "127.0.0.1:3978"
"""Where the pages say that the service is."""
CHANNEL = "directline"
"""The channel of the chat page: one that shows choices as buttons."""
DONE = "__done__"

_ASSIGNMENT = re.compile(r"[A-Z]\w*=.*")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command, and what is to be seen after it: ``…`` stands for anything."""

    command: str
    output: str


def steps(block: Block) -> Iterator[Step]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield Step(command=command, output=output.strip())


def fits(expected: str, seen: str) -> bool:
    """Whether what was seen is what the page shows."""
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, seen.strip(), re.DOTALL) is not None


class Reader:
    """``folder`` stands for the project's, with a link to ``app.py``: what a page has its reader write goes there."""

    def __init__(
        self, folder: Path, store_url: str, http: aiohttp.ClientSession, channel: FakeChannel, processes: Processes
    ) -> None:
        self._folder = folder
        self._store_url = store_url
        self._http = http
        self._channel = channel
        self._processes = processes
        self._service: ServiceProcess | None = None
        self._person: Person | None = None
        self._heard = 0
        self._chats = 0
        self._shell: asyncio.subprocess.Process | None = None
        (folder / "app.py").symlink_to(ROOT / "app.py")
        (folder / ".venv").symlink_to(sys.prefix)

    async def close(self) -> None:
        if self._shell is not None:
            self._shell.kill()
            await self._shell.wait()

    async def follows(self, block: Block) -> None:
        match block.language:
            case "console":
                for step in steps(block):
                    await self._does(step)
            case "chat":
                await self._chat(block.text)
            case "python":
                self._write(block)
            case "json":
                await self._check(json.loads(block.text))

    # ------------------------------------------------------------------ files

    def _write(self, block: Block) -> None:
        compile(block.text, block.argument or "block", "exec")
        if block.argument:
            file = self._folder / block.argument
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text)

    async def _check(self, body: Any) -> None:
        """A notification is one that the service would take."""
        if "to" not in body:
            return
        service = await self._running()
        url = f"{service.url}/api/notify"
        async with self._http.post(url, json={**body, "dryRun": True}) as response:
            answer = await response.json(content_type=None)
        assert response.status == 200 or answer["type"].startswith("urn:aside:problem:unknown-"), answer

    # ------------------------------------------------------------------ shell

    async def _does(self, step: Step) -> None:
        words = shlex.split(step.command)
        if words[-2:] == ["make", "run"]:
            await self._start(dict(word.split("=", 1) for word in words[:-2]))
            assert self._service is not None
            shown = self._service.log.replace(f":{self._port}", ":3978")
        else:
            if DOCUMENTED in step.command:
                await self._running()
                await self._settled()
                command = step.command.replace(DOCUMENTED, f"127.0.0.1:{self._port}")
            else:
                command = step.command
            shown = (await self._run(command)).replace(f":{self._port}", ":3978")
        assert fits(step.output, shown), f"$ {step.command}\n{shown}\n-- but the page has:\n{step.output}"

    async def _run(self, command: str) -> str:
        """Run a command in the page's one shell: variables live from block to block."""
        if self._shell is None:
            self._shell = await asyncio.create_subprocess_exec(
                *("bash", "--noprofile", "--norc"),
                cwd=self._folder,
                env=self._environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.write(f"{{ {command}\n}} </dev/null; echo; echo {DONE}\n".encode())
        output = await self._shell.stdout.readuntil(f"{DONE}\n".encode())
        return output.decode().removesuffix(f"{DONE}\n")

    def _environment(self) -> dict[str, str]:
        """That of somebody who has made `.venv` and activated nothing."""
        home = str(self._folder)
        return {"PATH": os.environ["PATH"], "HOME": home, "DATA_DIR": f"{home}/data", "PORT": "0"}

    # ------------------------------------------------------------------ service

    @property
    def _port(self) -> str:
        return "3978" if self._service is None else self._service.url.rpartition(":")[2]

    async def _running(self) -> ServiceProcess:
        if self._service is None:
            await self._start({})
        assert self._service is not None
        return self._service

    async def _start(self, variables: dict[str, str]) -> None:
        """As ``make run`` does; the service that runs is stopped first, and what it knew is kept."""
        if self._service is not None:
            assert await self._service.stop() == 0, self._service.log
        path = os.pathsep.join([str(self._folder), str(ROOT)])
        self._service = await self._processes.start(
            cwd=self._folder, REDIS_URL=self._store_url, PYTHONPATH=path, DRAIN_SECONDS="5", **variables
        )
        self._person = None

    async def _settled(self) -> None:
        """Wait, as people do by being slow, until what was sent is where it is going."""
        service = await self._running()

        async def nothing_pending() -> bool:
            async with self._http.get(f"{service.url}/api/notifications", params={"status": "pending"}) as response:
                return response.status != 200 or not (await response.json())["notifications"]

        await until(nothing_pending, what="nothing is on its way")

    # ------------------------------------------------------------------ chat

    async def _chat(self, text: str) -> None:
        for line in re.split(r"^(?=You: |Bot: )", text, flags=re.MULTILINE):
            speaker, _, said = line.strip().partition(": ")
            person = await self._talking()
            if speaker == "You":
                await self._settled()
                await person.posts(person.activity(text=said))
            elif speaker == "Bot":
                await self._hears(said)

    async def _talking(self) -> Person:
        """The user: a new one for each service that is started, as on a chat page that was opened anew."""
        service = await self._running()
        if self._person is None:
            self._chats += 1
            name = f"reader{self._chats}"
            self._person = Person(self._http, service.url, self._channel, name, channelId=CHANNEL)
            self._heard = 0
        return self._person

    async def _hears(self, said: str) -> None:
        person = await self._talking()

        def shown() -> list[str]:
            return [_shown(message) for message in self._channel.messages(person.conversation)]

        await until(lambda: len(shown()) > self._heard, what=f"the bot says {said!r}; it said {shown()}")
        assert fits(said, shown()[self._heard]), f"{shown()[self._heard]!r}, but the page has {said!r}"
        self._heard += 1

    async def heard_all(self) -> None:
        """The bot said nothing that the page does not show."""
        if self._person is not None:
            said = [_shown(message) for message in self._channel.messages(self._person.conversation)]
            assert said[self._heard :] == []


def _shown(message: dict[str, Any]) -> str:
    """A message as the pages write it: its text, and its buttons in brackets."""
    actions = (message.get("suggestedActions") or {}).get("actions", [])
    buttons = " ".join(f"[{action['title']}]" for action in actions)
    return "  ".join(filter(None, [message.get("text", ""), buttons]))
