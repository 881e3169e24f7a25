"""The Teams bot under the SDK alone: what it says and asks its channel for wherever else it runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from botbuilder.core import BotAdapter, ConversationState, MemoryStorage, TurnContext
from botbuilder.schema import (
    Activity,
    ActivityTypes,
    ConversationAccount,
    ConversationParameters,
    ConversationReference,
    ResourceResponse,
)
from botbuilder.schema.teams import TeamsChannelAccount, TeamsPagedMembersResult

from testkit.waiting import until
from tests.projects.isolated import in_project, shown

load = in_project("teams_bot")

Json = dict[str, Any]
NAMES = {"29:ann": "Ann", "29:bob": "Bob", "29:cid": "Cid"}
BOT = {"id": "28:bot", "name": "Helper"}


class Members:
    """The part of a connector client that knows who is in a conversation."""

    def __init__(self) -> None:
        self.pages = 0

    async def get_conversation_member(self, conversation_id: str, member_id: str) -> TeamsChannelAccount:
        name = NAMES[member_id]
        return TeamsChannelAccount(id=member_id, name=name, given_name=name, email=f"{name.lower()}@work.test")

    async def get_teams_conversation_paged_members(
        self, conversation_id: str, page_size: int, continuation_token: str | None
    ) -> TeamsPagedMembersResult:
        self.pages += 1
        ids, begin = list(NAMES), int(continuation_token or 0)
        end = begin + page_size
        members = [await self.get_conversation_member(conversation_id, each) for each in ids[begin:end]]
        return TeamsPagedMembersResult(members=members, continuation_token=str(end) if end < len(ids) else None)


class SimpleAdapter(BotAdapter):
    """The SDK's, with a channel in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.members = Members()
        self.sent: dict[str, list[Activity]] = defaultdict(list)
        self.updated: list[Activity] = []
        self.deleted: list[str] = []
        self.answer: Any = None
        self._sent = 0

    async def receives(self, activity: Json, logic: Any) -> None:
        await self.run_pipeline(self._context(Activity().deserialize(activity)), logic)

    async def send_activities(self, context: TurnContext, activities: list[Activity]) -> list[ResourceResponse]:
        return [self._send(activity) for activity in activities]

    def _send(self, activity: Activity) -> ResourceResponse:
        if activity.type == ActivityTypes.invoke_response:
            self.answer = activity.value
            return ResourceResponse(id="")
        if activity.type == ActivityTypes.message:
            self.sent[activity.conversation.id].append(activity)
        self._sent += 1
        return ResourceResponse(id=f"sent-{self._sent}")

    async def update_activity(self, context: TurnContext, activity: Activity) -> None:
        self.updated.append(activity)

    async def delete_activity(self, context: TurnContext, reference: ConversationReference) -> None:
        self.deleted.append(reference.activity_id)

    async def continue_conversation(self, reference: ConversationReference, callback: Any, *_: Any, **__: Any) -> None:
        event = Activity(
            type=ActivityTypes.event, name="ContinueConversation", id="continued", from_property=reference.user
        )
        await self._goes_on(event, reference.conversation, reference.bot, callback)

    async def create_conversation(
        self, app_id: str, callback: Any, parameters: ConversationParameters, channel_id: str, service_url: str
    ) -> None:
        event = Activity(type=ActivityTypes.event, name="CreateConversation", id="created")
        conversation = ConversationAccount(id=f"a:{parameters.members[0].id}", tenant_id=parameters.tenant_id)
        await self._goes_on(event, conversation, parameters.bot, callback)

    async def _goes_on(self, event: Activity, conversation: Any, recipient: Any, callback: Any) -> None:
        event.channel_id, event.service_url = "msteams", "https://teams.test"
        event.conversation, event.recipient = conversation, recipient
        await self.run_pipeline(self._context(event), callback)

    def _context(self, activity: Activity) -> TurnContext:
        context = TurnContext(self, activity)
        context.turn_state[self.BOT_CONNECTOR_CLIENT_KEY] = SimpleNamespace(conversations=self.members)
        return context


