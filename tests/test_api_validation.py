"""The API over HTTP: what it refuses and how it says so, who may call it, and that a request counts once."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, TypeAlias
from urllib.parse import quote

import orjson
import pytest
from aiohttp import ClientResponse, ClientSession, ClientTimeout, web
from aiohttp.test_utils import TestClient, TestServer
from botbuilder.core.invoke_response import InvokeResponse as AdapterInvokeResponse
from botbuilder.schema import Activity, AdaptiveCardInvokeResponse, ExpectedReplies, InvokeResponse
from botframework.connector.auth import ClaimsIdentity
from pydantic import SecretStr

from domain.clock import to_ms
from domain.delivery import Status, StatusReport
from domain.errors import StoreUnavailable
from domain.ids import ConversationKey, DeliveryId, JobId, NotificationId
from domain.job import JobRequest
from domain.notification import Content, Guarantee
from domain.service_url import ServiceUrls
from sdk.authentication import Caller, Unauthenticated
from state import keys
from state.conversations import Conversations, index_of
from state.dead_letters import DeadLetter, DeadLetters
from state.delivery_rows import DeliveryRows
from state.jobs import JobStore
from state.notifications import RETENTION, Notifications
from state.scripts import Command
from state.store import Store
from state.work import Work
from turns.pipeline import Duplicate
from turns.precedence import Precedence
from web.application import create_application
from web.messages import Messages
from web.metrics import Metrics
from web.server import OPTIONS
from web.services import WebServices

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ADA = ConversationKey("directline/chat_1")
BOB = ConversationKey("msteams/19:abc@thread.tacv2;messageid=1")
SERVICE_URL = "https://smba.trafficmanager.net/teams/"
DEADLINE = 5.0


@dataclass(frozen=True)
class Key:
    name: str
    key: SecretStr
    scopes: frozenset[str]


KEYS = (
    Key("ci", SecretStr("notify-key-0123456789"), frozenset({"notify"})),
    Key("board", SecretStr("read-key-0123456789"), frozenset({"read"})),
    Key("ops", SecretStr("admin-key-0123456789"), frozenset({"admin"})),
    Key("all", SecretStr("every-key-0123456789"), frozenset({"notify", "read", "admin"})),
)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


Outcome: TypeAlias = InvokeResponse | AdapterInvokeResponse | Duplicate | None


@dataclass
class Turns:
    """Stands in for the pipeline: remembers the activities and answers as the test says."""

    precedence: Precedence = field(default_factory=Precedence)
    received: list[Activity] = field(default_factory=list)
    answer: Callable[[Activity], Awaitable[Outcome]] | None = None

    async def user_turn(self, identity: ClaimsIdentity, activity: Activity) -> Outcome:
        self.received.append(activity)
        return await self.answer(activity) if self.answer else None

    async def keep(self, activity: Activity, waited: float) -> bool:
        return True


@dataclass
class Door:
    """Stands in for the channel's authentication."""

    closed: bool = False

    async def admit(self, header: str | None) -> Caller:
        if self.closed:
            raise Unauthenticated("the token is a forgery")
        return Caller()


@dataclass
class Site:
    """A running web layer, and what it stands on."""

    http: TestClient[Any, Any]
    store: Store
    clock: Clock
    turns: Turns
    door: Door
    notifications: Notifications
    conversations: Conversations
    jobs: JobStore
    drain: Callable[[float], Awaitable[None]]

    async def know(self, key: ConversationKey, user: str, aad: str | None = None, **fields: str | int) -> None:
        """Make a conversation known, as a turn of its user would have."""
        channel, _, conversation = key.partition("/")
        reference = {
            "channelId": channel,
            "serviceUrl": SERVICE_URL,
            "conversation": {"id": conversation, "conversationType": "personal", "tenantId": "contoso"},
            "user": {"id": user, "name": user.title(), **({"aadObjectId": aad} if aad else {})},
        }
        record = {"reference": reference, "locale": "en-GB", "timezone": None, "firstSeen": to_ms(NOW)}
        parts = [item for pair in fields.items() for item in pair]
        await self.store.sequence(
            *Conversations.indexing(index_of(key, reference)),
            Command(("HSET", keys.conversation(key), "record", orjson.dumps(record), *parts)),
        )

    async def notify(self, body: Any, **headers: str) -> ClientResponse:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post("/api/notify", json=body, headers=names)

    async def count(self) -> int:
        """How many notifications were recorded."""
        return int(await self.store.run("ZCARD", keys.notifications()))


class NothingToReplay:
    """What gives dead letters another try, where there are none."""

    async def __call__(self, letter_id: DeliveryId, *, unless_withdrawn: bool = False) -> None:
        return None

    async def said(self, letters: Sequence[DeadLetter]) -> list[Content | None]:
        return [None for _ in letters]


class _Server(TestServer):
    async def start_server(self, loop: asyncio.AbstractEventLoop | None = None, **options: Any) -> None:
        await super().start_server(loop, **options, **OPTIONS)


def _client(app: web.Application) -> TestClient[Any, Any]:
    return TestClient(_Server(app))


@asynccontextmanager
async def running(
    *, development: bool = True, granted: Iterable[Key] = (), ready: Any = None, jobs: bool = True
) -> AsyncIterator[Site]:
    store = Store.connect("memory://")
    clock, turns, door = Clock(), Turns(), Door()
    fanout, work, job_work = (Work(store, name, lease=10) for name in ("fanout", "conversations", "jobs"))
    notifications, conversations = Notifications(store, fanout, clock), Conversations(store)
    job_store = JobStore(store, jobs=job_work, conversations=work, clock=clock)
    made = create_application(
        WebServices(
            accept=lambda *accepted: notifications.accept(*accepted),
            notifications=notifications,
            conversations=conversations,
            jobs=job_store if jobs else None,
            store=store,
            pipeline=turns,
            authentication=door,
            keys=tuple(granted),
            development=development,
            clock=clock,
            away_after=timedelta(minutes=10),
            dead_letters=DeadLetters(store, clock),
            replay=NothingToReplay(),
            service_urls=ServiceUrls(("*.botframework.com", "smba.trafficmanager.net"), local_channel=False),
            ready=ready,
            works={"fanout": fanout},
        )
    )

    async def explode(request: web.Request) -> web.StreamResponse:
        raise RuntimeError("the secret ingredient is basil")

    made.app.router.add_get("/explode", explode)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        http = await stack.enter_async_context(_client(made.app))
        yield Site(http, store, clock, turns, door, notifications, conversations, job_store, made.drain)
        await made.drain(DEADLINE)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """In development, with two users known."""
    async with running() as site:
        await site.know(ADA, "ada", spoke=to_ms(NOW))
        await site.know(BOB, "bob", aad="b0b")
        yield site


async def problem(answer: ClientResponse, status: int, name: str | None = None) -> dict[str, Any]:
    """The problem document of an answer, which is one in every respect."""
    assert answer.status == status, await answer.text()
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    body: dict[str, Any] = await answer.json(content_type=None)
    assert body["status"] == status
    assert body["title"] and body["detail"]
    assert body["type"].startswith("urn:aside:problem:")
    if name:
        assert body["type"] == f"urn:aside:problem:{name}"
    return body


def pointers(body: dict[str, Any]) -> set[str]:
    return {error["pointer"] for error in body["errors"]}


# ---------------------------------------------------------------------- what is refused

TO = {"conversation": ADA}
SAY = {"to": TO, "text": "hi"}
LATER = (NOW + timedelta(days=2)).isoformat()

