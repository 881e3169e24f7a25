"""What turns that never committed may have shown: output that went out early and is about to be repeated.

Before a turn sends something ahead of its commit, it marks that in the conversation, along with the renewal of its
lock: its token, and the ids of the deliveries that it is about to show. The commit takes the mark away. A turn that
finds one began after a turn that said something and got no further (its process died, or lost the conversation), and
what it shows of these deliveries may have been shown. Of those that it does not settle the ids stay marked.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from domain.delivery import Status
from domain.effect import Effect, Report, Send
from state.turn import Turn


def mark(token: str, deliveries: Collection[str]) -> str:
    """As the conversation keeps it in ``early``; ``token`` is empty once that turn's place was taken by another."""
    return " ".join((token, *sorted(deliveries)))


def marked(early: str) -> tuple[str, set[str]]:
    """The token and the ids of a mark."""
    token, *deliveries = early.split(" ")
    return token, set(deliveries)


def with_doubts(turn: Turn) -> list[Effect]:
    """A turn's effects, in which whatever shows a delivery that may have been shown says so."""
    if not turn.doubted:
        return turn.effects
    return [doubtful(effect, turn) if isinstance(effect, Send) else _repeated(effect, turn) for effect in turn.effects]


def doubtful(effect: Send, turn: Turn) -> Send:
    """A send, that of a repetition if it may be one."""
    repeats = any(delivery.id in turn.doubted for delivery in effect.shows)
    return replace(effect, doubtful=True) if repeats and not effect.doubtful else effect


def _repeated(effect: Effect, turn: Turn) -> Effect:
    """What was shown otherwise than by a send (in a response, by a dialog)."""
    if not isinstance(effect, Report) or effect.report.delivery not in turn.doubted:
        return effect
    shown = effect.report.status is Status.DELIVERED
    return replace(effect, report=replace(effect.report, may_be_repeated=True)) if shown else effect


def left_in_doubt(turn: Turn) -> str | None:
    """The mark that is to stay when this turn has committed; None if there is none and was none."""
    if not turn.spoke_early and not turn.doubted:
        return None
    settled: set[str] = set()
    for effect in turn.effects:
        if isinstance(effect, Send):
            settled |= {delivery.id for delivery in effect.shows}
        elif isinstance(effect, Report) and effect.report.status.final:
            settled.add(effect.report.delivery)
    left = turn.doubted - settled
    return mark("", left) if left else ""
