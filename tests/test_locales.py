"""Locales: whatever a channel sends, prompts work, and the user's own stays known."""

from __future__ import annotations

import pytest

from sdk.locales import usable
from testkit.people import Person, Sender
from tests.serving import serving

UNKNOWN = ("zh-CHS", "prs-AF", "dv-MV", "ca-ES-valencia", "jp", "default", "C", "xx-YY", "en--", "é", "x" * 5000)


class TestAPromptForANumber:
    """The SDK's asks a library, which raises for a locale that it does not know."""

    service = serving(ROOT_DIALOG="tests.own_dialogs.trip:Trip")

    @pytest.mark.parametrize("locale", [*UNKNOWN, "de-DE", "en_US", "", 5])
    async def test_understands_one_in_any_locale(self, ann: Person, locale: object) -> None:
        asked = await ann.says("hello", locale=locale)
        assert asked == ["How many guests?"]
        assert (await ann.says("4", locale=locale))[0].startswith("Which meal?")


@pytest.mark.parametrize("locale", ["en-US", "de-AT", "zh-Hant-TW", "pt-PT", "EN-us", "sr-Latn-RS", "en_US"])
def test_what_is_known_stays_as_it_is(locale: str) -> None:
    assert usable(locale) == locale


@pytest.mark.parametrize(
    ("locale", "known"), [("zh-CHS", "zh"), ("ca-ES-valencia", "ca-ES"), ("jp", None), (None, None)]
)
def test_of_the_others_the_part_that_is_known_is_left(locale: str | None, known: str | None) -> None:
    assert usable(locale) == known


async def test_a_notification_is_sent_in_its_own_locale(ann: Person, sender: Sender) -> None:
    await ann.says("hello")
    await sender.becomes(await sender.notifies(ann, "Neuigkeiten", mode="interject", locale="de-DE"), "delivered")
    assert [one["locale"] for one in ann.channel.messages(ann.conversation)] == ["en-US", "de-DE"]


async def test_the_locale_of_a_user_is_kept_as_it_was_told(ann: Person, sender: Sender) -> None:
    await ann.says("hello", locale="dv-MV")
    assert (await sender.conversation(ann))["locale"] == "dv-MV"