BAD = {
    "not an object": ([], {""}),
    "empty": ({}, {"/to", ""}),
    "no words": ({"to": TO}, {""}),
    "unknown fields": ({**SAY, "colour": 1, "to": {**TO, "size": 2}}, {"/colour", "/to/size"}),
    "every mistake at once": (
        {"to": {}, "text": 5, "mode": "shout", "urgent": "yes", "category": "Loud!", "holdFor": -1, "sendAt": "soon"},
        {"/to", "/text", "/mode", "/urgent", "/category", "/holdFor", "/sendAt"},
    ),
    "escaped pointer": ({**SAY, "a/b~c": 1}, {"/a~1b~0c"}),
    "two audiences": ({"to": {"conversation": ADA, "user": "ada"}, "text": "hi"}, {"/to"}),
    "everybody, not": ({"to": {"all": False}, "text": "hi"}, {"/to/all"}),
    "no conversations": ({"to": {"conversations": []}, "text": "hi"}, {"/to/conversations"}),
    "too many": ({"to": {"conversations": [str(n) for n in range(5001)]}, "text": "hi"}, {"/to/conversations"}),
    "one twice": ({"to": {"conversations": [ADA, BOB, ADA]}, "text": "hi"}, {"/to/conversations"}),
    "narrowed conversation": ({"to": {**TO, "channelId": "msteams"}, "text": "hi"}, {"/to/channelId"}),
    "odd channel": ({"to": {"all": True, "channelId": "a/b"}, "text": "hi"}, {"/to/channelId"}),
    "later: topic": ({"to": {"topic": "deploys"}, "text": "hi"}, {"/to/topic"}),
    "later: reference": ({"to": {"reference": {}}, "text": "hi"}, {"/to/reference"}),
    "later: create": ({"to": {"create": {}}, "text": "hi"}, {"/to/create"}),
    "later: tenant": ({"to": {"all": True, "tenantId": "contoso"}, "text": "hi"}, {"/to/tenantId"}),
    "later: dialog": ({"to": TO, "dialog": {"id": "survey"}}, {"/dialog"}),
    "later: collapse": ({**SAY, "collapseKey": "k", "callbackUrl": "https://a.b"}, {"/collapseKey", "/callbackUrl"}),
    "later: local time": ({**SAY, "sendAt": {"local": "2026-12-01T09:00"}}, {"/sendAt"}),
    "long text": ({"to": TO, "text": "x" * (28 * 1024 + 1)}, {"/text"}),
    "odd format": ({**SAY, "textFormat": "html", "attachmentLayout": "pile"}, {"/textFormat", "/attachmentLayout"}),
    "odd locale": ({**SAY, "locale": "english please"}, {"/locale"}),
    "attachment without type": ({"to": TO, "attachments": [{"name": "a"}]}, {"/attachments/0/contentType"}),
    "attachments no list": ({"to": TO, "attachments": "a"}, {"/attachments"}),
    "suggestion without title": (
        {**SAY, "suggestedActions": {"actions": [{"type": "imBack"}]}},
        {"/suggestedActions/actions/0/title"},
    ),
    "activity and text": ({**SAY, "activity": {"text": "hi"}}, {"/text"}),
    "other activity": ({"to": TO, "activity": {"type": "event", "text": "hi"}}, {"/activity/type"}),
    "empty activity": ({"to": TO, "activity": {"type": "message"}}, {"/activity"}),
    "malformed activity": (
        {"to": TO, "activity": {"text": "hi", "entities": "many", "expiration": "soon", "textFormat": 3}},
        {"/activity/entities", "/activity/expiration", "/activity/textFormat"},
    ),
    "action without a word": ({**SAY, "actions": [{"title": " ", "value": "v"}]}, {"/actions/0/title"}),
    "blank title": ({**SAY, "title": " \n"}, {"/title"}),
    "blank reason and source": ({**SAY, "reason": "\t", "source": " "}, {"/reason", "/source"}),
    "action without a way": ({**SAY, "actions": [{"title": "Go"}]}, {"/actions/0"}),
    "action with two ways": (
        {**SAY, "actions": [{"title": "Go", "value": "v", "url": "https://a.b"}]},
        {"/actions/0"},
    ),
    "action that answers and says": (
        {**SAY, "actions": [{"title": "Go", "value": "v", "say": "s"}]},
        {"/actions/0"},
    ),
    "action to a script": ({**SAY, "actions": [{"title": "Go", "url": "javascript:alert(1)"}]}, {"/actions/0/url"}),
    "many actions": ({**SAY, "actions": [{"title": "Go", "value": "v"}] * 11}, {"/actions"}),
    "time without zone": ({**SAY, "sendAt": "2026-06-01T09:00:00"}, {"/sendAt"}),
    "time as a number": ({**SAY, "sendAt": 1780000000}, {"/sendAt"}),
    "time as digits": ({**SAY, "sendAt": "1780000000"}, {"/sendAt"}),
    "no such day": ({**SAY, "sendAt": "2026-02-30T09:00:00Z"}, {"/sendAt"}),
    "before all time": ({**SAY, "sendAt": "0001-01-01T00:00:00+14:00"}, {"/sendAt"}),
    "end of time": ({**SAY, "sendAt": "9999-12-31T23:59:59-14:00"}, {"/sendAt"}),
    "expired": ({**SAY, "expiresAt": "2026-05-04T11:00:00Z"}, {"/expiresAt"}),
    "expires first": ({**SAY, "sendAt": LATER, "expiresAt": (NOW + timedelta(days=1)).isoformat()}, {"/expiresAt"}),
    "expires late": ({**SAY, "expiresAt": (NOW + RETENTION + timedelta(hours=1)).isoformat()}, {"/expiresAt"}),
    "held for ever": ({**SAY, "holdFor": 31 * 86400}, {"/holdFor"}),
    "guarantee by another name": ({**SAY, "delivery": "at_most_once"}, {"/delivery"}),
    "odd guarantee": ({**SAY, "guarantee": "exactly_once"}, {"/guarantee"}),
    "odd id": ({**SAY, "id": ""}, {"/id"}),
    "unprintable id": ({**SAY, "id": "a\nb"}, {"/id"}),
    "null for a word": ({**SAY, "mode": None}, {"/mode"}),
}


@pytest.mark.parametrize(("body", "expected"), BAD.values(), ids=BAD.keys())
async def test_a_bad_field_is_named(site: Site, body: Any, expected: set[str]) -> None:
    """Every bad field is reported at once, each with its pointer, and nothing is recorded."""
    assert pointers(await problem(await site.notify(body), 422, "invalid-field")) == expected
    assert await site.count() == 0


@pytest.mark.parametrize("body", [body for body, _ in BAD.values()], ids=BAD.keys())
async def test_what_is_wrong_is_said_in_sentences_of_ours(site: Site, body: Any) -> None:
    """Not in those of the library, which show its patterns and the names of its types."""
    answer = await problem(await site.notify(body), 422)
    for error in answer["errors"]:
        assert error["detail"].endswith(".")
        assert not re.search(r"should|required|\^|\{|True|\bdictionary\b", error["detail"]), error


SAID = {
    "mode": ("loud", "It is none of what is known here; use interject, queue or resume."),
    "urgent": ("yes", "It is of the wrong kind; give true or false."),
    "holdFor": (0, "It is too small; give a number above 0."),
    "category": ("Two words", "It is spelled wrongly; write it as in builds."),
    "locale": ("English (UK)", "It is spelled wrongly; write it as in en-GB."),
    "actions": ("none", "It is of the wrong kind; give a list, as in [ … ]."),
    "text": ("x" * 28673, "It is too long; give at most 28672 characters."),
}


@pytest.mark.parametrize(("name", "value", "detail"), [(name, *row) for name, row in SAID.items()], ids=SAID.keys())
async def test_a_mistake_names_a_value_that_would_do(site: Site, name: str, value: Any, detail: str) -> None:
    answer = await problem(await site.notify({**SAY, name: value}), 422)
    assert answer["errors"] == [{"pointer": f"/{name}", "detail": detail}]


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("javascript:alert(1)", "It begins with javascript: but only https: and http: are allowed."),
        ("example.org", "It is spelled wrongly; write it as in https://example.org/report."),
    ],
)
async def test_what_an_action_may_not_open_is_told_from_what_is_misspelled(site: Site, url: str, detail: str) -> None:
    answer = await problem(await site.notify({**SAY, "actions": [{"title": "Go", "url": url}]}), 422)
    assert answer["errors"] == [{"pointer": "/actions/0/url", "detail": detail}]


