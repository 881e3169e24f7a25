"""What developers test their own bots with."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from settings import ConfigurationError
from testkit import running, until
from tests.documentation.pages import ROOT, blocks


async def test_people_talk_and_systems_notify() -> None:
    """The whole service, with no port to choose and nothing left afterwards."""
    async with running() as bot:
        ann = bot.person("ann")
        question = await ann.says("report")
        notification = await bot.sender.notifies(ann, "fire drill", mode="interject")
        await ann.hears("fire drill", *question)
        await bot.sender.becomes(notification, "delivered")
    async with running() as another:
        assert (await another.sender.gets("/api/conversations"))[1]["conversations"] == []


async def test_time_passes_without_waiting() -> None:
    """A user who is quiet for long is away; what expires is over; what is scheduled is sent."""
    async with running() as bot:
        ann = bot.person("ann")
        question = await ann.says("report")
        held = await bot.sender.notifies(ann, "lunch", mode="resume")
        await bot.sender.becomes(held, "held")
        await bot.passes(minutes=11)
        await ann.hears("lunch", *question)
        expires = bot.now.replace(microsecond=0).isoformat()
        status, body = await bot.sender.posts({"to": {"all": True}, "text": "late", "expiresAt": expires})
        assert status == 422, body


async def test_what_is_scheduled_is_sent_when_time_has_passed() -> None:
    async with running() as bot:
        ann = bot.person("ann")
        await ann.says("hello")
        send_at = (bot.now + timedelta(days=30)).isoformat()
        notification = await bot.sender.notifies(ann, "happy new year", mode="interject", sendAt=send_at)
        assert ann.news() == []
        await bot.passes(days=30, seconds=1)
        await ann.hears("happy new year")
        await bot.sender.becomes(notification, "delivered")


async def test_a_wrong_setting_is_told() -> None:
    with pytest.raises(ConfigurationError, match="ROOT_DIALOG"):
        async with running(ROOT_DIALOG="nowhere:Dialog"):
            pass


async def test_until_says_what_did_not_come_true() -> None:
    with pytest.raises(AssertionError, match="never"):
        await until(lambda: False, within=0.01, what="never")


def test_the_first_test_of_the_page_can_be_run(tmp_path: Path) -> None:
    """What docs/testing.md shows passes, in a folder of its own."""
    for block in blocks(ROOT / "docs" / "testing.md"):
        if block.language == "python" and block.argument:
            (tmp_path / block.argument).write_text(block.text)
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 passed" in result.stdout, result.stdout + result.stderr
