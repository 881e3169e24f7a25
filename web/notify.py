"""Notifications come in: validated, recorded, and answered before anything is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from domain.audience import Audience, Everyone
from domain.clock import Clock
from domain.ids import NotificationId, new_id
from domain.notification import Content, Json, Mode, Notification
from state.conversations import Conversations
from state.idempotency import FirstAnswer, InProgress, KeyReused, Reserved
from state.notifications import RETENTION, Notifications
from web.access import SENDER
from web.audience import Resolved, resolve
from web.notify_model import Accepted, Counted, NotifyRequest, parse_request
from web.problems import BadField, Problem, invalid_fields
from web.reading import canonical, json_answer, parse_json, read_body
from web.said_model import activity_of

log = logging.getLogger("aside.web")

BODY_LIMIT = 256 * 1024
KEY_HEADER = "Idempotency-Key"
KEY_LENGTH = 200
RETRY_IN_PROGRESS = 2
TEST_TEXT = "proactive hello"

Accept = Callable[[Notification, Audience, int], Awaitable[None]]
"""Records a notification for an audience of so many, and sees to it that each of them gets it."""


@dataclass(frozen=True)
class _Wanted:
    raw: Mapping[str, Any]
    parsed: NotifyRequest
    resolved: Resolved
    now: datetime


class Notify:
    """The handlers of ``/api/notify``."""

    def __init__(
        self, accept: Accept, notifications: Notifications, conversations: Conversations, clock: Clock
    ) -> None:
        self._accept_it = accept
        self._notifications = notifications
        self._conversations = conversations
        self._clock = clock

    async def post(self, request: web.Request) -> web.StreamResponse:
        raw = parse_json(await read_body(request, BODY_LIMIT))
        key = _idempotency_key(request.headers.get(KEY_HEADER), raw)
        if key is None or _is_dry_run(raw):
            return await self._take(raw, NotificationId(new_id("ntf")), request)
        return await self._take_once(raw, key, request)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """A test notification to everybody, for a browser."""
        now = self._clock()
        notification = Notification(
            id=NotificationId(new_id("ntf")),
            content=Content(activity={"text": TEST_TEXT}),
            created_at=now,
            expires_at=now + RETENTION,
            mode=Mode.INTERJECT,
            category="test",
            sender=request[SENDER],
        )
        recipients = await self._conversations.count()
        await self._accept_it(notification, Everyone(), recipients)
        _log_accepted(notification, recipients, request)
        return web.Response(
            text=_PAGE.format(count="1 conversation" if recipients == 1 else f"{recipients} conversations"),
            content_type="text/html",
            headers={"Content-Security-Policy": "default-src 'none'"},
        )

    async def _take_once(self, raw: Any, key: str, request: web.Request) -> web.Response:
        """Answer the first answer again, or take the notification and remember the answer."""
        sender = request[SENDER]
        body = canonical({name: value for name, value in raw.items() if name != "id"})
        reserved, wanted = await asyncio.gather(  # in one round trip
            self._reserve(sender, key, body), self._look_up(raw), return_exceptions=True
        )
        if isinstance(reserved, BaseException):
            raise reserved
        if isinstance(reserved, FirstAnswer):
            return _accepted(Accepted.model_validate(reserved.body), replayed=True)
        if isinstance(wanted, BaseException):
            if isinstance(wanted, Problem):
                await self._notifications.requests.abandon(sender, key)
            raise wanted
        accepted = await self._accept(wanted, reserved.id, request)
        await self._notifications.requests.answered(sender, key, body, reserved.id, accepted.model_dump(by_alias=True))
        return _accepted(accepted)

    async def _reserve(self, sender: str, key: str, body: bytes) -> FirstAnswer | Reserved:
        try:
            return await self._notifications.requests.reserve(sender, key, body)
        except KeyReused as error:
            detail = "The idempotency key was used with another body in the last 24 hours."
            raise Problem(422, "idempotency-key-reused", "Idempotency key reused", detail) from error
        except InProgress as error:
            detail = "A request with this idempotency key is still in progress."
            headers = {"Retry-After": str(RETRY_IN_PROGRESS)}
            raise Problem(409, "idempotency-in-progress", "Still in progress", detail, headers=headers) from error

    async def _take(self, raw: Any, nid: NotificationId, request: web.Request) -> web.Response:
        wanted = await self._look_up(raw)
        if _is_dry_run(raw):
            resolved = wanted.resolved
            return json_answer(Counted(recipients=resolved.recipients, unreachable=resolved.unreachable))
        return _accepted(await self._accept(wanted, nid, request))

    async def _look_up(self, raw: Any) -> _Wanted:
        """What a request asks for, and of whom. Raises :class:`Problem`."""
        now = self._clock()
        parsed = parse_request(raw, now=now)
        return _Wanted(raw, parsed, await resolve(self._conversations, parsed.to), now)

    async def _accept(self, wanted: _Wanted, nid: NotificationId, request: web.Request) -> Accepted:
        resolved, now = wanted.resolved, wanted.now
        notification = _notification(nid, wanted.parsed, wanted.raw, resolved.meant, request[SENDER], now)
        await self._accept_it(notification, resolved.audience, resolved.recipients)
        _log_accepted(notification, resolved.recipients, request)
        scheduled = notification.send_at is not None and notification.send_at > now
        return Accepted(
            id=nid,
            status="scheduled" if scheduled else "pending",
            recipients=resolved.recipients,
            unreachable=resolved.unreachable,
            status_url=f"/api/notifications/{nid}",
        )


def _notification(
    nid: NotificationId, parsed: NotifyRequest, raw: Mapping[str, Any], meant: Json, sender: str, now: datetime
) -> Notification:
    return Notification(
        id=nid,
        content=Content(
            activity=activity_of(raw),
            title=parsed.title,
            reason=parsed.reason,
            source=parsed.source,
            actions=tuple(action.model_dump(by_alias=True, exclude_none=True) for action in parsed.actions or ()),
        ),
        created_at=now,
        expires_at=parsed.expires_at or max(now, parsed.send_at or now) + RETENTION,
        mode=parsed.mode,
        urgent=parsed.urgent,
        category=parsed.category,
        send_at=parsed.send_at,
        hold_for=parsed.hold_for,
        guarantee=parsed.guarantee,
        meant=meant,
        sender=sender,
    )


def _is_dry_run(raw: Any) -> bool:
    return isinstance(raw, dict) and raw.get("dryRun") is True


def _idempotency_key(header: str | None, raw: Any) -> str | None:
    """The key of a request, from its header or its body. Raises :class:`Problem` (422)."""
    if header is not None and not (0 < len(header) <= KEY_LENGTH and header.isprintable()):
        detail = f"It is not 1 to {KEY_LENGTH} printable characters."
        raise invalid_fields([BadField(KEY_HEADER, detail, "header")])
    given = raw.get("id") if isinstance(raw, dict) else None
    if not isinstance(given, str) or not (0 < len(given) <= KEY_LENGTH and given.isprintable()):
        # What is wrong with the body is said when all of it is looked at.
        return header if isinstance(raw, dict) and given is None else None
    if header is not None and header != given:
        raise invalid_fields([BadField("/id", f"It differs from the header {KEY_HEADER}.")])
    return given


def _accepted(accepted: Accepted, *, replayed: bool = False) -> web.Response:
    headers = {"Location": accepted.status_url}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return json_answer(accepted, status=202, headers=headers)


def _log_accepted(notification: Notification, recipients: int, request: web.Request) -> None:
    ids = {"notification": notification.id, "recipients": recipients, "sender": request[SENDER]}
    log.info("a notification was accepted", extra={"action": "notification_accepted", **ids})


_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Proactive messages</title></head>
<body><h1>Proactive messages have been sent.</h1><p>To {count}.</p></body>
</html>
"""
