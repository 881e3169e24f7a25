"""The services that tokens come from, for tests: the channel's keys and issuer, and the bot's login."""

from __future__ import annotations

import time
import uuid
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ISSUER = "https://issuer.test"
APP_ID = "11111111-2222-3333-4444-555555555555"
PASSWORD = "the-bot's-secret"


class IdentityProvider:
    """``keys`` holds what is published; :meth:`token` signs as the channel would."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.key_requests = 0
        self.broken = False
        """Whether keys are asked for in vain."""
        self.also: list[dict[str, str]] = []
        """What is published beside the keys."""
        self.logins: list[dict[str, str]] = []
        self.issued: list[str] = []
        self.url = ""
        self._runner: web.AppRunner | None = None
        self.rotate()

    async def start(self) -> IdentityProvider:
        app = web.Application()
        app.router.add_get("/metadata", self._metadata)
        app.router.add_get("/keys", self._publish)
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._login)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def rotate(self) -> None:
        """Publish a new key in the place of the old one."""
        self.keys = {uuid.uuid4().hex: rsa.generate_private_key(public_exponent=65537, key_size=2048)}

    def token(self, service_url: str, *, key: Any = None, **claims: Any) -> str:
        """A token of the channel's; ``claims`` replaces claims, None leaves one out."""
        now = time.time()
        body = {"iss": ISSUER, "aud": APP_ID, "serviceurl": service_url, "nbf": now - 10, "exp": now + 3600, **claims}
        ((key_id, published),) = self.keys.items()
        given = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(given, key or published, algorithm="RS256", headers={"kid": key_id})

    async def _metadata(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": ISSUER, "jwks_uri": f"{self.url}/keys"})

    async def _publish(self, _: web.Request) -> web.Response:
        self.key_requests += 1
        if self.broken:
            raise web.HTTPBadGateway
        published = [
            {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "endorsements": ["msteams"]}
            for key_id, key in self.keys.items()
        ] + self.also
        return web.json_response({"keys": published})

    async def _login(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.logins.append({"tenant": request.match_info["tenant"], **form})
        if form.get("client_secret") != PASSWORD:
            return web.json_response({"error": "invalid_client"}, status=401)
        self.issued.append(f"bot-token-{len(self.issued) + 1}")
        return web.json_response({"access_token": self.issued[-1], "expires_in": 3600, "token_type": "Bearer"})
