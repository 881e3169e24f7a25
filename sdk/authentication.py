"""Who posts to the bot: tokens of the channel, verified without blocking the loop, before anything else is read.

The rules are the SDK's (issuer, audience, signature, endorsements, service URL; see Microsoft's "Authenticate requests
from the Bot Connector service"); the keys are fetched asynchronously, with a time-out, and again when one is missing.
Tokens of the Bot Framework Emulator are taken in development only, where nobody shows one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
from botbuilder.schema import Activity
from botframework.connector.auth import ClaimsIdentity
from jwt.algorithms import RSAAlgorithm

from domain.backoff import Backoff

log = logging.getLogger("aside.authentication")

LEEWAY = 300
"""Seconds of clock difference that are forgiven."""
KEYS_KEPT = 24 * 3600.0
"""Seconds after which the keys are fetched again; those that are known go on being used meanwhile."""
KEYS_ASKED_AGAIN = 60.0
"""Seconds between two fetches of the keys for the sake of one that is missing, the first time. Whoever makes keys up
has them fetched for nothing, and less and less often."""
KEYS_ASKED_SELDOM = 3600.0
"""The longest such pause."""
FETCH_PAUSES = (1.0, 300.0)
"""The first and the longest pause after a fetch that failed."""
KEPT_TOKENS = 256
"""A channel shows the same token for every activity of an hour or so."""
REQUEST_TIMEOUT = 10.0


_RULES: Any = {"require": ["exp", "iss", "aud"]}
_UNSIGNED: Any = {**_RULES, "verify_signature": False, "verify_exp": True, "verify_aud": True, "verify_iss": True}


class Unauthenticated(Exception):
    """The request is not from the channel; answer 401. The message is for the operator."""


class SigningKeys:
    """The channel's public keys by id, with what each is endorsed for. One fetch at a time, whoever waits for it."""

    def __init__(self, session: aiohttp.ClientSession, metadata_url: str) -> None:
        self._session = session
        self._url = metadata_url
        self._keys: dict[str, tuple[Any, tuple[str, ...]]] = {}
        self._fetched = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        first, most = FETCH_PAUSES
        self._failures = Backoff(first=first, most=most)
        self._fruitless = Backoff(first=KEYS_ASKED_AGAIN, most=KEYS_ASKED_SELDOM)

    async def find(self, key_id: str) -> tuple[Any, tuple[str, ...]]:
        """Raises :class:`Unauthenticated` for an unknown key."""
        if key_id in self._keys:
            if self._age() > KEYS_KEPT:
                self._refresh()
            return self._keys[key_id]
        if self._age() > KEYS_ASKED_AGAIN and not self._fruitless.waiting:
            before = self._fetched
            if (fetching := self._refresh()) is not None:
                await asyncio.wait([fetching])
            if key_id not in self._keys and self._fetched > before:
                self._fruitless.failed()
        if key_id not in self._keys:
            raise Unauthenticated("the token is signed with a key that the channel does not publish")
        return self._keys[key_id]

    def _age(self) -> float:
        return time.monotonic() - self._fetched

    def _refresh(self) -> asyncio.Task[None] | None:
        """The fetch that is under way, or a new one; None while the last failure is too fresh."""
        if self._fetching is None or self._fetching.done():
            if self._failures.waiting:
                return None
            self._fetching = asyncio.create_task(self._fetch(), name="signing-keys")
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                found = _usable(await self._published())
        except Exception as error:  # whatever may be wrong with what is published
            self._failures.failed()
            log.warning("signing keys cannot be fetched: %r", error, extra={"action": "signing_keys_unavailable"})
            return
        if found.keys() - self._keys.keys():
            self._fruitless.succeeded()
        self._failures.succeeded()
        self._keys, self._fetched = found, time.monotonic()

    async def _published(self) -> list[Mapping[str, Any]]:
        async with self._session.get(self._url) as response:
            response.raise_for_status()
            jwks_url = (await response.json(content_type=None))["jwks_uri"]
        async with self._session.get(jwks_url) as response:
            response.raise_for_status()
            published: list[Mapping[str, Any]] = (await response.json(content_type=None))["keys"]
            return published


