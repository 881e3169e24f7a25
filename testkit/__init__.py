"""What tests of a bot need: a running service, people who chat, systems that notify, a channel, and a clock.

``running`` starts the whole service in this process, with a store that is gone afterwards, on a free port::

    async def test_my_bot() -> None:
        async with running(ROOT_DIALOG="my_bot:Order") as bot:
            ann = bot.person("ann")
            assert await ann.says("hello") == ["What would you like?"]
"""

from __future__ import annotations

from testkit.channel import FakeChannel
from testkit.people import Person, Sender
from testkit.running import Bot, running
from testkit.waiting import until

__all__ = ["Bot", "FakeChannel", "Person", "Sender", "running", "until"]
