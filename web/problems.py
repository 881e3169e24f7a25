"""Errors as RFC 9457 problem documents, whatever raised them; never a stack trace or an exception's own text."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

import orjson
from aiohttp import web

from domain.errors import ConversationFull, StoreUnavailable
from domain.ids import new_id

log = logging.getLogger("aside.web")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:aside:problem:"
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
"""Carried by every answer that does not set its own."""

TOLD_AT_MOST = 20
"""So many mistakes of a request are told; the rest is counted."""


@dataclass(frozen=True)
class BadField:
    """One mistake of a request: ``place`` is a JSON pointer into its body, or the name of what else it is."""

    place: str
    detail: str
    kind: Literal["pointer", "parameter", "header"] = "pointer"

    def to_json(self) -> dict[str, str]:
        return {self.kind: self.place, "detail": self.detail}


@dataclass
class Problem(Exception):
    """A request that is answered with a problem document. ``name`` ends its ``type`` and does not change."""

    status: int
    name: str
    title: str
    detail: str
    errors: Sequence[BadField] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)
    """What this kind of problem has to tell besides."""

    def response(self) -> web.Response:
        body: dict[str, Any] = {
            "type": TYPE_PREFIX + self.name,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        if self.errors:
            body["errors"] = [error.to_json() for error in self.errors[:TOLD_AT_MOST]]
        return web.Response(
            status=self.status, body=orjson.dumps(body), content_type=CONTENT_TYPE, headers=self.headers
        )


def invalid_fields(errors: Sequence[BadField]) -> Problem:
    count = "one field" if len(errors) == 1 else f"{len(errors)} fields"
    return Problem(422, "invalid-field", "Invalid field", f"The request has {count} that cannot be accepted.", errors)


def not_found(detail: str) -> Problem:
    return Problem(404, "not-found", "Not found", detail)


def unavailable(detail: str, retry_after: int, **members: Any) -> Problem:
    headers = {"Retry-After": str(retry_after)}
    return Problem(503, "unavailable", "Temporarily unavailable", detail, headers=headers, members=members)


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into a problem document, and give every answer the security headers."""
    try:
        response = await handler(request)
    except Problem as problem:
        response = problem.response()
    except (StoreUnavailable, ConversationFull) as error:
        response = unavailable(str(error), math.ceil(error.retry_after)).response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = _of_http(request, error).response()
    except Exception as error:
        if request.writer.output_size > 0:
            raise
        response = _unexpected(request, error).response()
    if not response.prepared:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
    return response


def _of_http(request: web.Request, error: web.HTTPException) -> Problem:
    match error:
        case web.HTTPNotFound():
            return not_found("There is nothing at this path.")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            detail = f"{request.method} is not served at this path; use {allowed}."
            headers = {"Allow": allowed}
            return Problem(405, "method-not-allowed", "Method not allowed", detail, headers=headers)
        case web.HTTPRequestEntityTooLarge():
            return Problem(413, "too-large", "Body too large", "The body is larger than is accepted here.")
    phrase = HTTPStatus(error.status).phrase
    return Problem(error.status, phrase.lower().replace(" ", "-"), phrase, "The request cannot be served.")


def _unexpected(request: web.Request, error: Exception) -> Problem:
    reference = new_id("req")
    ids = {"action": "request_failed", "reference": reference, "method": request.method, "path": request.path}
    log.error("a request failed", exc_info=error, extra=ids)
    detail = f"The service failed; its log has the reason under {reference}."
    return Problem(500, "internal-error", "Internal error", detail)
