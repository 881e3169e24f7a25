"""``remind me in … to …``: said when its time has come and the user is free."""

from __future__ import annotations

import pytest

from testkit.people import Person, Sender
from tests.serving import impatient

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")

HOW = (
    "Tell me when and what, such as `remind me in 10 seconds to stretch` or "
    "`remind me in 1 hour and 30 minutes to look into the oven`. I understand lengths of time in weeks, days, "
    "hours, minutes and seconds."
)
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
            ("remind me in 1 hour and 30 minutes to stretch", "1 hour and 30 minutes", "stretch"),
            ("remind me in 1 Day, 2 hours, and 5 mins to stretch", "1 day, 2 hours and 5 minutes", "stretch"),
            ("remind me in 1w1d1h1m1s to stretch", "1 week, 1 day, 1 hour, 1 minute and 1 second", "stretch"),
            ("remind me in 1h30m to stretch", "1 hour and 30 minutes", "stretch"),
            ("remind me in 1 hr 10 min stretch", "1 hour and 10 minutes", "stretch"),
            ("remind me in 2 weeks, stretch", "2 weeks", "stretch"),
            ("remind me in 2 hours from now to stretch", "2 hours", "stretch"),
            ("remind me in 2 hours to and fro", "2 hours", "and fro"),
            ("remind me in 2 hours to 3 people", "2 hours", "3 people"),
            ("remind me in 0000000000000000005 minutes of ornaments", "5 minutes", "ornaments"),
            ("remind me in 5 minutes android update", "5 minutes", "android update"),
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
            ("remind me in 5 seconds to", HOW),
            ("remind me in 1 hour and a half to stretch", HOW),
            ("remind me in 1 hour and 30 minuets to stretch", HOW),
            ("remind me in 1 hour or 2 to stretch", HOW),
            ("remind me in 1 hour half to stretch", HOW),
            ("remind me in 2 days at 9 to stretch", HOW),
            ("remind me in 2 weeks on Monday to stretch", HOW),
            ("remind me in 5 minutes every day to stretch", HOW),
            ("remind me in 1.5 hours to stretch", HOW),
            ("remind me in 5 minutes, 10 minutes to stretch", HOW),
            ("remind me in 30 minutes and 1 hour to stretch", HOW),
            ("remind me in 1 hour 30 to stretch", HOW),
            ("remind me in 1w1d1h1m1s1s to stretch", HOW),
            (f"remind me in {'1h' * 100_000} to stretch", HOW),
            ("remind me in 0 seconds to stretch", RANGE),
            ("remind me in 31 days to stretch", RANGE),
            ("remind me in 99999999999999999999 days to stretch", RANGE),
            ("remind me in 4 weeks and 3 days to stretch", RANGE),
            (f"remind me in {'9' * 5000} days to stretch", RANGE),
        ],
    )
    async def test_helps_where_it_does_not_understand(self, ann: Person, said: str, answer: str) -> None:
        assert await ann.says(said) == [answer]
