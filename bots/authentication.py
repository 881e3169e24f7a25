"""Who posts to the bot: tokens of the channel, verified without blocking the loop.

The rules are the SDK's (issuer, audience, signature, endorsements, service URL; see Microsoft's "Authenticate requests
from the Bot Connector service"); the keys are fetched asynchronously, with a time-out, and again when one is missing.
Tokens of the Bot Framework Emulator are left to the SDK itself, in a thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
from botbuilder.schema import Activity
from botframework.connector.auth import BotFrameworkAuthentication, ClaimsIdentity
from jwt.algorithms import RSAAlgorithm

log = logging.getLogger("aside.authentication")

LEEWAY = 300
"""Seconds of clock difference that are forgiven."""
KEYS_KEPT = 24 * 3600.0
KEYS_ASKED_AGAIN = 60.0
"""Seconds between two fetches of the keys for the sake of one that is missing."""
KEPT_TOKENS = 256
"""A channel shows the same token for every activity of an hour or so."""
REQUEST_TIMEOUT = 10.0


class Unauthenticated(Exception):
    """The request is not from the channel; answer 401. The message is for the operator."""


class SigningKeys:
    """The channel's public keys by id, with what each is endorsed for."""

    def __init__(self, session: aiohttp.ClientSession, metadata_url: str) -> None:
        self._session = session
        self._url = metadata_url
        self._keys: dict[str, tuple[Any, tuple[str, ...]]] = {}
        self._fetched = float("-inf")
        self._fetching = asyncio.Lock()

    async def find(self, key_id: str) -> tuple[Any, tuple[str, ...]]:
        """Raises :class:`Unauthenticated` for an unknown key."""
        if self._age() > KEYS_KEPT or (key_id not in self._keys and self._age() > KEYS_ASKED_AGAIN):
            async with self._fetching:
                if self._age() > KEYS_ASKED_AGAIN:
                    await self._fetch()
        if key_id not in self._keys:
            raise Unauthenticated("the token is signed with a key that the channel does not publish")
        return self._keys[key_id]

    def _age(self) -> float:
        return time.monotonic() - self._fetched

    async def _fetch(self) -> None:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
        try:
            async with self._session.get(self._url, timeout=timeout) as response:
                response.raise_for_status()
                jwks_url = (await response.json(content_type=None))["jwks_uri"]
            async with self._session.get(jwks_url, timeout=timeout) as response:
                response.raise_for_status()
                published = (await response.json(content_type=None))["keys"]
            found = {
                key["kid"]: (RSAAlgorithm.from_jwk(key), tuple(key.get("endorsements", ())))
                for key in published
                if key.get("kty") == "RSA" and "kid" in key
            }
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            log.warning("signing keys cannot be fetched: %r", error, extra={"action": "signing_keys_unavailable"})
            return
        self._keys, self._fetched = found, time.monotonic()


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

    def __init__(
        self,
        *,
        app_id: str,
        development: bool,
        issuer: str,
        signing_keys: SigningKeys,
        sdk: BotFrameworkAuthentication,
    ) -> None:
        self._app_id = app_id
        self._development = development
        self._issuer = issuer
        self._signing_keys = signing_keys
        self._sdk = sdk
        self._verified: OrderedDict[str, _Verified] = OrderedDict()

    async def identify(self, header: str | None, activity: Activity) -> ClaimsIdentity:
        """The identity behind an Authorization header. Raises :class:`Unauthenticated`."""
        if not self._app_id and not self._development:
            raise Unauthenticated("no app id is configured, so no channel can be told from anybody else")
        if not self._app_id:
            return ClaimsIdentity({}, True)
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("there is no bearer token")
        if token in self._verified:
            return await self._channel(token, self._verified[token].key_id, activity)
        try:
            unverified = jwt.decode_complete(token, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise Unauthenticated("the token cannot be read") from error
        if unverified["payload"].get("iss") == self._issuer:
            return await self._channel(token, str(unverified["header"].get("kid")), activity)
        return await self._emulator(header or "", activity)

    async def _channel(self, token: str, key_id: str, activity: Activity) -> ClaimsIdentity:
        key, endorsements = await self._signing_keys.find(key_id)
        claims = self._claims(token, key_id, key)
        if endorsements and activity.channel_id not in endorsements:
            raise Unauthenticated("the signing key is not endorsed for this channel")
        if claims.get("serviceurl", claims.get("serviceUrl")) != activity.service_url:
            raise Unauthenticated("the token is for another service URL")
        return ClaimsIdentity(dict(claims), True)

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
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not valid: {type(error).__name__}") from error
        return claims

    async def _emulator(self, header: str, activity: Activity) -> ClaimsIdentity:
        try:
            result = await asyncio.to_thread(
                lambda: asyncio.run(self._sdk.authenticate_request(activity, header))  # it blocks on requests
            )
        except Exception as error:  # it raises bare Exceptions for what is merely a wrong token
            raise Unauthenticated(f"the token is not valid: {type(error).__name__}") from error
        return result.claims_identity