def _usable(published: list[Mapping[str, Any]]) -> dict[str, tuple[Any, tuple[str, ...]]]:
    """The keys that tokens can be verified with; one that cannot be read costs no other. Raises ``ValueError``."""
    found: dict[str, tuple[Any, tuple[str, ...]]] = {}
    for key in published:
        try:
            if key.get("kty") == "RSA" and "kid" in key:
                found[key["kid"]] = (RSAAlgorithm.from_jwk(dict(key)), tuple(key.get("endorsements", ())))
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            log.warning("a signing key cannot be read: %r", error, extra={"action": "signing_key_unreadable"})
    if not found:
        raise ValueError("no key is published that could be used")
    return found


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who showed a valid token. ``claims`` None: anybody, in development."""

    claims: Mapping[str, Any] | None = None
    endorsements: tuple[str, ...] = ()

    def identity(self, activity: Activity) -> ClaimsIdentity:
        """Who they are for this activity. Raises :class:`Unauthenticated` if the token is for another."""
        if self.claims is None:
            return ClaimsIdentity({}, True)
        if self.endorsements and activity.channel_id not in self.endorsements:
            raise Unauthenticated("the signing key is not endorsed for this channel")
        if self.claims.get("serviceurl", self.claims.get("serviceUrl")) != activity.service_url:
            raise Unauthenticated("the token is for another service URL")
        return ClaimsIdentity(dict(self.claims), True)


@dataclass(frozen=True, kw_only=True)
class _Verified:
    """What a token was found to say, by the key that it is signed with."""

    key_id: str
    key: Any
    claims: dict[str, Any]

    def holds(self, key: Any) -> bool:
        """Whether the verdict would be the same now: the key is still the channel's, the token has not expired."""
        return key is self.key and int(self.claims["exp"]) > time.time() - LEEWAY


class ChannelAuthentication:
    """``development``: without an app id everybody is let in, as in the SDK's samples; elsewhere nobody is."""

    def __init__(self, *, app_id: str, development: bool, issuer: str, signing_keys: SigningKeys) -> None:
        self._app_id = app_id
        self._development = development
        self._issuer = issuer
        self._signing_keys = signing_keys
        self._verified: OrderedDict[str, _Verified] = OrderedDict()

    async def admit(self, header: str | None) -> Caller:
        """Who is behind an Authorization header, before their activity is read. Raises :class:`Unauthenticated`."""
        if not self._app_id and not self._development:
            raise Unauthenticated("no app id is configured, so no channel can be told from anybody else")
        if not self._app_id:
            return Caller()
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("there is no bearer token")
        known = self._verified.get(token)
        key_id = self._key_id(token) if known is None else known.key_id
        key, endorsements = await self._signing_keys.find(key_id)
        return Caller(claims=self._claims(token, key_id, key), endorsements=endorsements)

    def _key_id(self, token: str) -> str:
        """The key that a token says it is signed with, if it could be the channel's for this bot at all.

        Raises :class:`Unauthenticated`, also for what is no ASCII or is nested without end.
        """
        try:
            unverified = jwt.decode_complete(
                token,
                audience=self._app_id,
                issuer=self._issuer,
                leeway=LEEWAY,
                options=_UNSIGNED,
            )
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
            raise Unauthenticated(f"the token is not valid: {type(error).__name__}") from error
        return str(unverified["header"].get("kid"))

    def _claims(self, token: str, key_id: str, key: Any) -> dict[str, Any]:
        """What a token says once it is verified; a verdict is kept, for it takes longer than reading the activity."""
        known = self._verified.pop(token, None)
        if known is None or not known.holds(key):
            known = _Verified(key_id=key_id, key=key, claims=self._verify(token, key))
        self._verified[token] = known
        if len(self._verified) > KEPT_TOKENS:
            self._verified.popitem(last=False)
        return known.claims

    def _verify(self, token: str, key: Any) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self._app_id,
                issuer=self._issuer,
                leeway=LEEWAY,
                options=_RULES,
            )
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
            raise Unauthenticated(f"the token is not valid: {type(error).__name__}") from error
        return claims
