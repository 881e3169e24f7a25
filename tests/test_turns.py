"""Turns in the store: one at a time, everything of a turn or nothing, and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.delivery import Delivery, Status
from domain.effect import Effect, Operation, Report, Send
from domain.errors import LeaseLost, NewerState, UnstorableState
from domain.ids import ConversationKey, DeliveryId, UserKey
from domain.notification import Mode
from state import keys
from state.codec import Codec
from state.doubts import mark
from state.mail import MAILBOX, Mail
from state.pins import Pin
from state.store import Store
from state.turn import Turn
from state.turns import LEASE, AlreadyProcessed, Begun, Entry, Left, Taken, Turns, UserStateChanged
from state.work import Work
from testkit.waiting import until

K = ConversationKey("msteams/19:a{b}@thread;1")
ANN = UserKey("msteams/ann")
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
URL = "https://smba.example/"


class Bench:
    """Turns on a store, and what a test asks of them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.turns = Turns(store, Codec(), lambda: NOW)
        self.mail = Mail(store, Work(store, "conversations", lease=60))

    async def begin(self, token: str = "t1", **arguments: Any) -> Begun:
        begun = await self.turns.begin(K, token, **arguments)
        assert isinstance(begun, Begun)
        return begun

    async def turn(self, token: str = "t1", **arguments: Any) -> Turn:
        return (await self.begin(token, **arguments)).turn

    async def commit(self, turn: Turn) -> list[Entry]:
        committed = await self.turns.commit(turn)
        assert not isinstance(committed, UserStateChanged)
        return committed

    async def acknowledge(self, token: str, done: list[str], **arguments: Any) -> Left:
        arguments = {"release": True, **arguments}
        (answer,) = await self.store.sequence(self.turns.acknowledgement(K, token, done, **arguments))
        return self.turns.acknowledged(answer, K)

    async def whole_turn(self, token: str, *texts: str) -> None:
        """A turn from end to end that says these texts."""
        turn = await self.turn(token)
        say(turn, *texts)
        entries = await self.commit(turn)
        await self.acknowledge(token, [entry.id for entry in entries])

    async def put(self, *ids: str) -> None:
        await self.mail.put([(K, delivery(name)) for name in ids])

    async def let_lease_end(self) -> None:
        """As if the holder had given no sign of life for long enough."""
        await self.store.run("HSET", keys.conversation(K), "until", 1)

    async def written(self) -> dict[str, Any]:
        """Everything that commits write, for comparison."""
        hash_, mailbox, outbox, activities, user = await asyncio.gather(
            self.store.run("HMGET", keys.conversation(K), "state", "version", "record", "jobs"),
            self.store.run("HGETALL", keys.mailbox(K)),
            self.store.run("LRANGE", keys.outbox(K), 0, -1),
            self.store.run("ZRANGE", keys.activity_ids(K), 0, -1),
            self.store.run("HGETALL", keys.user(ANN)),
        )
        return {"fields": hash_, "mail": mailbox, "outbox": outbox, "activities": activities, "user": user}


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def delivery(name: str, attempts: int = 0) -> Delivery:
    return Delivery(
        id=DeliveryId(name),
        mode=Mode.RESUME,
        created_at=NOW + timedelta(seconds=ord(name[-1])),
        expires_at=NOW + timedelta(days=1),
        attempts=attempts,
    )


def say(turn: Turn, *texts: str) -> None:
    for text in texts:
        turn.send({"type": "message", "text": text}, URL)


def said(entries: list[Entry]) -> list[str]:
    return [entry.effect.activity["text"] for entry in entries if isinstance(entry.effect, Send)]


# --------------------------------------------------------------------- the lock


async def test_a_conversation_does_one_turn_at_a_time(bench: Bench) -> None:
    """Of many who begin at once exactly one has it; the others learn for how long at most."""
    begun = await asyncio.gather(*(bench.turns.begin(K, f"t{number}") for number in range(20)))
    assert sum(isinstance(one, Begun) for one in begun) == 1
    for one in begun:
        if isinstance(one, Taken):
            assert 0 < one.ends_in <= LEASE.total_seconds()


async def test_other_conversations_are_not_held_up(bench: Bench) -> None:
    await bench.begin()
    assert isinstance(await bench.turns.begin(ConversationKey("msteams/other"), "t2"), Begun)


async def test_a_begin_that_is_repeated_keeps_the_lock(bench: Bench) -> None:
    """It reads anew, and its effects have ids of their own."""
    first = await bench.turn()
    await bench.put("a")
    second = await bench.turn()
    assert second.fence > first.fence
    assert [mail.id for mail in second.mail] == ["a"]
    assert isinstance(await bench.turns.begin(K, "t2"), Taken)


