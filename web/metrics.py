"""What is counted, in a registry of its own."""

from __future__ import annotations

import functools
import time

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from web.problems import Handler

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """One per process; hand it to whoever has something to count."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "aside_requests", "HTTP requests", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "aside_request_seconds", "Time to answer an HTTP request", ["method", "route"], registry=self.registry
        )
        self._turns = Counter("aside_turns", "Turns that ended", ["kind", "outcome"], registry=self.registry)
        self._turns_of = functools.cache(self._turns.labels)
        self._work = Gauge("aside_work_length", "Members of a queue, due or not", ["queue"], registry=self.registry)

    def turn_ended(self, kind: str, outcome: str) -> None:
        """``kind``: ``user`` or ``proactive``; ``outcome``: a word of a fixed few."""
        self._turns_of(kind, outcome).inc()

    def work_length(self, queue: str, length: int) -> None:
        self._work.labels(queue).set(length)

    def exposition(self) -> bytes:
        """Prometheus text, format 0.0.4."""
        return generate_latest(self.registry)

    def middleware(self) -> Middleware:
        @functools.cache
        def counters(method: str, route: str, status: str) -> tuple[Counter, Histogram]:
            return self._requests.labels(method, route, status), self._seconds.labels(method, route)

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            began = time.perf_counter()
            status = "500"
            try:
                response = await handler(request)
                status = str(response.status)
            except web.HTTPException as error:
                status = str(error.status)
                raise
            finally:
                resource = request.match_info.route.resource
                # Paths that nobody serves are counted together: a label for each would never end.
                route = resource.canonical if resource is not None else "(none)"
                method = request.method if request.method in _METHODS else "other"
                requests, seconds = counters(method, route, status)
                requests.inc()
                seconds.observe(time.perf_counter() - began)
            return response

        return count
