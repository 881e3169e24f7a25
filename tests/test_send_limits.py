"""How much leaves for the channel, and when: limits and pauses that all processes keep together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from domain.ids import ConversationKey
from state import keys
from state.rates import Limits, Rates
from state.store import Store
from testkit.waiting import until

HERE, ELSEWHERE = "tenant-1", "tenant-2"
NONE: Limits = ()
SOME_MORE = 60.0
"""Seconds that a test may take between two calls; waits are longer by far."""

MakeRates = Callable[..., Rates]


@pytest.fixture
def rates(store: Store) -> MakeRates:
    """Each stands for a process of its own."""

    def make(per_conversation: Limits = NONE, per_tenant: Limits = NONE) -> Rates:
        return Rates(store, per_conversation=per_conversation, per_tenant=per_tenant)

    return make


def c(number: int) -> ConversationKey:
    return ConversationKey(f"msteams/c{number}")


async def news(rates: Rates, number: int = 0, tenant: str = HERE, *, has_place: bool = False) -> float:
    """Seconds that a notification for a conversation has to wait."""
    return max(await rates.reserve(c(number), tenant, answer=False, has_place=has_place))


async def answer(rates: Rates, number: int = 0, tenant: str = HERE) -> float:
    return max(await rates.reserve(c(number), tenant, answer=True))


def about(*seconds: float) -> list[object]:
    return [pytest.approx(each, abs=SOME_MORE) if each else 0.0 for each in seconds]


class TestALimitOfATenant:
    LIMIT: Limits = ((2, 2000.0),)

    async def test_gives_each_that_is_early_a_slot_of_its_own(self, rates: MakeRates) -> None:
        """Two at once, the next one after the other, whichever process asks."""
        one, two = rates(per_tenant=self.LIMIT), rates(per_tenant=self.LIMIT)
        waits = [await news(process, n) for n, process in enumerate((one, two, one, two, one))]
        assert waits == about(0, 0, 1000, 2000, 3000)

    async def test_has_a_place_again_that_is_given_back(self, rates: MakeRates) -> None:
        """What was withdrawn keeps nobody waiting; what has gone is not undone."""
        limits = rates(per_tenant=self.LIMIT)
        waits = [await news(limits, n) for n in range(5)]
        assert waits == about(0, 0, 1000, 2000, 3000)
        for number in (4, 3, 2):
            await limits.give_back(c(number), HERE)
        assert [await news(limits, n) for n in (5, 6)] == about(1000, 2000)
        for number in range(9):
            await limits.give_back(c(number), HERE)
        assert [await news(limits, n) for n in range(3)] == about(0, 0, 1000)

    async def test_does_not_ask_twice_for_one_send(self, rates: MakeRates) -> None:
        """What has waited for its slot goes, and takes no other's."""
        limited = rates(per_tenant=self.LIMIT)
        assert [await news(limited, n) for n in range(3)] == about(0, 0, 1000)
        assert await news(limited, 2, has_place=True) == 0.0
        assert await news(limited, 3) == about(2000)[0]

    async def test_lets_answers_pass_and_counts_them(self, rates: MakeRates) -> None:
        limited = rates(per_tenant=self.LIMIT)
        assert [await news(limited, n) for n in range(3)] == about(0, 0, 1000)
        assert [await answer(limited, 9) for _ in range(2)] == [0.0, 0.0]
        assert await news(limited, 3) == about(4000)[0]

    async def test_is_its_own(self, rates: MakeRates) -> None:
        limited = rates(per_tenant=self.LIMIT)
        assert [await news(limited, n) for n in range(3)] == about(0, 0, 1000)
        assert await news(limited, 3, ELSEWHERE) == 0.0

    async def test_says_for_whose_sake_a_send_waits(self, rates: MakeRates) -> None:
        """First for the conversation's, then for the tenant's."""
        limited = rates(per_conversation=((1, 3000.0),), per_tenant=((1, 1000.0),))
        assert await limited.reserve(c(1), HERE, answer=False) == (0.0, 0.0)
        assert list(await limited.reserve(c(1), HERE, answer=False)) == about(3000, 1000)
        assert list(await limited.reserve(c(2), HERE, answer=False)) == about(0, 2000)


class TestALimitOfAConversation:
    async def test_holds_for_answers_too(self, rates: MakeRates) -> None:
        limited = rates(per_conversation=((2, 2000.0),))
        assert [await answer(limited, 1) for _ in range(3)] == about(0, 0, 1000)
        assert await answer(limited, 2) == 0.0