async def test_a_released_conversation_can_be_begun(bench: Bench) -> None:
    await bench.whole_turn("t1")
    assert isinstance(await bench.turns.begin(K, "t2"), Begun)


async def test_a_turn_that_lost_its_lease_changes_nothing(bench: Bench) -> None:
    """Neither by committing, nor by acknowledging, nor by renewing: the other has the conversation."""
    await bench.put("a")
    lost = await bench.turn(user=ANN, activity_id="act")
    lost.state.own["x"] = 1
    assert lost.user_state is not None
    lost.user_state.own["y"] = 1
    lost.fields["record"] = '{"lost":1}'
    say(lost, "lost")
    await bench.let_lease_end()
    winner = await bench.turn("t2")
    before = await bench.written()
    with pytest.raises(LeaseLost):
        await bench.turns.commit(lost)
    with pytest.raises(LeaseLost):
        await bench.acknowledge("t1", [], sent=[("aside.x", "real")], blocked_for=5)
    assert not await bench.turns.renew(K, "t1")
    assert await bench.written() == before
    assert await bench.turns.real_id(K, "aside.x") is None
    say(winner, "won")
    assert said(await bench.commit(winner)) == ["won"]


async def test_a_lease_that_ended_unnoticed_is_still_held(bench: Bench) -> None:
    """Nobody else had begun: nothing is lost by committing late."""
    turn = await bench.turn()
    say(turn, "late")
    await bench.let_lease_end()
    assert said(await bench.commit(turn)) == ["late"]


async def test_a_renewed_lease_is_not_taken_over(bench: Bench) -> None:
    await bench.begin()
    await bench.let_lease_end()
    assert await bench.turns.renew(K, "t1")
    assert isinstance(await bench.turns.begin(K, "t2"), Taken)


