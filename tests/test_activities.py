"""Activities to JSON and back: as the SDK's own serializer, only faster."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import botbuilder.schema
import pytest
from botbuilder.schema import (
    Activity,
    ActivityTypes,
    Attachment,
    AttachmentLayoutTypes,
    CardAction,
    CardImage,
    ChannelAccount,
    ConversationAccount,
    ConversationReference,
    Entity,
    Fact,
    HeroCard,
    InputHints,
    Mention,
    MessageReaction,
    ReceiptCard,
    ResourceResponse,
    SemanticAction,
    SuggestedActions,
    TextHighlight,
)
from botbuilder.schema.teams import TeamInfo, TeamsChannelData
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msrest.serialization import Deserializer, Model

from sdk.activities import activity_from_json, model_of, read_activity, to_json


class Shade(enum.Enum):
    DARK = "dark"


class Loud(str):
    """Text of a class of its own."""


def card() -> Attachment:
    hero = HeroCard(
        title="Build 7",
        images=[CardImage(url="https://x/y.png", alt="y")],
        buttons=[CardAction(type="imBack", title="Go", value={"a": [1, None, {"b": None}]})],
    )
    return Attachment(content_type="application/vnd.microsoft.card.hero", content=hero, name="card")


ZONE = timezone(timedelta(hours=2))

WRITTEN: dict[str, Activity] = {
    "empty": Activity(),
    "text": Activity(type=ActivityTypes.message, text="Grüße", input_hint=InputHints.expecting_input, speak=""),
    "card": Activity(type="message", attachments=[card()], attachment_layout=AttachmentLayoutTypes.carousel),
    "card as JSON": Activity(
        attachments=[Attachment(content_type="x", content={"body": [{"isVisible": None}], "n": 1.5})]
    ),
    "receipt": Activity(attachments=[Attachment(content=ReceiptCard(facts=[Fact(key="k", value="v")], total="3"))]),
    "suggested actions": Activity(suggested_actions=SuggestedActions(to=["u1"], actions=[CardAction(title="Yes")])),
    "no actions": Activity(suggested_actions=SuggestedActions(actions=[]), entities=[], attachments=[]),
    "entities": Activity(
        entities=[Mention(mentioned=ChannelAccount(id="u", name="Ann"), text="<at>Ann</at>"), Entity(type="x")]
    ),
    "channel data": Activity(channel_data={"a": None, "b": {"c": None, "d": [None, {"e": None}]}, "f": 1.5, "g": True}),
    "channel data of a model": Activity(channel_data=TeamsChannelData(event_type="x", team=TeamInfo(id="t"))),
    "values that JSON has not": Activity(
        value={
            "moment": datetime(2024, 1, 2, 3, 4, 5, 600000, tzinfo=ZONE),
            "day": date(2024, 1, 2),
            "span": timedelta(hours=1, seconds=3),
            "price": Decimal("1.10"),
            "id": UUID(int=7),
            "model": [CardAction(title="x")],
            1: "number",
        }
    ),
    "value false": Activity(value=False, channel_data=0),
    "value text": Activity(value="x", channel_data=["a", {"b": 1}]),
    "moments": Activity(
        timestamp=datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        local_timestamp=datetime(2024, 1, 2, 3, 4, 5, 123456, tzinfo=ZONE),
        expiration=datetime(2024, 1, 2, 3, 4, 5),
    ),
    "moments as text": Activity(timestamp="2024-01-02T03:04:05+02:00", local_timezone="Europe/Rome"),
    "numbers for text": Activity(text=5, id=UUID(int=7), name=Loud("x")),
    "accounts": Activity(
        from_property=ChannelAccount(id="b", name="Bot", role="bot", aad_object_id="a"),
        recipient=ChannelAccount(id="u"),
        conversation=ConversationAccount(id="c", is_group=True, tenant_id="t", conversation_type="channel"),
        members_added=[ChannelAccount(id="u2")],
        reactions_added=[MessageReaction(type="like")],
        listen_for=["a", "b"],
        text_highlights=[TextHighlight(text="x", occurrence=2)],
    ),
    "reference": Activity(
        relates_to=ConversationReference(
            activity_id="1", conversation=ConversationAccount(id="c"), service_url="https://x", locale="de"
        ),
        semantic_action=SemanticAction(id="s", state="start", entities={"e": Entity(type="t")}),
        importance="urgent",
        delivery_mode="normal",
        call_id="7",
    ),
}


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("activity", WRITTEN.values(), ids=WRITTEN.keys())
def test_an_activity_is_written_as_the_sdk_writes_it(activity: Activity) -> None:
    """Field by field, and in a form that JSON takes."""
    written = to_json(activity)
    assert written == activity.serialize()
    assert json.loads(json.dumps(written)) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ((1, ("a",)), [1, ["a"]]),
        ({"shade": Shade.DARK, "type": ActivityTypes.typing}, {"shade": "dark", "type": "typing"}),
        ({Shade.DARK: 1}, {"dark": 1}),
        (b"\x00", "AA=="),
        (frozenset({1}), [1]),
    ],
    ids=["tuple", "enum", "enum key", "bytes", "set"],
)
def test_free_values_are_written_as_what_they_mean(value: Any, written: Any) -> None:
    """Where the SDK fails, or writes the text that Python shows for them."""
    assert to_json(Activity(value=value))["value"] == written


def test_what_the_schema_does_not_know_is_written_again() -> None:
    """The SDK drops it, at every level, and with it the tenant that a reply to Teams needs."""
    body = {
        "type": "message",
        "unknown": {"a": None},
        "conversation": {"id": "c", "tenantId": "t", "extra": 1},
        "entities": [{"type": "clientInfo", "locale": "de-DE", "nested": {"x": [None]}}],
        "from": {"id": "u", "tier": 3},
    }
    assert to_json(activity_from_json(body)) == body


def test_a_known_field_is_never_hidden_by_an_unknown_one() -> None:
    activity = Activity(type="message", text="said")
    activity.additional_properties = {"text": "smuggled", "type": "event"}
    assert to_json(activity) == {"type": "message", "text": "said"}


READ: dict[str, dict[str, Any]] = {
    "empty": {},
    "message": {"type": "message", "id": "1", "text": "hi", "textFormat": "plain", "unknown": {"a": [1]}},
    "moments": {
        "timestamp": "2024-01-02T03:04:05.1234567Z",
        "localTimestamp": "2024-01-02T03:04:05.1+02:00",
        "expiration": "2024-01-02T03:04:05",
    },
    "accounts": {
        "from": {"id": "u", "name": "Ann", "aadObjectId": "a", "more": 1},
        "recipient": {"id": "b", "role": "bot"},
        "conversation": {"id": "c", "isGroup": True, "tenantId": "t", "conversationType": "personal"},
        "membersAdded": [{"id": "x"}, {"id": "y", "z": None}],
    },
    "attachments": {
        "attachments": [
            {"contentType": "x", "content": {"a": {"b": [None, {"c": None}]}}, "extra": 1},
            {"contentType": "y", "contentUrl": "https://x", "thumbnailUrl": None},
        ],
        "suggestedActions": {"to": ["u"], "actions": [{"type": "imBack", "title": "t", "value": {"x": None}}]},
    },
    "entities": {
        "entities": [
            {"type": "mention", "mentioned": {"id": "u"}, "text": "<at>"},
            {"type": "clientInfo", "locale": "de"},
        ],
        "semanticAction": {"id": "s", "entities": {"e": {"type": "t", "x": 1}}},
    },
    "nothing": {"text": None, "conversation": None, "attachments": None, "channelData": None, "unknown": None},
    "values": {"channelData": {"a": None, "b": [1, {"c": None}]}, "value": [1, "x"], "listenFor": ["a"]},
    "reference": {
        "relatesTo": {
            "activityId": "1",
            "user": {"id": "u"},
            "conversation": {"id": "c"},
            "channelId": "x",
            "locale": "de",
        },
        "textHighlights": [{"text": "x", "occurrence": 2}],
        "reactionsAdded": [{"type": "like"}],
        "historyDisclosed": False,
    },
}


def same(one: Any, other: Any, path: str = "activity") -> None:
    """Attribute by attribute, types included."""
    assert type(one) is type(other), path
    if isinstance(one, Model):
        assert vars(one).keys() == vars(other).keys(), path
        for name, value in vars(one).items():
            same(value, getattr(other, name), f"{path}.{name}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for index, pair in enumerate(zip(one, other, strict=True)):
            same(*pair, f"{path}[{index}]")
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for name in one:
            same(one[name], other[name], f"{path}[{name!r}]")
    elif isinstance(one, datetime):
        assert one.replace(tzinfo=None) == other.replace(tzinfo=None), path
        assert type(one.tzinfo) is type(other.tzinfo), path
        assert (one.utcoffset(), one.tzname(), one.dst()) == (other.utcoffset(), other.tzname(), other.dst()), path
    else:
        assert one == other, path


@pytest.mark.parametrize("body", READ.values(), ids=READ.keys())
def test_an_activity_is_read_as_the_sdk_reads_it(body: dict[str, Any]) -> None:
    """Attribute by attribute: models, lists, times, and what the schema does not know."""
    same(activity_from_json(body), Activity.deserialize(body))


FORGIVEN = {
    "numbers as ids": {"id": 5, "from": {"id": 29, "name": 1.5}, "conversation": {"id": 12345678901234567890}},
    "truth in words": {"conversation": {"isGroup": "false"}, "historyDisclosed": "True"},
    "truth in numbers": {"conversation": {"isGroup": 0}, "historyDisclosed": "1"},
    "null in lists": {
        "attachments": [None],
        "entities": [None, {"type": "mention"}],
        "membersAdded": [None],
        "listenFor": [None],
    },
}


@pytest.mark.parametrize("body", FORGIVEN.values(), ids=FORGIVEN.keys())
def test_what_the_sdk_reads_all_the_same_is_read_so(body: dict[str, Any]) -> None:
    """It is no mistake of a channel; of a sender who can be told, it is."""
    activity, mistakes = read_activity(body, strict=False)
    same(activity, Activity.deserialize(body))
    assert mistakes == []
    assert read_activity(body)[1] != []


def two(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[str]:
    return numbers.map("{:02}".format)


zones = ["", "Z", "z", "+00:00", "-00:00", "+05:30", "-14:59", "+15:00", "-23:59", "+24:00", "+02:60", "+0200", "-02"]
times = st.builds(
    "{}{}-{}-{}{}{}:{}:{}{}{}{}".format,
    st.sampled_from(["", "", "", "+", " "]),
    (st.integers(1, 9999) | st.integers(1990, 2030)).map("{:04}".format),
    *(two(st.integers(0, 13)), two(st.integers(0, 32)), st.sampled_from("TTTTt ")),
    *(two(st.integers(0, 25)), two(st.integers(0, 60)), two(st.integers(0, 60))),
    st.just("") | st.text("0123456789", max_size=12).map(".{}".format),
    *(st.sampled_from(zones), st.sampled_from(["", "", "", " ", "0"])),
)


@settings(max_examples=400, deadline=None)
@given(times)
@example("2026-01-05T12:00:00.1234567+01:00")
@example("2026-02-30T12:00:00Z")
@example("2026-01-05T24:00:00Z")
@example("0001-01-01T00:00:00+01:00")
@example("9999-12-31T23:59:59-01:00")
@example("2026-01-05T12:00:00,5Z")
@example("2026-W01-1T12:00:00Z")
@example("20260105T120000Z")
@example("٢٠٢٦-01-05T12:00:00Z")
def test_a_time_is_read_as_the_sdk_reads_it(text: str) -> None:
    """To the microsecond and the class of its time zone; what the SDK refuses is left as it is, and told."""
    try:
        expected = Deserializer.deserialize_iso(text)
    except Exception:
        expected = text
    activity, mistakes = read_activity({"localTimestamp": text})
    same(activity.local_timestamp, expected)
    assert [mistake.path for mistake in mistakes] == ([("localTimestamp",)] if expected == text else [])


text = st.text(max_size=6)
account = st.fixed_dictionaries({"id": text}, optional={"name": text, "role": text, "odd": st.none() | text})
free = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
moment = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda at: f"{at.isoformat()}Z")
action = st.fixed_dictionaries({"type": text}, optional={"title": text, "value": free, "image": text})
bodies = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "event", "invoke"])},
    optional={
        "text": text,
        "timestamp": moment,
        "from": account,
        "conversation": st.fixed_dictionaries({"id": text}, optional={"isGroup": st.booleans(), "tenantId": text}),
        "attachments": st.lists(st.fixed_dictionaries({"contentType": text}, optional={"content": free}), max_size=2),
        "suggestedActions": st.fixed_dictionaries({"actions": st.lists(action, max_size=2)}),
        "entities": st.lists(st.fixed_dictionaries({"type": text}, optional={"x": free}), max_size=2),
        "membersAdded": st.lists(account, max_size=2),
        "channelData": free,
        "value": free,
        "odd": free,
    },
)


def known_only(model: Model) -> Model:
    """Without what the schema does not know, which the SDK would not write."""
    model.additional_properties = {}
    for value in vars(model).values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Model):
                known_only(part)
    return model


@pytest.mark.filterwarnings("ignore:.*")
@settings(max_examples=150, deadline=None)
@given(bodies)
def test_any_activity_is_written_as_the_sdk_writes_it(body: dict[str, Any]) -> None:
    activity = known_only(activity_from_json(body))
    assert to_json(activity) == activity.serialize()


@settings(max_examples=150, deadline=None)
@given(bodies)
def test_any_activity_is_read_as_the_sdk_reads_it_and_written_as_it_came(body: dict[str, Any]) -> None:
    """Reading loses nothing that writing would not give back, but for what is null."""
    activity = activity_from_json(body)
    same(activity, Activity.deserialize(body))
    again = activity_from_json(to_json(activity))
    same(again, activity)


MALFORMED: dict[str, dict[str, Any]] = {
    "a conversation that is text": {"conversation": "c", "from": 5},
    "attachments that are none": {"attachments": [1, "x", None, {"contentType": "y"}], "entities": "no"},
    "a list for an object": {"conversation": [{"id": "c"}], "recipient": []},
    "an object for a list": {"attachments": {"contentType": "x"}, "membersAdded": {}},
    "an object for text": {"text": {"a": 1}, "id": ["x"], "type": 3},
    "a time that is none": {"timestamp": "yesterday", "localTimestamp": 5, "expiration": {}},
    "a map of nothing": {"semanticAction": {"entities": {"e": 1}}},
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_taken_as_it_is(body: dict[str, Any]) -> None:
    """It is refused where it comes in; if it was stored all the same, reading and writing it is no crash."""
    written = to_json(activity_from_json(body))
    assert written.keys() == body.keys()
    for name, value in body.items():
        assert written[name] == (str(value) if name in ("text", "id", "type") else value)


def wrong_by_the_map(cls: Any, body: dict[str, Any], path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, str]]:
    """What is malformed, found the plain way: field by field, along the maps of the SDK's schema."""
    for entry in cls._attribute_map.values():
        value, kind = body.get(entry["key"]), entry["type"]
        if value is None or not entry["key"]:
            continue
        if kind.startswith("["):
            if isinstance(value, list):
                for number, item in enumerate(value):
                    yield from wrong_by_its_kind(kind[1:-1], item, (*path, entry["key"], number))
            else:
                yield (*path, entry["key"]), "a list"
        else:
            yield from wrong_by_its_kind(kind, value, (*path, entry["key"]))


