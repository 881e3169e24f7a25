"""Who may call the API. Closed unless a key opens it, or the caller is a program on the developer's own machine."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from aiohttp import web
from pydantic import SecretStr

from domain.loopback import from_this_machine, why_strange
from web.problems import Handler, Problem

log = logging.getLogger("aside.web")

SENDER = web.RequestKey("aside_sender", str)
"""Who calls: the namespace of idempotency keys."""
LOOPBACK_SENDER = "loopback"


class Scope(StrEnum):
    NOTIFY = "notify"
    READ = "read"
    ADMIN = "admin"


class GrantedKey(Protocol):
    """An API key, as the settings have it."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> SecretStr: ...
    @property
    def scopes(self) -> frozenset[str]: ...


@dataclass(frozen=True, kw_only=True)
class _Known:
    name: str
    digest: bytes
    scopes: frozenset[str]


class Access:
    """``development``: programs on this machine, and pages that it served, need no key unless there are keys."""

    def __init__(self, keys: Iterable[GrantedKey], *, development: bool) -> None:
        self._keys = tuple(
            _Known(name=key.name, digest=_digest(key.key.get_secret_value()), scopes=key.scopes) for key in keys
        )
        self._development = development

    def requiring(self, scope: Scope, handler: Handler, *, free_on_loopback: bool = False) -> Handler:
        """``handler`` for those who have ``scope``; with ``free_on_loopback`` for this machine's programs too."""

        async def admit(request: web.Request) -> web.StreamResponse:
            request[SENDER] = self._sender(request, scope, free_on_loopback)
            return await handler(request)

        return admit

    def refuse_strangers(self, request: web.Request) -> None:
        """In development, where nothing is authenticated: refuse whatever is not of this machine. Raises (403)."""
        if self._development and (reason := why_strange(request.remote, request.headers)):
            ids = {"action": "stranger_refused", "peer": request.remote, "origin": request.headers.get("Origin", "")}
            log.warning("a request was refused: %s", reason, extra=ids)
            raise _forbidden(f"In development, where nobody is asked for a key, this request is not served: {reason}.")

    def _sender(self, request: web.Request, scope: Scope, free_on_loopback: bool) -> str:
        presented = _presented(request.headers)
        if presented is not None:
            known = self._find(presented)
            if known is None:
                _log_refused(request, "", "its key is not known")
                raise _unauthorized("The key is not known.")
            if scope not in known.scopes:
                _log_refused(request, known.name, f"its key lacks the scope {scope.value}")
                raise _forbidden(f"The key {known.name!r} lacks the scope {scope.value!r}.")
            return f"key:{known.name}"
        if free_on_loopback and from_this_machine(request.remote, request.headers):
            return LOOPBACK_SENDER
        if self._development and not self._keys:
            self.refuse_strangers(request)
            return LOOPBACK_SENDER
        _log_refused(request, "", "it shows no key")
        raise _unauthorized("Show a key: Authorization: Bearer KEY, or X-API-Key: KEY.")

    def _find(self, presented: str) -> _Known | None:
        """Takes the same time whichever key it is, or none."""
        digest = _digest(presented)
        found = None
        for known in self._keys:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found


def _log_refused(request: web.Request, key: str, why: str) -> None:
    ids = {"action": "key_refused", "peer": request.remote, "key": key, "path": request.path}
    log.warning("a request was refused: %s", why, extra=ids)


def _presented(headers: Mapping[str, str]) -> str | None:
    """The key that a request shows; empty, and so unknown, if it shows something else."""
    if "Authorization" in headers:
        scheme, _, key = headers["Authorization"].partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""
    return headers.get("X-API-Key")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", "Unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="aside"'})


def _forbidden(detail: str) -> Problem:
    return Problem(403, "forbidden", "Forbidden", detail)