async def test_a_lock_outlives_an_outage(bench: Bench) -> None:
    """One that was held when the store went away counts until its holder has had time to say that it lives."""
    await bench.begin()
    seconds, micros = await bench.store.run("TIME")
    await bench.store.run("HSET", keys.conversation(K), "until", int(seconds) * 1000 + int(micros) // 1000 - 2000)
    bench.store.forgives = lambda key: 60.0  # type: ignore[method-assign] # as after an outage of so long
    taken = await bench.turns.begin(K, "t2")
    assert isinstance(taken, Taken)
    assert 0 < taken.ends_in <= LEASE.total_seconds()
    bench.store.forgives = lambda key: 1.0  # type: ignore[method-assign] # it had ended before
    assert isinstance(await bench.turns.begin(K, "t2"), Begun)


async def test_state_of_a_newer_format_lets_the_conversation_go(bench: Bench) -> None:
    """A process that cannot read it leaves it to those that can, at once."""
    await bench.store.run("HSET", keys.conversation(K), "state", "3\n{}\n{}", "record", "{}")
    for token in ("t1", "t2"):
        with pytest.raises(NewerState):
            await bench.turns.begin(K, token)
    assert (await bench.written())["fields"][0] == b"3\n{}\n{}"


# --------------------------------------------------------------------- committing


async def test_what_a_turn_committed_the_next_one_reads(bench: Bench) -> None:
    """State, the user's state, fields; a turn that changed nothing writes no state."""
    turn = await bench.turn(user=ANN)
    turn.state.keep({"dialog": [1]})
    turn.state.own["inbox"] = []
    assert turn.user_state is not None
    turn.user_state.keep({"name": "Ann"})
    turn.fields |= {"record": '{"reference":{}}', "spoke": "1000", "jobs": "3"}
    await bench.commit(turn)
    await bench.acknowledge("t1", [])
    turn = await bench.turn("t2", user=ANN)
    assert turn.user_state is not None
    assert (turn.state.load(), turn.state.own, turn.user_state.load()) == (
        {"dialog": [1]},
        {"inbox": []},
        {"name": "Ann"},
    )
    assert (turn.record, turn.jobs_started) == ({"reference": {}}, 3)
    assert turn.last_spoke == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    turn.state.keep(turn.state.load())
    assert (turn.state.encoded(), turn.user_state.encoded()) == (None, None)


async def test_a_turn_that_wrote_nothing_leaves_no_state(bench: Bench) -> None:
    """A conversation that nobody has is not made by looking at it, but for a lock that goes by itself."""
    await bench.whole_turn("t1")
    assert (await bench.written())["fields"][0] is None
    assert 0 < await bench.store.run("TTL", keys.conversation(K)) <= keys.UNKNOWN_CONVERSATION_TTL


async def test_a_conversation_that_is_known_stays(bench: Bench) -> None:
    """From its first record on it has no end, also when later turns begin."""
    turn = await bench.turn()
    turn.fields["record"] = "{}"
    await bench.commit(turn)
    assert await bench.store.run("TTL", keys.conversation(K)) == -1
    await bench.acknowledge("t1", [])
    await bench.whole_turn("t2")
    assert await bench.store.run("TTL", keys.conversation(K)) == -1


async def test_a_commit_that_is_repeated_writes_once(bench: Bench) -> None:
    """The connection broke and nobody knows whether it was carried out."""
    await bench.put("a", "b")
    turn = await bench.turn(user=ANN, activity_id="act")
    turn.state.own["n"] = 1
    assert turn.user_state is not None
    turn.user_state.own["n"] = 1
    turn.bumped = [delivery("a", attempts=1)]
    say(turn, "one", "two")
    committed = await bench.turns.commit(turn)
    after = await bench.written()
    assert await bench.turns.commit(turn) == committed
    assert await bench.written() == after
    assert not isinstance(committed, UserStateChanged)
    assert await bench.acknowledge("t1", []) == Left(outbox=2, mail=1)


async def test_what_cannot_be_stored_commits_nothing(bench: Bench) -> None:
    turn = await bench.turn()
    turn.state.keep({"f": print})
    say(turn, "never")
    before = await bench.written()
    with pytest.raises(UnstorableState, match=r"state\.f"):
        await bench.turns.commit(turn)
    assert await bench.written() == before


async def test_a_users_state_that_changed_meanwhile_stops_the_whole_commit(bench: Bench) -> None:
    """State, mail, effects and the activity's id are as before; run again on what is there now, it goes through."""
    elsewhere = await bench.turns.begin(ConversationKey("msteams/elsewhere"), "e1", user=ANN)
    assert isinstance(elsewhere, Begun)
    await bench.put("a")
    turn = await bench.turn(user=ANN, activity_id="act")
    for one in (elsewhere.turn, turn):
        assert one.user_state is not None
        one.user_state.keep({"by": one.token})
    assert not isinstance(await bench.turns.commit(elsewhere.turn), UserStateChanged)
    turn.state.own["x"] = 1
    turn.fields["record"] = "{}"
    say(turn, "said on old grounds")
    before = await bench.written()
    assert isinstance(await bench.turns.commit(turn), UserStateChanged)
    assert await bench.written() == before
    again = await bench.turn(user=ANN, activity_id="act")
    assert again.user_state is not None
    assert again.user_state.load() == {"by": "e1"}
    again.user_state.keep({"by": "both"})
    await bench.commit(again)
    assert (await bench.turns.read_user(ANN)).load() == {"by": "both"}


async def test_a_users_state_that_was_only_read_stops_nobody(bench: Bench) -> None:
    elsewhere = await bench.turns.begin(ConversationKey("msteams/elsewhere"), "e1", user=ANN)
    assert isinstance(elsewhere, Begun)
    assert elsewhere.turn.user_state is not None
    elsewhere.turn.user_state.keep({"by": "e1"})
    turn = await bench.turn(user=ANN)
    assert turn.user_state is not None
    turn.user_state.keep(turn.user_state.load())
    await bench.turns.commit(elsewhere.turn)
    assert not isinstance(await bench.turns.commit(turn), UserStateChanged)
    assert (await bench.turns.read_user(ANN)).load() == {"by": "e1"}


async def test_the_state_of_a_user_who_was_not_known_beforehand_is_read_late(bench: Bench) -> None:
    """And committed like any other; a turn without a user has none."""
    turn = await bench.turn()
    assert await turn.user_document() is None
    turn.user = ANN
    document = await turn.user_document()
    assert document is not None
    document.keep({"name": "Ann"})
    await bench.commit(turn)
    assert (await bench.turns.read_user(ANN)).load() == {"name": "Ann"}


# --------------------------------------------------------------------- mail


async def test_mail_is_read_oldest_first(bench: Bench) -> None:
    await bench.put("c", "a", "b")
    assert [mail.id for mail in (await bench.turn()).mail] == ["a", "b", "c"]


async def test_mail_leaves_with_the_commit_and_not_before(bench: Bench) -> None:
    """What arrived meanwhile stays for the next turn, and what was put once is not put again."""
    await bench.put("a", "b")
    turn = await bench.turn()
    await bench.put("c", "a")
    assert set((await bench.written())["mail"]) == {b"a", b"b", b"c"}
    await bench.commit(turn)
    assert (await bench.acknowledge("t1", [])).mail == 1
    await bench.put("a", "b", "c")
    assert [mail.id for mail in (await bench.turn("t2")).mail] == ["c"]
    assert 0 < await bench.store.run("TTL", keys.mail_ids(K)) <= keys.MAIL_IDS_TTL


async def test_mail_that_made_a_turn_fail_stays_with_its_count(bench: Bench) -> None:
    await bench.put("a", "b")
    turn = await bench.turn()
    turn.bumped = [turn.mail[0].failed_once_more(LookupError())]
    await bench.commit(turn)
    await bench.acknowledge("t1", [])
    assert [(mail.id, mail.attempts) for mail in (await bench.turn("t2")).mail] == [("a", 1)]


async def test_mail_that_a_turn_does_not_take_stays(bench: Bench) -> None:
    await bench.put("a", "b")
    turn = await bench.turn()
    turn.mail_ids = ["a"]
    await bench.commit(turn)
    assert (await bench.acknowledge("t1", [])).mail == 1
    assert [mail.id for mail in (await bench.turn("t2")).mail] == ["b"]


async def test_a_withdrawal_reaches_the_turn_and_leaves_with_it(bench: Bench) -> None:
    await bench.put("a")
    await bench.mail.withdraw(K, DeliveryId("a"))
    turn = await bench.turn()
    assert (turn.withdrawn, [mail.id for mail in turn.mail]) == (["a"], ["a"])
    await bench.commit(turn)
    assert (await bench.written())["mail"] == {}


async def test_mail_that_is_put_again_is_there_again(bench: Bench) -> None:
    """A replay is on purpose, unlike a repetition."""
    await bench.put("a")
    await bench.whole_turn("t1")
    await bench.mail.put_again(K, delivery("a"))
    assert [mail.id for mail in (await bench.turn("t2")).mail] == ["a"]


async def test_what_was_put_again_can_be_withdrawn_again(bench: Bench) -> None:
    """A withdrawal of the first time does not stand in the way of another."""
    await bench.put("a")
    await bench.mail.withdraw(K, DeliveryId("a"))
    await bench.whole_turn("t1")
    await bench.mail.put_again(K, delivery("a"))
    await bench.mail.withdraw(K, DeliveryId("a"))
    assert (await bench.turn("t2")).withdrawn == ["a"]


async def test_a_full_mailbox_says_so(bench: Bench) -> None:
    """What is in it already counts as put; what is withdrawn or replayed always finds room."""
    many = [(K, delivery(f"m{number:04}")) for number in range(MAILBOX)]
    assert await bench.mail.put(many) == []
    late = (K, delivery("late"))
    assert await bench.mail.put([many[0], late]) == [late]
    assert await bench.mail.put([late]) == [late], "it was not put, so it may be put later"
    await bench.mail.withdraw(K, many[0][1].id)
    await bench.mail.put_again(K, delivery("again"))
    turn = await bench.turn()
    assert (len(turn.mail), turn.withdrawn) == (MAILBOX + 1, [many[0][1].id])
    await bench.commit(turn)
    assert await bench.mail.put([late]) == []


async def test_what_a_user_said_is_kept_until_its_turn_has_committed(bench: Bench) -> None:
    """Oldest first, and not by turns of something else; an activity whose turn is over is not kept."""
    for seconds, activity_id in ((2, "second"), (1, "first")):
        at = NOW + timedelta(seconds=seconds)
        await bench.mail.keep_input(K, activity_id, {"id": activity_id, "text": "hi"}, at)
    turn = await bench.turn()
    assert [kept.activity["id"] for kept in turn.inputs] == ["first", "second"]
    await bench.commit(turn)
    await bench.acknowledge("t1", [])
    turn = await bench.turn("t2", activity_id="first")
    assert turn.mail_left() == 1
    await bench.commit(turn)
    await bench.acknowledge("t2", [])
    await bench.mail.keep_input(K, "first", {"id": "first"}, NOW)
    assert [kept.activity["id"] for kept in (await bench.turn("t3")).inputs] == ["second"]


# --------------------------------------------------------------------- activities that come twice


async def test_an_activity_that_was_processed_is_not_processed_again(bench: Bench) -> None:
    """Even while the conversation is taken, and whoever asks."""
    await bench.commit(await bench.turn(activity_id="act"))
    assert isinstance(await bench.turns.begin(K, "t2", activity_id="act"), AlreadyProcessed)
    await bench.acknowledge("t1", [])
    assert isinstance(await bench.turns.begin(K, "t3", activity_id="act"), AlreadyProcessed)
    assert isinstance(await bench.turns.begin(K, "t3", activity_id="other"), Begun)


async def test_an_activity_whose_turn_did_not_commit_is_processed(bench: Bench) -> None:
    """Its process died; the channel sends it again."""
    await bench.begin(activity_id="act")
    await bench.let_lease_end()
    assert isinstance(await bench.turns.begin(K, "t2", activity_id="act"), Begun)


async def test_activity_ids_are_forgotten_in_time(bench: Bench) -> None:
    """Old ones go with the next commit, and all of them with a conversation that falls silent."""
    await bench.store.run("ZADD", keys.activity_ids(K), 1, "ancient")
    await bench.commit(await bench.turn(activity_id="act"))
    assert (await bench.written())["activities"] == [b"act"]
    assert 0 < await bench.store.run("TTL", keys.activity_ids(K)) <= keys.ACTIVITY_IDS_TTL


# --------------------------------------------------------------------- the outbox


async def test_effects_lie_in_the_outbox_in_their_order(bench: Bench) -> None:
    """Those of an earlier turn that nobody carried out come first, with the ids that they were given."""
    turn = await bench.turn()
    say(turn, *(f"{number}" for number in range(12)))
    entries = await bench.commit(turn)
    assert await bench.acknowledge("t1", []) == Left(outbox=12, mail=0)
    begun = await bench.begin("t2")
    assert begun.leftovers == entries
    say(begun.turn, "after")
    new = await bench.commit(begun.turn)
    assert said((await bench.begin("t2")).leftovers) == [*said(entries), "after"]
    assert len({entry.id for entry in [*entries, *new]}) == 13


async def test_an_acknowledgement_that_is_repeated_takes_nothing_more(bench: Bench) -> None:
    """Nor does one after the lock was let go: it was the same call."""
    turn = await bench.turn()
    say(turn, "one", "two", "three")
    one, two, three = await bench.commit(turn)
    for _ in range(2):
        assert (await bench.acknowledge("t1", [one.id], release=False)).outbox == 2
    for _ in range(2):
        assert (await bench.acknowledge("t1", [two.id], sent=[("aside.p", "real")])).outbox == 1
    begun = await bench.begin("t2")
    assert begun.leftovers == [three]
    with pytest.raises(LeaseLost):
        await bench.acknowledge("t0", [three.id])


async def test_only_the_head_of_the_outbox_is_taken_off(bench: Bench) -> None:
    """What stands behind something else is not done yet, whatever is claimed; ids that begin alike differ."""
    turn = await bench.turn()
    say(turn, *(f"{number}" for number in range(11)))
    entries = await bench.commit(turn)
    await bench.acknowledge("t1", [entries[10].id, entries[3].id], release=False)
    assert len((await bench.begin()).leftovers) == 11
    await bench.acknowledge("t1", [entry.id for entry in entries[:2]], release=False)
    assert said((await bench.begin()).leftovers) == [f"{number}" for number in range(2, 11)]


async def test_a_send_that_waits_keeps_its_place_and_its_count(bench: Bench) -> None:
    """And the conversation's outbox is blocked for as long as the channel says, whatever turns come and go."""
    turn = await bench.turn()
    say(turn, "one", "two")
    one, two = await bench.commit(turn)
    assert isinstance(one.effect, Send)
    again = Entry(id=one.id, effect=replace(one.effect, attempts=1, doubtful=True))
    await bench.acknowledge("t1", [], rewritten=again, blocked_for=50)
    for token in ("t2", "t3"):
        begun = await bench.begin(token)
        assert begun.leftovers == [again, two]
        assert 30 < begun.blocked_for <= 50
        await bench.acknowledge(token, [])
    await bench.store.run("HSET", keys.conversation(K), "blocked", 1)
    assert (await bench.begin("t4")).blocked_for == 0


async def test_an_entry_that_is_not_the_head_is_not_rewritten(bench: Bench) -> None:
    turn = await bench.turn()
    say(turn, "one", "two")
    one, two = await bench.commit(turn)
    await bench.acknowledge("t1", [], rewritten=Entry(id=two.id, effect=one.effect))
    assert (await bench.begin("t2")).leftovers == [one, two]


async def test_activities_are_found_by_the_ids_their_turns_were_given(bench: Bench) -> None:
    """As many as are kept, the newest; and for as long as is promised."""
    await bench.begin()
    pairs = [(f"aside.t.{number}", f"real{number}") for number in range(keys.SENT_IDS_KEPT + 5)]
    for pair in pairs:
        for _ in range(2):
            await bench.acknowledge("t1", [], sent=[pair], release=False)
    assert await bench.turns.real_id(K, pairs[-1][0]) == pairs[-1][1]
    assert await bench.turns.real_id(K, pairs[5][0]) == "real5"
    assert await bench.turns.real_id(K, pairs[4][0]) is None
    assert await bench.turns.real_id(K, "aside.unknown.1") is None
    assert await bench.turns.provisional_id(K, "real5") == pairs[5][0]
    assert await bench.turns.provisional_id(K, "real4") is None
    assert await bench.store.run("HLEN", keys.sent_ids(K)) == 2 * keys.SENT_IDS_KEPT
    assert await bench.store.run("LLEN", keys.sent_order(K)) == keys.SENT_IDS_KEPT
    for key in (keys.sent_ids(K), keys.sent_order(K)):
        assert 0 < await bench.store.run("TTL", key) <= keys.SENT_IDS_TTL


async def test_every_kind_of_effect_comes_back_from_the_outbox(bench: Bench) -> None:
    turn = await bench.turn()
    turn.showing = (delivery("a"),)
    say(turn, "shows")
    turn.change(Operation.DELETE, "aside.x.1", {}, URL)
    turn.report(delivery("a"), Status.HELD, reason="busy")
    before: list[Effect] = list(turn.effects)
    await bench.commit(turn)
    assert [entry.effect for entry in (await bench.begin()).leftovers] == before


# --------------------------------------------------------------------- what was said before the commit


def shows(turn: Turn, *names: str) -> None:
    for name in names:
        turn.showing = (delivery(name),)
        say(turn, name)


def in_doubt(entries: list[Entry]) -> dict[str, bool]:
    """Which sends may be repetitions."""
    return {said([entry])[0]: entry.effect.doubtful for entry in entries if isinstance(entry.effect, Send)}


async def says_early(bench: Bench, token: str, *names: str) -> None:
    """A turn shows deliveries before its commit, and dies."""
    assert await bench.turns.renew(K, token, early=mark(token, names))
    await bench.let_lease_end()


async def test_what_was_said_before_a_commit_that_never_came_may_be_repeated(bench: Bench) -> None:
    """Whoever says it now says so, and so it is settled; what had not been said is in no doubt."""
    await bench.put("a", "b")
    await bench.begin("t1")
    await says_early(bench, "t1", "a")
    turn = await bench.turn("t2")
    assert (turn.spoke_early, turn.doubted) == (True, {"a"})
    shows(turn, "a", "b")
    entries = await bench.commit(turn)
    assert in_doubt(entries) == {"a": True, "b": False}
    await bench.acknowledge("t2", [entry.id for entry in entries])
    turn = await bench.turn("t3")
    assert (turn.spoke_early, turn.doubted) == (False, set())


async def test_what_may_be_repeated_is_in_doubt_until_it_is_settled(bench: Bench) -> None:
    """A turn may keep it for later, or fail; only a status that is final ends the doubt."""
    await bench.put("a", "b", "c")
    await bench.begin("t1")
    await says_early(bench, "t1", "a", "b", "c")
    turn = await bench.turn("t2")
    turn.report(delivery("a"), Status.HELD)
    turn.report(delivery("b"), Status.EXPIRED)
    await bench.commit(turn)
    await bench.acknowledge("t2", [f"{turn.fence}.0", f"{turn.fence}.1"])
    turn = await bench.turn("t3")
    assert (turn.spoke_early, turn.doubted) == (False, {"a", "c"})
    shows(turn, "a")
    turn.report(delivery("c"), Status.DELIVERED, reason="in_response")
    shown, answered = await bench.commit(turn)
    assert in_doubt([shown]) == {"a": True}
    assert isinstance(answered.effect, Report)
    assert answered.effect.report.may_be_repeated
    await bench.acknowledge("t3", [shown.id, answered.id])
    assert (await bench.turn("t4")).doubted == set()


async def test_a_turn_that_lost_its_conversation_marks_nothing(bench: Bench) -> None:
    """What it was about to show it may not show."""
    await bench.begin("t1")
    await bench.let_lease_end()
    await bench.whole_turn("t2")
    assert not await bench.turns.renew(K, "t1", early=mark("t1", ["a"]))
    assert not (await bench.turn("t3")).spoke_early


async def both_change_the_user(bench: Bench) -> tuple[Turn, Turn]:
    """Two turns in conversations of one user, of which each wants to write that user's state."""
    elsewhere = await bench.turns.begin(ConversationKey("msteams/elsewhere"), "e1", user=ANN)
    assert isinstance(elsewhere, Begun)
    here = await bench.turn(user=ANN)
    for turn in (here, elsewhere.turn):
        assert turn.user_state is not None
        turn.user_state.keep({"by": turn.token})
    return here, elsewhere.turn


async def test_a_pinned_users_state_is_written_by_that_turn_first(bench: Bench) -> None:
    here, elsewhere = await both_change_the_user(bench)
    assert await bench.turns.pin(here) is Pin.HELD
    other = asyncio.create_task(bench.turns.commit(elsewhere))
    asked = bench.store.round_trips
    await until(lambda: bench.store.round_trips > asked + 3, what="it asks again and again")
    assert not other.done()
    assert (await bench.turns.read_user(ANN)).load() == {}
    await bench.commit(here)
    assert isinstance(await other, UserStateChanged)
    assert (await bench.turns.read_user(ANN)).load() == {"by": "t1"}


async def test_a_pin_ends_with_a_turn_that_changed_nothing(bench: Bench) -> None:
    """Who waited has read the state as it is, and need not be run again."""
    here, elsewhere = await both_change_the_user(bench)
    assert here.user_state is not None
    here.user_state.keep({})
    assert await bench.turns.pin(here) is Pin.HELD
    other = asyncio.create_task(bench.turns.commit(elsewhere))
    await bench.commit(here)
    assert not isinstance(await other, UserStateChanged)
    assert (await bench.turns.read_user(ANN)).load() == {"by": "e1"}


async def test_a_state_that_another_has_pinned_or_changed_is_not_pinned(bench: Bench) -> None:
    here, elsewhere = await both_change_the_user(bench)
    assert [await bench.turns.pin(turn) for turn in (here, elsewhere, here)] == [Pin.HELD, Pin.TAKEN, Pin.HELD]
    await bench.commit(here)
    assert await bench.turns.pin(elsewhere) is Pin.CHANGED


async def test_a_state_that_is_read_late_can_be_pinned_before(bench: Bench) -> None:
    turn = await bench.turn()
    turn.user = ANN
    assert await bench.turns.pin(turn) is Pin.HELD
    document = await turn.user_document()
    assert document is not None
    document.keep({"name": "Ann"})
    await bench.commit(turn)
    assert (await bench.turns.read_user(ANN)).load() == {"name": "Ann"}


async def test_a_pin_lasts_as_long_as_its_turns_lease(bench: Bench) -> None:
    """A turn that dies leaves one that ends by itself; one that lives extends it, unless it was taken away."""
    turn = await bench.turn(user=ANN)
    await bench.turns.pin(turn)
    assert 0 < await bench.store.run("PTTL", keys.pin(ANN)) <= LEASE.total_seconds() * 1000
    await bench.store.run("PEXPIRE", keys.pin(ANN), 3000)
    assert await bench.turns.renew(K, "t1")
    assert await bench.store.run("PTTL", keys.pin(ANN)) > 5000
    await bench.store.run("DEL", keys.pin(ANN))
    assert await bench.turns.renew(K, "t1")
    assert not await bench.store.run("EXISTS", keys.pin(ANN))


# --------------------------------------------------------------------- against a model


@dataclass
class Process:
    """What a process has in its hand: a turn it runs, or what it committed and has yet to send."""

    token: str
    turn: Turn | None = None
    sending: list[Entry] = field(default_factory=list)
    change: int = 0
    took: set[str] = field(default_factory=set)


def running(process: Process) -> bool:
    return process.turn is not None


def sending(process: Process) -> bool:
    return bool(process.sending)


def done(process: Process) -> bool:
    return process.turn is None


class TwoProcesses(RuleBasedStateMachine):
    """Two processes on one conversation, either of which dies at any point, against a model without a store.

    The model knows what was committed. The store must agree: nothing committed is lost, nothing not committed is
    seen, nothing is acknowledged twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bench = Bench(Store(FakeAsyncRedis(server=FakeServer(), protocol=2)))
        self.processes: dict[int, Process] = {}
        self.holder: int | None = None
        self.lapsed = False
        self.count = 0
        self.state = 0
        self.mail: set[str] = set()
        self.outbox: list[str] = []
        self.sent: list[str] = []

    def do(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(call)

    def next(self) -> int:
        self.count += 1
        return self.count

    @initialize()
    def a_conversation(self) -> None:
        self.do(self.bench.whole_turn("t0"))

    def those(self, fits: Callable[[Process], bool]) -> list[int]:
        return sorted(who for who, process in self.processes.items() if fits(process))

    @precondition(lambda self: len(self.processes) < 2)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted({0, 1} - self.processes.keys())))
        token = f"p{who}.{self.next()}"
        begun = self.do(self.bench.turns.begin(K, token))
        if self.holder is not None and not self.lapsed:
            assert isinstance(begun, Taken)
            return
        self.holder, self.lapsed = who, False
        assert said(begun.leftovers) == self.outbox
        assert begun.turn.state.own.get("n", 0) == self.state
        assert {mail.id for mail in begun.turn.mail} == self.mail
        took = {mail.id for mail in begun.turn.mail}
        self.processes[who] = Process(token, begun.turn, begun.leftovers, self.next(), took)

    @precondition(lambda self: self.those(running))
    @rule(data=st.data(), repeated=st.booleans())
    def commit(self, data: st.DataObject, repeated: bool) -> None:
        who = data.draw(st.sampled_from(self.those(running)))
        process = self.processes[who]
        assert process.turn is not None
        process.turn.state.own["n"] = process.change
        texts = [f"{process.token} says {number}" for number in range(2)]
        say(process.turn, *texts)
        if self.holder != who:
            with pytest.raises(LeaseLost):
                self.do(self.bench.turns.commit(process.turn))
            del self.processes[who]
            return
        for _ in range(2 if repeated else 1):
            entries = self.do(self.bench.commit(process.turn))
        process.sending, process.turn = [*process.sending, *entries], None
        self.state = process.change
        self.mail -= process.took
        self.outbox += texts

    @precondition(lambda self: self.those(sending))
    @rule(data=st.data(), repeated=st.booleans())
    def send_one(self, data: st.DataObject, repeated: bool) -> None:
        """One effect is carried out and taken off; a process that lost its lease takes off nothing."""
        who = data.draw(st.sampled_from(self.those(sending)))
        process = self.processes[who]
        entry = process.sending.pop(0)
        for _ in range(2 if repeated else 1):
            acknowledgement = self.bench.acknowledge(process.token, [entry.id], release=False)
            if self.holder == who:
                self.do(acknowledgement)
            else:
                with pytest.raises(LeaseLost):
                    self.do(acknowledgement)
        if self.holder == who:
            assert self.outbox.pop(0) == said([entry])[0]
            self.sent += said([entry])
        else:
            del self.processes[who]

    @precondition(lambda self: self.holder in self.those(done))
    @rule(repeated=st.booleans())
    def let_go(self, repeated: bool) -> None:
        assert self.holder is not None
        process = self.processes.pop(self.holder)
        for _ in range(2 if repeated else 1):
            left = self.do(self.bench.acknowledge(process.token, []))
            assert (left.outbox, left.mail) == (len(self.outbox), len(self.mail))
        self.holder = None

    @rule(data=st.data(), what=st.sampled_from(["mail", "mail", "death", "lease", "renewal"]))
    def something_happens(self, data: st.DataObject, what: str) -> None:
        """Mail comes, twice; a process dies and leaves only its lock; a lease ends or is renewed."""
        if what == "mail":
            name = f"m{self.next():04}"
            for _ in range(2):
                self.do(self.bench.put(name))
            self.mail.add(name)
        elif what == "death" and self.processes:
            del self.processes[data.draw(st.sampled_from(sorted(self.processes)))]
        elif what == "lease" and self.holder is not None:
            self.do(self.bench.let_lease_end())
            self.lapsed = True
        elif what == "renewal" and self.holder in self.processes:
            assert self.do(self.bench.turns.renew(K, self.processes[self.holder].token))
            self.lapsed = False

    @invariant()
    def the_store_agrees(self) -> None:
        written = self.do(self.bench.written())
        assert said([Entry.decode(data) for data in written["outbox"]]) == self.outbox
        assert {name.decode() for name in written["mail"]} == self.mail
        assert len(self.sent) == len(set(self.sent))

    def teardown(self) -> None:
        self.loop.run_until_complete(self.bench.store.close())
        self.loop.close()


TwoProcesses.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # every step asks a store: shrinking would take minutes
    suppress_health_check=[HealthCheck.too_slow],
)
TestTwoProcesses = TwoProcesses.TestCase