async def test_what_this_version_does_not_serve_is_said(site: Site) -> None:
    """A field of the interface that is yet to come is told from one that will never be."""
    body = await problem(await site.notify({**SAY, "dialog": {}, "colour": 1}), 422)
    details = {error["pointer"]: error["detail"] for error in body["errors"]}
    assert details == {"/dialog": "This version does not serve it yet.", "/colour": "There is no such field."}


async def test_bad_json_says_where(site: Site) -> None:
    body = await problem(await site.http.post("/api/notify", data=b'{"to":\n  nobody}'), 400, "invalid-json")
    assert "line 2, column 3" in body["detail"]


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b'{"text": NaN}', b"[" * 100_000, b'{"a":' * 250 + b"1" + b"}" * 250]
)
async def test_what_is_no_json_is_refused(site: Site, data: bytes) -> None:
    for headers in ({}, {"Idempotency-Key": "k"}):
        await problem(await site.http.post("/api/notify", data=data, headers=headers), 400, "invalid-json")


async def test_large_bodies_are_refused(site: Site) -> None:
    """Whether their length is announced, chunked, or hidden by compression."""
    large = json.dumps({**SAY, "channelData": {"x": "y" * 256 * 1024}}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 4096):
            yield large[start : start + 4096]

    await problem(await site.http.post("/api/notify", data=large), 413, "too-large")
    await problem(await site.http.post("/api/notify", data=chunks()), 413, "too-large")
    packed = await site.http.post("/api/notify", data=gzip.compress(large), headers={"Content-Encoding": "gzip"})
    await problem(packed, 413, "too-large")
    assert await site.count() == 0


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", lambda data: zlib.compress(data, wbits=-15))],
    ids=["gzip", "deflate", "deflate without a head"],
)
async def test_compressed_bodies_are_read(site: Site, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    headers = {"Content-Encoding": encoding}
    answer = await site.http.post("/api/notify", data=pack(json.dumps(SAY).encode()), headers=headers)
    assert answer.status == 202
    await problem(await site.http.post("/api/notify", data=b"{}", headers={"Content-Encoding": "br"}), 415)
    cut = pack(json.dumps(SAY).encode())[:-5]
    await problem(await site.http.post("/api/notify", data=cut, headers=headers), 400, "unreadable-body")


async def test_a_long_list_of_mistakes_is_cut(site: Site) -> None:
    """The answer stays small whatever was sent."""
    fields = {f"field{number}": 1 for number in range(1000)}
    body = await problem(await site.notify({**SAY, **fields}), 422)
    assert len(body["errors"]) == 20
    assert "1000 fields" in body["detail"]
    answer = await site.http.post("/api/messages", json={**message(), "attachments": [1] * 1000})
    assert len((await problem(answer, 400, "invalid-activity"))["errors"]) == 20


async def test_a_body_that_is_not_what_it_says_is_refused(site: Site) -> None:
    answer = await site.http.post("/api/notify", data=b"no gzip", headers={"Content-Encoding": "gzip"})
    await problem(answer, 400)


async def test_unknown_paths_and_methods_are_problems(site: Site) -> None:
    await problem(await site.http.get("/api/nothing"), 404, "not-found")
    answer = await site.http.put("/api/notify")
    assert answer.headers["Allow"] == "GET, POST"
    await problem(answer, 405, "method-not-allowed")


async def test_a_failure_shows_no_exception(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The answer has a reference under which the log has the reason."""
    body = await problem(await site.http.get("/explode"), 500, "internal-error")
    assert "basil" not in json.dumps(body)
    (record,) = [record for record in caplog.records if getattr(record, "action", "") == "request_failed"]
    assert vars(record)["reference"] in body["detail"]
    assert record.exc_info is not None


async def test_a_store_that_is_away_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any) -> None:
        raise StoreUnavailable("The store cannot be reached: ConnectionError", retry_after=7)

    monkeypatch.setattr(site.notifications, "accept", refuse)
    answer = await site.notify(SAY)
    assert answer.headers["Retry-After"] == "7"
    body = await problem(answer, 503, "unavailable")
    assert "The store cannot be reached" in body["detail"]


UNKNOWN = {
    "conversation": ({"conversation": "directline/nobody"}, "unknown-conversation", {"/to/conversation"}),
    "one of several": ({"conversations": [ADA, "x/y"]}, "unknown-conversation", {"/to/conversations/1"}),
    "user": ({"user": "carol"}, "unknown-user", {"/to/user"}),
    "user elsewhere": ({"user": "ada", "channelId": "msteams"}, "unknown-user", {"/to/user"}),
    "directory object": ({"aadObjectId": "nobody"}, "unknown-user", {"/to/aadObjectId"}),
}


@pytest.mark.parametrize(("to", "name", "expected"), UNKNOWN.values(), ids=UNKNOWN.keys())
async def test_an_unknown_recipient_is_named(site: Site, to: Any, name: str, expected: set[str]) -> None:
    """404, and nothing is recorded, not even for those who are known."""
    assert pointers(await problem(await site.notify({"to": to, "text": "hi"}), 404, name)) == expected
    assert await site.count() == 0


# ---------------------------------------------------------------------- what is accepted

AUDIENCES = {
    "conversation": (TO, 1),
    "conversations": ({"conversations": [BOB, ADA]}, 2),
    "user": ({"user": "ada"}, 1),
    "directory object": ({"aadObjectId": "b0b", "channelId": "msteams"}, 1),
    "everybody": ({"all": True}, 2),
    "everybody on a channel": ({"all": True, "channelId": "msteams"}, 1),
    "nobody": ({"all": True, "channelId": "slack"}, 0),
}


@pytest.mark.parametrize(("to", "recipients"), AUDIENCES.values(), ids=AUDIENCES.keys())
async def test_a_notification_is_accepted(site: Site, to: Any, recipients: int) -> None:
    """202 with where to look it up; and there it is."""
    answer = await site.notify({"to": to, "text": "hi"})
    assert answer.status == 202
    body = await answer.json()
    assert body == {
        "id": body["id"],
        "status": "pending",
        "recipients": recipients,
        "unreachable": 0,
        "statusUrl": f"/api/notifications/{body['id']}",
    }
    assert answer.headers["Location"] == body["statusUrl"]
    found = await (await site.http.get(body["statusUrl"])).json()
    assert found["recipients"] == recipients
    assert found["counts"] == ({"pending": recipients} if recipients else {})


async def test_what_was_asked_for_is_recorded(site: Site) -> None:
    body = {
        "to": TO,
        "activity": {
            "type": "message",
            "text": "hi",
            "speak": "hi!",
            "custom": {"a": [1]},
            "conversation": {"id": "x"},
        },
        "mode": "queue",
        "urgent": True,
        "title": "Build 7",
        "reason": "You started it",
        "source": "ci",
        "actions": [{"title": "Log", "url": "https://ci.example/7"}, {"title": "Again", "value": "rerun 7"}],
        "category": "builds",
        "sendAt": "2026-06-01T09:00:00+02:00",
        "expiresAt": "2026-06-02T09:00:00+02:00",
        "holdFor": 90,
        "guarantee": "at_most_once",
    }
    answer = await (await site.notify(body)).json()
    assert answer["status"] == "scheduled"
    record = await site.notifications.get(NotificationId(answer["id"]))
    assert record is not None
    asked = record.notification
    assert asked.content.activity == {"text": "hi", "speak": "hi!", "custom": {"a": [1]}}
    assert list(asked.content.actions) == body["actions"]
    assert (asked.content.title, asked.content.reason, asked.content.source) == ("Build 7", "You started it", "ci")
    assert (asked.mode.value, asked.urgent, asked.category, asked.hold_for) == ("queue", True, "builds", 90)
    assert asked.guarantee is Guarantee.AT_MOST_ONCE
    assert asked.send_at == datetime(2026, 6, 1, 7, tzinfo=UTC)
    assert asked.expires_at == datetime(2026, 6, 2, 7, tzinfo=UTC)
    found = await (await site.http.get(answer["statusUrl"])).json()
    assert found["guarantee"] == "at_most_once"
    assert found["counts"] == {"scheduled": 1}
    assert found["sendAt"] == "2026-06-01T07:00:00.000Z"


@pytest.mark.parametrize("days", [0, 300])
async def test_a_notification_is_kept_until_it_expires(site: Site, days: int) -> None:
    """Without an expiry it has 30 days from the time it is sent, and its record outlasts that."""
    send_at = {"sendAt": (NOW + timedelta(days=days)).isoformat()} if days else {}
    answer = await (await site.notify({**SAY, **send_at})).json()
    record = await site.notifications.get(NotificationId(answer["id"]))
    assert record is not None
    assert record.notification.expires_at == NOW + timedelta(days=days) + RETENTION
    kept = await site.store.run("TTL", keys.notification(NotificationId(answer["id"])))
    assert timedelta(seconds=kept) >= record.notification.expires_at - NOW


async def test_a_dry_run_records_nothing(site: Site) -> None:
    """It counts, it finds the same mistakes, and it leaves the idempotency key alone."""
    answer = await site.notify({"to": {"all": True}, "text": "hi", "dryRun": True, "id": "k"})
    assert (answer.status, await answer.json()) == (200, {"dryRun": True, "recipients": 2, "unreachable": 0})
    await problem(await site.notify({"to": {"user": "carol"}, "text": "hi", "dryRun": True}), 404)
    await problem(await site.notify({"to": TO, "dryRun": True}), 422)
    assert await site.count() == 0
    assert (await site.notify({**SAY, "id": "k"})).status == 202


async def test_the_test_notification_reaches_everybody(site: Site) -> None:
    """The page of Microsoft's sample, with the number of conversations."""
    answer = await site.http.get("/api/notify")
    page = await answer.text()
    assert (answer.status, answer.content_type, answer.headers["Cache-Control"]) == (200, "text/html", "no-store")
    assert "Proactive messages have been sent." in page
    assert "2 conversations" in page
    listed = (await (await site.http.get("/api/notifications")).json())["notifications"]
    assert [(each["summary"], each["mode"], each["category"]) for each in listed] == [
        ("proactive hello", "interject", "test")
    ]


# ---------------------------------------------------------------------- once


async def test_a_repeated_request_is_answered_again(site: Site) -> None:
    """The same key and body, however the body is laid out, record one notification."""
    first = await site.notify(SAY, Idempotency_Key="k")
    again = await site.notify({"text": "hi", "to": TO}, Idempotency_Key="k")
    in_body = await site.notify({**SAY, "id": "k"})
    assert [answer.status for answer in (first, again, in_body)] == [202] * 3
    assert await first.json() == await again.json() == await in_body.json()
    assert first.headers["Location"] == again.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == in_body.headers["Idempotent-Replayed"] == "true"
    assert await site.count() == 1


async def test_requests_at_the_same_time_count_once(site: Site) -> None:
    answers = await asyncio.gather(*(site.notify(SAY, Idempotency_Key="k") for _ in range(8)))
    assert {answer.status for answer in answers} <= {202, 409}
    assert await site.count() == 1


async def test_a_key_belongs_to_its_body(site: Site) -> None:
    await site.notify(SAY, Idempotency_Key="k")
    await problem(await site.notify({"to": TO, "text": "ho"}, Idempotency_Key="k"), 422, "idempotency-key-reused")
    assert await site.count() == 1


async def test_a_request_in_progress_is_said(site: Site) -> None:
    body = orjson.dumps(SAY, option=orjson.OPT_SORT_KEYS)
    await site.notifications.requests.reserve("loopback", "k", body)
    answer = await site.notify(SAY, Idempotency_Key="k")
    assert int(answer.headers["Retry-After"]) > 0
    await problem(answer, 409, "idempotency-in-progress")


async def test_a_refused_request_frees_its_key(site: Site) -> None:
    """A mistake can be mended under the same key."""
    await problem(await site.notify({"to": {"user": "carol"}, "text": "hi"}, Idempotency_Key="k"), 404)
    await problem(await site.notify({"to": TO}, Idempotency_Key="k"), 422)
    assert (await site.notify(SAY, Idempotency_Key="k")).status == 202


async def test_a_first_answer_outlives_its_validity(site: Site) -> None:
    """What was accepted stays accepted when it is asked again after it expired."""
    body = {**SAY, "expiresAt": (NOW + timedelta(minutes=1)).isoformat(), "id": "k"}
    first = await (await site.notify(body)).json()
    site.clock.now = NOW + timedelta(hours=1)
    answer = await site.notify(body)
    assert (answer.status, await answer.json()) == (202, first)


async def test_the_two_places_of_a_key_agree(site: Site) -> None:
    assert pointers(await problem(await site.notify({**SAY, "id": "a"}, Idempotency_Key="b"), 422)) == {"/id"}
    body = await problem(await site.notify(SAY, Idempotency_Key="x" * 201), 422)
    assert [error["header"] for error in body["errors"]] == ["Idempotency-Key"]


async def test_each_sender_has_keys_of_their_own() -> None:
    async with running(development=False, granted=KEYS) as site:
        for key in ("notify-key-0123456789", "every-key-0123456789"):
            answer = await site.notify({"to": {"all": True}, "text": "hi"}, X_API_Key=key, Idempotency_Key="k")
            assert "Idempotent-Replayed" not in answer.headers
        assert await site.count() == 2


# ---------------------------------------------------------------------- who may call

ROUTES = [
    ("POST", "/api/notify", "notify"),
    ("GET", "/api/notify", "notify"),
    ("GET", "/api/notifications", "read"),
    ("GET", "/api/notifications/x", "read"),
    ("GET", "/api/conversations", "read"),
    ("GET", "/api/conversations/x%2Fy", "read"),
    ("GET", "/api/jobs", "read"),
    ("GET", "/api/jobs/x", "read"),
    ("DELETE", "/api/jobs/x", "admin"),
    ("GET", "/api/openapi.json", "read"),
]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_each_route_needs_its_scope(method: str, path: str, scope: str) -> None:
    """401 without a key or with a wrong one, 403 with one that lacks the scope, on loopback too."""
    async with running(development=False, granted=KEYS) as site:

        async def status(**headers: str) -> int:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = await site.http.request(method, path, headers=names)
            if answer.status == 401:
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            if answer.status in (401, 403):
                await problem(answer, answer.status)
            return answer.status

        assert await status() == 401
        for wrong in ("notify-key", "notify-key-01234567890", "", "é" * 30):
            assert await status(X_API_Key=wrong) == 401
            assert await status(Authorization=f"Bearer {wrong}") == 401
        assert await status(Authorization="Basic ZXZlcnkta2V5LTAxMjM0NTY3ODk6") == 401
        assert await status(Authorization="Basic x", X_API_Key="every-key-0123456789") == 401
        for key in KEYS:
            secret = key.key.get_secret_value()
            for got in (await status(X_API_Key=secret), await status(Authorization=f"bearer {secret}")):
                assert (got == 403) is (scope not in key.scopes)
                assert got != 401


STRANGERS = {
    "other origin": {"Origin": "https://evil.example"},
    "opaque origin": {"Origin": "null"},
    "rebound name": {"Host": "evil.example:3978"},
    "other port of this machine": {"Origin": "http://localhost:8080"},
    "cross-site navigation": {"Sec-Fetch-Site": "cross-site"},
    "navigation from another port": {"Sec-Fetch-Site": "same-site"},
    "through a proxy": {"X-Forwarded-For": "203.0.113.9"},
}


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS.keys())
async def test_strangers_get_nothing_in_development(site: Site, headers: dict[str, str]) -> None:
    """The open door of development is not for what a browser does on behalf of strangers."""
    await problem(await site.http.get("/api/notify", headers=headers), 403, "forbidden")
    await problem(await site.http.post("/api/notify", json=SAY, headers=headers), 403, "forbidden")
    await problem(await site.http.post("/api/messages", json=message(), headers=headers), 403, "forbidden")
    assert await site.count() == 0
    assert site.turns.received == []


@pytest.mark.parametrize(
    "headers", [{}, {"Host": "localhost:1", "Origin": "http://localhost:1"}, {"Sec-Fetch-Site": "none"}]
)
async def test_this_machine_needs_no_key_in_development(site: Site, headers: dict[str, str]) -> None:
    """But a key that is shown must be right."""
    assert (await site.http.get("/api/conversations", headers=headers)).status == 200
    wrong = await site.http.get("/api/conversations", headers={**headers, "X-API-Key": "wrong"})
    await problem(wrong, 401, "unauthorized")


async def test_who_is_refused_is_told_to_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    """With action, peer and the key's name; never with a key."""
    async with running(development=False, granted=KEYS) as site:
        await site.http.post("/api/notify", json=SAY)
        await site.http.post("/api/notify", json=SAY, headers={"X-API-Key": "a-wrong-key-0123456"})
        await site.http.post("/api/notify", json=SAY, headers={"X-API-Key": "read-key-0123456789"})
    async with running(development=True) as site:
        await site.http.post("/api/notify", json=SAY, headers={"Origin": "https://evil.example"})
    told = [vars(record) for record in caplog.records if record.levelname == "WARNING"]
    assert [(one["action"], one["peer"]) for one in told] == [
        *[("key_refused", "127.0.0.1")] * 3,
        ("stranger_refused", "127.0.0.1"),
    ]
    assert [one["key"] for one in told[:3]] == ["", "", "board"]
    assert told[3]["origin"] == "https://evil.example"
    assert "key-0123" not in str(told)


async def test_keys_that_are_set_are_asked_for_in_development_too() -> None:
    """A proxy may not say that it is one: whoever sets keys wants them shown."""
    async with running(development=True, granted=KEYS) as site:
        await problem(await site.http.get("/api/conversations"), 401, "unauthorized")
        shown = {"X-API-Key": "read-key-0123456789"}
        assert (await site.http.get("/api/conversations", headers=shown)).status == 200


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "CF-Connecting-IP", "Via"])
async def test_who_comes_through_a_proxy_is_not_this_machine(header: str) -> None:
    async with running(development=True) as site:
        await problem(await site.http.get("/api/jobs", headers={header: "203.0.113.9"}), 403)
        await problem(await site.http.post("/api/messages", json=message(), headers={header: "203.0.113.9"}), 403)
    async with running(development=False, granted=KEYS) as site:
        await problem(await site.http.get("/metrics", headers={header: "203.0.113.9"}), 401)


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
async def test_health_needs_no_key_on_loopback(path: str) -> None:
    async with running(development=False, granted=KEYS) as site:
        assert (await site.http.get(path)).status == 200
        forwarded = {"X-Forwarded-For": "203.0.113.9", "X-API-Key": "read-key-0123456789"}
        assert (await site.http.get(path, headers=forwarded)).status == 200


