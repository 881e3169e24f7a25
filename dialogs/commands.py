"""How people write commands: with a blank too many, a full stop at the end, a number as a word."""

from __future__ import annotations

import re
from dataclasses import dataclass

_INVISIBLE = re.compile("[\u200b\u2060\ufeff]")
_BLANKS = re.compile(r"[^\S\n]+")
_BEFORE = " \n/`"
_AFTER = " \n.,;:!?…`"
_NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER = re.compile(rf"(?:number |no\.? |# ?)?(?:([0-9]{{1,9}})|({'|'.join(_NUMBER_WORDS)}))", re.IGNORECASE)
_ENDS = r"(?=[\s#]|[.,;:!?…](?:\s|$)|$)"
"""What ends a command's name; ``jobs-board`` and ``open.txt`` begin with none."""

_NOTHING = ""
_ANYTHING = ".*"
_ONE_NUMBER = _NUMBER.pattern
_KINDS = "factor|pi|primes"
_LENGTH_OF_TIME = r"in \d.*"


@dataclass(frozen=True, kw_only=True)
class Said:
    """A command by its name, and what follows it."""

    name: str
    rest: str


class _Way:
    """A way to write the command ``name``: how it begins, and what may follow. ``in_form``: what may where an answer
    is expected, which is nothing that may be meant as one. ``verbatim``: what follows is kept as it was written."""

    def __init__(
        self,
        name: str,
        begins: str = "",
        *,
        in_form: str | None = _NOTHING,
        otherwise: str = _ANYTHING,
        verbatim: bool = False,
    ) -> None:
        self.name = name
        self.begins = re.compile(rf"(?:{begins or name})".replace(" ", r"\s+") + _ENDS, re.IGNORECASE)
        self.in_form = None if in_form is None else re.compile(in_form, re.IGNORECASE | re.DOTALL)
        self.otherwise = re.compile(otherwise, re.IGNORECASE | re.DOTALL)
        self.verbatim = verbatim


_WAYS = (
    _Way("help"),
    _Way("compute", in_form=rf"(?:(?:{_KINDS})(?:\s(?:\S+|[\d\s,_^*]+))?)?", verbatim=True),
    _Way("jobs"),
    _Way("jobs", "job", otherwise=_NOTHING),
    _Way("cancel job", "cancel jobs?", in_form=rf"(?:#? ?\d*|{_ONE_NUMBER})"),
    _Way("cancel job", "cancel", in_form=_ONE_NUMBER, otherwise=_ONE_NUMBER),
    _Way("cancel reminder", "cancel (?:(?:my|the) )?reminders?"),
    _Way("cancel", in_form="(?:(?:the |this |my )?(?:form|report))?"),
    _Way("remind me", in_form=rf"(?:{_LENGTH_OF_TIME})?", verbatim=True),
    _Way(
        "remind me",
        "remind|reminders?",
        in_form=rf"(?:{_LENGTH_OF_TIME})?",
        otherwise=rf"(?:{_LENGTH_OF_TIME})?",
        verbatim=True,
    ),
    _Way("inbox", in_form=rf"(?:\d{{1,4}}|{_ONE_NUMBER})?"),
    _Way("open", in_form=rf"(?:{_ONE_NUMBER})?", otherwise=rf"(?:{_ONE_NUMBER})?"),
    _Way("report", in_form=None),
)


def command_in(text: str, in_form: bool = False) -> Said | None:
    """The command that a text is, None if it is none. ``in_form``: only if it can be nothing else."""
    written = _BLANKS.sub(" ", _INVISIBLE.sub("", text)).lstrip(_BEFORE)
    plain = written.rstrip(_AFTER)
    for way in _WAYS:
        begun = way.begins.match(plain)
        if begun is None:
            continue
        rest = plain[begun.end() :].lstrip(_AFTER)
        follows = way.in_form if in_form else way.otherwise
        if follows is not None and follows.fullmatch(rest):
            return Said(name=way.name, rest=written[begun.end() :].lstrip(_AFTER).rstrip() if way.verbatim else rest)
    return None


def number_in(said: str) -> int | None:
    """A number that a list may have, None for anything else."""
    found = _NUMBER.fullmatch(said)
    if found is None:
        return None
    return int(found[1]) if found[1] else _NUMBER_WORDS.index(found[2].lower()) + 1
