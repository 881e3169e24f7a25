"""Locales as the SDK's prompts can use them: theirs raise for one that their library does not know."""

from __future__ import annotations

import functools

from babel import UnknownLocaleError
from babel.numbers import parse_decimal

LENGTH = 35
"""Characters of a locale: RFC 5646, section 4.4.1."""


def usable(locale: str | None) -> str | None:
    """A locale as it is, or without those of its parts that nobody knows; None where nothing of it is known."""
    if not locale or len(locale) > LENGTH:
        return None
    return _usable(locale)


@functools.lru_cache(maxsize=1024)
def _usable(locale: str) -> str | None:
    parts = locale.replace("_", "-").split("-")
    for length in range(len(parts), 0, -1):
        tag = "-".join(parts[:length])
        try:
            parse_decimal("1", locale=tag.replace("-", "_"))  # what NumberPrompt asks of it
        except (UnknownLocaleError, ValueError, TypeError, OSError):
            continue
        return locale if length == len(parts) else tag
    return None
