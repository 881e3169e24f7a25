"""The local channel, as a Direct Line client and the bot see it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientWebSocketResponse, FormData, WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestClient, TestServer

from devchannel.local import SERVICE_URL, LocalChannel
from devchannel.page import STATIC
from devchannel.routes import DirectLine, add_routes
from devchannel.tokens import TOKEN_SECONDS, Tokens
from domain.errors import ConversationFull
from domain.loopback import from_this_machine, why_strange
from state import keys
from state.store import Store
from state.transcripts import ConversationNotFound, Transcripts

BASE = "/v3/directline"
DEADLINE = 5.0


@dataclass
class Bot:
    """Stands in for the bot: remembers what it received and does what the test says."""

    channel: LocalChannel
    kept: list[dict[str, Any]] = field(default_factory=list)
    full: bool = False
    received: list[dict[str, Any]] = field(default_factory=list)
    on_activity: Callable[[dict[str, Any]], Awaitable[None]] | None = None

    async def keep(self, activity: dict[str, Any]) -> None:
        if self.full:
            raise ConversationFull("Too much that was said here waits for its turn.")
        self.kept.append(activity)

    async def receive(self, activity: dict[str, Any]) -> None:
        self.received.append(activity)
        if self.on_activity:
            await self.on_activity(activity)

    async def say(self, conversation_id: str, text: str) -> str:
        return await self.channel.send(conversation_id, {"type": "message", "text": text})


@dataclass
class Clock:
    now: datetime = field(default_factory=lambda: datetime(2026, 5, 4, 12, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Chat:
    """A Direct Line client in one conversation."""

    http: TestClient[Any, Any]
    id: str
    token: str
    stream_url: str

    @property
    def path(self) -> str:
        return f"{BASE}/conversations/{self.id}"

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def post(self, **activity: Any) -> ClientResponse:
        activity = {"type": "message", "from": {"id": "dl_ada", "name": "Ada"}, **activity}
        return await self.http.post(f"{self.path}/activities", json=activity, headers=self.auth)

    async def activities(self, watermark: str = "") -> dict[str, Any]:
        answer = await self.http.get(f"{self.path}/activities", params={"watermark": watermark}, headers=self.auth)
        assert answer.status == 200
        return await answer.json()

    async def reconnect(self, **query: str) -> dict[str, Any]:
        answer = await self.http.get(self.path, params=query, headers=self.auth)
        assert answer.status == 200
        return await answer.json()

    async def connect(self, stream_url: str = "") -> ClientWebSocketResponse:
        return await self.http.session.ws_connect(stream_url or self.stream_url)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def transcripts(store: Store, clock: Clock) -> AsyncIterator[Transcripts]:
    transcripts = Transcripts(store, clock=clock)
    yield transcripts
    await transcripts.close()


@pytest.fixture
def bot(transcripts: Transcripts) -> Bot:
    return Bot(LocalChannel(transcripts))


Serve = Callable[..., Awaitable[TestClient[Any, Any]]]


@pytest.fixture
async def serve(store: Store, transcripts: Transcripts, bot: Bot, clock: Clock) -> AsyncIterator[Serve]:
    started: list[tuple[TestClient[Any, Any], DirectLine]] = []

    async def serve(**settings: Any) -> TestClient[Any, Any]:
        app = web.Application()
        tokens = Tokens(store, clock=clock)
        channel = add_routes(app, transcripts, bot.receive, keep=bot.keep, tokens=tokens, clock=clock, **settings)
        client: TestClient[Any, Any] = TestClient(TestServer(app))
        await client.start_server()
        started.append((client, channel))
        return client

    yield serve
    for client, channel in started:
        await channel.close()
        await client.close()


@pytest.fixture
async def http(serve: Serve) -> TestClient[Any, Any]:
    return await serve()


@pytest.fixture
async def chat(http: TestClient[Any, Any]) -> Chat:
    return await start(http)


async def start(http: TestClient[Any, Any], body: dict[str, Any] | None = None, token: str = "") -> Chat:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = await http.post(f"{BASE}/conversations", json=body or {}, headers=headers)
    assert answer.status == 201
    conversation = await answer.json()
    return Chat(http, conversation["conversationId"], conversation["token"], conversation["streamUrl"])


async def frames(socket: ClientWebSocketResponse) -> AsyncIterator[dict[str, Any]]:
    while True:
        frame = await socket.receive(timeout=DEADLINE)
        assert frame.type is WSMsgType.TEXT
        if frame.data:
            yield json.loads(frame.data)


async def next_activity(socket: ClientWebSocketResponse) -> dict[str, Any]:
    async for frame in frames(socket):
        [activity] = frame["activities"]
        return activity
    raise AssertionError("the stream ended")


def texts(activity_set: dict[str, Any]) -> list[str]:
    return [activity["text"] for activity in activity_set["activities"]]


# Conversations


async def test_a_new_conversation_answers_what_a_client_needs_to_connect(http: TestClient[Any, Any]) -> None:
    """201 with the conversation's id, a token, its lifetime, and a stream URL that carries the token."""
    answer = await http.post(f"{BASE}/conversations")
    conversation = await answer.json()
    assert answer.status == 201
    assert conversation["expires_in"] == TOKEN_SECONDS
    assert conversation["conversationId"] and conversation["token"]
    assert conversation["streamUrl"].startswith(f"ws://{http.host}:{http.port}{BASE}/conversations/")
    assert f"t={conversation['token']}" in conversation["streamUrl"]


