"""Direct Line tokens: signed, for one conversation each, with an end.

They are JWTs with the claims ``conv`` and ``user``, from which Web Chat takes the user's id.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import jwt

from domain.clock import Clock, system_clock
from state import keys
from state.scripts import Argument, Script
from state.store import Store

TOKEN_SECONDS = keys.DAY
"""A token's lifetime; clients refresh theirs every quarter of an hour."""


# KEYS signing key | a fresh key, lifetime in s -> the key that is there
_SIGNING_KEY = Script(
    """
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('GET', KEYS[1])
"""
)


class TokenRefused(Exception):
    """A token that was not signed here, that has ended, or that is for another conversation."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a token lets its bearer do: be ``user_id`` (empty: anybody) in one conversation."""

    conversation_id: str
    user_id: str


class Tokens:
    """Issues and checks tokens; every process on the same store accepts them."""

    def __init__(self, store: Store, *, clock: Clock = system_clock) -> None:
        self._store = store
        self._clock = clock

    async def issue(self, grant: Grant) -> str:
        now = int(self._clock().timestamp())
        claims = {
            "conv": grant.conversation_id,
            "user": grant.user_id,
            "nonce": secrets.token_hex(4),
            "iat": now,
            "exp": now + TOKEN_SECONDS,
        }
        if not grant.user_id:
            del claims["user"]
        return jwt.encode(claims, await self._key(), algorithm="HS256")

    async def check(self, token: str) -> Grant:
        """What a token grants. Raises :class:`TokenRefused`."""
        options = jwt.types.Options(require=["conv", "exp"], verify_exp=False, verify_iat=False)
        try:
            claims = jwt.decode(token, await self._key(), algorithms=["HS256"], options=options)
        except (jwt.InvalidTokenError, UnicodeEncodeError) as error:
            raise TokenRefused("The token is not one of this channel.") from error
        if claims["exp"] <= self._clock().timestamp():
            raise TokenRefused("The token has expired.")
        return Grant(conversation_id=claims["conv"], user_id=claims.get("user", ""))

    async def _key(self) -> bytes:
        fresh: list[Argument] = [secrets.token_hex(32), keys.DIRECT_LINE_KEY_TTL]
        stored = await self._store.call(_SIGNING_KEY, [keys.direct_line_key()], fresh)
        return bytes.fromhex(stored.decode())
