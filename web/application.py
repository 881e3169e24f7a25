"""The web application: all routes, who may call them, and what is around them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from web.access import Access, Scope
from web.dead_letters import (
    DeadLetterPage,
    DeadLetterRecords,
    DeadLettersQuery,
    ManyReplayed,
    ReplayedView,
    ReplayQuery,
)
from web.health import Health, store_ready
from web.messages import BODY_LIMIT, Messages
from web.notify import KEY_HEADER, Notify
from web.notify_model import Accepted, Counted, NotifyRequest
from web.openapi import describe
from web.problems import answer_problems
from web.reading import json_answer
from web.records import ConversationRecords, JobRecords, NotificationRecords
from web.records_model import (
    CancelledView,
    ConversationPage,
    ConversationsQuery,
    ConversationView,
    DeliveriesQuery,
    JobPage,
    JobsQuery,
    JobView,
    NotificationDetails,
    NotificationPage,
    NotificationsQuery,
)
from web.routes import Answer, Route
from web.server import leave_room_for_health
from web.services import WebServices


@dataclass(frozen=True, kw_only=True)
class WebApplication:
    """``app`` is to be served; more routes may be added before. ``leave`` makes it say that it is not ready, though it
    serves on. ``drain`` ends the turns under way: up to so many seconds are given to them, and no more activities are
    taken."""

    app: web.Application
    leave: Callable[[], None]
    drain: Callable[[float], Awaitable[None]]


class _Description:
    """The description of all routes, its own among them. It is made when somebody first asks for it, in a thread:
    that takes a third of a second."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self._making: asyncio.Task[dict[str, object]] | None = None

    async def get(self, request: web.Request) -> web.StreamResponse:
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(describe, self.routes), name="describe")
        return json_answer(await asyncio.shield(self._making))


def create_application(services: WebServices) -> WebApplication:
    """Everything under ``/api``, ``/health`` and ``/metrics``."""
    around = [services.metrics.middleware(), answer_problems, leave_room_for_health]
    app = web.Application(middlewares=around, client_max_size=BODY_LIMIT)
    access = Access(services.keys, development=services.development)
    messages = Messages(services.pipeline, services.authentication, services.service_urls, access)
    description = _Description()
    routes = [
        *_bot_routes(messages),
        *_notification_routes(services),
        *_conversation_routes(services),
        *_job_routes(services),
        *_dead_letter_routes(services),
        *_operation_routes(services, messages, description),
    ]
    description.routes = routes
    for route in routes:
        handler = route.handler
        if route.scope is not None:
            handler = access.requiring(route.scope, handler, free_on_loopback=route.free_on_loopback)
        app.router.add_route(route.method, route.path, handler)
    return WebApplication(app=app, leave=messages.leave, drain=messages.drain)


def _bot_routes(messages: Messages) -> list[Route]:
    return [
        Route(
            method="POST",
            path="/api/messages",
            handler=messages.receive,
            summary="The bot endpoint of the Bot Framework protocol",
            answers={
                200: Answer(description="The turn is over; invokes and expectReplies answer in the body."),
                202: Answer(description="The turn goes on."),
            },
            problems=(400, 401, 403, 413, 415, 503, 504),
        )
    ]


def _notification_routes(services: WebServices) -> list[Route]:
    notify = Notify(services.accept, services.notifications, services.conversations, services.clock)
    records = NotificationRecords(services.notifications, services.conversations, services.clock)
    return [
        Route(
            method="POST",
            path="/api/notify",
            handler=notify.post,
            summary="Send a notification",
            scope=Scope.NOTIFY,
            body=NotifyRequest,
            headers={KEY_HEADER: "The same key and body within 24 hours answer the first answer again."},
            answers={
                200: Answer(description="A dry run: nothing was recorded.", model=Counted),
                202: Answer(description="Recorded.", model=Accepted),
            },
            problems=(400, 404, 409, 413, 422, 503),
        ),
        Route(
            method="GET",
            path="/api/notify",
            handler=notify.get,
            summary="Send a test notification to every known conversation",
            scope=Scope.NOTIFY,
            answers={200: Answer(description="A page that says so.", content_type="text/html")},
            problems=(503,),
        ),
        Route(
            method="GET",
            path="/api/notifications",
            handler=records.page,
            summary="Notifications, newest first",
            scope=Scope.READ,
            query=NotificationsQuery,
            answers={200: Answer(description="A page.", model=NotificationPage)},
            problems=(422, 503),
        ),
        Route(
            method="GET",
            path="/api/notifications/{id}",
            handler=records.one,
            summary="A notification and its deliveries",
            scope=Scope.READ,
            query=DeliveriesQuery,
            answers={200: Answer(description="The notification.", model=NotificationDetails)},
            problems=(404, 422, 503),
        ),
        Route(
            method="DELETE",
            path="/api/notifications/{id}",
            handler=records.cancel,
            summary="Cancel what no channel has been asked to take",
            scope=Scope.ADMIN,
            answers={202: Answer(description="It is being withdrawn, and how many are spared.", model=CancelledView)},
            problems=(404, 422, 503),
        ),
    ]