async def test_the_bot_is_told_who_joined_a_new_conversation(http: TestClient[Any, Any], bot: Bot) -> None:
    """The bot receives a conversationUpdate that adds the user and itself, so that it can greet."""
    chat = await start(http, {"user": {"id": "dl_ada", "name": "Ada"}, "locale": "de-DE"})
    [update] = bot.received
    assert update["type"] == "conversationUpdate"
    assert [member["id"] for member in update["membersAdded"]] == ["bot", "dl_ada"]
    assert update["from"] == {"id": "dl_ada", "name": "Ada", "role": "user"}
    assert (update["conversation"], update["locale"]) == ({"id": chat.id}, "de-DE")


async def test_a_greeting_is_there_when_the_conversation_is(http: TestClient[Any, Any], bot: Bot) -> None:
    """What the bot says to a new conversation is in the stream from its beginning."""

    async def greet(activity: dict[str, Any]) -> None:
        await bot.say(activity["conversation"]["id"], "Hello!")

    bot.on_activity = greet
    chat = await start(http)
    async with await chat.connect() as socket:
        assert (await next_activity(socket))["text"] == "Hello!"


async def test_a_conversation_begins_although_the_greeting_fails(http: TestClient[Any, Any], bot: Bot) -> None:
    """A bot that fails to greet does not keep the user from chatting."""

    async def fail(activity: dict[str, Any]) -> None:
        raise RuntimeError("no greeting today")

    bot.on_activity = fail
    chat = await start(http)
    assert (await chat.activities())["activities"] == []


async def test_starting_a_conversation_again_greets_only_once(http: TestClient[Any, Any], bot: Bot) -> None:
    """A client that repeats the call with the conversation's token gets the same conversation with 200."""
    chat = await start(http)
    answer = await http.post(f"{BASE}/conversations", headers=chat.auth)
    assert (answer.status, (await answer.json())["conversationId"]) == (200, chat.id)
    assert len(bot.received) == 1


# Posting


async def test_the_users_activity_is_echoed_as_it_was_sent(chat: Chat) -> None:
    """The stream repeats the user's activity with its id, clientActivityID and sender, before the bot's answer."""
    answer = await chat.post(text="hi", channelData={"clientActivityID": "c1"}, localTimezone="Europe/Berlin")
    posted = await answer.json()
    [echo] = (await chat.activities())["activities"]
    assert echo["id"] == posted["id"]
    assert echo["channelData"]["clientActivityID"] == "c1"
    assert echo["from"] == {"id": "dl_ada", "name": "Ada", "role": "user"}
    assert (echo["text"], echo["localTimezone"]) == ("hi", "Europe/Berlin")


async def test_the_bot_receives_a_complete_activity(chat: Chat, bot: Bot) -> None:
    """What the client says is kept; what only the channel knows cannot be set by the client."""
    forged = {"id": "x", "serviceUrl": "https://elsewhere.example", "channelId": "msteams", "conversation": {"id": "y"}}
    answer = await chat.post(text="hi", locale="en-GB", localTimestamp="2026-05-04T14:00:00+02:00", **forged)
    activity = bot.received[-1]
    assert activity["id"] == (await answer.json())["id"]
    assert (activity["channelId"], activity["serviceUrl"]) == ("directline", SERVICE_URL)
    assert activity["conversation"] == {"id": chat.id}
    assert activity["recipient"] == {"id": "bot", "name": "Aside", "role": "bot"}
    assert (activity["locale"], activity["localTimestamp"]) == ("en-GB", "2026-05-04T14:00:00+02:00")
    assert activity["timestamp"] == "2026-05-04T12:00:00.000Z"


