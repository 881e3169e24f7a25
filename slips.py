"""What ``.env`` and the environment hold that looks like a setting and is none: it would go unnoticed otherwise."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from dotenv.parser import Binding, parse_stream

LIKE_IN_FILE = 0.75
LIKE_IN_ENVIRONMENT = 0.86
"""How like a name has to be to one of ours (``difflib``). The file is ours, most of the environment is others'."""
SHORTEST = 7
"""Letters of ours that others' names are compared with: much is nearly ``HOST`` or ``PORT``. They are about as long,
because ``SHOP_REDIS_URL`` is somebody else's."""
_PREFIX = "aside"
_LINKED = re.compile(r"(tcp|udp|sctp)://")
"""How values begin that Kubernetes gives its pods for each service, as ``ASIDE_PORT`` for one that is named aside."""


def find(variables: Collection[str], environment: Mapping[str, str], file: Path = Path(".env")) -> list[str]:
    """A sentence for each slip. Values are never repeated: they may be secrets."""
    return [*_in_file(variables, file), *_in_environment(variables, environment, file)]


def _in_file(variables: Collection[str], file: Path) -> Iterator[str]:
    ours = {variable.lower(): variable for variable in variables}
    for binding in _statements(file):
        if binding.error:
            yield _unreadable(binding, ours, file)
        elif binding.key is not None and binding.key.lower() not in ours:
            near = _same(binding.key, variables) or _near(binding.key, variables, LIKE_IN_FILE)
            hint = f"; did you mean {near}?" if near else ""
            yield f"{file}: {binding.key!r} is no setting of this service{hint}"
        elif binding.key is not None and binding.value is None:
            yield f"{file}: line {_line(binding)} gives {binding.key} no value; write it as {binding.key}=value"


def _in_environment(variables: Collection[str], environment: Mapping[str, str], file: Path) -> Iterator[str]:
    """Near misses of settings that are not set: who sets both has the other for something else."""
    ours = {variable.lower() for variable in variables}
    is_set = {name.lower() for name, value in environment.items() if value}
    is_set |= {binding.key.lower() for binding in _statements(file) if binding.key and binding.value}
    missing = [variable for variable in variables if variable.lower() not in is_set]
    for name, value in environment.items():
        if not value or name.lower() in ours or _LINKED.match(value):
            continue
        as_long = [each for each in missing if _may_be(_letters(name), _letters(each))]
        if near := _same(name, missing) or _near(name, as_long, LIKE_IN_ENVIRONMENT):
            yield f"environment: {name!r} is no setting of this service; did you mean {near}?"


def _may_be(letters: str, ours: str) -> bool:
    return len(ours) >= SHORTEST and abs(len(letters) - len(ours)) <= 1


def _statements(file: Path) -> list[Binding]:
    """None of a file that cannot be read, which the settings tell themselves."""
    try:
        with file.open(encoding="utf-8-sig") as stream:
            return list(parse_stream(stream))
    except (OSError, UnicodeError):
        return []


def _line(binding: Binding) -> int:
    """Where it is written: blank lines before a statement count as its own to the parser."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _unreadable(binding: Binding, ours: Mapping[str, str], file: Path) -> str:
    first = re.match(r"\s*(?:export\s+)?(\w+)", binding.original.string)
    name = ours.get(first[1].lower(), "") if first else ""
    where = f"line {_line(binding)}" + (f" ({name})" if name else "")
    form = f"write it as {name or 'NAME'}=value, with quotation marks in pairs, or begin it with #"
    return f"{file}: {where} cannot be read and counts for nothing; {form}"


def _same(name: str, variables: Collection[str]) -> str | None:
    """The variable that a name is but another spelling of, with this service's name before it or without."""
    return {_letters(variable): variable for variable in variables}.get(_letters(name))


def _near(name: str, variables: Collection[str], like: float) -> str | None:
    ours = {_letters(variable): variable for variable in variables}
    near = difflib.get_close_matches(_letters(name), ours, n=1, cutoff=like)
    return ours[near[0]] if near else None


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower()).removeprefix(_PREFIX)
