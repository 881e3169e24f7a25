"""Carrying out what turns have committed: in order, each effect acknowledged before the next send.

Whoever holds the conversation's lock carries out its outbox. A process that dies in here leaves the rest to
the next; only the send whose answer it did not live to acknowledge can be repeated.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar, assert_never

from channel.http import Channel
from domain.audience import Listed
from domain.clock import Clock
from domain.delivery import Delivery, Failure, Status, StatusReport, report
from domain.effect import Answered, Broken, Cancel, Index, Leave, Notify, Operation, Reach, Report, Send, Submit
from domain.errors import EndsItsProcess, LeaseLost, StoreUnavailable
from domain.ids import ConversationKey, DeliveryId
from domain.observing import Observer
from domain.reachability import Reachability, Standing
from domain.sending import (
    Accepted,
    Answer,
    ChannelAnswer,
    Expired,
    GiveUp,
    NextStep,
    Outdated,
    TryAgain,
    Unknowable,
    barred,
    before_send,
    look_in,
    next_step,
    outdated,
)
from domain.value import value
from state.conversations import Conversations
from state.dead_letters import DeadLetters
from state.fault_points import reached
from state.jobs import JobStore
from state.mail import putting_again
from state.notifications import Notifications
from state.rates import Rates
from state.reports import recording
from state.scripts import Command
from state.store import Store
from state.turns import Entry, Left, Turns
from state.work import Claim, Work
from turns.send_limits import SendLimits

log = logging.getLogger("aside.outbox")

T = TypeVar("T")

TRIES = 3
"""How often something that raises what nobody expects is tried; what is asked of the store does no harm if repeated."""
RUNS = 3
"""Processes in a row that may end over a send before it counts as what ends them."""
INSIST_SECONDS = (0.05, 1.0)
"""The first and the longest pause between tries to reach the store while an outbox is carried out."""

UNREACHABLE = {
    Failure.BLOCKED: Reachability.BLOCKED,
    Failure.UNINSTALLED: Reachability.UNINSTALLED,
    Failure.GONE: Reachability.GONE,
}

_RECORDS = (Report, Answered, Index, Reach)
"""What leaves with the acknowledgement. All else takes a while, in which the answer to a send would be lost."""

_TOO_EARLY = ChannelAnswer(answer=Answer.THROTTLED, detail="the send limits say wait")
_NOT_SENT_TO = ChannelAnswer(answer=Answer.NOT_SENT, detail="the bot cannot speak there: it was not sent")
_NEVER_TOLD = ChannelAnswer(answer=Answer.DOUBTFUL, detail="whoever sent it did not live to record the answer")
_NO_ID = ChannelAnswer(answer=Answer.REJECTED, detail="the channel's id of what is to be changed is not known")
_TOO_LATE = ChannelAnswer(answer=Answer.NOT_SENT, detail="it expired while it waited to be sent")
_NOT_WANTED = ChannelAnswer(answer=Answer.NOT_SENT, detail="it was withdrawn while it waited to be sent")


@value
class CarriedOut:
    """``blocked_for``: seconds until the head of the outbox, which has to wait, is to be looked at; None if it is
    empty."""

    left: Left
    blocked_for: float | None = None
    standing: Standing = field(default_factory=Standing)


@dataclass
class _Run:
    """One run over an outbox: what is done but not acknowledged yet."""

    key: ConversationKey
    token: str
    done: list[str]
    sent: list[tuple[str, str]]
    commands: list[Command]
    standing: Standing
    gone: set[DeliveryId] = field(default_factory=set)
    """What was to be shown, and was not since it was withdrawn or has expired."""


class Outbox:
    def __init__(
        self,
        *,
        store: Store,
        turns: Turns,
        channel: Channel,
        notifications: Notifications,
        jobs: JobStore,
        conversations: Conversations,
        rates: Rates,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._observer = observer
        self._store = store
        self._turns = turns
        self._channel = channel
        self._notifications = notifications
        self._jobs = jobs
        self._conversations = conversations
        self._limits = SendLimits(rates)
        self._clock = clock

    async def carry_out(
        self,
        key: ConversationKey,
        token: str,
        entries: Sequence[Entry],
        *,
        sent: Sequence[tuple[str, str]] = (),
        deaths: int = 0,
        answering: bool = False,
        service_url: str | None = None,
        blocked_for: float | None = None,
        release: bool,
        closing: tuple[Work, Claim, float | None] | None = None,
        standing: Standing,
    ) -> CarriedOut:
        """Carry out ``entries`` from the head of the outbox; then, with ``release``, let go of the lock and,
        with ``closing``, of the work in hand. ``sent``: ids of activities that went out before the commit.
        ``deaths``: so many processes in a row died, or lost the conversation, over the first send, which may have gone
        out already; it is put aside rather than let it end yet another.
        ``answering``: the user has spoken and waits for it. ``service_url``: where the conversation is now.
        ``blocked_for``: seconds for which the channel wants nothing, as it said before the commit.
        ``standing``: whether the bot can speak there; where it cannot, sends are given up untried.

        Raises :class:`LeaseLost`.
        """
        run = _Run(key, token, [], list(sent), [], standing)
        for position, entry in enumerate(entries):
            if not isinstance(entry.effect, Send):
                try:
                    await _insist(partial(self._apply, run, entry.effect))
                except LeaseLost:
                    raise
                except Exception as error:
                    self._put_aside(run, entry, error)
                run.done.append(entry.id)
                continue
            effect = entry.effect
            if effect.after and run.gone.issuperset(effect.after):
                run.done.append(entry.id)
                continue
            died, deaths = deaths, 0
            if died or answering or service_url:
                effect = replace(
                    effect,
                    doubtful=effect.doubtful or died > 0,
                    answer=effect.answer or answering,
                    service_url=service_url or effect.service_url,
                )
            reached("before_send")
            if not self._turns.surely_held(token):
                await _insist(partial(self._turns.assure, key, token))
            try:
                step, answer = await self._attempt(run, effect, died)
            except LeaseLost:
                raise
            except Exception as error:
                self._put_aside(run, entry, error)
            else:
                reached("answered")
                if isinstance(step, TryAgain):
                    return await self._postpone(run, entry.id, effect, step, answer, release=release, closing=closing)
                await self._settle(run, effect, step, answer)
            run.done.append(entry.id)
            if not all(isinstance(later.effect, _RECORDS) for later in entries[position + 1 :]):
                await self._acknowledge(run, release=False)
                reached("acknowledged")
        left = await self._acknowledge(run, release=release, closing=closing, blocked_for=blocked_for)
        return CarriedOut(left=left, standing=run.standing)

    async def _attempt(self, run: _Run, effect: Send, died: int) -> tuple[NextStep, ChannelAnswer]:
        untried, over = barred(effect, run.standing, self._clock()), before_send(effect, self._clock())
        if untried is None and over is None and died >= RUNS:
            raise EndsItsProcess(f"each of {died} processes that were to send it has ended or lost the conversation")
        if untried is None or over is not None:
            return await self.send(run.key, effect, run.sent)
        if (not_wanted := await self._withdrawn(effect, asking=False)) is not None:
            return not_wanted, _NOT_WANTED
        return untried, _NOT_SENT_TO

    async def send(
        self, key: ConversationKey, effect: Send, sent: Sequence[tuple[str, str]] = ()
    ) -> tuple[NextStep, ChannelAnswer]:
        """One attempt of a send, and what to do after it."""
        if (over := before_send(effect, self._clock())) is not None:
            return over, (_NEVER_TOLD if isinstance(over, Unknowable) else _TOO_LATE)
        activity_id = None
        if effect.operation is not Operation.SEND:
            activity_id = await _insist(partial(self._real_id, key, effect.provisional, sent))
            if activity_id is None:
                return GiveUp(Failure.REJECTED), _NO_ID
        effect = await self._replying(key, effect, sent)
        if (wait := await _insist(partial(self._limits.too_early, key, effect))) is not None:
            self._observer.paused("limit", wait.pause)
            return wait, _TOO_EARLY
        if (not_wanted := await self._withdrawn(effect, asking=True)) is not None:
            return not_wanted, _NOT_WANTED
        answer = await self._channel.carry(effect, activity_id)
        step = next_step(answer, effect, jitter=random.random())
        self._observe(effect, step, answer)
        if answer.answer is Answer.THROTTLED and isinstance(step, TryAgain):
            await self._limits.told_to_wait(key, effect, step.pause)
        return step, answer

    def _observe(self, effect: Send, step: NextStep, answer: ChannelAnswer) -> None:
        self._observer.sent(answer.answer)
        if isinstance(step, TryAgain):
            self._observer.paused("channel" if answer.answer is Answer.THROTTLED else "failure", step.pause)
        elif isinstance(step, Accepted):
            now = self._clock()
            for delivery in effect.shows:
                self._observer.shown(delivery.mode, (now - delivery.created_at).total_seconds())

    async def _withdrawn(self, effect: Send, *, asking: bool) -> Outdated | None:
        """What of a send has been withdrawn, None if it is to go: with ``asking``, it is not withdrawn from now on."""
        if not effect.shows:
            return None
        wanted = await _insist(partial(self._notifications.deliveries.wanted, effect.shows, asking=asking))
        gone = frozenset(delivery.id for delivery, still in zip(effect.shows, wanted, strict=True) if not still)
        return outdated(effect, gone) if gone else None

    async def drop_what_is_over(
        self, key: ConversationKey, token: str, entries: Sequence[Entry], withdrawn: Sequence[str], blocked_for: float
    ) -> tuple[list[Entry], float]:
        """Take off the head of an outbox that waits what is not to be shown any more: it has expired, or is among the
        ``withdrawn``. Answers what is left, and after how long that is to be looked at.

        Raises :class:`LeaseLost`.
        """
        run = _Run(key, token, [], [], [], Standing())
        for entry in entries:
            effect, now = entry.effect, self._clock()
            if isinstance(effect, Send) and effect.after and run.gone.issuperset(effect.after):
                run.done.append(entry.id)
                continue
            if not isinstance(effect, Send) or not any(
                delivery.id in withdrawn or now >= delivery.expires_at for delivery in effect.shows
            ):
                break
            step = before_send(effect, now) or await self._withdrawn(effect, asking=False)
            if step is None:
                break
            await self._settle(run, effect, step, _TOO_LATE if isinstance(step, Expired) else _NOT_WANTED)
            await _insist(partial(self._limits.give_back, key, effect))
            run.done.append(entry.id)
            # A place under the limits was its own; a channel's word is about the whole conversation.
            blocked_for = blocked_for if effect.throttled and not effect.reserved else 0.0
        left = list(entries[len(run.done) :])
        if run.done:
            await self._acknowledge(run, release=False, blocked_for=blocked_for or None)
        head = left[0].effect if left else None
        if blocked_for and isinstance(head, Send):
            blocked_for = look_in(head, blocked_for, self._clock())
        return left, blocked_for

    def reports(self, effect: Send, step: NextStep) -> list[StatusReport]:
        """What became of the deliveries that a send showed."""
        now = self._clock()
        repeats = _repeats(postponed(effect, step, _TOO_EARLY) if isinstance(step, TryAgain) else effect)
        tried = not (
            isinstance(step, Expired | Outdated)
            or (isinstance(step, TryAgain) and step.reserved)
            or (isinstance(step, GiveUp) and not step.tried)
        )
        reports = []
        for delivery in effect.shows:
            status = _status_of(delivery, effect, step, now)
            reports.append(
                report(
                    *(delivery, status, now),
                    reason=step.reason.value if isinstance(step, GiveUp) else None,
                    activity_id=step.activity_id if isinstance(step, Accepted) else None,
                    attempts=effect.attempts + int(tried),
                    may_be_repeated=repeats and status is not Status.UNKNOWN,
                )
            )
        return reports

    async def _real_id(self, key: ConversationKey, named: str, sent: Sequence[tuple[str, str]]) -> str | None:
        """The channel's id for what a turn named: a provisional id, or one that came from the channel. None if the
        channel gave none when it was sent, or that is too long ago."""
        if not named.startswith("aside."):
            return named
        return dict(sent).get(named) or await self._turns.real_id(key, named)

    async def _replying(self, key: ConversationKey, effect: Send, sent: Sequence[tuple[str, str]]) -> Send:
        """The effect, replying to what the channel knows by its id: a dialog knows a provisional one."""
        named = effect.activity.get("replyToId")
        if not isinstance(named, str) or not named.startswith("aside."):
            return effect
        real = await _insist(partial(self._real_id, key, named, sent))
        activity = {name: value for name, value in effect.activity.items() if name != "replyToId"}
        return replace(effect, activity=activity | ({"replyToId": real} if real else {}))

    async def _settle(self, run: _Run, effect: Send, step: NextStep, answer: ChannelAnswer) -> None:
        ids = {"conversation": run.key, "deliveries": [delivery.id for delivery in effect.shows]}
        if isinstance(step, Accepted):
            if effect.operation is Operation.SEND and step.activity_id:
                run.sent.append((effect.provisional, step.activity_id))
            if _repeats(effect):
                log.info("what was sent may have been sent before", extra={"action": "send_may_be_repeated", **ids})
        elif isinstance(step, GiveUp):
            log.warning(
                "a send was given up: %s (%s)", step.reason, answer.detail, extra={"action": "send_given_up", **ids}
            )
        elif isinstance(step, Expired):
            log.info("a send came too late", extra={"action": "send_expired", **ids})
        elif isinstance(step, Outdated):
            log.info("a send was withdrawn: %s", answer.detail, extra={"action": "send_withdrawn", **ids})
        else:
            log.warning("a send's outcome is unknown: %s", answer.detail, extra={"action": "send_unknown", **ids})
        self._learn(run, step, answer)
        if isinstance(step, Expired | Outdated):
            run.gone |= {delivery.id for delivery in effect.shows}
        for delivery, status in zip(effect.shows, self.reports(effect, step), strict=True):
            self._record(run, status, (*effect.history, answer.detail))
            if not status.status.final:  # it is said anew, without what is over
                run.commands.append(putting_again(run.key, delivery))

    def _record(self, run: _Run, status: StatusReport, history: Sequence[str] = ()) -> None:
        run.commands += recording(run.key, status, history)
        self._observer.recorded(status)

    def _learn(self, run: _Run, step: NextStep, answer: ChannelAnswer) -> None:
        """Note what a send has found of whether the bot can speak there."""
        before, now = run.standing, self._clock()
        if isinstance(step, Accepted):
            reach = Reachability.ACTIVE
        elif isinstance(step, GiveUp) and step.tried and answer is not _NO_ID:
            reach = UNREACHABLE.get(step.reason, before.reach)
        else:
            return
        if not before.active or reach is not before.reach:
            run.standing = before.after(reach, now)
            run.commands += self._conversations.reaching(run.key, run.standing, answer.detail, before)

    def _put_aside(self, run: _Run, entry: Entry, error: Exception) -> None:
        """An effect that cannot be carried out becomes a dead letter: what is behind it goes on."""
        effect, at = entry.effect, self._clock()
        cause = effect.cause if isinstance(effect, Broken) else f"{type(error).__name__}: {error}"
        log.error(
            "%s %s could not be carried out and was put aside: %s",
            *(type(effect).__name__.lower(), entry.id, cause),
            exc_info=error,
            extra={"action": "effect_put_aside", "conversation": run.key},
        )
        deadly = isinstance(error, EndsItsProcess)
        reason = (Failure.EXHAUSTED if deadly else Failure.REJECTED).value
        if isinstance(effect, Send) and effect.shows:
            status, tries = (Status.UNKNOWN, RUNS) if deadly else (Status.FAILED, 1)
            for delivery in effect.shows:
                why = None if deadly else reason
                failed = report(delivery, status, at, reason=why, attempts=effect.attempts + tries)
                self._record(run, failed, (*effect.history, cause))
            return
        job = effect.job.id if isinstance(effect, Submit) else None
        said = effect.activity if isinstance(effect, Send) else None
        run.commands += DeadLetters.putting_aside(run.key, entry.id, at, reason, [cause], job, said)

    async def _postpone(
        self,
        run: _Run,
        entry_id: str,
        effect: Send,
        step: TryAgain,
        answer: ChannelAnswer,
        *,
        release: bool,
        closing: tuple[Work, Claim, float | None] | None,
    ) -> CarriedOut:
        """The head of the outbox waits, and so does what is behind it: order is kept."""
        log.info(
            "a send is tried again in %.1f s: %s",
            *(step.pause, answer.detail),
            extra={"action": "send_postponed", "conversation": run.key, "attempts": effect.attempts + 1},
        )
        for status in self.reports(effect, step):
            self._record(run, status)
        soon = look_in(effect, step.pause, self._clock())
        if closing is not None:
            work, claim, again_in = closing
            closing = (work, claim, soon if again_in is None else min(soon, again_in))
        left = await self._acknowledge(
            run,
            release=release,
            closing=closing,
            rewritten=Entry(id=entry_id, effect=postponed(effect, step, answer)),
            blocked_for=step.pause,
        )
        return CarriedOut(left=left, blocked_for=soon, standing=run.standing)

    async def _acknowledge(
        self,
        run: _Run,
        *,
        release: bool,
        closing: tuple[Work, Claim, float | None] | None = None,
        rewritten: Entry | None = None,
        blocked_for: float | None = None,
    ) -> Left:
        """Record what became of deliveries, then take what is done off the outbox: in this order, in one round trip."""
        commands = [
            *run.commands,
            self._turns.acknowledgement(
                *(run.key, run.token, run.done),
                sent=run.sent,
                rewritten=rewritten,
                blocked_for=blocked_for,
                release=release,
            ),
        ]
        if closing is not None:
            work, claim, again_in = closing
            commands.append(work.closing(claim, again_in=again_in))
        reached("before_acknowledgement")
        answers = await _insist(partial(self._store.sequence, *commands))
        left = self._turns.acknowledged(answers[len(run.commands)], run.key)
        run.done, run.commands = [], []
        if closing is not None and again_in is not None and not answers[-1]:
            # Woken meanwhile, by a wake-up that found us at work.
            await _insist(partial(work.wake, claim.member, delay=again_in))
        return left

    async def _apply(
        self, run: _Run, effect: Submit | Cancel | Notify | Report | Answered | Index | Leave | Reach | Broken
    ) -> None:
        match effect:
            case Report(report=status):
                self._record(run, status)
            case Answered(notification=nid, index=index, result=result):
                run.commands.append(self._notifications.deliveries.answering(nid, index, result))
            case Submit(job=request):
                await self._jobs.submit(run.key, request)
                reached("job_submitted")
            case Cancel(job=job_id):
                await self._jobs.cancel(run.key, job_id)
            case Notify(notification=notification):
                await self._notifications.accept(notification, Listed(conversations=(run.key,)), 1)
            case Reach(active=active):
                run.commands += self._conversations.counting(run.key, active=active)
            case Leave():
                await self._conversations.leave(effect)
            case Index():
                run.commands += self._conversations.indexing(effect)
            case Broken(cause=cause):
                raise ValueError(cause)
            case _:
                assert_never(effect)


def _status_of(delivery: Delivery, effect: Send, step: NextStep, now: datetime) -> Status:
    match step:
        case Accepted():
            return Status.DELIVERED
        case GiveUp():
            return Status.FAILED
        case Unknowable():
            return Status.UNKNOWN
        case Expired():
            return Status.EXPIRED
        case TryAgain():
            return Status.PENDING
        case Outdated(withdrawn):
            if delivery.id in withdrawn:
                return Status.UNKNOWN if effect.doubtful else Status.CANCELLED
            return Status.EXPIRED if now >= delivery.expires_at else Status.PENDING
    assert_never(step)


def _repeats(effect: Send) -> bool:
    """Whether it may have been shown before, so that it is shown again."""
    return effect.doubtful and effect.operation is Operation.SEND


async def _insist(call: Callable[[], Awaitable[T]]) -> T:
    """Call until the store answers, however long it is away.

    What was sent and is not recorded would be sent again; what is yet to be sent is known here not to have been.
    Should the lock be lost meanwhile, the store's answer says so. What else it raises is raised if it does so again.
    """
    pause, longest = INSIST_SECONDS
    tries = 0
    while True:
        try:
            return await call()
        except LeaseLost:
            raise
        except StoreUnavailable:
            pass
        except Exception:
            tries += 1
            if tries >= TRIES:
                raise
        await asyncio.sleep(pause)
        pause = min(longest, 2 * pause)


def postponed(effect: Send, step: TryAgain, answer: ChannelAnswer) -> Send:
    """A send that is to be tried again."""
    return replace(
        effect,
        attempts=effect.attempts + int(step.counts),
        missing=effect.missing + int(answer.answer is Answer.MISSING),
        throttled=effect.throttled + int(answer.answer is Answer.THROTTLED and not step.reserved),
        doubtful=effect.doubtful or step.doubtful,
        reserved=step.reserved,
        held_back=step.held_back,
        history=(*effect.history, answer.detail) if step.counts else effect.history,
    )
