"""Who may use the local channel: this machine, and, in its browsers, pages of origins that are named."""

from __future__ import annotations

import logging
from collections.abc import Collection

import orjson
from aiohttp import web

from domain.loopback import why_strange

log = logging.getLogger("aside.devchannel")

METHODS = "GET, POST, OPTIONS"
HEADERS = "Authorization, Content-Type, X-Ms-Bot-Agent, X-Requested-With"
"""What botframework-directlinejs and Web Chat send."""
ASKED_AGAIN_AFTER = 600
"""Seconds for which a browser may remember the answer."""


class Door:
    """``friends``: origins of other pages that may use the channel, as ``https://host:port``."""

    def __init__(self, friends: Collection[str] = ()) -> None:
        self._friends = friends

    def refusal(self, request: web.Request, *, linked: bool = False) -> web.Response | None:
        """The answer to who may not come in. ``linked``: others may have a link to what is asked for."""
        reason = why_strange(request.remote, request.headers, linked=linked, friends=self._friends)
        if reason is None:
            return None
        ids = {"action": "stranger_refused", "peer": request.remote, "origin": request.headers.get("Origin", "")}
        log.warning("a request to the local channel was refused: %s", reason, extra=ids)
        detail = (
            f"The local channel is for this machine alone, and this request is not served: {reason}. "
            "DIRECT_LINE_ORIGINS names origins whose pages may use it."
        )
        problem = {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": detail}
        return web.Response(status=403, body=orjson.dumps(problem), content_type="application/problem+json")

    def tell_browser(self, request: web.Request, answer: web.StreamResponse) -> None:
        """That a page of another origin may read the answer (https://fetch.spec.whatwg.org/#http-cors-protocol)."""
        origin = request.headers.get("Origin", "")
        if origin not in self._friends or answer.prepared:
            return
        answer.headers["Access-Control-Allow-Origin"] = origin
        answer.headers["Access-Control-Allow-Credentials"] = "true"
        answer.headers.add("Vary", "Origin")

    async def preflight(self, request: web.Request) -> web.StreamResponse:
        """The answer to a browser that asks before it sends a page's request."""
        headers = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": HEADERS,
            "Access-Control-Max-Age": str(ASKED_AGAIN_AFTER),
        }
        if request.headers.get("Access-Control-Request-Private-Network") == "true":
            headers["Access-Control-Allow-Private-Network"] = "true"
        return web.Response(status=204, headers=headers)
