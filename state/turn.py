"""A turn as a transaction: what it read, and what it wants written and done, until it commits.

Nothing here does input or output except the one late read of the user's state, for turns that did not
know the user beforehand.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from domain.delivery import Delivery, Status, report
from domain.effect import Effect, Operation, Report, Send
from domain.errors import NewerState, TooManySends, TurnOver, UndecodableState
from domain.ids import ConversationKey, UserKey, channel_of, conversation_key
from domain.notification import Json
from domain.reachability import Standing
from state import keys
from state.codec import DEEP, Codec
from state.readable import readable

log = logging.getLogger("aside.turn")

SENDS = 200
"""Activities that a turn may collect; a dialog that sends more does not come to an end."""

FORMAT = b"1"
"""The format of stored documents."""
FORMAT_DEEP = b"2"
"""That of documents whose state is written in parts (``state.codec``), which earlier versions cannot read."""
FORMATS = (FORMAT, FORMAT_DEEP)

_LISTED = {"inbox", "recent"}
"""What the service itself keeps as lists of things with an id."""

TURN_ENTRY = "aside.turn"
"""Under which a turn context's ``turn_state`` holds its :class:`Turn`."""
OVER_ENTRY = "aside.over"
"""Under which it holds the conversation once that turn is over, and nothing else."""


class Document:
    """A stored state: ``state`` is what ``BotState`` sees, ``own`` what this project keeps beside it.

    They are one document, written together; but clearing or deleting the ``BotState`` leaves ``own`` alone,
    and ``own`` can be read when ``state`` cannot. Stored as three lines of JSON: version, own, state.
    """

    def __init__(self, codec: Codec, raw: bytes | None, version: int, jobs: int = 0) -> None:
        self.codec = codec
        self.jobs = jobs
        """Of a user's: how many jobs of theirs may not have ended; those that have are found by who counts them."""
        self.version = version
        """Of the document, for the commit's comparison; not of the format."""
        self.own: Json = {}
        self.raw = raw
        """As it is stored; None for what never was."""
        self.unreadable = False
        self.loaded = False
        """Whether anybody has asked for what is in it."""
        self._state = b"{}"
        self._pending: dict[str, Any] | None = None
        if raw is not None:
            form, _, rest = raw.partition(b"\n")
            if form not in FORMATS:
                newest = FORMATS[-1].decode()
                raise NewerState(
                    f"Stored state has format {form.decode()}; this process reads up to {newest}. Update it."
                )
            own, _, self._state = rest.partition(b"\n")
            self.own = readable("state", "what the service keeps beside it", partial(_own, own)) or {}

    @property
    def deep(self) -> bool:
        """Whether the state was nested so deeply that it is written in parts."""
        return self._state.startswith(DEEP)

    def load(self) -> dict[str, Any]:
        """A fresh copy of the state. Raises :class:`UndecodableState`, and is ``unreadable`` from then on."""
        self.loaded = True
        try:
            state = self.codec.decode(self._state)
            if not isinstance(state, dict):
                raise UndecodableState("Stored state is not an object.")
        except UndecodableState:
            self.unreadable = True
            raise
        return state

    def keep(self, state: dict[str, Any]) -> None:
        """Hand in the state that the turn ends with."""
        self._pending = state

    def encoded(self) -> bytes | None:
        """What to write, or None if nothing changed. Raises :class:`UnstorableState`."""
        state = self._state if self._pending is None else self.codec.encode(self._pending)
        if self.raw is None and not self.own and state == b"{}":
            return None
        form = FORMAT_DEEP if state.startswith(DEEP) else FORMAT
        data = b"\n".join((form, orjson.dumps(self.own), state))
        return None if data == self.raw else data