async def test_a_post_is_answered_when_the_turn_is_over(chat: Chat, bot: Bot) -> None:
    """Whoever posts finds the bot's answer in the transcript right after."""

    async def answer(activity: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        await bot.say(activity["conversation"]["id"], "You sent: hi")

    bot.on_activity = answer
    assert (await chat.post(text="hi")).status == 200
    assert texts(await chat.activities()) == ["hi", "You sent: hi"]


async def test_a_post_does_not_wait_for_ever_and_the_turn_goes_on(serve: Serve, bot: Bot) -> None:
    """A turn that takes longer than the channel waits is answered for, and not cut off."""
    chat = await start(await serve(answer_within=0.01))
    may_finish, finished = asyncio.Event(), asyncio.Event()

    async def dawdle(activity: dict[str, Any]) -> None:
        await may_finish.wait()
        finished.set()

    bot.on_activity = dawdle
    assert (await chat.post(text="hi")).status == 200
    assert not finished.is_set()
    may_finish.set()
    await asyncio.wait_for(finished.wait(), DEADLINE)


async def test_what_is_accepted_is_kept_first(chat: Chat, bot: Bot) -> None:
    """Before the bot has it: should the process die, another runs its turn. The beginning of a conversation too."""
    kept_before: list[int] = []

    async def look(activity: dict[str, Any]) -> None:
        kept_before.append(len(bot.kept))

    bot.on_activity = look
    answer = await chat.post(text="hi")
    assert [activity["type"] for activity in bot.kept] == ["conversationUpdate", "message"]
    assert (await answer.json())["id"] == bot.kept[-1]["id"]
    assert kept_before == [2]


async def test_what_cannot_be_kept_is_not_accepted(chat: Chat, bot: Bot) -> None:
    """Too much waits already: the client may try again."""
    bot.full = True
    assert (await chat.post(text="hi")).status == 503
    assert [activity["type"] for activity in bot.received] == ["conversationUpdate"]


async def test_a_turn_that_could_not_be_run_was_accepted(chat: Chat, bot: Bot) -> None:
    """It is run later: a client that sent it again would be answered twice."""

    async def fail(activity: dict[str, Any]) -> None:
        raise RuntimeError("secret detail")

    bot.on_activity = fail
    answer = await chat.post(text="hi")
    assert (answer.status, list(await answer.json())) == (200, ["id"])
    assert texts(await chat.activities()) == ["hi"]


@pytest.mark.parametrize("path", ["conversations", "tokens/generate"])
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("{", "The body is not JSON; "),
        ("[]", "The body is not a JSON object; "),
        ('{"user": "ann"}', "The user is not a JSON object; "),
    ],
)
async def test_what_begins_no_conversation_is_told_what_would(
    http: TestClient[Any, Any], path: str, body: str, told: str
) -> None:
    """No activity is meant there."""
    answer = await http.post(f"{BASE}/{path}", data=body)
    error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (400, "BadArgument")
    assert error["message"].startswith(told)
    meant = re.search(r"\{.*\}", error["message"])
    assert meant
    assert (await http.post(f"{BASE}/{path}", data=meant[0])).status in (200, 201)


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"type": 3}', '{"type": "message"}', '{"type":"message","from":1}'])
async def test_what_is_not_an_activity_is_refused(chat: Chat, bot: Bot, body: str) -> None:
    """A malformed activity is 400 and reaches neither the transcript nor the bot."""
    bot.received.clear()
    answer = await chat.http.post(f"{chat.path}/activities", data=body, headers=chat.auth)
    assert (answer.status, (await answer.json())["error"]["code"]) == (400, "BadArgument")
    assert (await chat.activities())["activities"] == [] == bot.received


async def test_an_activity_that_is_too_large_is_refused(chat: Chat) -> None:
    """An activity of more than 256 KiB is 413."""
    assert (await chat.post(text="x" * 262_144)).status == 413


# Watermarks and the stream


async def test_a_watermark_continues_where_a_client_left_off(chat: Chat, bot: Bot) -> None:
    """A client that gives back its watermark gets what followed, and small growing integers for watermarks."""
    await bot.say(chat.id, "one")
    first = await chat.activities()
    await bot.say(chat.id, "two")
    second = await chat.activities(first["watermark"])
    assert (texts(first), texts(second)) == (["one"], ["two"])
    assert int(first["watermark"]) < int(second["watermark"]) < 10
    assert (await chat.activities(second["watermark"])) == {"activities": [], "watermark": second["watermark"]}


async def test_a_watermark_that_is_none_is_refused(chat: Chat) -> None:
    """Nonsense for a watermark is 400."""
    for path in (chat.path, f"{chat.path}/activities", f"{chat.path}/stream"):
        query = {"watermark": "-1", "t": chat.token}
        assert (await chat.http.get(path, params=query, headers=chat.auth)).status == 400