# ---------------------------------------------------------------------- the bot endpoint


def message(**fields: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "id": "1",
        "channelId": "msteams",
        "serviceUrl": SERVICE_URL,
        "conversation": {"id": "c1"},
        "from": {"id": "ada"},
        "text": "hello",
        **fields,
    }


MALFORMED = {
    "empty": ({}, {"/type", "/channelId", "/serviceUrl", "/conversation/id"}),
    "not an object": (["hello"], {""}),
    "conversation a string": (message(conversation="c1"), {"/conversation"}),
    "conversation without id": (message(conversation={}), {"/conversation/id"}),
    "sender a string": (message(**{"from": "ada"}), {"/from"}),
    "truth values for texts": (message(type=True, text=False, **{"from": {"id": []}}), {"/type", "/text", "/from/id"}),
    "long ids": (
        message(
            id="x" * 1001,
            serviceUrl=SERVICE_URL + "x" * 1000,
            conversation={"id": "c" * 1001, "tenantId": "t" * 1001},
            membersAdded=[None, {"id": "ok"}, {"id": "x" * 1001}],
            channelData={"tenant": {"id": "x" * 900_000}},
            **{"from": {"id": "u" * 1001, "aadObjectId": "a" * 1001}},
        ),
        {
            *("/id", "/serviceUrl", "/conversation/id", "/conversation/tenantId", "/membersAdded/2/id"),
            *("/channelData/tenant/id", "/from/id", "/from/aadObjectId"),
        },
    ),
    "lists": (message(attachments={}, entities=["x"], membersAdded=[{"id": []}]),
              {"/attachments", "/entities/0", "/membersAdded/0/id"}),
    "times": (message(timestamp="yesterday", localTimestamp=5), {"/timestamp", "/localTimestamp"}),
    "long lists": (
        message(
            attachments=[{}] * 1001,
            entities=[1] * 1001,
            membersAdded=[{"id": "x" * 1001}, *[{}] * 200_000],
            listenFor=[""] * 1001,
            suggestedActions={"actions": [{}] * 1001},
            semanticAction={"entities": {str(number): {} for number in range(1001)}},
        ),
        {
            *("/attachments", "/entities", "/membersAdded", "/listenFor", "/suggestedActions/actions"),
            *("/semanticAction/entities", "/membersAdded/0/id"),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_activity_is_refused(site: Site, body: Any, expected: set[str]) -> None:
    answer = await site.http.post("/api/messages", json=body)
    assert pointers(await problem(answer, 400, "invalid-activity")) == expected
    assert site.turns.received == []


async def test_an_activity_is_json(site: Site) -> None:
    body = json.dumps(message())
    for headers in ({}, {"Content-Type": "text/plain"}):
        answer = await site.http.post("/api/messages", data=body.encode(), headers=headers)
        await problem(answer, 415, "unsupported-media-type")
    headers = {"Content-Type": "application/json; charset=utf-8"}
    await problem(await site.http.post("/api/messages", data=b"{", headers=headers), 400, "invalid-json")
    assert (await site.http.post("/api/messages", data=body.encode(), headers=headers)).status == 200


async def test_activities_may_be_larger_than_notifications(site: Site) -> None:
    async def status(characters: int) -> int:
        body = BytesIO(json.dumps(message(text="y" * characters)).encode())
        headers = {"Content-Type": "application/json"}
        return (await site.http.post("/api/messages", data=body, headers=headers)).status

    assert await status(1000 * 1024) == 200
    assert await status(1024 * 1024) == 413


async def test_a_turn_is_run(site: Site) -> None:
    """The activity is handed over as the schema has it; the answer is empty."""
    answer = await site.http.post("/api/messages", json=message(channelData={"a": 1}))
    assert (answer.status, await answer.read()) == (200, b"")
    (activity,) = site.turns.received
    assert (activity.text, activity.from_property.id, activity.channel_data) == ("hello", "ada", {"a": 1})


async def test_who_is_not_the_channel_is_refused(site: Site) -> None:
    """Without a word of why: that is for the log."""
    site.door.closed = True
    answer = await site.http.post("/api/messages", json=message())
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "forgery" not in json.dumps(await problem(answer, 401, "unauthorized"))
    assert site.turns.received == []


@pytest.mark.parametrize(
    "url", ["https://evil.example/", "http://smba.trafficmanager.net/teams/", "urn:aside:devchannel"]
)
async def test_activities_from_elsewhere_are_refused(site: Site, url: str) -> None:
    answer = await site.http.post("/api/messages", json=message(serviceUrl=url))
    await problem(answer, 403, "service-url-not-allowed")
    assert site.turns.received == []


def replies(*texts: str) -> Any:
    return ExpectedReplies(activities=[Activity(type="message", text=text) for text in texts])


def said(text: str) -> dict[str, str]:
    return {"type": "message", "text": text}


BODIES = {
    "nothing": (None, 200, None),
    "duplicate": (Duplicate(), 200, None),
    "status alone": (InvokeResponse(status=501), 501, None),
    "dict": (InvokeResponse(status=200, body={"a": [1, None]}), 200, {"a": [1, None]}),
    "list of models": (InvokeResponse(status=200, body=replies("a").activities), 200, [said("a")]),
    "model in a dict": (
        InvokeResponse(status=200, body={"x": Activity(type="message")}), 200, {"x": {"type": "message"}}
    ),
    "expected replies": (
        AdapterInvokeResponse(status=200, body=replies("a", "b")),
        200,
        {"activities": [said("a"), said("b")]},
    ),
    "expected replies, serialized": (
        AdapterInvokeResponse(status=200, body=replies("a").serialize()), 200, {"activities": [said("a")]}
    ),
    "invoke answer among replies": (
        AdapterInvokeResponse(
            status=200,
            body={
                "activities": [
                    Activity(type="invokeResponse", value=AdapterInvokeResponse(status=409, body={"a": 1})),
                    Activity(type="invokeResponse", value=InvokeResponse(status=410, body={"b": 2})),
                ]
            },
        ),
        200,
        {
            "activities": [
                {"type": "invokeResponse", "value": {"status": 409, "body": {"a": 1}}},
                {"type": "invokeResponse", "value": {"status": 410, "body": {"b": 2}}},
            ]
        },
    ),
    "Action.Execute": (
        InvokeResponse(
            status=200,
            body=AdaptiveCardInvokeResponse(
                status_code=200, type="application/vnd.microsoft.activity.message", value="Done"
            ),
        ),
        200,
        {"statusCode": 200, "type": "application/vnd.microsoft.activity.message", "value": "Done"},
    ),
    "Action.Execute, refused": (
        InvokeResponse(
            status=400,
            body=AdaptiveCardInvokeResponse(
                status_code=400, type="application/vnd.microsoft.error", value=Exception("BadRequest", "No action")
            ),
        ),
        400,
        {
            "statusCode": 400,
            "type": "application/vnd.microsoft.error",
            "value": {"code": "BadRequest", "message": "No action"},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("outcome", "status", "body"), BODIES.values(), ids=BODIES.keys())
async def test_the_outcome_of_a_turn_is_the_answer(site: Site, outcome: Outcome, status: int, body: Any) -> None:
    async def answer(_: Activity) -> Outcome:
        return outcome

    site.turns.answer = answer
    got = await site.http.post("/api/messages", json=message(type="invoke", name="adaptiveCard/action"))
    text = await got.text()
    assert (got.status, json.loads(text) if text else None) == (status, body)


async def test_a_store_that_is_away_has_the_channel_send_again(site: Site) -> None:
    async def answer(_: Activity) -> Outcome:
        raise StoreUnavailable("The store cannot be reached", retry_after=3)

    site.turns.answer = answer
    got = await site.http.post("/api/messages", json=message())
    assert got.headers["Retry-After"] == "3"
    await problem(got, 503, "unavailable")


@dataclass
class SlowBot:
    """A bot endpoint of its own whose patience is short, and a turn that ends when the test says."""

    http: TestClient[Any, Any]
    messages: Messages
    goes_on: asyncio.Event
    began: asyncio.Event
    ended: asyncio.Event


@pytest.fixture
async def slow_bot() -> AsyncIterator[SlowBot]:
    from web.access import Access
    from web.problems import answer_problems

    goes_on, began, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer(_: Activity) -> Outcome:
        began.set()
        await goes_on.wait()
        ended.set()
        return None

    messages = Messages(
        Turns(answer=answer),
        Door(),
        ServiceUrls(("smba.trafficmanager.net",), local_channel=False),
        Access((), development=True),
        answer_within=0.05,
        body_within=0.05,
    )
    app = web.Application(middlewares=[answer_problems])
    app.router.add_post("/api/messages", messages.receive)
    async with TestClient(TestServer(app)) as http:
        yield SlowBot(http, messages, goes_on, began, ended)
        goes_on.set()
        await messages.drain(DEADLINE)


async def test_a_long_turn_is_answered_before_it_ends(slow_bot: SlowBot) -> None:
    """202 while it goes on; it is waited for at shutdown, and nothing new is taken then."""
    assert (await slow_bot.http.post("/api/messages", json=message())).status == 202
    assert not slow_bot.ended.is_set()
    assert not slow_bot.messages.draining
    draining = asyncio.create_task(slow_bot.messages.drain(DEADLINE))
    await asyncio.sleep(0)
    await problem(await slow_bot.http.post("/api/messages", json=message(id="2")), 503)
    slow_bot.goes_on.set()
    await draining
    assert slow_bot.ended.is_set()


@pytest.mark.parametrize("fields", [{"type": "invoke"}, {"deliveryMode": "expectReplies"}])
async def test_an_answer_that_comes_too_late_is_said(slow_bot: SlowBot, fields: dict[str, str]) -> None:
    await problem(await slow_bot.http.post("/api/messages", json=message(**fields)), 504, "turn-timeout")


async def test_turns_that_do_not_end_are_cut_short_at_shutdown(slow_bot: SlowBot) -> None:
    await slow_bot.http.post("/api/messages", json=message())
    await asyncio.wait_for(slow_bot.messages.drain(0.01), DEADLINE)
    assert not slow_bot.ended.is_set()


async def test_a_client_that_leaves_does_not_end_the_turn(slow_bot: SlowBot) -> None:
    url = slow_bot.http.make_url("/api/messages")
    async with ClientSession(timeout=ClientTimeout(total=0.02)) as impatient:
        with pytest.raises(TimeoutError):
            await impatient.post(url, json=message())
    await asyncio.wait_for(slow_bot.began.wait(), DEADLINE)
    slow_bot.goes_on.set()
    await asyncio.wait_for(slow_bot.ended.wait(), DEADLINE)


# ---------------------------------------------------------------------- records


async def get(site: Site, path: str, **query: Any) -> Any:
    answer = await site.http.get(path, params=query)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def pages(site: Site, path: str, field: str, **query: Any) -> list[list[Any]]:
    """All pages of a list."""
    found: list[list[Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await get(site, path, **query, **cursor)
        found.append(page[field])
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


def flat(found: list[list[Any]]) -> list[Any]:
    return [item for page in found for item in page]


BAD_QUERIES = [
    ("/api/notifications", "limit=0", "limit"),
    ("/api/notifications", "limit=501", "limit"),
    ("/api/notifications", "limit=ten", "limit"),
    ("/api/notifications", "cursor=-1", "cursor"),
    ("/api/notifications", "cursor=x", "cursor"),
    ("/api/notifications", "status=lost", "status"),
    ("/api/notifications", "limit=1&limit=2", "limit"),
    ("/api/notifications", "colour=red", "colour"),
    ("/api/notifications/x", "status=lost", "status"),
    ("/api/conversations", "channelId=a%2Fb", "channelId"),
    ("/api/jobs", "cursor=%2Binf.-5", "cursor"),
    ("/api/jobs", "conversation=a&cursor=x", "cursor"),
]


@pytest.mark.parametrize(("path", "query", "parameter"), BAD_QUERIES)
async def test_a_bad_parameter_is_named(site: Site, path: str, query: str, parameter: str) -> None:
    body = await problem(await site.http.get(f"{path}?{query}"), 422, "invalid-field")
    assert [error["parameter"] for error in body["errors"]] == [parameter]


async def test_notifications_are_listed_newest_first(site: Site) -> None:
    """In pages, and narrowed by who sent them, by category and by status."""
    for number in range(5):
        site.clock.now = NOW + timedelta(seconds=number)
        extra = {"source": "ci", "category": "builds"} if number % 2 else {"sendAt": LATER}
        assert (await site.notify({"to": TO, "text": f"n{number}", **extra})).status == 202

    async def listed(**query: Any) -> list[list[str]]:
        found = await pages(site, "/api/notifications", "notifications", **query)
        return [[each["summary"] for each in page] for page in found]

    assert (await listed(limit=2))[:2] == [["n4", "n3"], ["n2", "n1"]]
    assert flat(await listed(limit=2)) == ["n4", "n3", "n2", "n1", "n0"]
    assert flat(await listed(source="ci", limit=1)) == ["n3", "n1"]
    assert flat(await listed(category="builds")) == ["n3", "n1"]
    assert flat(await listed(status="scheduled", limit=2)) == ["n4", "n2", "n0"]
    assert flat(await listed(status="failed")) == []


async def test_deliveries_are_told(site: Site) -> None:
    """What became of each, in pages, and those of one status."""
    answer = await (await site.notify({"to": {"conversations": [ADA, BOB]}, "text": "hi"})).json()
    nid = NotificationId(answer["id"])
    await site.notifications.spreading.enter(nid, 0, [ADA, BOB], Status.PENDING)
    done = StatusReport(
        delivery=DeliveryId(f"{nid}.1"),
        notification=nid,
        index=1,
        status=Status.DELIVERED,
        at=NOW,
        activity_id="act1",
        attempts=1,
        may_be_repeated=True,
    )
    await site.store.sequence(DeliveryRows.reporting(done))
    told = await get(site, answer["statusUrl"])
    assert told["counts"] == {"pending": 1, "delivered": 1}
    (delivered,) = (await get(site, answer["statusUrl"], status="delivered"))["deliveries"]
    assert delivered == {
        "conversation": BOB,
        "user": "bob",
        "status": "delivered",
        "attempts": 1,
        "at": "2026-05-04T12:00:00.000Z",
        "reason": None,
        "activityId": "act1",
        "mayBeRepeated": True,
        "result": None,
    }
    found = await pages(site, answer["statusUrl"], "deliveries", limit=1)
    assert [[each["conversation"] for each in page] for page in found] == [[ADA], [BOB]]
    await problem(await site.http.get("/api/notifications/ntf_none"), 404, "not-found")


@pytest.mark.parametrize("to", [{"conversations": [ADA, BOB]}, {"all": True}])
@pytest.mark.parametrize(
    ("send_at", "status", "course"), [(None, "pending", "running"), (LATER, "scheduled", "scheduled")]
)
async def test_deliveries_are_listed_before_anything_is_spread(
    site: Site, to: Any, send_at: str | None, status: str, course: str
) -> None:
    """Each with its user, in pages too; what was cancelled meanwhile is cancelled for all of them."""
    answer = await (await site.notify({"to": to, "text": "hi", "sendAt": send_at})).json()
    told = await get(site, answer["statusUrl"])
    assert (told["status"], told["sender"], told["recipients"]) == (course, "loopback", 2)
    assert told["counts"] == {status: 2}
    listed = sorted((each["conversation"], each["user"], each["status"]) for each in told["deliveries"])
    assert listed == sorted([(ADA, "ada", status), (BOB, "bob", status)])
    found = await pages(site, answer["statusUrl"], "deliveries", limit=1)
    assert [len(page) for page in found] == [1, 1]
    assert flat(found) == told["deliveries"]
    assert flat(await pages(site, answer["statusUrl"], "deliveries", status=status)) == told["deliveries"]
    assert flat(await pages(site, answer["statusUrl"], "deliveries", status="delivered")) == []
    site.clock.now = NOW + timedelta(seconds=5)
    await site.http.delete(answer["statusUrl"])
    told = await get(site, answer["statusUrl"])
    assert (told["status"], told["counts"]) == ("cancelled", {"cancelled": 2})
    assert [each["status"] for each in told["deliveries"]] == ["cancelled"] * 2
    assert {each["at"] for each in told["deliveries"]} == {"2026-05-04T12:00:05.000Z"}


async def test_a_broadcast_that_is_not_spread_yet_lists_those_it_will_be_spread_to(site: Site) -> None:
    """A channel of Teams once, however many of its threads are known."""
    for thread in range(3):
        await site.know(ConversationKey(f"msteams/19:a@thread.tacv2;messageid={thread}"), "ada")
    answer = await (await site.notify({"to": {"all": True}, "text": "hi", "sendAt": LATER})).json()
    told = await get(site, answer["statusUrl"])
    assert told["counts"] == {"scheduled": 3}
    listed = [each["conversation"] for each in told["deliveries"]]
    assert sorted(listed) == sorted([ADA, BOB, "msteams/19:a@thread.tacv2;messageid=2"])
    found = await pages(site, answer["statusUrl"], "deliveries", limit=1)
    assert flat(found) == told["deliveries"]


@pytest.mark.parametrize("to", ["listed", "everybody"])
async def test_counts_add_up_while_a_notification_is_spread(site: Site, to: str) -> None:
    """Whatever was entered so far, progress noted or not; cancelled in the middle, each still counts once."""
    known = sorted([ADA, BOB, *(ConversationKey(f"msteams/x{number}") for number in range(4))])
    for key in known[-4:]:
        await site.know(key, "x")
    audience = {"conversations": known} if to == "listed" else {"all": True}
    answer = await (await site.notify({"to": audience, "text": "hi"})).json()
    nid = NotificationId(answer["id"])
    for entered in (0, 2):
        await site.notifications.spreading.enter(nid, entered, known[entered : entered + 2], Status.PENDING)
        told = await get(site, answer["statusUrl"])
        assert (told["status"], told["counts"]) == ("running", {"pending": 6})
        assert [each["conversation"] for each in told["deliveries"]] == known
        found = await pages(site, answer["statusUrl"], "deliveries", limit=1)
        assert [each["conversation"] for each in flat(found)] == known
    await site.http.delete(answer["statusUrl"])
    told = await get(site, answer["statusUrl"])
    assert told["counts"] == {"pending": 4, "cancelled": 2}
    assert Counter(each["status"] for each in told["deliveries"]) == told["counts"]


async def test_a_notification_is_finished_when_all_its_deliveries_are(site: Site) -> None:
    """Not before; one that nobody gets is at once."""
    answer = await (await site.notify({"to": {"conversations": [ADA, BOB]}, "text": "hi"})).json()
    nid = NotificationId(answer["id"])
    await site.notifications.spreading.enter(nid, 0, [ADA, BOB], Status.PENDING)
    for index, course in ((0, "running"), (1, "finished")):
        ended = StatusReport(
            delivery=DeliveryId(f"{nid}.{index}"), notification=nid, index=index, status=Status.DELIVERED, at=NOW
        )
        await site.store.sequence(DeliveryRows.reporting(ended))
        assert (await get(site, answer["statusUrl"]))["status"] == course
    nobody = await (await site.notify({"to": {"all": True, "channelId": "slack"}, "text": "hi"})).json()
    assert (await get(site, nobody["statusUrl"]))["status"] == "finished"


async def test_the_user_of_a_delivery_is_the_person_meant(site: Site) -> None:
    """Not whoever spoke last in a group."""
    group = ConversationKey("msteams/19:group@thread.v2")
    await site.know(group, "bob")
    await site.store.run("HSET", keys.conversation(group), "record", orjson.dumps(_record_of_group(group, "bob")))
    await site.store.run("SADD", keys.by_user("ada"), group)
    open_to_all = await (await site.notify({"to": {"conversation": group}, "text": "hi"})).json()
    assert [each["user"] for each in (await get(site, open_to_all["statusUrl"]))["deliveries"]] == [None]
    to = {"user": "ada", "channelId": "msteams", "conversationType": ["groupChat"]}
    answer = await (await site.notify({"to": to, "text": "hi"})).json()
    assert [each["user"] for each in (await get(site, answer["statusUrl"]))["deliveries"]] == ["ada"]


def _record_of_group(key: ConversationKey, user: str) -> Any:
    conversation = {"id": key.partition("/")[2], "conversationType": "groupChat", "isGroup": True}
    reference = {"channelId": "msteams", "serviceUrl": SERVICE_URL, "conversation": conversation, "user": {"id": user}}
    return {"reference": reference, "locale": None, "timezone": None, "firstSeen": to_ms(NOW)}


@pytest.mark.parametrize("spell", [lambda key: quote(key, safe=""), lambda key: quote(key, safe="/:@;")])
@pytest.mark.parametrize("key", [ADA, BOB, ConversationKey("emulator/a%2Fb c+d/é")])
async def test_a_conversation_is_found_by_its_key(
    site: Site, spell: Callable[[str], str], key: ConversationKey
) -> None:
    """With its slash encoded or not."""
    await site.know(key, "ada")
    answer = await site.http.session.get(f"{site.http.make_url('/')}api/conversations/{spell(key)}")
    assert answer.status == 200
    assert (await answer.json())["key"] == key


async def test_what_is_known_of_a_conversation_is_told(site: Site) -> None:
    """Its user, what waits there and how it stands with the channel."""
    await site.know(
        ADA, "ada", spoke=to_ms(NOW), waiting="1", dialogs='["MainDialog","report"]', inbox=2,
        reach="blocked", reach_detail="MessageWritesBlocked", reach_since=to_ms(NOW),
    )  # fmt: skip
    moment = "2026-05-04T12:00:00.000Z"
    path = f"/api/conversations/{ADA}"
    told = await get(site, path)
    assert told == {
        "key": ADA,
        "channelId": "directline",
        "conversationType": "personal",
        "user": {"id": "ada", "name": "Ada", "aadObjectId": None},
        "tenantId": "contoso",
        "timezone": None,
        "locale": "en-GB",
        "phase": "busy",
        "dialogs": ["MainDialog", "report"],
        "inbox": 2,
        "mailbox": 0,
        "outbox": 0,
        "reachability": "blocked",
        "reachabilitySince": moment,
        "reachabilityDetail": "MessageWritesBlocked",
        "firstSeen": moment,
        "lastSeen": moment,
    }
    site.clock.now = NOW + timedelta(minutes=10)
    assert (await get(site, path))["phase"] == "away"
    await problem(await site.http.get("/api/conversations/directline/none"), 404, "not-found")


async def test_conversations_are_listed(site: Site) -> None:
    found = await pages(site, "/api/conversations", "conversations", limit=1)
    assert [[each["key"] for each in page] for page in found] == [[ADA], [BOB]]
    assert [each["key"] for each in (await get(site, "/api/conversations", channelId="msteams"))["conversations"]] == [
        BOB
    ]


async def submit(site: Site, number: int, conversation: ConversationKey = ADA) -> JobId:
    job = JobId(f"job_{number}")
    request = JobRequest(
        id=job, number=number, name="pi", arguments={"digits": 5}, asked="pi 5", owner="directline/ada"
    )
    site.clock.now = NOW + timedelta(seconds=number)
    await site.jobs.submit(conversation, request)
    return job


async def test_jobs_are_listed_and_told(site: Site) -> None:
    ids = [await submit(site, number) for number in (1, 2, 3)]
    other = await submit(site, 4, BOB)
    assert flat(await pages(site, "/api/jobs", "jobs", limit=3))[0]["id"] == other
    of_ada = await pages(site, "/api/jobs", "jobs", limit=2, conversation=ADA)
    assert [[each["id"] for each in page] for page in of_ada] == [[ids[2], ids[1]], [ids[0]]]
    assert await get(site, f"/api/jobs/{ids[0]}") == {
        "id": ids[0],
        "conversation": ADA,
        "number": 1,
        "name": "pi",
        "asked": "pi 5",
        "arguments": {"digits": 5},
        "status": "waiting",
        "progress": None,
        "note": None,
        "result": None,
        "error": None,
        "attempt": 1,
        "createdAt": "2026-05-04T12:00:01.000Z",
        "startedAt": None,
        "finishedAt": None,
        "answer": None,
        "answerMayBeRepeated": False,
    }
    await problem(await site.http.get("/api/jobs/job_none"), 404, "not-found")


async def test_a_job_is_cancelled_once(site: Site) -> None:
    """202 with the record; 409 for one that has ended."""
    waiting = await submit(site, 1)
    answer = await site.http.delete(f"/api/jobs/{waiting}")
    assert (answer.status, (await answer.json())["status"]) == (202, "cancelled")
    await problem(await site.http.delete(f"/api/jobs/{waiting}"), 409, "job-ended")
    running_job = await submit(site, 2)
    assert await site.jobs.start(ADA, running_job, "worker", lease=60) is not None
    answer = await site.http.delete(f"/api/jobs/{running_job}")
    assert (answer.status, (await answer.json())["status"]) == (202, "running")
    await problem(await site.http.delete("/api/jobs/job_none"), 404, "not-found")


# ---------------------------------------------------------------------- health and description


async def test_readiness_names_each_dependency() -> None:
    states = {"store": "ok", "channel": "ok"}

    async def ready() -> dict[str, str]:
        return states

    async with running(ready=ready) as site:
        answer = await site.http.get("/health/ready")
        assert (answer.status, (await answer.json())["dependencies"]) == (200, states)
        states["store"] = "refuses to write"
        answer = await site.http.get("/health/ready")
        assert (answer.status, (await answer.json())["dependencies"]) == (503, states)
        assert (await site.http.get("/health/live")).status == 200


async def test_a_service_that_shuts_down_is_not_ready(site: Site) -> None:
    """So that nothing more is sent to it; it is alive all the same."""
    await site.drain(DEADLINE)
    answer = await site.http.get("/health/ready")
    assert (answer.status, (await answer.json())["dependencies"]["service"]) == (503, "shutting down")
    assert (await site.http.get("/health/live")).status == 200


async def test_readiness_looks_at_the_store(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await (await site.http.get("/health/ready")).json())["dependencies"] == {"store": "ok"}

    async def refuse() -> None:
        raise StoreUnavailable("The store cannot be reached")

    monkeypatch.setattr(site.store, "ready", refuse)
    assert (await site.http.get("/health/ready")).status == 503


async def test_requests_are_counted_by_route(site: Site) -> None:
    """By the route's pattern: an id in a path makes no label of its own."""
    await site.notify(SAY)
    await site.http.get("/api/notifications/abc")
    await site.http.get("/nowhere/at/all")
    text = await (await site.http.get("/metrics")).text()
    assert 'aside_requests_total{method="POST",route="/api/notify",status="202"} 1.0' in text
    assert 'aside_requests_total{method="GET",route="/api/notifications/{id}",status="404"} 1.0' in text
    assert 'route="(none)"' in text
    assert "abc" not in text and "nowhere" not in text
    assert 'aside_work_length{queue="fanout"} 1.0' in text


def test_two_applications_count_for_themselves() -> None:
    one, two = Metrics(), Metrics()
    one.turn_ended("user", "done")
    assert b'aside_turns_total{kind="user",outcome="done"} 1.0' in one.exposition()
    assert b"outcome" not in two.exposition()


async def test_the_description_is_of_what_is_served(site: Site) -> None:
    """Every route is described and nothing else, and every reference leads somewhere."""
    document = await get(site, "/api/openapi.json")
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    served = {
        (route.method, route.resource.canonical)
        for route in site.http.app.router.routes()
        if route.resource is not None and route.method != "HEAD" and route.resource.canonical != "/explode"
    }
    assert described == served
    text = json.dumps(document)
    for name in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]
    fields = document["components"]["schemas"]["NotifyRequest"]["properties"]
    assert {"to", "text", "activity", "mode", "sendAt", "dryRun"} <= fields.keys()
    assert not {"dialog", "collapseKey", "callbackUrl"} & fields.keys()
    assert document["paths"]["/api/jobs/{id}"]["delete"]["responses"].keys() >= {"202", "401", "403", "404", "409"}
    names = [parameter["name"] for parameter in document["paths"]["/api/notifications"]["get"]["parameters"]]
    assert names == ["limit", "cursor", "status", "source", "category"]


async def test_a_process_without_jobs_has_no_routes_for_them() -> None:
    async with running(jobs=False) as site:
        await problem(await site.http.get("/api/jobs"), 404)
        assert "/api/jobs" not in (await get(site, "/api/openapi.json"))["paths"]
