"""``remind me in … to …``: said when its time has come and the user is free."""

from __future__ import annotations

import pytest

from tests.people import Person, Sender
from tests.serving import impatient

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")

HOW = "Tell me when and what, such as `remind me in 10 seconds to stretch`."
RANGE = "I can remind you between one second and 30 days from now."


class TestAReminder:
    async def test_comes_when_its_time_has_come(self, ann: Person) -> None:
        assert await ann.says("remind me in 1 second to stretch") == ["I will remind you in 1 second: stretch"]
        await ann.hears("Reminder: stretch")

    async def test_waits_for_the_end_of_a_form(self, ann: Person, sender: Sender) -> None:
        """It is held as any answer is, and said when the user is free."""
        await ann.says("remind me in 1 second to stretch")
        await ann.says("report")
        (reminder,) = (await sender.gets("/api/notifications"))[1]["notifications"]
        await sender.becomes(reminder["id"], "held")
        assert await ann.says("cancel") == ["All right, I dropped the form.", "Reminder: stretch"]

    async def test_is_a_notification_that_the_api_shows(self, ann: Person, sender: Sender) -> None:
        await ann.says("remind me in 2 days to stretch")
        (reminder,) = (await sender.gets("/api/notifications"))[1]["notifications"]
        assert reminder["category"] == "reminder"
        assert reminder["counts"] == {"scheduled": 1}

    async def test_that_the_channel_repeats_is_one(self, ann: Person, sender: Sender) -> None:
        activity = ann.activity(text="remind me in 2 days to stretch")
        await ann.posts(activity)
        await ann.posts(activity)
        assert len((await sender.gets("/api/notifications"))[1]["notifications"]) == 1

    @pytest.mark.parametrize(
        ("said", "wait", "what"),
        [
            ("remind me in 10 seconds to stretch", "10 seconds", "stretch"),
            ("remind me in 5m stretch", "5 minutes", "stretch"),
            ("remind me in 1 day to stretch", "1 day", "stretch"),
            ("remind me in 90 secs to stretch", "90 seconds", "stretch"),
            ("Remind me in 2 hours that the cake is done", "2 hours", "the cake is done"),
            ("remind me in 30 days of THIS\nand that", "30 days", "THIS\nand that"),
        ],
    )
    async def test_understands_how_people_say_it(self, ann: Person, said: str, wait: str, what: str) -> None:
        assert await ann.says(said) == [f"I will remind you in {wait}: {what}"]

    @pytest.mark.parametrize(
        ("said", "answer"),
        [
            ("remind me", HOW),
            ("remind me to stretch", HOW),
            ("remind me in 5 fortnights to stretch", HOW),
            ("remind me in 5 seconds", HOW),
            ("remind me in 0 seconds to stretch", RANGE),
            ("remind me in 31 days to stretch", RANGE),
            ("remind me in 99999999999999999999 days to stretch", RANGE),
        ],
    )
    async def test_helps_where_it_does_not_understand(self, ann: Person, said: str, answer: str) -> None:
        assert await ann.says(said) == [answer]