class Team:
    """The bot in a chat of three."""

    def __init__(self, load: Callable[[str], Any]) -> None:
        self.adapter = SimpleAdapter()
        self.adapter.use(load("middleware:error_handling")(self.adapter))
        self.bot = load("bots:TeamsBot")(ConversationState(MemoryStorage()), self.adapter)

    async def does(self, who: str = "ann", **fields: Any) -> list[Activity]:
        """Give the bot an activity from somebody; what it sent to the chat."""
        heard = len(self.adapter.sent["19:team"])
        activity = {
            "id": "in-1",
            "channelId": "msteams",
            "serviceUrl": "https://teams.test",
            "from": {"id": f"29:{who}", "name": who.title()},
            "recipient": BOT,
            "conversation": {"id": "19:team", "isGroup": True, "tenantId": "tenant-1"},
            "channelData": {"tenant": {"id": "tenant-1"}, "team": {"id": "19:team", "name": "Kitchen"}},
            **fields,
        }
        await self.adapter.receives(activity, self.bot.on_turn)
        return self.adapter.sent["19:team"][heard:]

    async def says(self, text: str, **fields: Any) -> list[str]:
        return [shown(activity) for activity in await self.does(type="message", text=text, **fields)]

    async def invokes(self, name: str, value: Json, who: str = "ann") -> tuple[int, Any]:
        """The answer's status and body."""
        await self.does(who, type="invoke", name=name, value=value)
        return self.adapter.answer.status, self.adapter.answer.body


@pytest.fixture
def team(load: Callable[[str], Any]) -> Team:
    return Team(load)


class TestMembers:
    async def test_who_is_there_page_by_page(self, team: Team) -> None:
        assert await team.says("who is here") == ["Here are Ann, Bob, Cid"]
        assert team.adapter.members.pages == 2

    async def test_one_of_them(self, team: Team) -> None:
        assert await team.says("who am I", who="bob") == ["You are Bob <bob@work.test>"]

    async def test_who_comes_is_welcomed(self, team: Team) -> None:
        added = [BOT, {"id": "29:ann"}, {"id": "29:bob"}]
        welcomes = await team.does(type="conversationUpdate", membersAdded=added)
        assert [each.text for each in welcomes] == ["Welcome to Kitchen, Ann.", "Welcome to Kitchen, Bob."]

    async def test_the_bot_is_mentioned_and_mentions(self, team: Team) -> None:
        at_bot = {"type": "mention", "mentioned": BOT, "text": "<at>Helper</at>"}
        (reply,) = await team.does(type="message", text="<at>Helper</at> hello", entities=[at_bot])
        assert reply.text == "Good morning, <at>Ann</at>!"
        (mention,) = reply.serialize()["entities"]
        assert (mention["mentioned"]["id"], mention["text"]) == ("29:ann", "<at>Ann</at>")


class TestCards:
    async def test_a_card_is_changed_and_removed(self, team: Team) -> None:
        assert await team.says("cake") == ["[hero]"]
        assert await team.says("one more cake", value={"count": 4}, replyToId="sent-1") == []
        (changed,) = team.adapter.updated
        assert (changed.id, changed.attachments[0].content.text) == ("sent-1", "5 so far")
        assert await team.says("no more cake", replyToId="sent-1") == []
        assert team.adapter.deleted == ["sent-1"]

    async def test_an_action_is_answered_with_the_next_card(self, team: Team) -> None:
        assert await team.says("lunch") == ["[adaptive]"]
        await team.invokes("adaptiveCard/action", _choice("Soup"), "bob")
        status, body = await team.invokes("adaptiveCard/action", _choice("Salad"))
        assert (status, body["statusCode"], body["type"]) == (200, 200, "application/vnd.microsoft.card.adaptive")
        assert body["value"]["body"][1]["text"] == "Ann: Salad, Bob: Soup"

    async def test_an_unknown_action_is_refused(self, team: Team) -> None:
        _, body = await team.invokes("adaptiveCard/action", {"action": {"type": "Action.Execute", "verb": "burn"}})
        assert (body["statusCode"], body["value"]["message"]) == (400, "What is burn?")

    async def test_a_task_module(self, team: Team) -> None:
        assert await team.says("room") == ["[hero]"]
        _, fetched = await team.invokes("task/fetch", {"data": {"type": "task/fetch", "data": "Book a room"}})
        assert (fetched["task"]["type"], fetched["task"]["value"]["title"]) == ("continue", "Book a room")
        _, submitted = await team.invokes("task/submit", {"data": {"room": "Elm"}})
        assert submitted == {"task": {"type": "message", "value": "Enjoy Elm."}}
        assert team.adapter.sent["19:team"][-1].text == "Elm is booked."

    async def test_a_search_from_the_compose_box(self, team: Team) -> None:
        query = {"commandId": "dishes", "parameters": [{"name": "dish", "value": "s"}]}
        _, body = await team.invokes("composeExtension/query", query)
        found = body["composeExtension"]["attachments"]
        assert [each["content"]["title"] for each in found] == ["Soup", "Salad", "Stew"]
        assert found[0]["preview"]["content"]["title"] == "Soup"

    async def test_what_it_does_not_know_is_not_implemented(self, team: Team) -> None:
        assert (await team.invokes("tab/fetch", {}))[0] == 501


