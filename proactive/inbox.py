"""What a conversation keeps for its user: what waits, and what was told lately. Each can be opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from botbuilder.core import TurnContext

from domain.clock import from_ms, to_ms
from domain.delivery import Delivery, Status
from domain.ids import DeliveryId, NotificationId
from domain.notification import Content, Json
from proactive.presentation import LINES, Entry, entry_of, in_digest_order, present
from state.readable import readable
from state.turn import Turn, turn_of

RECENT = 100
"""Of how many deliveries a conversation remembers what they said: for the inbox, and to be opened from a digest."""
RECENT_ANSWERS = 20
"""Of those, how many that are kept with all they say, since nobody else keeps it: answers of jobs."""
OFFERED_FOR = timedelta(days=1)
"""How long a list that says `inbox` is taken at its word, whatever dialogs there are."""

TAKEN = "aside.taken"
"""Under which a turn context's ``turn_state`` has the ids of deliveries that the bot took care of itself."""

Said = tuple[Delivery, Content]
ContentOf = Callable[[NotificationId], Awaitable[Content | None]]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What waits, in the order in which it would be told, and what was told, the latest first."""

    waiting: tuple[Entry, ...]
    recent: tuple[Entry, ...]


def held(turn: Turn) -> list[Delivery]:
    """What waits in this conversation's inbox."""
    return turn.held()


async def content_of_delivery(delivery: Delivery, content_of: ContentOf) -> Content | None:
    if delivery.content is not None or delivery.notification is None:
        return delivery.content
    return await content_of(delivery.notification)


async def kept(context: TurnContext, content_of: ContentOf) -> Kept:
    """What waits in this conversation's inbox, and what was told lately."""
    turn = turn_of(context)
    found = [(delivery, await content_of_delivery(delivery, content_of)) for delivery in held(turn)]
    waiting = in_digest_order([(delivery, content) for delivery, content in found if content is not None])
    return Kept(
        waiting=tuple(entry_of(delivery, content) for delivery, content in waiting),
        recent=tuple(filter(None, map(_entry_of_json, reversed(turn.state.own.get("recent", ()))))),
    )


def remember(turn: Turn, shown: Sequence[Said]) -> None:
    """Note what the user was told, so that it can be opened: of a digest the first lines the longest."""
    forget(turn, [delivery.id for delivery, _ in shown])  # what is said anew is told once
    recent = list(turn.state.own.get("recent", ()))
    for delivery, content in reversed(shown):
        entry: Json = {"id": delivery.id, "at": to_ms(turn.at), "summary": content.summary}
        if content.source:
            entry["source"] = content.source
        if delivery.urgent:
            entry["urgent"] = True
        if delivery.notification is not None:
            entry["notification"] = delivery.notification
        else:
            entry["content"] = content.to_json()
        recent.append(entry)
    turn.state.own["recent"] = _fitting(recent, len(shown))
    if len(shown) > 1:
        number(turn, [delivery.id for delivery, _ in shown[:LINES]])
    if len(shown) > LINES:
        offer(turn)


def offer(turn: Turn) -> None:
    """Note that the user is told now to say `inbox`."""
    turn.state.own["inbox_offered"] = to_ms(turn.at)


def offered(turn: Turn) -> bool:
    """Whether the user was told to say `inbox` before this turn, and not long ago: else the word is the dialogs'."""
    at = turn.state.own.get("inbox_offered")
    return at is not None and at < to_ms(turn.at) <= to_ms(from_ms(at) + OFFERED_FOR)


def forget(turn: Turn, ids: Collection[str]) -> None:
    """These were not told after all."""
    recent = turn.state.own.get("recent", ())
    if any(entry["id"] in ids for entry in recent):
        turn.state.own["recent"] = [entry for entry in recent if entry["id"] not in ids]


def number(turn: Turn, ids: Sequence[str], first: int = 1) -> None:
    """Let the numbers from ``first`` on stand for these, as the user was just shown."""
    turn.state.own["numbered"] = {"first": first, "ids": list(ids)}


def numbered(turn: Turn, wanted: int) -> str | None:
    """The id of what a number of the list that was shown last stands for."""
    listed = turn.state.own.get("numbered", {"first": 1, "ids": []})
    place = wanted - listed["first"]
    return str(listed["ids"][place]) if 0 <= place < len(listed["ids"]) else None


async def open_entry(context: TurnContext, content_of: ContentOf, wanted: str) -> bool:
    """Show what waits or was told under this id. What waited has been told then. False if it is no longer kept."""
    turn = turn_of(context)
    entry = next((entry for entry in turn.state.own.get("recent", ()) if entry["id"] == wanted), None)
    if entry is not None:
        told = await _told(entry, content_of)
        if told is not None:
            await context.send_activity(present(told, context.activity.locale, DeliveryId(wanted)))
        return told is not None
    waiting = next((delivery for delivery in held(turn) if delivery.id == wanted), None)
    content = await content_of_delivery(waiting, content_of) if waiting is not None else None
    if waiting is None or content is None:
        return False
    turn.showing = (waiting,)
    await context.send_activity(present(content, context.activity.locale, waiting.id))
    if turn.showing:  # it goes out in the answer to the request
        turn.showing = ()
        turn.report(waiting, Status.DELIVERED, reason="in_response")
    turn.state.own["inbox"] = [body for body in turn.state.own["inbox"] if body["id"] != wanted]
    remember(turn, [(waiting, content)])
    return True


async def _told(entry: Json, content_of: ContentOf) -> Content | None:
    if "content" in entry:
        return Content.from_json(entry["content"])
    return await content_of(NotificationId(entry["notification"]))


def _fitting(recent: list[Json], just_told: int) -> list[Json]:
    """The latest; of a digest that tells more than that, all of it until something else is told."""
    latest = recent[-max(RECENT, just_told) :]
    answers = [entry["id"] for entry in latest if "content" in entry][:-RECENT_ANSWERS]
    return [entry for entry in latest if entry["id"] not in answers] if answers else latest


def _entry_of_json(body: Json) -> Entry | None:
    return readable("entry of an inbox", body["id"], partial(_entry, body))


def _entry(body: Json) -> Entry:
    return Entry(
        id=body["id"],
        at=from_ms(body["at"]),
        summary=body["summary"],
        source=body.get("source"),
        urgent=body.get("urgent", False),
    )
