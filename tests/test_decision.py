"""What to do with a delivery, for every mode in every phase: at a turn of its own, before and after a reply."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from domain.decision import Decision, after_reply, before_reply, decide
from domain.delivery import Delivery, deliver_to
from domain.ids import DeliveryId, NotificationId
from domain.notification import Content, Mode, Notification
from domain.phase import Phase, phase_of

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
TICK = timedelta(milliseconds=1)

SAY, AGAIN, HOLD = Decision.SAY, Decision.SAY_AND_ASK_AGAIN, Decision.HOLD
QUEUE, EXPIRE = Decision.QUEUE, Decision.EXPIRE

# mode -> free, busy, away
NOT_HELD_TOO_LONG = {
    Mode.INTERJECT: (SAY, AGAIN, AGAIN),
    Mode.QUEUE: (QUEUE, QUEUE, QUEUE),
    Mode.RESUME: (SAY, HOLD, AGAIN),
}
HELD_TOO_LONG = {**NOT_HELD_TOO_LONG, Mode.RESUME: (SAY, AGAIN, AGAIN)}
HOLDS = {
    None: NOT_HELD_TOO_LONG,
    timedelta(hours=1): NOT_HELD_TOO_LONG,
    TICK: NOT_HELD_TOO_LONG,
    timedelta(0): HELD_TOO_LONG,
    -TICK: HELD_TOO_LONG,
}


def delivery(mode: Mode, *, hold: timedelta | None = None, expires: timedelta = TICK) -> Delivery:
    """One whose hold and life end so long after now."""
    return Delivery(
        id=DeliveryId("d"),
        mode=mode,
        created_at=NOW - timedelta(days=1),
        expires_at=NOW + expires,
        hold_until=None if hold is None else NOW + hold,
    )


@pytest.mark.parametrize(("mode", "phase", "hold"), [*product(Mode, Phase, HOLDS)])
def test_the_table_of_modes_and_phases(mode: Mode, phase: Phase, hold: timedelta | None) -> None:
    """Said, held or queued by mode and phase; the deadline of the hold counts from its very moment on."""
    wanted = HOLDS[hold][mode][[Phase.FREE, Phase.BUSY, Phase.AWAY].index(phase)]
    assert decide(delivery(mode, hold=hold), phase, NOW) is wanted
    assert after_reply(delivery(mode, hold=hold), phase, NOW) is wanted


@pytest.mark.parametrize(("mode", "hold"), [*product(Mode, HOLDS)])
def test_before_a_reply_everything_is_said_but_what_waits_for_the_user(mode: Mode, hold: timedelta | None) -> None:
    """The reply that follows is the last thing on the screen; an answer that was held comes after it."""
    assert before_reply(delivery(mode, hold=hold), NOW) is (HOLD if mode is Mode.RESUME else SAY)


@pytest.mark.parametrize(
    ("mode", "phase", "expires"), [*product(Mode, Phase, (timedelta(0), -TICK, timedelta(days=-1)))]
)
def test_what_has_expired_is_never_shown(mode: Mode, phase: Phase, expires: timedelta) -> None:
    """Whatever else is true of it."""
    late = delivery(mode, hold=timedelta(days=-1), expires=expires)
    assert decide(late, phase, NOW) is after_reply(late, phase, NOW) is before_reply(late, NOW) is EXPIRE


AWAY_AFTER = timedelta(minutes=10)


@pytest.mark.parametrize(
    ("waiting", "silent_for", "phase"),
    [
        (False, None, Phase.FREE),
        (False, timedelta(0), Phase.FREE),
        (False, timedelta(days=1), Phase.FREE),
        (True, timedelta(0), Phase.BUSY),
        (True, AWAY_AFTER - TICK, Phase.BUSY),
        (True, AWAY_AFTER, Phase.AWAY),
        (True, timedelta(days=1), Phase.AWAY),
        (True, None, Phase.AWAY),
        (True, -TICK, Phase.BUSY),
    ],
)
def test_the_phase_of_a_conversation(waiting: bool, silent_for: timedelta | None, phase: Phase) -> None:
    """Free without an open question; otherwise it depends on for how long the user has been silent."""
    last_spoke = None if silent_for is None else NOW - silent_for
    assert phase_of(waiting=waiting, last_spoke=last_spoke, away_after=AWAY_AFTER, now=NOW) is phase


@pytest.mark.parametrize(("hold_for", "until"), [(None, None), (0.0, NOW), (90.0, NOW + timedelta(seconds=90))])
def test_a_hold_is_counted_from_when_the_delivery_enters_the_mailbox(
    hold_for: float | None, until: datetime | None
) -> None:
    """A hold of no time is one all the same: it has passed at once. What waits is shown in the order of acceptance."""
    notification = Notification(
        id=NotificationId("ntf_1"),
        content=Content(),
        created_at=NOW - timedelta(days=1),
        expires_at=NOW + timedelta(days=1),
        mode=Mode.RESUME,
        urgent=True,
        category="ci",
        hold_for=hold_for,
    )
    made = deliver_to(notification, 3, NOW)
    assert made.hold_until == until
    assert (made.expires_at, made.created_at) == (notification.expires_at, notification.created_at)
    assert (made.id, made.index, made.urgent, made.category) == ("ntf_1.3", 3, True, "ci")
    assert Delivery.from_json(made.to_json()) == made
