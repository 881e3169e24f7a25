"""Where tokens come from, as a process: ``python -m benchmarks.identity``.

It publishes a key, signs what the channel would send, and logs the bot in, slowly. ``/bench/token?serviceUrl=…``
answers with a token of the channel's, ``/bench/logins`` with how often each tenant's login was asked.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ISSUER = "https://issuer.test"
APP_ID = "11111111-2222-3333-4444-555555555555"
PASSWORD = "no secret at all"
LOGIN_SECONDS = 0.3
"""What a login takes: a client that waits for it on the loop is seen to."""
_KEY_ID = "benchmarks"


class Identity:
    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._logins: Counter[str] = Counter()
        self.url = ""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/metadata", self._metadata),
            web.get("/keys", self._keys),
            web.post("/{tenant}/oauth2/v2.0/token", self._login),
            web.get("/bench/token", self._token),
            web.get("/bench/logins", self._counted),
        ]

    async def _metadata(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": ISSUER, "jwks_uri": f"{self.url}/keys"})

    async def _keys(self, _: web.Request) -> web.Response:
        key = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return web.json_response({"keys": [{**key, "kid": _KEY_ID, "endorsements": ["msteams"]}]})

    async def _login(self, request: web.Request) -> web.Response:
        self._logins[request.match_info["tenant"]] += 1
        await asyncio.sleep(LOGIN_SECONDS)
        return web.json_response({"access_token": "x" * 1400, "expires_in": 3600, "token_type": "Bearer"})

    async def _token(self, request: web.Request) -> web.Response:
        now = time.time()
        body = {"iss": ISSUER, "aud": APP_ID, "nbf": now - 10, "exp": now + 24 * 3600}
        body["serviceurl"] = request.query["serviceUrl"]
        token = jwt.encode(body, self._key, algorithm="RS256", headers={"kid": _KEY_ID})
        return web.json_response({"token": token})

    async def _counted(self, _: web.Request) -> web.Response:
        return web.json_response(dict(self._logins))


async def _serve() -> None:
    identity = Identity()
    application = web.Application()
    application.add_routes(identity.routes())
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    identity.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    sys.stdout.write(f"ready: {identity.url}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