async def test_the_stream_sends_the_backlog_and_then_what_is_said(chat: Chat, bot: Bot) -> None:
    """A stream begins after its watermark and goes on live, each frame with the watermark behind it."""
    await bot.say(chat.id, "before")
    async with await chat.connect() as socket:
        stream = frames(socket)
        backlog = await anext(stream)
        await bot.say(chat.id, "live")
        live = await anext(stream)
    assert (texts(backlog), texts(live)) == (["before"], ["live"])
    assert int(live["watermark"]) == int(backlog["watermark"]) + 1


async def test_two_streams_of_a_conversation_see_the_same(chat: Chat, bot: Bot) -> None:
    """Every stream gets everything."""
    async with await chat.connect() as one, await chat.connect() as other:
        await bot.say(chat.id, "hello")
        assert (await next_activity(one)) == (await next_activity(other))


async def test_the_stream_hears_another_process(chat: Chat, store: Store) -> None:
    """What a process without web server writes to the store shows up in the streams of one with."""
    async with await chat.connect() as socket:
        await LocalChannel(Transcripts(store)).send(chat.id, {"type": "message", "text": "from afar"})
        assert (await next_activity(socket))["text"] == "from afar"


async def test_a_silent_stream_is_kept_alive_by_empty_frames(serve: Serve) -> None:
    """Empty text frames tell both ends that the connection stands."""
    chat = await start(await serve(keep_alive=0.02))
    async with await chat.connect() as socket:
        assert [(await socket.receive(timeout=DEADLINE)).data for _ in range(3)] == ["", "", ""]


async def test_reconnecting_loses_and_repeats_nothing(chat: Chat, bot: Bot) -> None:
    """A client that lost its stream gets a new URL and the rest of the conversation."""
    async with await chat.connect() as socket:
        await bot.say(chat.id, "seen")
        async for frame in frames(socket):
            watermark = frame["watermark"]
            break
    await bot.say(chat.id, "missed")
    again = await chat.reconnect(watermark=watermark)
    async with await chat.connect(again["streamUrl"]) as socket:
        assert (await next_activity(socket))["text"] == "missed"


async def test_reconnecting_without_a_watermark_begins_now(chat: Chat, bot: Bot) -> None:
    """Without a watermark there is no backlog; with an empty one, a client's that saw nothing yet, there is all."""
    await bot.say(chat.id, "old")
    now, all_of_it = await chat.reconnect(), await chat.reconnect(watermark="")
    async with await chat.connect(now["streamUrl"]) as later, await chat.connect(all_of_it["streamUrl"]) as whole:
        await bot.say(chat.id, "new")
        assert (await next_activity(later))["text"] == "new"
        assert texts(await anext(frames(whole)))[0] == "old"


async def test_a_conversation_that_is_gone_is_not_found(chat: Chat, store: Store, bot: Bot) -> None:
    """After its lifetime a conversation ends for client and bot alike."""
    assert 0 < await store.run("TTL", keys.transcript(chat.id)) <= keys.TRANSCRIPT_TTL
    await store.run("DEL", keys.transcript(chat.id))
    assert (await chat.http.get(chat.path, headers=chat.auth)).status == 404
    assert (await chat.post(text="anybody?")).status == 404
    with pytest.raises(ConversationNotFound):
        await bot.say(chat.id, "nobody")


async def test_closing_ends_the_streams_and_the_turns(store: Store, transcripts: Transcripts, bot: Bot) -> None:
    """At shutdown clients are told to go away, so that they reconnect to whoever serves next."""
    app = web.Application()
    channel = add_routes(app, transcripts, bot.receive, keep=bot.keep, tokens=Tokens(store), answer_within=0.01)
    async with TestClient(TestServer(app)) as client:
        chat = await start(client)
        cancelled = asyncio.Event()

        async def hang(activity: dict[str, Any]) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        bot.on_activity = hang
        async with await chat.connect() as socket:
            await chat.post(text="hi")
            await next_activity(socket)
            await channel.close()
            goodbye = await socket.receive(timeout=DEADLINE)
            assert (goodbye.type, goodbye.data, cancelled.is_set()) == (WSMsgType.CLOSE, 1001, True)


# What the bot sends


async def test_the_bots_activity_is_marked_as_the_bots(chat: Chat, bot: Bot) -> None:
    """Clients tell sides apart by sender and role."""
    sent = await bot.say(chat.id, "hello")
    [activity] = (await chat.activities())["activities"]
    assert activity["from"] == {"id": "bot", "name": "Aside", "role": "bot"}
    assert (activity["id"], activity["channelId"]) == (sent, "directline")
    assert activity["timestamp"] == "2026-05-04T12:00:00.000Z"