def _own(data: bytes) -> Json:
    own = orjson.loads(data)
    if not isinstance(own, dict):
        raise UndecodableState("It is not an object.")
    for name in _LISTED.intersection(own):
        own[name] = [entry for entry in own[name] if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    return own


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An inbound activity (schema JSON) that was accepted before its turn was over; ``at``: when it came in, ``name``:
    what its conversation knows it by, ``runs``: how often its turn was begun, the one that it was kept for included."""

    at: datetime
    activity: Json
    name: str
    runs: int = 1


def _nothing() -> None:
    """What a turn that no bot ran leaves behind."""


@dataclass(slots=True)
class Turn:
    """One turn of one conversation. ``at`` is the moment it began; everything in it happens then."""

    conversation: ConversationKey
    token: str
    fence: int
    """Grows by one with each turn of the conversation."""
    at: datetime
    state: Document
    user: UserKey | None
    read_user: Callable[[UserKey], Awaitable[Document]]
    user_state: Document | None
    mail: list[Delivery]
    """What lay in the mailbox when the turn began, oldest first."""
    withdrawn: list[str]
    """Ids of deliveries that were cancelled while a turn might be keeping them."""
    inputs: list[Kept]
    """What the user said in turns that were promised but have not committed, oldest first."""
    mail_ids: list[str]
    """Names of the mail that this turn takes out of the mailbox."""
    mail_seen: int
    """How much mail of every kind lay in the mailbox when the turn began."""
    record: Json | None
    """The stored conversation record (``state.conversations``), None for a conversation not seen before."""
    last_spoke: datetime | None
    jobs_started: int
    """How many the conversation has had, those of this turn included."""
    standing: Standing
    """Whether the bot can speak here, as far as it is known."""
    died: int = 0
    """Turns in a row, just before this one, that lost the conversation: their processes died, or were held up."""
    unfinished: int | None = None
    """Jobs of the user that had not ended before this turn, None where nobody has counted them."""
    idle: bool = False
    """Whether no dialog was active when the last turn committed."""
    activity_id: str | None = None
    """What the conversation knows the inbound activity of this turn by, if it may be sent again."""
    answer: Json | None = None
    """``status`` and ``body`` of the response to it, where the response says something."""
    effects: list[Effect] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    """What the API shows of the conversation without reading its state; written with the commit."""
    bumped: list[Delivery] = field(default_factory=list)
    """Mail that stays in the mailbox with its count of failed attempts raised."""
    showing: tuple[Delivery, ...] = ()
    """Deliveries that the next activity to be sent or updated shows."""
    begin_early: Callable[[], Awaitable[None]] | None = None
    """Sends what is collected, although the turn has not taken long; None where nothing may go out before it ends."""
    send_early: Callable[[], Awaitable[None]] | None = None
    """Set once the turn has taken long: sends what is collected without waiting for the commit."""
    sent_early: list[tuple[str, str]] = field(default_factory=list)
    """What was sent that way: provisional id, the channel's id."""
    spoke_early: bool = False
    """Whether this turn has said something before its commit, or an earlier one had that never committed."""
    doubted: set[str] = field(default_factory=set)
    """Ids of deliveries that such an earlier turn may have shown (``state.doubts``)."""
    wake_at: datetime | None = None
    """When something in the inbox wants to be looked at again, without anybody asking."""
    mail_wake_at: datetime | None = None
    """When mail that this turn leaves in the mailbox is to be looked at."""
    said: dict[str, Json] = field(default_factory=dict)
    """Messages of the bot's own in this turn, by provisional id: a question, if it ends with a dialog that waits."""
    aside: bool = False
    """While what is said is not the bot's own."""
    replied_aside: set[int] = field(default_factory=set)
    """Of what the response to the request carries, the identities of what is not the bot's own."""
    hesitates: bool = False
    """While the turn may yet take back what it collects: nothing of it is sent early."""
    over: Callable[[], None] = _nothing
    """To be called when the bot is done with it."""
    ended: bool = False
    """Whether the bot is done with it: what it is asked to do from then on would be lost."""
    _provisional: int = 0

    def end(self) -> None:
        self.ended = True
        self.over()

    async def user_document(self) -> Document | None:
        """The user's state: None where the turn has no user."""
        if self.user_state is None and self.user is not None:
            self.user_state = await self.read_user(self.user)
        return self.user_state

    def unreadable(self) -> list[tuple[str, Document]]:
        """The documents that turned out not to be readable, each with its key."""
        found = [(keys.unreadable(self.conversation), self.state)]
        if self.user is not None and self.user_state is not None:
            found.append((keys.unreadable(self.user), self.user_state))
        return [(key, document) for key, document in found if document.unreadable]

    def held(self) -> list[Delivery]:
        """What waits in the conversation's inbox, as far as it can be read."""
        found = (
            readable("delivery", f"{self.conversation} {body['id']}", partial(Delivery.from_json, body))
            for body in self.state.own.get("inbox", ())
        )
        return [delivery for delivery in found if delivery is not None]

    def mail_taken(self) -> list[str]:
        """Names of the mail that leaves the mailbox when this turn commits."""
        stays = {delivery.id for delivery in self.bumped}
        return [name for name in self.mail_ids if name not in stays]

    def mail_left(self) -> int:
        """How much of the mail that it saw the turn leaves in the mailbox."""
        answered = any(kept.name == self.activity_id for kept in self.inputs)
        return self.mail_seen - len(self.mail_taken()) - int(answered)

    def look_again(self) -> float | None:
        """Seconds after which the conversation needs a turn of its own accord, None for never."""
        moments = [moment for moment in (self.wake_at, self.mail_wake_at) if moment is not None]
        if any(kept.name != self.activity_id for kept in self.inputs):
            moments.append(self.at)  # what somebody else has said: whoever was to run its turn may be dead
        return max(0.0, (min(moments) - self.at).total_seconds()) if moments else None

    def provisional_id(self) -> str:
        """An id for an activity that the channel has not seen yet; unique for ever."""
        self._provisional += 1
        return f"aside.{self.token}.{self._provisional}"

    def send(self, activity: Json, service_url: str) -> str:
        """Collect an activity to be sent; answers its provisional id. Raises :class:`TooManySends`."""
        self._may_send()
        shows, self.showing = self.showing, ()
        effect = Send(
            operation=Operation.SEND,
            provisional=self.provisional_id(),
            activity=_to_those_meant(self._in_its_tenant(activity), shows, channel_of(self.conversation)),
            service_url=service_url,
            shows=shows,
        )
        self.effects.append(effect)
        if not self.aside and activity.get("type") == "message" and self._is_for_here(activity):
            self.said[effect.provisional] = activity
        return effect.provisional

    def _is_for_here(self, activity: Json) -> bool:
        """Whether an activity is for this conversation: a bot may tell another one something in passing."""
        account = activity.get("conversation") or {}
        channel = activity.get("channelId") or channel_of(self.conversation)
        return "id" not in account or conversation_key(channel, account["id"]) == self.conversation

    def _may_send(self) -> None:
        """Raises :class:`TooManySends`."""
        if len(self.effects) >= SENDS and sum(isinstance(effect, Send) for effect in self.effects) >= SENDS:
            raise TooManySends(f"A turn sends up to {SENDS} activities; this one wants to send more.")

    def say_only_after(self, position: int) -> None:
        """What is sent from ``position`` on is not to be said if none of the deliveries that are shown before it is."""
        earlier = [effect for effect in self.effects[:position] if isinstance(effect, Send)]
        shown = tuple(delivery.id for effect in earlier for delivery in effect.shows)
        for at, effect in enumerate(self.effects[position:], position):
            if isinstance(effect, Send):
                self.effects[at] = replace(effect, after=shown)

    def change(self, operation: Operation, activity_id: str, activity: Json, service_url: str) -> None:
        """Collect an update or a deletion of an activity that was sent, now or in an earlier turn."""
        self._may_send()
        shows: tuple[Delivery, ...] = ()
        if activity_id in self.said and not self.aside:
            if operation is Operation.UPDATE:
                self.said[activity_id] = activity
            else:
                del self.said[activity_id]
        if operation is Operation.UPDATE:
            shows, self.showing = self.showing, ()
        self.effects.append(
            Send(
                operation=operation,
                provisional=activity_id,
                activity=self._in_its_tenant(activity),
                service_url=service_url,
                shows=shows,
            )
        )

    def _in_its_tenant(self, activity: Json) -> Json:
        """The activity with the conversation's tenant, which what a user said may not have named where it belongs."""
        known = ((self.record or {}).get("reference") or {}).get("conversation") or {}
        account = activity.get("conversation") or {}
        if not known.get("tenantId") or account.get("tenantId") or account.get("id") != known.get("id"):
            return activity
        return {**activity, "conversation": {**account, "tenantId": known["tenantId"]}}

    def report(self, delivery: Delivery, status: Status, *, reason: str | None = None) -> None:
        self.effects.append(Report(report=report(delivery, status, self.at, reason=reason)))


def _to_those_meant(activity: Json, shows: Sequence[Delivery], channel: str) -> Json:
    """The activity for the person that all it shows is meant for, where that is not whoever spoke last."""
    meant = [(delivery.meant or {}).get(channel) for delivery in shows]
    if not meant or meant[0] is None or any(each != meant[0] for each in meant):
        return activity
    return {**activity, "recipient": meant[0]}


def turn_of(context: Any) -> Turn:
    """The turn that a turn context runs in. Raises :class:`RuntimeError` outside of one; see :func:`refuse_if_over`."""
    refuse_if_over(context)
    turn = context.turn_state.get(TURN_ENTRY)
    if not isinstance(turn, Turn):
        raise RuntimeError("This turn context does not belong to a turn of this service's adapter.")
    return turn


def refuse_if_over(context: Any) -> None:
    """Raises :class:`TurnOver`, and logs it, if the context's turn is over."""
    conversation = context.turn_state.get(OVER_ENTRY)
    if conversation is not None:
        raise turn_over(conversation)


def turn_over(conversation: str | None) -> TurnOver:
    """The error of whoever asks something of no turn; logged, since it is often raised where nobody listens."""
    ids = {"action": "turn_is_over"} | ({"conversation": conversation} if conversation else {})
    log.error("a turn that is over was asked to do something, which was refused", stack_info=True, extra=ids)
    return TurnOver(
        "This turn is over: what it is asked to do now would be lost. Await what is to be part of a turn before the "
        "turn ends; to say something later, use adapter.continue_conversation, which is a turn of its own."
    )
