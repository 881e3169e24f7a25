"""The bot's own tokens: fetched off no turn's back, kept until shortly before they expire."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from domain.backoff import Backoff

EARLY = 30.0
"""Seconds before its expiry at which a token is replaced. One that a channel finds expired is replaced, too."""
REQUEST_TIMEOUT = 10.0
FETCH_PAUSES = (1.0, 60.0)
"""The first and the longest pause after a fetch that failed; who asks meanwhile is told of that failure."""


class TokenUnavailable(Exception):
    """No token could be had; the message is for the operator and holds no secret."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """``value`` is the bearer token, ``expires_in`` its remaining life in seconds."""

    value: str
    expires_in: float


Fetch = Callable[[], Awaitable[Token]]


class Tokens(Protocol):
    async def header(self, *, refresh: bool = False) -> str | None:
        """The Authorization header for a send, None where none is needed. Raises :class:`TokenUnavailable`."""


class NoTokens:
    """For development: the channel asks for none."""

    async def header(self, *, refresh: bool = False) -> str | None:
        return None


class KeptTokens:
    """One token, fetched once however many sends wait for it. A failure is remembered for a while, not repeated."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._header: str | None = None
        self._until = 0.0
        self._fetching = asyncio.Lock()
        first, most = FETCH_PAUSES
        self._backoff = Backoff(first=first, most=most)
        self._failure = ""

    async def header(self, *, refresh: bool = False) -> str | None:
        stale = self._header if refresh else None
        if self._header is not None and self._header is not stale and time.monotonic() < self._until:
            return self._header
        async with self._fetching:
            if self._header is None or self._header is stale or time.monotonic() >= self._until:
                if self._backoff.waiting:
                    raise TokenUnavailable(self._failure)
                try:
                    token = await self._fetch()
                except TokenUnavailable as error:
                    self._failure = str(error)
                    self._backoff.failed()
                    raise
                self._backoff.succeeded()
                self._header = f"Bearer {token.value}"
                self._until = time.monotonic() + max(30.0, token.expires_in - EARLY)
        return self._header


def client_credentials(
    session: aiohttp.ClientSession, *, login_url: str, app_id: str, password: str, scope: str
) -> Fetch:
    """Fetch a token with the client-credentials grant.

    ``login_url`` includes the tenant, ``scope`` is the resource (RFC 6749, section 4.4; Microsoft identity
    platform, version 2.0).
    """
    url = f"{login_url.rstrip('/')}/oauth2/v2.0/token"
    form = {
        "grant_type": "client_credentials",
        "client_id": app_id,
        "client_secret": password,
        "scope": scope if scope.endswith("/.default") else f"{scope}/.default",
    }

    async def fetch() -> Token:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
        try:
            async with session.post(url, data=form, timeout=timeout, allow_redirects=False) as response:
                body = await response.json(content_type=None)
                if response.status != 200 or not isinstance(body, dict) or "access_token" not in body:
                    code = body.get("error") if isinstance(body, dict) else None
                    raise TokenUnavailable(f"The login service answered {response.status} ({code}).")
                return Token(value=body["access_token"], expires_in=float(body.get("expires_in", 3600)))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise TokenUnavailable(f"The login service cannot be asked: {type(error).__name__}.") from error

    return fetch


def managed_identity(app_id: str, resource: str) -> Fetch:
    """Fetch a token for a user-assigned managed identity, through the SDK's credentials, which block."""
    from botframework.connector.auth import ManagedIdentityAppCredentials

    credentials = ManagedIdentityAppCredentials(app_id, resource)

    async def fetch() -> Token:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                return Token(value=await _in_thread(credentials.get_access_token), expires_in=EARLY + 600)
        except Exception as error:
            raise TokenUnavailable(f"The managed identity gave no token: {type(error).__name__}.") from error

    return fetch


async def _in_thread(call: Callable[[], str]) -> str:
    """What ``call`` answers, in a thread of its own: one that hangs takes nobody's place and holds up no exit."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def settle(value: str, error: BaseException | None) -> None:
        if answer.done():  # nobody waits any more
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(value)

    def run() -> None:
        value, failure = "", None
        try:
            value = call()
        except Exception as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=run, name="managed-identity", daemon=True).start()
    return await answer
