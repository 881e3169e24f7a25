"""Whether JSON has the shape of an activity that a turn can be made of.

The SDK takes what it finds and fails later, deep in a turn; here who posts it is told which field is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from botbuilder.schema import Activity

from domain.notification import Json
from sdk.activities import ENTRIES, read_activity

ID_LENGTH = 1000
"""Characters of an id, or of a service URL: they become keys and are kept; channels' own have some hundred."""

_REQUIRED = (("type",), ("channelId",), ("serviceUrl",), ("conversation", "id"))
_IDS = (
    *(("channelId",), ("serviceUrl",), ("id",), ("replyToId",)),
    *(("conversation", "id"), ("conversation", "tenantId"), ("channelData", "tenant", "id")),
    *((account, name) for account in ("from", "recipient") for name in ("id", "aadObjectId")),
)
_ACCOUNTS = ("membersAdded", "membersRemoved")


class Flaw(NamedTuple):
    """A field that is missing or malformed. ``path`` is where: names of fields, and numbers in lists."""

    path: tuple[str | int, ...]
    detail: str


def shaped(body: Json) -> tuple[Activity, list[Flaw]]:
    """The activity, and its flaws: none if a turn can be made of it."""
    activity, mistakes = read_activity(body, strict=False)
    flaws = [Flaw(path, f"It is not {expected}.") for path, expected in mistakes]
    wrong = [flaw.path for flaw in flaws]
    missing = [path for path in _REQUIRED if _at(body, path) in (None, "")]
    flaws += [Flaw(path, "It is missing.") for path in missing if not any(path[: len(at)] == at for at in wrong)]
    flaws += [Flaw(path, f"It is longer than {ID_LENGTH} characters.") for path in _too_long(body)]
    return activity, flaws


def _too_long(body: Json) -> Iterator[tuple[str | int, ...]]:
    for path in _IDS:
        if len(str(_at(body, path) or "")) > ID_LENGTH:
            yield path
    for name in _ACCOUNTS:
        listed = body.get(name)
        for number, account in enumerate(listed[:ENTRIES] if isinstance(listed, list) else ()):
            for field in ("id", "aadObjectId"):
                if len(str(_at(account, (field,)) or "")) > ID_LENGTH:
                    yield (name, number, field)


def _at(body: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body
