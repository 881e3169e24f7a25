"""Turns what a Direct Line client posts into the activity that a channel hands to the bot."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Mapping
from email.message import Message
from typing import Any

import orjson
from aiohttp import BodyPartReader, MultipartReader, StreamReader
from aiohttp.base_protocol import BaseProtocol

from devchannel.local import BOT, CHANNEL_ID, SERVICE_URL
from domain.clock import Clock, to_iso
from sdk.activity_shape import shaped
from state.transcripts import ActivityJson

ACTIVITY_BYTES = 256 * 1024
"""Direct Line's limit for an activity."""
UPLOAD_BYTES = 1024 * 1024
"""All files of an upload together: they are kept inside the activity."""
UPLOAD_PARTS = 50
"""Files of an upload, and its activity."""
UPLOAD_BODY_BYTES = UPLOAD_BYTES + ACTIVITY_BYTES + UPLOAD_PARTS * 2048
"""All of an upload: what its parts hold, and what is said of each."""
ACTIVITY_TYPE = "application/vnd.microsoft.activity"

_UPLOAD_LIMITS = f"An upload may have {UPLOAD_BYTES // 1024} KiB of files and {ACTIVITY_BYTES // 1024} KiB of activity."
_TOO_MANY_PARTS = f"An upload may have {UPLOAD_PARTS} parts: its files and the activity."
_NOT_WELL_FORMED = "The upload is not well-formed multipart/form-data."
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,80}/[\w.+-]{1,80}", re.ASCII)


class BadActivity(Exception):
    """What was posted is not an activity that the channel takes; the text says why."""


class TooLarge(Exception):
    """What was posted exceeds a limit of the channel; the text says which."""


def parse_activity(body: bytes) -> ActivityJson:
    """Raises :class:`BadActivity`, :class:`TooLarge`."""
    if len(body) > ACTIVITY_BYTES:
        raise TooLarge(f"An activity may have {ACTIVITY_BYTES // 1024} KiB.")
    try:
        activity = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadActivity("The activity is not JSON.") from error
    if not isinstance(activity, dict):
        raise BadActivity("The activity is not a JSON object.")
    return activity


def complete(activity: ActivityJson, conversation_id: str, user_id: str, clock: Clock) -> ActivityJson:
    """The activity as the channel hands it on: the client's own words, the channel's own facts.

    ``user_id`` is the one that the client's token names, or empty. Raises :class:`BadActivity`.
    """
    kind = activity.get("type")
    if not isinstance(kind, str) or not kind:
        raise BadActivity("An activity needs a type.")
    sender = activity.get("from") or {}
    if not isinstance(sender, dict):
        raise BadActivity("The activity's sender (from) is not a JSON object.")
    sender_id = sender.get("id") or user_id
    if not isinstance(sender_id, str) or not sender_id:
        raise BadActivity("An activity needs a sender (from.id).")
    if user_id and sender_id != user_id:
        raise BadActivity("The activity's sender (from.id) is not the user that the token names.")
    complete = {
        **{name: value for name, value in activity.items() if name not in ("id", "relatesTo", "callerId")},
        **_facts(conversation_id, clock),
        "from": {**_without_claims(sender), "id": sender_id, "role": "user"},
    }
    if flaws := shaped(complete)[1]:
        path, detail = flaws[0]
        raise BadActivity(f"{'.'.join(map(str, path))}: {detail}")
    return complete


def conversation_update(conversation_id: str, user: dict[str, Any], locale: str, clock: Clock) -> ActivityJson:
    """What tells the bot that a conversation with a user has begun."""
    user = {**_without_claims(user), "role": "user"}
    activity = {
        "type": "conversationUpdate",
        **_facts(conversation_id, clock),
        "id": f"{conversation_id}|created",
        "from": user,
        "membersAdded": [{"id": BOT["id"], "name": BOT["name"]}, user],
    }
    return {**activity, "locale": locale} if locale else activity


async def parse_upload(headers: Mapping[str, str], body: bytes) -> ActivityJson:
    """The activity part of an upload, with its files for attachments: clients list the files there as well, under
    addresses that only they know. Raises :class:`BadActivity`, :class:`TooLarge`."""
    activity: ActivityJson = {"type": "message"}
    attachments: list[dict[str, Any]] = []
    left = UPLOAD_BYTES
    async for part in _parts(headers, _bounded(headers, body)):
        media_type = part.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type == ACTIVITY_TYPE or part.name == "activity":
            activity = parse_activity(await _content(part, ACTIVITY_BYTES))
            continue
        content = await _content(part, left)
        left -= len(content)
        attachments.append(_attachment(_file_name(part), media_type, content))
    return {**activity, "attachments": attachments} if attachments else activity


def _without_claims(account: dict[str, Any]) -> dict[str, Any]:
    """An account without a client's word on who it is in the directory, which nobody vouches for."""
    return {name: value for name, value in account.items() if name.lower() != "aadobjectid"}


def _facts(conversation_id: str, clock: Clock) -> dict[str, Any]:
    return {
        "channelId": CHANNEL_ID,
        "serviceUrl": SERVICE_URL,
        "conversation": {"id": conversation_id},
        "recipient": dict(BOT),
        "timestamp": to_iso(clock()),
    }


def _file_name(part: BodyPartReader) -> str:
    name = part.filename or "file"
    if any("\ud800" <= character <= "\udfff" for character in name):  # what aiohttp makes of bytes that are no UTF-8
        raise BadActivity("The name of a file is not UTF-8.")
    return name


def _attachment(name: str, media_type: str, content: bytes) -> dict[str, Any]:
    if not _MEDIA_TYPE.fullmatch(media_type):
        media_type = "application/octet-stream"
    url = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
    return {"name": name[:200], "contentType": media_type, "contentUrl": url}


def _bounded(headers: Mapping[str, str], body: bytes) -> bytes:
    """An upload from its first part on, which is found without reading what is before it line by line. Raises
    :class:`TooLarge` for one of too many parts, before any of them is read."""
    about = Message()
    about["Content-Type"] = headers["Content-Type"]
    boundary = b"--" + (about.get_boundary() or "").encode("utf-8", "surrogateescape")
    first = body.find(boundary + b"\r\n")
    if first < 0:
        raise BadActivity(_NOT_WELL_FORMED)
    if body.count(boundary, first) > UPLOAD_PARTS + 1:
        raise TooLarge(_TOO_MANY_PARTS)
    return body[first:]


def _stream_of(body: bytes) -> StreamReader:
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), len(body), loop=loop)
    stream.feed_data(body)
    stream.feed_eof()
    return stream


async def _parts(headers: Mapping[str, str], body: bytes) -> AsyncIterator[BodyPartReader]:
    try:
        reader = MultipartReader(headers, _stream_of(body))
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise BadActivity("A part of the upload is itself made of parts.")
            yield part
    except ValueError as error:
        raise BadActivity(_NOT_WELL_FORMED) from error


async def _content(part: BodyPartReader, limit: int) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk():
        content += chunk
        if len(content) > limit:
            raise TooLarge(_UPLOAD_LIMITS)
    return bytes(content)
