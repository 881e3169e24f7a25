"""What is known of conversations, and how they are found: by user, by Entra object, by channel, page by page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from domain.clock import to_ms
from domain.effect import Index
from domain.ids import ConversationKey, JobId
from domain.reachability import Reachability, Standing
from state import keys
from state.conversations import Candidate, Conversations, index_of
from state.store import Store

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def conversations(store: Store) -> Conversations:
    return Conversations(store)


def reference(user: str = "ann", aad: str | None = None) -> dict[str, Any]:
    return {"user": {"id": user, "aadObjectId": aad}, "conversation": {"id": "c"}, "serviceUrl": "https://x"}


async def remember(store: Store, *names: str, user: str = "ann", aad: str | None = None) -> list[ConversationKey]:
    """Conversations as turns and their index effects leave them."""
    wanted = [ConversationKey(name) for name in names]
    record = orjson.dumps({"reference": reference(user, aad), "firstSeen": to_ms(NOW), "timezone": "Europe/Rome"})
    for key in wanted:
        await store.run("HSET", keys.conversation(key), "record", record)
        await store.sequence(*Conversations.indexing(index_of(key, reference(user, aad))))
    return wanted


def test_a_conversation_is_indexed_under_what_its_reference_names() -> None:
    """The user and the Entra object, where there are any."""
    key = ConversationKey("msteams/c")
    assert index_of(key, reference("u", "a")) == Index(conversation=key, users=("u",), aad_objects=("a",))
    assert index_of(key, reference("u", "")) == Index(conversation=key, users=("u",), aad_objects=())
    for nobody in ({}, {"user": None}, {"user": {"id": ""}}):
        assert index_of(key, nobody) == Index(conversation=key, users=(), aad_objects=())


async def test_conversations_are_found_by_their_user(conversations: Conversations, store: Store) -> None:
    """On all channels; entering them again enters nothing twice."""
    for _ in range(2):
        await remember(store, "webchat/1", "msteams/2", "msteams/1", user="ann", aad="00-a")
        await remember(store, "msteams/3", user="bob")
    assert await conversations.of_user("ann") == ["msteams/1", "msteams/2", "webchat/1"]
    assert await conversations.of_aad_object("00-a") == ["msteams/1", "msteams/2", "webchat/1"]
    believing = Conversations(store, {"webchat"})
    assert await believing.of_aad_object("00-a") == ["webchat/1"]
    assert await believing.of_user("ann") == ["msteams/1", "msteams/2", "webchat/1"]
    assert await conversations.of_user("nobody") == await conversations.of_aad_object("nobody") == []
    assert await conversations.count() == 4


async def test_what_decides_between_conversations_is_read_together(conversations: Conversations, store: Store) -> None:
    """In one round trip; what nobody knows any more is left out."""
    one, two = await remember(store, "x/1", "x/2")
    spoke = NOW + timedelta(hours=1)
    await store.run("HSET", keys.conversation(two), "spoke", to_ms(spoke), "reach", "blocked")
    before = store.round_trips
    first, second = await conversations.candidates([one, ConversationKey("x/none"), two])
    assert store.round_trips == before + 1
    assert first == Candidate(key=one, reference=reference(), used=NOW, reachability=Reachability.ACTIVE)
    assert second == Candidate(key=two, reference=reference(), used=spoke, reachability=Reachability.BLOCKED)


async def test_a_channels_conversations_are_its_own(conversations: Conversations, store: Store) -> None:
    """Channels whose names begin alike are kept apart, whatever their conversations are called."""
    await remember(store, "ms/9", "msteams/ ", "msteams/ü", "msteams/", "msteams0/1", "msteams2/1", "webchat/msteams/1")
    assert await conversations.page(None, channel_id="msteams") == ["msteams/", "msteams/ ", "msteams/ü"]
    assert await conversations.count("msteams") == 3
    assert await conversations.count("teams") == 0
    assert await conversations.count() == 7


@pytest.mark.parametrize("size", [1, 3, 10, 11])
async def test_pages_show_everything_once(conversations: Conversations, store: Store, size: int) -> None:
    wanted = await remember(store, *(f"x/{number}" for number in range(10)))
    seen: list[ConversationKey] = []
    while page := await conversations.page(seen[-1] if seen else None, size):
        assert len(page) <= size
        seen += page
    assert seen == sorted(wanted)


async def test_conversations_that_come_while_pages_are_read(conversations: Conversations, store: Store) -> None:
    """Those known from the beginning are shown once each; a new one if it lies ahead."""
    await remember(store, "x/b", "x/d", "x/f", "x/h")
    first = await conversations.page(None, 2, "x")
    await remember(store, "x/a", "x/e", "x/z", "y/1")
    rest = await conversations.page(first[-1], 10, "x")
    assert [*first, *rest] == ["x/b", "x/d", "x/e", "x/f", "x/h", "x/z"]


CHANNEL = "msteams/19:general@thread.tacv2"


async def enter(store: Store, *names: str, known: bool = True) -> None:
    """Conversations of these kinds, as they are entered in the indexes; ``known``: with a record."""
    for name in names:
        channel = name.startswith("msteams/19:")
        conversation = {"id": name.partition("/")[2], "conversationType": "channel" if channel else "personal"}
        told = {"user": {"id": "ann"}, "conversation": conversation}
        key = ConversationKey(name)
        if known:
            record = orjson.dumps({"reference": told, "firstSeen": to_ms(NOW)})
            await store.run("HSET", keys.conversation(key), "record", record)
        await store.sequence(*Conversations.indexing(index_of(key, told)))


@pytest.mark.parametrize("size", [1, 2, 500])
async def test_a_channel_is_one_recipient(conversations: Conversations, store: Store, size: int) -> None:
    """Itself where it is known, otherwise the newest of its threads; all of them have a key and are listed."""
    threads = [f"{CHANNEL};messageid={number}" for number in (1, 2, 3)]
    other = "msteams/19:other@thread.tacv2"
    await enter(store, "msteams/a:1", *threads, other, f"{other};messageid=7", "slack/1")
    wanted = ["msteams/19:general@thread.tacv2;messageid=3", other, "msteams/a:1", "slack/1"]
    assert await conversations.count() == 4
    assert await conversations.count("msteams") == 3
    found: list[ConversationKey] = []
    while page := await conversations.recipients(found[-1] if found else None, size):
        found += page
    assert found == wanted
    assert await conversations.recipients(None, size, "slack") == ["slack/1"]
    assert await conversations.page(None) == sorted(["msteams/a:1", *threads, other, f"{other};messageid=7", "slack/1"])


async def test_a_channel_that_nothing_is_known_of_any_more_is_passed_over(
    conversations: Conversations, store: Store
) -> None:
    """Nobody is left out behind it."""
    await enter(store, "msteams/19:a@thread.tacv2", known=False)
    await enter(store, "msteams/a:1")
    assert await conversations.recipients(None, 1) == ["msteams/a:1"]


async def test_what_is_known_is_read_together(conversations: Conversations, store: Store) -> None:
    """In the order asked for, None for what is not known, in one round trip."""
    one, two = await remember(store, "x/1", "x/2")
    await store.run(
        "HSET", keys.conversation(two), "spoke", to_ms(NOW), "waiting", "1", "dialogs", '["a","b"]', "inbox", 2
    )
    await store.run("HSET", keys.mailbox(two), "d1", "{}")
    await store.run("RPUSH", keys.outbox(two), "e1", "e2")
    await store.run("ZADD", keys.jobs(two), 2, "j2", 1, "j1")
    await store.run("HSET", keys.conversation(ConversationKey("x/lock")), "lock", "t")
    before = store.round_trips
    wanted = [two, ConversationKey("x/none"), one, ConversationKey("x/lock")]
    known, nothing, bare, locked = await conversations.get_many(wanted)
    assert store.round_trips == before + 1
    assert nothing is locked is None
    assert known is not None
    assert bare is not None
    assert (known.key, known.reference, known.timezone, known.first_seen) == (two, reference(), "Europe/Rome", NOW)
    assert (known.last_spoke, known.waiting, known.dialogs, known.inbox) == (NOW, True, ("a", "b"), 2)
    assert (known.mailbox, known.outbox, known.jobs) == (1, 2, (JobId("j1"), JobId("j2")))
    assert (bare.last_spoke, bare.waiting, bare.dialogs, bare.inbox) == (None, False, (), 0)
    assert (bare.mailbox, bare.outbox, bare.jobs, bare.reachability) == (0, 0, (), Reachability.ACTIVE)
    assert known.user == "x/ann"
    assert await conversations.get(one) == bare
    assert await conversations.get(ConversationKey("x/none")) is None
    assert await conversations.get_many([]) == []
    assert await conversations.exist(wanted) == [True, False, True, False]
    assert await conversations.exist([]) == []


async def test_whether_a_conversation_can_be_reached_is_remembered(conversations: Conversations, store: Store) -> None:
    """With the reason and the moment, until it can be again."""
    (key,) = await remember(store, "msteams/1")
    active = Standing()
    blocked = active.after(Reachability.BLOCKED, NOW)
    await store.sequence(*conversations.reaching(key, blocked, "403 MessageWritesBlocked", active))
    known = await conversations.get(key)
    assert known is not None
    assert (known.reachability, known.reachability_detail) == (Reachability.BLOCKED, "403 MessageWritesBlocked")
    assert known.reachability_since == NOW
    assert await conversations.counts() == (1, 1)
    tried = blocked.after(Reachability.BLOCKED, NOW + timedelta(days=1))
    await store.sequence(*conversations.reaching(key, tried, "403 again", blocked))
    known = await conversations.get(key)
    assert known is not None
    assert (known.reachability_detail, known.reachability_since) == ("403 again", NOW)
    await store.sequence(*conversations.reaching(key, tried.after(Reachability.ACTIVE, NOW), "", tried))
    known = await conversations.get(key)
    assert known is not None
    assert (known.reachability, known.reachability_detail, known.reachability_since) == (
        Reachability.ACTIVE,
        None,
        None,
    )
    assert await conversations.counts() == (1, 0)
    assert await conversations.reachability([key, ConversationKey("x/none")]) == [Reachability.ACTIVE, None]