async def test_an_answer_to_an_unknown_activity_is_no_answer(chat: Chat, bot: Bot) -> None:
    """A made-up replyToId, for which clients would wait, is dropped; a real one is kept."""
    asked = (await (await chat.post(text="hi")).json())["id"]
    await bot.channel.send(chat.id, {"type": "message", "replyToId": "made-up"})
    await bot.channel.send(chat.id, {"type": "message", "replyToId": asked})
    _, proactive, reply = (await chat.activities())["activities"]
    assert "replyToId" not in proactive
    assert reply["replyToId"] == asked


async def test_an_update_replaces_an_activity(chat: Chat, bot: Bot) -> None:
    """Live clients get the new activity with the old id; later ones only ever see the new one, in the old place."""
    progress = await bot.say(chat.id, "10 %")
    await bot.say(chat.id, "meanwhile")
    seen = (await chat.activities())["watermark"]
    await bot.channel.update(chat.id, progress, {"type": "message", "text": "90 %"})
    [update] = (await chat.activities(seen))["activities"]
    assert (update["id"], update["text"], update["type"]) == (progress, "90 %", "message")
    assert texts(await chat.activities()) == ["90 %", "meanwhile"]


async def test_a_deletion_removes_an_activity(chat: Chat, bot: Bot) -> None:
    """Live clients are told which activity is gone; later ones never see it."""
    wrong = await bot.say(chat.id, "oops")
    seen = (await chat.activities())["watermark"]
    await bot.channel.update(chat.id, wrong, {"type": "message", "text": "still oops"})
    await bot.channel.delete(chat.id, wrong)
    [deletion] = (await chat.activities(seen))["activities"]
    assert (deletion["type"], deletion["id"]) == ("messageDelete", wrong)
    assert (await chat.activities())["activities"] == []


async def test_typing_is_streamed_but_not_kept(chat: Chat, bot: Bot, clock: Clock) -> None:
    """Who watches sees the bot typing; who comes later does not, whether something followed or not."""
    async with await chat.connect() as socket:
        await bot.channel.send(chat.id, {"type": "typing"})
        assert (await next_activity(socket))["type"] == "typing"
    await bot.say(chat.id, "done")
    assert texts(await chat.activities()) == ["done"]
    before = (await chat.activities())["watermark"]
    await bot.channel.send(chat.id, {"type": "typing"})
    assert len((await chat.activities(before))["activities"]) == 1
    clock.advance(60)
    assert (await chat.activities(before))["activities"] == []


# Uploads


async def test_an_uploaded_file_arrives_as_an_attachment(chat: Chat, bot: Bot) -> None:
    """Files travel inside the activity, as data URLs with name and media type."""
    form = FormData()
    activity = json.dumps({"type": "message", "text": "look", "channelData": {"clientActivityID": "c9"}})
    form.add_field("activity", activity, content_type="application/vnd.microsoft.activity", filename="blob")
    form.add_field("file", b"\x89PNG", content_type="image/png", filename="cat.png")
    form.add_field("file", b"hey", content_type="text/plain", filename="note.txt")
    answer = await chat.http.post(f"{chat.path}/upload?userId=dl_ada", data=form, headers=chat.auth)
    assert answer.status == 200
    received = bot.received[-1]
    assert (received["text"], received["from"]["id"]) == ("look", "dl_ada")
    assert received["channelData"] == {"clientActivityID": "c9"}
    assert received["attachments"] == [
        {"name": "cat.png", "contentType": "image/png", "contentUrl": "data:image/png;base64,iVBORw=="},
        {"name": "note.txt", "contentType": "text/plain", "contentUrl": "data:text/plain;base64,aGV5"},
    ]
    assert (await chat.activities())["activities"][0]["attachments"] == received["attachments"]


async def test_an_upload_of_the_largest_size_is_taken_and_a_larger_one_is_not(chat: Chat) -> None:
    """Files of up to 1 MiB together are taken; beyond that it is 413."""
    for size, status in ((1024 * 1024, 200), (1024 * 1024 + 1, 413)):
        form = FormData()
        form.add_field("file", BytesIO(b"x" * size), content_type="application/pdf", filename="big.pdf")
        answer = await chat.http.post(f"{chat.path}/upload?userId=dl_ada", data=form, headers=chat.auth)
        assert answer.status == status


PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (PART * 50 + b"--b--\r\n", 200),
        (PART * 51 + b"--b--\r\n", 413),
        (PART * 18_000 + b"--b--\r\n", 413),
        (b"\r\n" * 500_000 + PART + b"--b--\r\n", 200),
        (b"--b\n" * 300_000 + PART + b"--b--\r\n", 200),
        (b"--b\n" * 300_000, 400),
        (PART + b"--b--\r\n" + b"\r\n" * 500_000, 200),
        (b"\n" * 3_000_000, 413),
    ],
    ids=["50", "51", "18000", "empty lines first", "half delimiters first", "no part", "lines after", "large"],
)
async def test_what_an_upload_is_made_of_is_bounded(chat: Chat, body: bytes, status: int) -> None:
    """Parts are counted before one is read, and what is before the first is skipped: nobody else waits meanwhile."""
    loop = asyncio.get_running_loop()
    headers = {**chat.auth, "Content-Type": "multipart/form-data; boundary=b"}
    uploading = asyncio.create_task(
        chat.http.post(f"{chat.path}/upload?userId=dl_ada", data=BytesIO(body), headers=headers)
    )
    longest, before = 0.0, loop.time()
    while not uploading.done():
        await asyncio.sleep(0.001)
        longest, before = max(longest, loop.time() - before), loop.time()
    answer = await uploading
    assert answer.status == status
    assert longest < 1


async def test_a_file_reaches_the_bot_once(chat: Chat, bot: Bot) -> None:
    """Clients send a file as a part, and name it among the attachments of the activity too."""
    form = FormData()
    blob = {"contentType": "image/png", "contentUrl": "blob:http://127.0.0.1/7", "name": "cat.png"}
    activity = json.dumps({"type": "message", "from": {"id": "dl_ada"}, "attachments": [blob]})
    form.add_field("activity", activity, content_type="application/vnd.microsoft.activity", filename="blob")
    form.add_field("file", b"\x89PNG", content_type="image/png", filename="cat.png")
    answer = await chat.http.post(f"{chat.path}/upload", data=form, headers=chat.auth)
    assert answer.status == 200
    [attachment] = bot.received[-1]["attachments"]
    assert attachment["contentUrl"].startswith("data:")


@pytest.mark.parametrize(
    ("content_type", "disposition"),
    [
        ("multipart/form-data", b'form-data; name="file"; filename="a.txt"'),
        ("multipart/form-data; boundary=", b'form-data; name="file"; filename="a.txt"'),
        ("multipart/form-data; boundary=" + "b" * 100, b'form-data; name="file"; filename="a.txt"'),
        ("multipart/form-data; boundary=b", b'form-data; name="file"; filename="caf\xe9.txt"'),
    ],
    ids=["no boundary", "empty", "too long", "name"],
)
async def test_an_upload_that_is_not_well_formed_is_refused(
    chat: Chat, bot: Bot, content_type: str, disposition: bytes
) -> None:
    """With 400, and reaches neither the transcript nor the bot."""
    body = b"--b\r\nContent-Disposition: " + disposition + b"\r\nContent-Type: text/plain\r\n\r\nhey\r\n--b--\r\n"
    bot.received.clear()
    headers = {**chat.auth, "Content-Type": content_type}
    answer = await chat.http.post(f"{chat.path}/upload?userId=dl_ada", data=body, headers=headers)
    assert (answer.status, (await answer.json())["error"]["code"]) == (400, "BadArgument")
    assert (await chat.activities())["activities"] == [] == bot.received


async def test_a_client_that_signs_users_in_gets_a_session(http: TestClient[Any, Any]) -> None:
    """``getsessionid`` of Direct Line: an id that nobody else has."""
    ids = [(await (await http.get(f"{BASE}/session/getsessionid")).json())["sessionId"] for _ in range(2)]
    assert all(ids) and ids[0] != ids[1]


async def test_an_upload_is_multipart(chat: Chat) -> None:
    """Anything else is 415, and a broken one 400."""
    answer = await chat.http.post(f"{chat.path}/upload", data=b"x", headers=chat.auth)
    assert answer.status == 415
    headers = {**chat.auth, "Content-Type": "multipart/form-data; boundary=b"}
    answer = await chat.http.post(f"{chat.path}/upload", data=b"no boundary at all", headers=headers)
    assert answer.status == 400


# Tokens


async def test_a_generated_token_begins_the_conversation_it_names(http: TestClient[Any, Any], bot: Bot) -> None:
    """The token's conversation is the one that starts, and its user the one who joins."""
    answer = await http.post(f"{BASE}/tokens/generate", json={"user": {"id": "dl_bob", "name": "Bob"}})
    generated = await answer.json()
    assert answer.status == 200
    chat = await start(http, token=generated["token"])
    assert chat.id == generated["conversationId"]
    assert bot.received[0]["from"]["id"] == "dl_bob"


