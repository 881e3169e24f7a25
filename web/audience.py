"""Whom a notification is for: an audience as it was asked for becomes conversations.

What is for a person goes to that person in private: to the personal conversation that was used last. Who is known by
one id on several channels may be several people, so then the sender says which is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from domain.audience import Audience, Everyone, Listed
from domain.ids import ConversationKey, channel_of
from domain.notification import Json
from domain.place import Place, place_of, root_of
from domain.reachability import Reachability
from state.conversations import Candidate, Conversations
from web.notify_model import To
from web.problems import BadField, Problem, invalid_fields

NAMED_AT_MOST = 20
"""So many unknown conversations are named; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    audience: Audience
    recipients: int
    unreachable: int
    """Of the recipients those where the bot cannot speak."""
    meant: Json = field(default_factory=dict)
    """By channel the account of the person it is for, if others read it too."""


async def resolve(conversations: Conversations, to: To) -> Resolved:
    """The conversations that are meant now. Raises :class:`Problem`: 404 for one that nobody knows, 422 for a person
    who may be several."""
    if to.all:
        channel_id = to.channel_id[0] if to.channel_id else None
        recipients, unreachable = await conversations.counts(channel_id)
        return Resolved(audience=Everyone(channel_id=channel_id), recipients=recipients, unreachable=unreachable)
    if to.user is not None:
        return await _of_person(conversations, _Person(to, "/to/user", "id", to.user))
    if to.aad_object_id is not None:
        return await _of_person(conversations, _Person(to, "/to/aadObjectId", "aadObjectId", to.aad_object_id))
    if to.conversation is not None:
        wanted, places = [to.conversation], ["/to/conversation"]
    else:
        wanted = list(to.conversations or ())
        places = [f"/to/conversations/{number}" for number in range(len(wanted))]
    keys = [ConversationKey(key) for key in wanted]
    known = await conversations.reachability(keys)
    unknown = [(place, key) for place, key, reach in zip(places, keys, known, strict=True) if reach is None]
    if unknown:
        raise _unknown_conversations(unknown)
    return _listed(keys, known)


@dataclass(frozen=True)
class _Person:
    """Somebody as a request names them: ``name`` is the value of ``field`` in an account, given at ``pointer``."""

    to: To
    pointer: str
    field: str
    name: str

    def is_of(self, candidate: Candidate) -> bool:
        """Whether the account that was heard last in a conversation is theirs."""
        return bool((candidate.reference.get("user") or {}).get(self.field) == self.name)


async def _of_person(conversations: Conversations, person: _Person) -> Resolved:
    to, index = person.to, conversations.of_user if person.field == "id" else conversations.of_aad_object
    found = [key for key in await index(person.name) if not to.channel_id or channel_of(key) in to.channel_id]
    candidates = await conversations.candidates(found)
    channels = sorted({channel_of(candidate.key) for candidate in candidates})
    if len(channels) > 1 and not to.channel_id:
        raise _ambiguous(person, channels)
    chosen = _chosen(person, candidates)
    if not chosen:
        raise _unknown_person(person, shared=bool(candidates))
    private = all(_place(candidate) is Place.PERSONAL for candidate in chosen)
    chosen.sort(key=lambda candidate: candidate.key)
    meant = {} if private else _accounts(person, candidates)
    return _listed([each.key for each in chosen], [each.reachability for each in chosen], meant)


def _chosen(person: _Person, candidates: Sequence[Candidate]) -> list[Candidate]:
    kinds = person.to.conversation_type or [Place.PERSONAL]
    of_kind = {kind: [each for each in candidates if _place(each) is kind] for kind in Place if kind in kinds}
    private = [candidate for candidate in of_kind.get(Place.PERSONAL, ()) if person.is_of(candidate)]
    if not person.to.every:
        private = _latest(private, lambda candidate: channel_of(candidate.key))
    threads = _latest(of_kind.get(Place.CHANNEL, ()), lambda candidate: root_of(candidate.key))
    return [*private, *of_kind.get(Place.GROUP_CHAT, ()), *threads]


def _latest(candidates: Iterable[Candidate], group: Callable[[Candidate], str]) -> list[Candidate]:
    """Of each group the one that was used last."""
    latest: dict[str, Candidate] = {}
    for candidate in candidates:
        before = latest.setdefault(group(candidate), candidate)
        if candidate.used > before.used:
            latest[group(candidate)] = candidate
    return list(latest.values())


def _place(candidate: Candidate) -> Place:
    return place_of(candidate.reference["conversation"])


def _accounts(person: _Person, candidates: Sequence[Candidate]) -> Json:
    """By channel the person's account, as far as it is known."""
    known = {channel_of(each.key): each.reference["user"] for each in candidates if person.is_of(each)}
    if person.field != "id":
        return known
    return {channel_of(each.key): {"id": person.name} for each in candidates} | known


def _listed(
    keys: list[ConversationKey], reaches: Sequence[Reachability | None], meant: Json | None = None
) -> Resolved:
    unreachable = sum(reach is not Reachability.ACTIVE for reach in reaches)
    audience = Listed(conversations=tuple(keys))
    return Resolved(audience=audience, recipients=len(keys), unreachable=unreachable, meant=meant or {})


def _ambiguous(person: _Person, channels: Sequence[str]) -> Problem:
    named = ", ".join(channels[:NAMED_AT_MOST])
    detail = f"It is known on several channels ({named}), where it may be several people; say which with channelId."
    return invalid_fields([BadField(person.pointer, detail)])


def _unknown_person(person: _Person, *, shared: bool) -> Problem:
    channels = person.to.channel_id
    narrowed = f" on {'the channel' if len(channels) == 1 else 'any of'} {', '.join(channels)}" if channels else ""
    kind = "personal conversation" if not person.to.conversation_type else "conversation of this kind"
    detail = f"No {kind} is known with the user {person.name[:200]!r}{narrowed}."
    error = "The user is not known."
    if shared:
        error = "The user was heard only where others read what is said; conversationType names such places, too."
    return Problem(404, "unknown-user", "Unknown user", detail, [BadField(person.pointer, error)])


def _unknown_conversations(unknown: list[tuple[str, ConversationKey]]) -> Problem:
    named = unknown[:NAMED_AT_MOST]
    more = f", and {len(unknown) - len(named)} more" if len(unknown) > len(named) else ""
    detail = f"Not known: {', '.join(repr(key[:200]) for _, key in named)}{more}. Nothing was recorded."
    errors = [BadField(place, "The conversation is not known.") for place, _ in named]
    return Problem(404, "unknown-conversation", "Unknown conversation", detail, errors)
