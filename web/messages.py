"""The bot endpoint: activities from the channels, each the beginning of a turn that a client cannot cut short."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, TypeAlias

import orjson
from aiohttp import web
from botbuilder.core.invoke_response import InvokeResponse as AdapterInvokeResponse
from botbuilder.schema import Activity, ActivityTypes, DeliveryModes, InvokeResponse
from botframework.connector.auth import ClaimsIdentity

from domain.errors import ConversationFull, LeaseLost, ServiceUrlNotAllowed
from domain.service_url import ServiceUrls
from sdk.activities import json_of
from sdk.authentication import Caller, Unauthenticated
from turns.pipeline import Duplicate
from turns.precedence import Precedence
from web.access import Access
from web.activity_shape import shaped
from web.problems import BadField, Problem, unavailable
from web.reading import parse_json, read_body

log = logging.getLogger("aside.web")

BODY_LIMIT = 1024 * 1024
ANSWER_WITHIN = 10.0
"""Seconds after which a turn that goes on is answered with 202 (Teams resends after 15 s)."""
BODY_WITHIN = 25.0
"""Seconds for which a request waits whose answer is the turn's outcome."""

Outcome: TypeAlias = InvokeResponse | AdapterInvokeResponse | Duplicate | None
"""The SDK has two classes of one name: bots and dialogs answer with one, its adapter with the other."""


class UserTurns(Protocol):
    precedence: Precedence

    async def user_turn(self, identity: ClaimsIdentity, activity: Activity) -> Outcome: ...
    async def keep(self, activity: Activity, waited: float) -> bool: ...


class Authentication(Protocol):
    async def admit(self, header: str | None) -> Caller: ...


class Messages:
    """The handler of ``POST /api/messages``, and the turns under way that it started."""

    def __init__(
        self,
        pipeline: UserTurns,
        authentication: Authentication,
        service_urls: ServiceUrls,
        access: Access,
        *,
        answer_within: float = ANSWER_WITHIN,
        body_within: float = BODY_WITHIN,
    ) -> None:
        self._pipeline = pipeline
        self._authentication = authentication
        self._service_urls = service_urls
        self._access = access
        self._answer_within = answer_within
        self._body_within = body_within
        self._turns: set[asyncio.Task[Outcome]] = set()
        self._leaving = False
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether nothing more is to be sent here."""
        return self._leaving or self._draining

    def leave(self) -> None:
        """Tell whoever asks that nothing more is to be sent here; what comes is taken all the same, until ``drain``."""
        self._leaving = True

    async def drain(self, seconds: float) -> None:
        """Take no more activities, give the turns under way up to ``seconds``, then end them."""
        self._draining = True
        if self._turns:
            await asyncio.wait(self._turns, timeout=seconds)
        left = list(self._turns)
        for turn in left:
            turn.cancel()
        if left:
            log.warning("turns were cut short", extra={"action": "turns_cut_short", "count": len(left)})
            await asyncio.wait(left)

    async def receive(self, request: web.Request) -> web.StreamResponse:
        if self._draining:
            raise unavailable("The service is shutting down.", 2)
        self._access.refuse_strangers(request)
        try:
            caller = await self._authentication.admit(request.headers.get("Authorization"))
        except Unauthenticated as error:
            raise _refused(request, error) from error
        activity = await _read_activity(request)
        try:
            identity = caller.identity(activity)
        except Unauthenticated as error:
            raise _refused(request, error, channel=str(activity.channel_id)) from error
        try:
            self._service_urls.check(activity.service_url)
            with self._pipeline.precedence.of_user():  # until it is answered: whoever gave way goes on after that
                return await self._answer(identity, activity)
        except ServiceUrlNotAllowed as error:
            log.warning("%s", error, extra={"action": "service_url_refused", "channel": activity.channel_id})
            detail = "Activities are not accepted from this service URL."
            raise Problem(403, "service-url-not-allowed", "Service URL not allowed", detail) from error
        except LeaseLost as error:
            raise unavailable("Another process took the conversation over; send the activity again.", 1) from error

    async def _answer(self, identity: ClaimsIdentity, activity: Activity) -> web.Response:
        in_body = activity.type == ActivityTypes.invoke or activity.delivery_mode == DeliveryModes.expect_replies
        turn = asyncio.create_task(
            self._pipeline.user_turn(identity, activity), name=f"turn {activity.channel_id}/{activity.conversation.id}"
        )
        self._turns.add(turn)
        turn.add_done_callback(self._turns.discard)
        try:
            await asyncio.wait([turn], timeout=self._body_within if in_body else self._answer_within)
        finally:
            if not turn.done():
                turn.add_done_callback(_log_failure)
        if turn.done():
            return _response(turn.result())
        if in_body:
            raise Problem(504, "turn-timeout", "The turn takes too long", "The turn goes on; its answer came too late.")
        if await self._pipeline.keep(activity, self._answer_within):
            return web.Response(status=202)
        return _response(await asyncio.shield(turn))  # without an id it cannot be promised, only waited for


def _refused(request: web.Request, error: Unauthenticated, **about: str) -> Problem:
    ids = {"action": "unauthenticated", "peer": request.remote, **about}
    log.warning("an activity was refused: %s", error, extra=ids)
    return Problem(
        401,
        "unauthorized",
        "Unauthorized",
        "The activity carries no valid token of a channel.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _log_failure(turn: asyncio.Task[Outcome]) -> None:
    """A turn that failed when nobody was waiting any more."""
    if turn.cancelled() or (error := turn.exception()) is None:
        return
    if isinstance(error, ConversationFull):
        ids = {"action": "late_turn_refused"}
        log.warning("%s was refused: %s", turn.get_name(), error, extra=ids)
    else:
        log.error("%s failed", turn.get_name(), exc_info=error, extra={"action": "late_turn_failed"})


async def _read_activity(request: web.Request) -> Activity:
    if request.content_type != "application/json" and not request.content_type.endswith("+json"):
        detail = "An activity is sent as Content-Type: application/json."
        raise Problem(415, "unsupported-media-type", "Unsupported media type", detail)
    body = parse_json(await read_body(request, BODY_LIMIT))
    if not isinstance(body, dict):
        raise _not_an_activity([BadField("", "It is not an object.")])
    activity, errors = shaped(body)
    if errors:
        raise _not_an_activity(errors)
    return activity


def _not_an_activity(errors: list[BadField]) -> Problem:
    return Problem(400, "invalid-activity", "Invalid activity", "The body is not an activity.", errors)


def _response(outcome: Outcome) -> web.Response:
    if outcome is None or isinstance(outcome, Duplicate):
        return web.Response()
    status = int(outcome.status or 200)
    if outcome.body is None:
        return web.Response(status=status)
    body = orjson.dumps(json_of(outcome.body))
    return web.Response(status=status, body=body, content_type="application/json")