def wrong_by_its_kind(kind: str, value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[Any, str]]:
    model = getattr(botbuilder.schema, kind, None)
    if model is not None and isinstance(value, dict):
        yield from wrong_by_the_map(model, value, path)
    elif model is not None:
        yield path, "an object"
    elif kind == "str" and not isinstance(value, str):
        yield path, "a string"
    elif kind == "bool" and not isinstance(value, bool):
        yield path, "true or false"
    elif kind == "iso-8601":
        try:
            Deserializer.deserialize_iso(value)
        except Exception:
            yield path, "a time (ISO 8601)"


texts = ("type", "id", "text", "textFormat", "listenFor", "to", "timestamp", "isGroup")
models = ("from", "conversation", "suggestedActions", "relatesTo", "user", "semanticAction")
lists = ("attachments", "entities", "membersAdded", "actions", "textHighlights", "occurrence")
names = st.sampled_from([*texts, *models, *lists, "channelData", "odd"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | text | moment,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(names, anything, max_size=4))
@example({"conversation": {"id": 5, "isGroup": "yes", "properties": 5}})
@example({"suggestedActions": {"to": "u", "actions": [None, {"title": 5, "value": 5}]}, "listenFor": ["a", None]})
@example({"relatesTo": {"user": [], "conversation": {"isGroup": 1}}, "historyDisclosed": 0, "expiration": 5})
@example({"semanticAction": {"id": 5, "entities": {"e": {"type": 5}, "f": 5}}, "textHighlights": [{"occurrence": "x"}]})
def test_everything_malformed_is_told(body: dict[str, Any]) -> None:
    """Where it is and what it should be, no more and no less than a plain walk over the schema finds."""
    activity, mistakes = read_activity(body)
    assert sorted(mistakes, key=repr) == sorted(wrong_by_the_map(Activity, body), key=repr)
    same(activity, activity_from_json(body))


@pytest.mark.parametrize("body", READ.values(), ids=READ.keys())
def test_nothing_is_told_of_what_is_well_formed(body: dict[str, Any]) -> None:
    assert read_activity(body)[1] == []


@pytest.mark.parametrize(
    ("cls", "attributes"),
    [
        (Activity, {"id": "1", "type": "event", "relates_to": None}),
        (ConversationReference, {"locale": "en"}),
        (ResourceResponse, {"id": "1"}),
    ],
)
def test_a_model_is_made_as_its_class_makes_it(cls: type[Model], attributes: dict[str, Any]) -> None:
    """What is not given is what it is by default, and nothing is shared with others."""
    made = model_of(cls, **attributes)
    assert vars(made) == vars(cls(**attributes))
    made.additional_properties["a"] = 1
    assert not model_of(cls).additional_properties


def test_what_was_read_and_written_shares_nothing() -> None:
    """A dialog may change its activity: neither another one nor what was written of it changes with it."""
    body = {"type": "message", "channelData": {"list": [1, {"a": 1}]}, "conversation": {"id": "c"}}
    one, other = activity_from_json(body), activity_from_json({})
    written = to_json(one)
    one.additional_properties["more"] = 1
    one.conversation.additional_properties["tenantId"] = "t"
    one.channel_data["list"][1]["a"] = 2
    assert written == {"type": "message", "channelData": {"list": [1, {"a": 1}]}, "conversation": {"id": "c"}}
    assert other.additional_properties == {}
    assert activity_from_json({"conversation": {}}).conversation.additional_properties == {}
