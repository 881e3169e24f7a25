"""How requests are read: bodies with a limit, JSON, and models whose every mistake is reported."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from web.problems import BadField, Problem, invalid_fields

M = TypeVar("M", bound=BaseModel)

READ_WITHIN = 30.0
"""Seconds for which a body may be on its way."""
_ZLIB = b"\x78"
"""How a deflated body begins whose sender keeps to RFC 1950; others send it bare."""
_EXAMPLES: dict[str, str] = {}
"""A value for each pattern of :func:`spelled`."""
_NOUNS = {
    "string": 'text, as in "text"',
    "bool": "true or false",
    "int": "a whole number, as in 60",
    "float": "a number, as in 60",
    "list": "a list, as in [ … ]",
    "dict": "an object, as in { … }",
    "model": "an object, as in { … }",
    "datetime": 'a time, as in "2026-12-01T09:00:00+01:00"',
}
"""What a field takes, by the beginning of the type of pydantic's error."""
_SENTENCES = {
    "missing": "It is needed and is not there.",
    "literal_error": "It is none of what is known here; use {expected}.",
    "enum": "It is none of what is known here; use {expected}.",
    "string_too_short": "It is too short; give {min_length} or more characters.",
    "string_too_long": "It is too long; give at most {max_length} characters.",
    "too_short": "It has {actual_length} entries; give {min_length} or more.",
    "too_long": "It has more than {max_length} entries; give at most {max_length}.",
    "greater_than": "It is too small; give a number above {gt:g}.",
    "greater_than_equal": "It is too small; give a number from {ge:g}.",
    "less_than": "It is too large; give a number below {lt:g}.",
    "less_than_equal": "It is too large; give a number up to {le:g}.",
    "finite_number": "It is no finite number; give one as in 60.",
    "timezone_aware": "It has no offset; write it as 2026-12-01T09:00:00+01:00.",
    "string_unicode": "It has characters that cannot be written in UTF-8; leave them out.",
}
"""By the type of pydantic's error, whose own sentences speak of the library."""


def spelled(pattern: str, example: str, **limits: int) -> Any:
    """The constraint of a text that has to look like ``example``, and whose mistakes say so."""
    _EXAMPLES[pattern] = example
    return StringConstraints(pattern=pattern, **limits)  # type: ignore[arg-type]


async def read_body(request: web.Request, limit: int) -> bytes:
    """The body, of at most ``limit`` bytes, also once it is inflated. Raises :class:`Problem` (400, 408, 413, 415).

    The server leaves bodies as they come (``web.server``), so that nothing is inflated before it is known who asks.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(READ_WITHIN):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
                if request.content.at_eof():
                    break
    except TimeoutError as error:
        detail = f"The body did not arrive within {READ_WITHIN:g} s."
        raise Problem(408, "request-timeout", "Request timeout", detail, headers={"Connection": "close"}) from error
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
        raise _unreadable() from error
    return _inflated(bytes(body), request.headers.get("Content-Encoding", ""), limit)


def _inflated(body: bytes, encoding: str, limit: int) -> bytes:
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            packed = zlib.decompressobj(zlib.MAX_WBITS | 16)
        case "deflate":
            packed = zlib.decompressobj(zlib.MAX_WBITS if body[:1] == _ZLIB else -zlib.MAX_WBITS)
        case _:
            detail = "A body may be encoded as gzip or deflate."
            raise Problem(415, "unsupported-media-type", "Unsupported media type", detail)
    try:
        inflated = packed.decompress(body, limit + 1)
    except zlib.error as error:
        raise _unreadable() from error
    if len(inflated) > limit:
        raise _too_large(limit)
    if not packed.eof:
        raise _unreadable()
    return inflated


def _unreadable() -> Problem:
    return Problem(400, "unreadable-body", "Unreadable body", "The body ended early or is encoded wrongly.")


def _too_large(limit: int) -> Problem:
    return Problem(413, "too-large", "Body too large", f"The body may have {limit // 1024} KiB.")


def parse_json(body: bytes) -> Any:
    """Raises :class:`Problem` (400) that says where the JSON is wrong."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        detail = f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise _bad_json(detail) from error


def canonical(value: Any) -> bytes:
    """The same bytes for the same JSON, however its keys are ordered and its text is laid out."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise _bad_json("The body is nested too deeply.") from error


def _bad_json(detail: str) -> Problem:
    return Problem(400, "invalid-json", "Invalid JSON", detail)


def pointer(parts: Iterable[object]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def mistakes(error: ValidationError, *, later: Mapping[str, str] | None = None) -> list[BadField]:
    """What a model found wrong. ``later`` has the pointers of fields that this version does not serve."""
    found = []
    for each in error.errors(include_url=False, include_input=False):
        place = pointer(each["loc"])
        detail = _sentence(each)
        if each["type"] == "json_invalid":
            raise _bad_json("The body is nested too deeply, or is no JSON that can be read.")
        if each["type"] == "extra_forbidden":
            detail = (later or {}).get(place) or "There is no such field."
        found.append(BadField(place, detail))
    return found


def _sentence(error: ErrorDetails) -> str:
    """What is wrong, and a value that would do."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "string_pattern_mismatch" and context["pattern"] in _EXAMPLES:
        return f"It is spelled wrongly; write it as in {_EXAMPLES[context['pattern']]}."
    if kind in _SENTENCES:
        return _SENTENCES[kind].format(**context).replace("'", "").replace("True", "true")
    noun = _NOUNS.get(kind.partition("_")[0])
    if noun and kind.endswith(("_type", "_parsing", "_from_float", "_attributes_type")):
        return f"It is of the wrong kind; give {noun}."
    return error["msg"].removeprefix("Value error, ")


def parse_query(model: type[M], request: web.Request) -> M:
    """The query's parameters as a model. Raises :class:`Problem` (422)."""
    errors = [
        BadField(name, "It is given more than once.", "parameter")
        for name in sorted(set(request.query))
        if len(request.query.getall(name)) > 1
    ]
    try:
        parsed = model.model_validate(dict(request.query))
    except ValidationError as error:
        errors += [BadField(found.place[1:], found.detail, "parameter") for found in mistakes(error)]
    if errors:
        raise invalid_fields(errors)
    return parsed


def json_answer(
    body: BaseModel | Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    data = body.model_dump_json(by_alias=True).encode() if isinstance(body, BaseModel) else orjson.dumps(body)
    return web.Response(status=status, body=data, content_type="application/json", headers=headers)


def cursor_number(cursor: str | None) -> int:
    """The rank that a cursor stands for: 0 without one."""
    if cursor is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,15}", cursor):
        raise bad_cursor()
    return int(cursor)


def cursor_text(following: int | None) -> str | None:
    return None if following is None else str(following)


def bad_cursor() -> Problem:
    return invalid_fields([BadField("cursor", "It is not the cursor of a page of this list.", "parameter")])