class TestReactions:
    async def test_they_quote_the_message_by_its_id(self, team: Team) -> None:
        await team.says("who is here")
        (added,) = await team.does(type="messageReaction", replyToId="sent-1", reactionsAdded=[{"type": "like"}])
        assert added.text == 'Thanks for the like: "Here are Ann, Bob, Cid" (sent-1)'
        (removed,) = await team.does(type="messageReaction", replyToId="sent-9", reactionsRemoved=[{"type": "sad"}])
        assert removed.text == 'No sad any more: "something" (sent-9)'


class TestUnasked:
    async def test_everybody_gets_a_private_message(self, team: Team) -> None:
        assert await team.says("write to all") == ["3 people have mail."]
        private = {key: [shown(each) for each in sent] for key, sent in team.adapter.sent.items() if key != "19:team"}
        assert private == {f"a:{member}": ["A word in private: the cake is from yesterday."] for member in NAMES}

    async def test_a_message_later(self, team: Team) -> None:
        """From a task of the bot's own, and what it said can be quoted as well."""
        assert await team.says("break") == ["Until later."]
        await until(lambda: not team.bot.tasks, what="the break ends")
        assert team.adapter.sent["19:team"][-1].text == "The break is over."
        (quote,) = await team.does(type="messageReaction", replyToId="sent-2", reactionsAdded=[{"type": "like"}])
        assert quote.text == 'Thanks for the like: "The break is over." (sent-2)'

    async def test_an_error_is_told(self, team: Team) -> None:
        assert await team.says("fall over") == ["Watch me.", "I could not do that: fall over"]
        assert (await team.says("sing"))[0].startswith("I know: hello, who is here")


class TestPages:
    @pytest.fixture
    async def pages(self, load: Callable[[str], Any], team: Team) -> AsyncIterator[TestClient]:
        app = web.Application()
        load("routes:add_routes")(app)
        load("routes:add_status_page")(app)
        async with TestClient(TestServer(app)) as client:
            yield client

    @pytest.mark.parametrize(("method", "path"), [("GET", "/api/notify"), ("POST", "/team/coffee")])
    async def test_they_reach_whom_the_bot_has_met(self, pages: TestClient, team: Team, method: str, path: str) -> None:
        await team.says("hello")
        await team.says("hello", who="bob")
        async with pages.request(method, path) as response:
            assert (response.status, await response.json()) == (201, {"reached": 2})
        assert [shown(each) for each in team.adapter.sent["19:team"][-2:]] == ["Coffee is ready."] * 2
        async with pages.get("/team/status") as response:
            assert await response.json() == {"met": ["Ann", "Bob"]}


def test_it_starts_as_its_authors_start_it(load: Callable[[str], Any]) -> None:
    routes = {route.resource.canonical for route in load("app:APP").router.routes() if route.resource}
    assert routes == {"/api/messages", "/api/notify", "/team/status", "/team/coffee"}


def _choice(dish: str) -> Json:
    return {"action": {"type": "Action.Execute", "verb": "choose", "data": {"dish": dish}}}
