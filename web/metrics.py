"""What is counted, in a registry of its own."""

from __future__ import annotations

import functools
import time

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from domain.delivery import Status, StatusReport
from domain.job import JobStatus
from domain.notification import Mode
from domain.observing import Observer
from domain.sending import Answer
from state.work import Load
from web.problems import Handler

disable_created_metrics()  # type: ignore[no-untyped-call]  # or each counter has a double that says when it began

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_LAGS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600)
_PAUSES = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)
_SIZES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


class Metrics(Observer):
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
        self._statuses = Counter(
            "aside_deliveries", "Deliveries that came into a status", ["status", "reason"], registry=self.registry
        )
        self._statuses_of = functools.cache(self._statuses.labels)
        self._lag = Histogram(
            "aside_delivery_seconds",
            "Time from a delivery's acceptance, or from its time, until a channel took it",
            ["mode"],
            buckets=_LAGS,
            registry=self.registry,
        )
        self._lag_of = functools.cache(self._lag.labels)
        self._sends = Counter("aside_sends", "Requests to channels", ["outcome"], registry=self.registry)
        self._sends_of = functools.cache(self._sends.labels)
        self._pauses = Histogram(
            "aside_send_pause_seconds",
            "Time for which a send has to wait",
            ["cause"],
            buckets=_PAUSES,
            registry=self.registry,
        )
        self._outbox = self._size("aside_outbox_size", "Effects that wait in an outbox after a turn")
        self._inbox = self._size("aside_inbox_size", "Deliveries that an inbox holds after a turn that changed it")
        self._jobs = Gauge("aside_jobs", "Jobs that have not ended", ["state"], registry=self.registry)
        self._jobs_ended = Counter("aside_jobs_ended", "Runs of jobs that ended", ["status"], registry=self.registry)
        self._job_wait = Histogram(
            "aside_job_wait_seconds",
            "Time from a job's submission until it runs",
            buckets=_LAGS,
            registry=self.registry,
        )
        self._work = Gauge("aside_work_length", "Members of a queue, due or not", ["queue"], registry=self.registry)
        self._due = Gauge("aside_work_due", "Those that nobody has taken", ["queue"], registry=self.registry)
        self._overdue = Gauge(
            "aside_work_overdue_seconds", "How long the first of them has waited", ["queue"], registry=self.registry
        )
        self._letters = Gauge("aside_dead_letters", "Dead letters that are kept", registry=self.registry)

    def _size(self, name: str, about: str) -> Histogram:
        return Histogram(name, about, buckets=_SIZES, registry=self.registry)

    def turn_ended(self, kind: str, outcome: str) -> None:
        """``kind``: ``user`` or ``proactive``; ``outcome``: a word of a fixed few."""
        self._turns_of(kind, outcome).inc()

    def recorded(self, report: StatusReport) -> None:
        if report.status is not Status.PENDING:
            self._statuses_of(report.status.value, report.reason or "").inc()

    def sent(self, answer: Answer) -> None:
        self._sends_of(answer.value).inc()

    def paused(self, cause: str, seconds: float) -> None:
        self._pauses.labels(cause).observe(seconds)

    def shown(self, mode: Mode, seconds: float) -> None:
        self._lag_of(mode.value).observe(seconds)

    def left(self, outbox: int) -> None:
        self._outbox.observe(outbox)

    def kept(self, inbox: int) -> None:
        self._inbox.observe(inbox)

    def job_started(self, waited: float) -> None:
        self._job_wait.observe(waited)

    def job_ended(self, status: JobStatus) -> None:
        self._jobs_ended.labels(status.value).inc()

    def work_load(self, queue: str, load: Load) -> None:
        self._work.labels(queue).set(load.length)
        self._due.labels(queue).set(load.due)
        self._overdue.labels(queue).set(load.overdue)
        if queue == "jobs":
            self._jobs.labels("waiting").set(load.due)
            self._jobs.labels("running").set(load.length - load.due)

    def dead_letters(self, number: int) -> None:
        self._letters.set(number)

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