class TestAPause:
    async def test_begins_when_several_conversations_are_told_to_wait(self, rates: MakeRates) -> None:
        """For the longest of their waits, in all processes; each that waits alone keeps nobody else waiting."""
        one, two = rates(), rates()
        assert await one.told_to_wait(c(1), HERE, 2000, answer=False) == 0.0
        assert await two.told_to_wait(c(2), HERE, 5000, answer=False) == 0.0
        assert await one.told_to_wait(c(1), HERE, 9000, answer=False) == 0.0
        assert await news(one, 4) == await news(two, 4) == 0.0
        assert await two.told_to_wait(c(3), HERE, 1000, answer=False) == about(9000)[0]
        assert 9000 - SOME_MORE <= await news(two, 4) <= 2 * 9000
        await until(lambda: news(one, 4), what="the other process has looked again")

    async def test_costs_nothing_where_there_is_none(self, rates: MakeRates, store: Store) -> None:
        """A broadcast without limits asks for each tenant once in a while, not for each send."""
        free = rates()
        before = store.round_trips
        for number in range(100):
            assert await news(free, number) == 0.0
        assert store.round_trips - before < 50

    async def test_spares_other_tenants_and_answers(self, rates: MakeRates) -> None:
        paused = rates()
        await pause(paused, 5000)
        assert await news(paused, 4, ELSEWHERE) == 0.0
        assert await answer(paused, 4) == 0.0
        assert await news(paused, 4) > 0

    async def test_is_over_at_its_end(self, rates: MakeRates) -> None:
        """Then nothing is in the way of what has waited for that."""
        paused = rates()
        await pause(paused, 0.2)

        async def over() -> bool:
            return await news(paused, 4, has_place=True) == 0.0

        assert not await over()
        await until(over)
        assert await news(paused, 5) == 0.0

    async def test_is_not_followed_by_a_burst(self, rates: MakeRates) -> None:
        """Slots begin when it is over, one after the other at the tenant's limit."""
        paused = rates(per_tenant=((10, 10_000.0),))
        await pause(paused, 5000)
        assert [await news(paused, n) for n in range(4)] == about(5000, 6000, 7000, 8000)

    async def test_is_followed_by_a_spread_where_there_is_no_limit(self, rates: MakeRates) -> None:
        paused = rates()
        await pause(paused, 5000)
        waits = [await news(paused, n) for n in range(20)]
        assert all(5000 - SOME_MORE <= wait <= 10_000 for wait in waits)
        assert max(waits) - min(waits) > 500

    async def test_takes_away_the_slots_that_were_given_before(self, rates: MakeRates) -> None:
        """What was to go meanwhile is given another, at the end of the line; what has its slot after that keeps it."""
        paused = rates(per_tenant=((1, 3000.0),))
        assert [await news(paused, n) for n in range(3)] == about(0, 3000, 6000)
        await pause(paused, 5000)
        assert await news(paused, 1, has_place=True) == about(9000)[0]

    async def test_is_begun_by_answers_too_but_not_prolonged(self, rates: MakeRates) -> None:
        """They are tried while it lasts, and would make it last for ever."""
        paused = rates()
        assert [await paused.told_to_wait(c(n), HERE, 2000, answer=True) for n in range(3)] == about(0, 0, 2000)
        for number in range(5):
            assert await paused.told_to_wait(c(number), HERE, 9000, answer=True) == 0.0
        assert await paused.told_to_wait(c(7), HERE, 3000, answer=False) == about(1000)[0]

    async def test_lasts_whatever_else_is_sent(self, rates: MakeRates, store: Store) -> None:
        """An answer that needs its tenant's limit for a moment does not make the store forget the pause."""
        paused = rates(per_tenant=((30, 1.0),))
        await pause(paused, 3600)
        await answer(paused, 4)
        assert await store.run("TTL", keys.tenant_rate(HERE)) > 3600 - SOME_MORE

    async def test_forgets_who_was_told_long_ago(self, rates: MakeRates, store: Store) -> None:
        """Only what happens within moments counts together; and what is kept of it does not grow."""
        paused, name = rates(), keys.tenant_rate(HERE)
        for number in range(2):
            await paused.told_to_wait(c(number), HERE, 2000, answer=False)
        for field in await store.run("HKEYS", name):
            await store.run("HSET", name, field, "1000 9000")  # in 1970
        for number in (2, 3):
            assert await paused.told_to_wait(c(number), HERE, 2000, answer=False) == 0.0
        assert await store.run("HLEN", name) == 2


async def pause(rates: Rates, seconds: float) -> None:
    for number in range(3):
        await rates.told_to_wait(c(number), HERE, seconds, answer=False)