async def test_a_token_that_names_a_user_is_only_for_that_user(http: TestClient[Any, Any]) -> None:
    """Nobody speaks as somebody else with a token that says who they are."""
    answer = await http.post(f"{BASE}/tokens/generate", json={"user": {"id": "dl_bob"}})
    chat = await start(http, token=(await answer.json())["token"])
    assert (await chat.post(text="I am Ada")).status == 400
    assert (await chat.post(text="I am Bob", **{"from": {"id": "dl_bob"}})).status == 200


async def test_a_refreshed_token_is_for_the_same_conversation(chat: Chat, clock: Clock) -> None:
    """Refreshing prolongs: the new token outlives the old one."""
    clock.advance(TOKEN_SECONDS - 60)
    answer = await chat.http.post(f"{BASE}/tokens/refresh", headers=chat.auth)
    refreshed = await answer.json()
    assert refreshed["conversationId"] == chat.id
    clock.advance(120)
    assert (await chat.http.get(chat.path, headers=chat.auth)).status == 403
    chat.token = refreshed["token"]
    assert (await chat.http.get(chat.path, headers=chat.auth)).status == 200


CALLS = [
    ("GET", ""),
    ("GET", "/activities"),
    ("POST", "/activities"),
    ("POST", "/upload"),
    ("GET", "/stream"),
]


@pytest.mark.parametrize(("method", "call"), CALLS)
async def test_a_conversation_is_only_open_to_its_own_token(chat: Chat, method: str, call: str) -> None:
    """No token is 401; a false one and that of another conversation are 403."""
    other = await start(chat.http)
    last = "A" if chat.token[-10] != "A" else "B"
    forged = chat.token[:-10] + last + chat.token[-9:]
    for token, status in (("", 401), (forged, 403), (other.token, 403), ("nonsense", 403)):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await chat.http.request(method, chat.path + call, headers=headers)
        assert answer.status == status
        assert (await answer.json())["error"]["message"]


async def test_a_stream_needs_the_token_of_its_conversation(chat: Chat) -> None:
    """The token rides in the URL, and is checked like any other."""
    other = await start(chat.http)
    url = chat.stream_url.replace(chat.token, other.token)
    with pytest.raises(WSServerHandshakeError) as refused:
        await chat.connect(url)
    assert refused.value.status == 403


async def test_a_token_that_is_no_text_is_refused(chat: Chat) -> None:
    """Bytes that are no UTF-8 in a header are like any other token that is not ours."""
    host, port = chat.http.server.host, chat.http.server.port
    head = f"GET {chat.path}/activities HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(head.encode() + b"Authorization: Bearer \xff\xe9\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"403"
    writer.close()


async def test_every_process_on_the_store_accepts_a_token(serve: Serve) -> None:
    """The signing key is the store's, not the process's."""
    chat = await start(await serve())
    chat.http = await serve()
    assert (await chat.post(text="hi")).status == 200


# Loopback only


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:3978"},
        {"Host": ""},
        {"Host": "192.168.1.7:3978"},
        {"Host": "user@localhost"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
        {"Origin": "http://[bad"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"X-Real-IP": "203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"cf-connecting-ip": "203.0.113.9"},
    ],
)
async def test_pages_of_other_origins_are_refused(chat: Chat, headers: dict[str, str]) -> None:
    """A request by another name than loopback, from another page or through a proxy is a 403 problem document,
    whatever it calls."""
    for method, path in [("POST", f"{BASE}/tokens/generate"), ("POST", f"{chat.path}/activities"), ("GET", "/")]:
        answer = await chat.http.request(method, path, headers={**chat.auth, **headers})
        assert (answer.status, answer.content_type) == (403, "application/problem+json")
        assert (await answer.json())["status"] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:3978"},
        {"Host": "127.0.0.1"},
        {"Host": "[::1]:3978", "Origin": "http://[::1]:3978"},
        {"Host": "localhost:3978", "Origin": "http://localhost:3978"},
        {"Host": "LOCALHOST:3978", "Origin": "http://localhost:3978"},
    ],
)
def test_pages_of_this_machine_are_served(headers: dict[str, str]) -> None:
    """Loopback by any of its names, from a page of the same origin or from no page at all."""
    for peer in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert why_strange(peer, headers) is None
    assert why_strange("192.0.2.1", headers) and why_strange(None, headers)


