"""The client of the channel: kept connections, one token, an answer for every outcome."""

from __future__ import annotations

import email.utils
import functools
import logging
import math
import time
from dataclasses import replace
from datetime import UTC
from typing import Protocol
from urllib.parse import quote

import orjson
from yarl import URL

from channel.connections import Connections, NoAnswer, NotSent, Response, Server
from channel.tokens import Tokens, TokenUnavailable
from domain.effect import Operation, Send
from domain.errors import ServiceUrlNotAllowed
from domain.notification import Json
from domain.sending import Answer, ChannelAnswer
from domain.service_url import LOCAL_CHANNEL, ServiceUrls
from state.store import HURRIED

log = logging.getLogger("aside.channel")

CONNECTIONS = 256
SPARE_CONNECTIONS = 56
"""So many of them are for what users are answered, however much else is to be sent."""
CONNECT_SECONDS = 5.0
KEEP_SECONDS = 60.0
"""Idle connections are closed after so long."""
SEND_SECONDS = 15.0
"""Seconds after which a send counts as doubtful."""
JSON = "application/json; charset=utf-8"
USER_AGENT = "Microsoft-BotFramework/3.1 (Aside)"
DETAIL = 300
"""Characters of a channel's error that are kept for the operator."""

_DOUBTFUL = (408, 412, 500, 502, 503, 504)
_MISSING = (404, 410)
_BLOCKED_CODES = ("MessageWritesBlocked", "ConversationBlockedByUser")
_UNINSTALLED_CODES = ("ForbiddenOperationException", "BotNotInConversationRoster", "BotDisabledByAdmin")
"""Microsoft Learn, "Send proactive messages" and "Proactive bot and message API error codes"."""


class Channel(Protocol):
    """Where activities go."""

    async def carry(self, send: Send, activity_id: str | None) -> ChannelAnswer:
        """Send, update or delete; ``activity_id`` is the channel's id of what is updated or deleted."""


class LocalChannel(Protocol):
    """A channel inside the service (the development channel)."""

    async def send(self, conversation_id: str, activity: Json) -> str: ...
    async def update(self, conversation_id: str, activity_id: str, activity: Json) -> None: ...
    async def delete(self, conversation_id: str, activity_id: str) -> None: ...


class HttpChannel:
    """The Bot Framework Connector REST API, version 3."""

    def __init__(
        self,
        connections: Connections,
        tokens: Tokens,
        service_urls: ServiceUrls,
        local: LocalChannel | None = None,
    ) -> None:
        self._connections = connections
        self._tokens = tokens
        self._service_urls = service_urls
        self._local = local

    async def carry(self, send: Send, activity_id: str | None) -> ChannelAnswer:
        try:
            self._service_urls.check(send.service_url)
        except ServiceUrlNotAllowed as error:
            return ChannelAnswer(answer=Answer.REJECTED, detail=str(error))
        if send.service_url == LOCAL_CHANNEL:
            return await self._carry_locally(send, activity_id)
        for refresh in (False, True):
            try:
                authorization = await self._tokens.header(refresh=refresh)
            except TokenUnavailable as error:
                log.warning("%s", error, extra={"action": "token_unavailable"})
                return ChannelAnswer(answer=Answer.NOT_SENT, detail=str(error))
            answer = await self._request(send, activity_id, authorization)
            if answer.answer is not Answer.UNAUTHORIZED or authorization is None:
                break
        return answer

    async def _carry_locally(self, send: Send, activity_id: str | None) -> ChannelAnswer:
        assert self._local is not None
        conversation = send.activity["conversation"]["id"]
        try:
            if send.operation is Operation.SEND:
                activity_id = await self._local.send(conversation, send.activity)
            elif send.operation is Operation.UPDATE and activity_id:
                await self._local.update(conversation, activity_id, send.activity)
            elif activity_id:
                await self._local.delete(conversation, activity_id)
        except LookupError as error:
            missing = ChannelAnswer(answer=Answer.MISSING, detail=type(error).__name__)
            return missing if send.operation is Operation.SEND else _missing_activity(missing)
        return ChannelAnswer(answer=Answer.ACCEPTED, activity_id=activity_id)

    async def _request(self, send: Send, activity_id: str | None, authorization: str | None) -> ChannelAnswer:
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        if authorization is not None:
            headers["Authorization"] = authorization
        try:
            server, base = _address(send.service_url)
            method, target, body = _http(send, base, activity_id)
            if body is not None:
                headers["Content-Type"] = JSON
            response = await self._connections.request(
                *(method, server, target, headers, body), within=SEND_SECONDS, hurried=HURRIED.get()
            )
        except (NotSent, ValueError) as error:
            detail = str(error) if isinstance(error, NotSent) else type(error).__name__
            return ChannelAnswer(answer=Answer.NOT_SENT, detail=detail)
        except NoAnswer as error:
            return ChannelAnswer(answer=Answer.DOUBTFUL, detail=str(error))
        answer = _answer(response)
        if answer.answer is Answer.MISSING and send.operation is not Operation.SEND:
            return _missing_activity(answer)
        return answer