def _conversation_routes(services: WebServices) -> list[Route]:
    records = ConversationRecords(services.conversations, services.clock, services.away_after)
    return [
        Route(
            method="GET",
            path="/api/conversations",
            handler=records.page,
            summary="Known conversations, by key",
            scope=Scope.READ,
            query=ConversationsQuery,
            answers={200: Answer(description="A page.", model=ConversationPage)},
            problems=(422, 503),
        ),
        Route(
            method="GET",
            path="/api/conversations/{key:.+}",
            handler=records.one,
            summary="A known conversation",
            scope=Scope.READ,
            answers={200: Answer(description="The conversation.", model=ConversationView)},
            problems=(404, 503),
        ),
    ]


def _job_routes(services: WebServices) -> list[Route]:
    if services.jobs is None:
        return []
    records = JobRecords(services.jobs)
    return [
        Route(
            method="GET",
            path="/api/jobs",
            handler=records.page,
            summary="Jobs, newest first",
            scope=Scope.READ,
            query=JobsQuery,
            answers={200: Answer(description="A page.", model=JobPage)},
            problems=(422, 503),
        ),
        Route(
            method="GET",
            path="/api/jobs/{id}",
            handler=records.one,
            summary="A job",
            scope=Scope.READ,
            answers={200: Answer(description="The job.", model=JobView)},
            problems=(404, 503),
        ),
        Route(
            method="DELETE",
            path="/api/jobs/{id}",
            handler=records.cancel,
            summary="Cancel a job",
            scope=Scope.ADMIN,
            answers={202: Answer(description="The job, which is stopped or being stopped.", model=JobView)},
            problems=(404, 409, 503),
        ),
    ]


def _dead_letter_routes(services: WebServices) -> list[Route]:
    records = DeadLetterRecords(services.dead_letters, services.replay, services.conversations)
    return [
        Route(
            method="GET",
            path="/api/dead-letters",
            handler=records.page,
            summary="What was given up or is unknown, newest first",
            scope=Scope.READ,
            query=DeadLettersQuery,
            answers={200: Answer(description="A page.", model=DeadLetterPage)},
            problems=(422, 503),
        ),
        Route(
            method="POST",
            path="/api/dead-letters/{id}/replay",
            handler=records.replay,
            summary="Give a dead letter another try",
            scope=Scope.ADMIN,
            answers={202: Answer(description="It is on its way again.", model=ReplayedView)},
            problems=(404, 409, 503),
        ),
        Route(
            method="POST",
            path="/api/dead-letters/replay",
            handler=records.replay_many,
            summary="Give many dead letters another try",
            scope=Scope.ADMIN,
            query=ReplayQuery,
            answers={202: Answer(description="They are on their way again.", model=ManyReplayed)},
            problems=(422, 503),
        ),
    ]


def _operation_routes(services: WebServices, messages: Messages, description: _Description) -> list[Route]:
    ready = services.ready or store_ready(services.store)
    health = Health(ready, services.metrics, services.works, services.dead_letters, lambda: messages.draining)
    return [
        Route(
            method="GET",
            path="/api/openapi.json",
            handler=description.get,
            summary="This description",
            scope=Scope.READ,
            answers={200: Answer(description="OpenAPI 3.1.")},
        ),
        Route(
            method="GET",
            path="/health/live",
            handler=health.live,
            summary="Whether the process lives",
            scope=Scope.READ,
            free_on_loopback=True,
            answers={200: Answer(description="It does.")},
        ),
        Route(
            method="GET",
            path="/health/ready",
            handler=health.ready,
            summary="Whether the service can serve",
            scope=Scope.READ,
            free_on_loopback=True,
            answers={200: Answer(description="Every dependency is ok.")},
            problems=(503,),
        ),
        Route(
            method="GET",
            path="/metrics",
            handler=health.metrics,
            summary="Prometheus metrics",
            scope=Scope.READ,
            free_on_loopback=True,
            answers={200: Answer(description="Prometheus text.", content_type="text/plain")},
        ),
    ]