PROXIES = re.findall(r"\S+", """
Forwarded X-Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Forwarded-Server
X-Forwarded-By Forwarded-For Via X-Real-IP X-Client-IP Client-IP True-Client-IP X-Cluster-Client-IP WL-Proxy-Client-IP
Proxy-Client-IP X-Remote-IP X-Remote-Addr X-Host X-Original-Host X-Original-URL X-Original-Forwarded-For CDN-Loop
CF-Connecting-IP CF-Connecting-IPv6 CF-Ray CF-Visitor Fastly-Client-IP Fastly-FF Fly-Client-IP X-Envoy-External-Address
X-Azure-ClientIP X-Azure-SocketIP X-ProxyUser-Ip X-Appengine-User-IP X-ARR-SSL X-ARR-LOG-ID CloudFront-Viewer-Address
X-Amzn-Trace-Id X-Amz-Cf-Id X-Vercel-Forwarded-For X-NF-Client-Connection-IP Akamai-Origin-Hop Tailscale-User-Login
Client-Cert
""")  # fmt: skip
CLIENTS = re.findall(r"\S+", """
Accept Accept-Encoding Accept-Language Authorization Cache-Control Connection Content-Length Content-Type Cookie DNT
Expect Host Idempotency-Key If-None-Match Origin Pragma Range Referer Sec-Fetch-Site Sec-WebSocket-Key TE Traceparent
Upgrade User-Agent X-API-Key X-MS-Bot-Agent X-MS-Client-Request-Id X-MS-Conversation-Id X-Requested-With
""")  # fmt: skip


@pytest.mark.parametrize("spelled", [str, str.lower, str.upper])
def test_every_proxy_is_known_by_what_it_adds(spelled: Callable[[str], str]) -> None:
    """Whichever header it is that it adds alone; what clients send themselves makes nobody a proxy."""
    assert [name for name in PROXIES if from_this_machine("127.0.0.1", {spelled(name): "203.0.113.9"})] == []
    assert [name for name in CLIENTS if not from_this_machine("127.0.0.1", {spelled(name): "x"})] == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_link_leads_to_the_page_and_to_nothing_else(chat: Chat, site: str) -> None:
    """Browsers say where a request was made: the page may be opened from anywhere, the channel may not be used so."""
    headers = {"Sec-Fetch-Site": site, **chat.auth}
    assert (await chat.http.get("/", headers=headers)).status == 200
    assert (await chat.http.get(f"{chat.path}/activities", headers=headers)).status == 403


# Pages of other origins that are named

FRIEND = "http://localhost:5173"


@pytest.fixture
async def befriended(serve: Serve) -> Chat:
    return await start(await serve(origins=(FRIEND,)))


async def test_a_page_of_a_named_origin_may_use_the_channel(befriended: Chat, bot: Bot) -> None:
    """Its browser is told so, before it asks and with every answer, errors too."""
    browser = {"Origin": FRIEND, "Sec-Fetch-Site": "same-site", **befriended.auth}
    path = f"{befriended.path}/activities"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-ms-bot-agent"}
    before = await befriended.http.options(path, headers={"Origin": FRIEND, **asked})
    assert before.status == 204
    allowed = before.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "x-ms-bot-agent"))
    said = {"type": "message", "from": {"id": "u"}, "text": "hi"}
    posted = await befriended.http.post(path, json=said, headers=browser)
    wrong = await befriended.http.get(path, headers={**browser, "Authorization": "Bearer x"})
    assert (posted.status, wrong.status) == (200, 403)
    for answer in (before, posted, wrong):
        assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Vary"] == "Origin"
    socket = await befriended.http.session.ws_connect(befriended.stream_url, headers={"Origin": FRIEND})
    await socket.close()


@pytest.mark.parametrize("origin", ["http://localhost:5174", "https://localhost:5173", "null", "http://evil.example"])
async def test_a_page_of_any_other_origin_may_not(befriended: Chat, origin: str) -> None:
    for method in ("OPTIONS", "GET"):
        path = f"{befriended.path}/activities"
        answer = await befriended.http.request(method, path, headers={"Origin": origin, **befriended.auth})
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "DIRECT_LINE_ORIGINS" in (await answer.json())["detail"]


# The page


async def test_the_page_and_all_it_needs_is_served_from_here(http: TestClient[Any, Any]) -> None:
    """Every file is served under a policy that allows scripts from this origin only."""
    for path in STATIC:
        answer = await http.get(path)
        assert answer.status == 200
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_page_refers_to_nothing_that_is_not_served(http: TestClient[Any, Any]) -> None:
    """Scripts import, and the page links, only files that exist here."""
    for path in STATIC:
        body = await (await http.get(path)).text()
        for reference in re.findall(r'(?:from |src=|href=)"(\./|/)([^"]*)"', body):
            file = {"./": "/chat/", "/": "/"}[reference[0]] + reference[1]
            assert file in STATIC, f"{path} refers to {file}"
