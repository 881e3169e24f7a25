"""Who may call the API. Closed unless a key opens it, or the caller is a program on the developer's own machine."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import SecretStr

from domain.loopback import is_loopback
from web.problems import Handler, Problem

SENDER = web.RequestKey("aside_sender", str)
"""Who calls: the namespace of idempotency keys."""
LOOPBACK_SENDER = "loopback"
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
"""A request that carries one comes through a proxy: its peer is not the caller."""


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
    """``development``: loopback clients need no key, unless they are pages of other sites."""

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

    def refuse_other_sites(self, request: web.Request) -> None:
        """In development, where nobody shows a key: refuse what a page of another site makes a browser send.

        Cross-site requests show in ``Origin`` and ``Sec-Fetch-Site``, DNS rebinding in ``Host``. Raises (403).
        """
        if not self._development:
            return
        headers = request.headers
        if not is_loopback(headers.get("Host", "")):
            raise _forbidden("Without a key the API is reached by a loopback name only, such as http://127.0.0.1.")
        if headers.get("Sec-Fetch-Site") == "cross-site" or not _loopback_origin(headers.get("Origin")):
            raise _forbidden("Without a key the API takes no requests from pages of other sites.")

    def _sender(self, request: web.Request, scope: Scope, free_on_loopback: bool) -> str:
        presented = _presented(request.headers)
        if presented is not None:
            known = self._find(presented)
            if known is None:
                raise _unauthorized("The key is not known.")
            if scope not in known.scopes:
                raise _forbidden(f"The key {known.name!r} lacks the scope {scope.value!r}.")
            return f"key:{known.name}"
        if from_this_machine(request):
            if free_on_loopback:
                return LOOPBACK_SENDER
            if self._development:
                self.refuse_other_sites(request)
                return LOOPBACK_SENDER
        raise _unauthorized("Show a key: Authorization: Bearer KEY, or X-API-Key: KEY.")

    def _find(self, presented: str) -> _Known | None:
        """Takes the same time whichever key it is, or none."""
        digest = _digest(presented)
        found = None
        for known in self._keys:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found


def from_this_machine(request: web.Request) -> bool:
    """Whether the peer is a program on this machine, and not a proxy that says it speaks for somebody else."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(request.remote or "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _presented(headers: Mapping[str, str]) -> str | None:
    """The key that a request shows; empty, and so unknown, if it shows something else."""
    if "Authorization" in headers:
        scheme, _, key = headers["Authorization"].partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""
    return headers.get("X-API-Key")


def _loopback_origin(origin: str | None) -> bool:
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and is_loopback(parts.netloc)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", "Unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="aside"'})


def _forbidden(detail: str) -> Problem:
    return Problem(403, "forbidden", "Forbidden", detail)
