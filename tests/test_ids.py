"""Identifiers: unique where they must be, the same where they must be, and safe to put anywhere."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import NotificationId, channel_of, conversation_key, delivery_id, derived_id, new_id, user_key
from state import keys

ID = re.compile(r"ntf_[0-9a-hjkmnp-tv-z]{26}")


def test_new_ids_differ_and_can_stand_in_a_url() -> None:
    made = {new_id("ntf") for _ in range(1000)}
    assert len(made) == 1000
    assert all(ID.fullmatch(one) for one in made)


def test_new_ids_sort_by_when_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also across the places where the notation takes another digit."""
    moments = [0, 1, 31, 32, 1023, 1024, 1_700_000_000_000, 1_700_000_000_001, 2**45]
    made = []
    for moment in moments:
        monkeypatch.setattr("time.time_ns", lambda moment=moment: moment * 1_000_000)
        made.append(new_id("ntf"))
    assert all(earlier < later for earlier, later in pairwise(made))


@given(st.lists(st.text(alphabet="ab/.", max_size=4), min_size=1, max_size=3))
def test_what_is_repeated_has_the_same_id(parts: list[str]) -> None:
    """And no other parts have it, however they are cut."""
    assert derived_id("job", *parts) == derived_id("job", *parts)
    assert derived_id("job", *parts) != derived_id("job", *parts, "")
    if len(parts) > 1:
        assert derived_id("job", *parts) != derived_id("job", "".join(parts))
    assert derived_id("job", *parts).removeprefix("job_") == derived_id("ntf", *parts).removeprefix("ntf_")


def test_a_delivery_names_its_notification_and_recipient() -> None:
    assert delivery_id(NotificationId("ntf_1"), 0) == "ntf_1.0"
    assert delivery_id(NotificationId("ntf_1"), 12) != delivery_id(NotificationId("ntf_11"), 2)


@pytest.mark.parametrize("name", ["c1", "19:meeting@thread.v2", "a/b", "a:b|c", "", "ü"])
def test_a_conversation_belongs_to_its_channel(name: str) -> None:
    """Whatever it is called; the same id on two channels is two conversations."""
    assert channel_of(conversation_key("msteams", name)) == channel_of(user_key("msteams", name)) == "msteams"
    assert conversation_key("msteams", name) != conversation_key("webchat", name)


@given(st.text(alphabet="a{}%2B7D/", max_size=6), st.text(alphabet="a{}%2B7D/", max_size=6))
def test_conversations_never_share_a_key(one: str, other: str) -> None:
    """And all keys of a conversation have the same hash tag, so that a cluster keeps them together."""
    first, second = conversation_key("x", one), conversation_key("x", other)
    assert (keys.conversation(first) == keys.conversation(second)) == (one == other)
    made = [keys.conversation(first), keys.mailbox(first), keys.outbox(first), keys.sent_ids(first), keys.jobs(first)]
    assert len(set(made)) == len(made)
    tags = {re.search(r"\{([^}]+)\}", key).group(1) for key in made}  # type: ignore[union-attr]
    assert len(tags) == 1