@functools.lru_cache(maxsize=1024)
def _address(service_url: str) -> tuple[Server, str]:
    """Where a service URL is, and the path that it begins with. Raises ``ValueError``."""
    url = URL(service_url)
    if url.raw_host is None or url.port is None:
        raise ValueError("a service URL without a host")
    host = url.host_subcomponent or ""
    authority = host if url.is_default_port() else f"{host}:{url.port}"
    server = Server(host=url.raw_host, port=url.port, secure=url.scheme == "https", authority=authority)
    return server, url.raw_path.rstrip("/")


_QUOTED = {code: quote(chr(code), safe="") for code in range(128)}


def quoted(text: str) -> str:
    """A segment of a path, as ``urllib.parse.quote`` writes it; ids of channels are nearly all ASCII: that is quick."""
    if text in (".", ".."):  # which are steps of a path, and no names, wherever URLs are put in order
        return text.replace(".", "%2E")
    return text.translate(_QUOTED) if text.isascii() else quote(text, safe="")


def _http(send: Send, base: str, activity_id: str | None) -> tuple[str, str, bytes | None]:
    conversation = quoted(send.activity["conversation"]["id"])
    path = f"{base}/v3/conversations/{conversation}/activities"
    if send.operation is Operation.SEND:
        reply_to = send.activity.get("replyToId")
        return "POST", f"{path}/{quoted(reply_to)}" if reply_to else path, orjson.dumps(send.activity)
    path = f"{path}/{quoted(activity_id or '')}"
    if send.operation is Operation.UPDATE:
        return "PUT", path, orjson.dumps({**send.activity, "id": activity_id})
    return "DELETE", path, None


def _accepts(status: int) -> bool:
    return 200 <= status < 300


def _answer(response: Response) -> ChannelAnswer:
    status = response.status
    if _accepts(status):  # and has accepted, though the rest of the answer never comes
        return ChannelAnswer(answer=Answer.ACCEPTED, activity_id=_activity_id(response.body))
    if not response.complete:
        return ChannelAnswer(answer=Answer.DOUBTFUL, detail=f"{status}, and the answer breaks off")
    text = response.body.decode("utf-8", "replace")
    detail = f"{status} {' '.join(text.split())}"[:DETAIL]
    retry_after = _seconds(response.header(b"retry-after"))
    if status == 429:
        return ChannelAnswer(answer=Answer.THROTTLED, retry_after=retry_after, detail=detail)
    if status in _DOUBTFUL or status > 504:
        return ChannelAnswer(answer=Answer.DOUBTFUL, retry_after=retry_after, detail=detail)
    if 300 <= status < 400:  # not followed: only what the user sends moves a conversation, for it is authenticated
        moved = f"{status} moved to {response.header(b'location') or 'nowhere'}"[:DETAIL]
        return ChannelAnswer(answer=Answer.NOT_SENT, detail=moved)
    if status == 401:
        return ChannelAnswer(answer=Answer.UNAUTHORIZED, detail=detail)
    if status in _MISSING:
        return ChannelAnswer(answer=Answer.MISSING, detail=detail)
    if status == 403 and any(code in text for code in _BLOCKED_CODES):
        return ChannelAnswer(answer=Answer.BLOCKED, detail=detail)
    if status == 403 and any(code in text for code in _UNINSTALLED_CODES):
        return ChannelAnswer(answer=Answer.UNINSTALLED, detail=detail)
    return ChannelAnswer(answer=Answer.REJECTED, detail=detail)


def _missing_activity(answer: ChannelAnswer) -> ChannelAnswer:
    """What is to be updated or deleted is not there; that says nothing of the conversation, unless it says so."""
    return answer if "ConversationNotFound" in answer.detail else replace(answer, answer=Answer.REJECTED)


def _activity_id(data: bytes) -> str | None:
    """The id in the channel's answer; one that cannot be read was accepted all the same."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    found = body.get("id") if isinstance(body, dict) else None
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    return found if isinstance(found, str) and found else None


def _seconds(retry_after: str | None) -> float | None:
    """RFC 9110, section 10.2.3: seconds, or a date. None for what is neither."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
    return None if math.isnan(seconds) else max(0.0, seconds)
