"""State as JSON: what goes in comes out, and nothing else can come out."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum
from fractions import Fraction
from http import HTTPStatus
from pathlib import Path, PurePosixPath, PureWindowsPath
from string import Template
from subprocess import Popen
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic
import pytest
from botbuilder.core import IntentScore, RecognizerResult
from botbuilder.core.recognizer_result import TopIntent
from botbuilder.dialogs import DialogInstance, DialogReason
from botbuilder.dialogs.choices import Choice, FoundChoice, ListStyle
from botbuilder.dialogs.dialog_state import DialogState
from botbuilder.dialogs.prompts import DateTimeResolution, PromptOptions
from botbuilder.schema import (
    Activity,
    ActivityTypes,
    Attachment,
    CardAction,
    ChannelAccount,
    ConversationReference,
    HeroCard,
    SuggestedActions,
    TokenResponse,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from msrest.serialization import Model

from domain.errors import NewerState, StateTooDeep, UndecodableState, UnstorableState
from state.codec import MAX_DEPTH, PART_DEPTH, Codec
from state.instances import SDK_CLASSES
from state.turn import Document

CODEC = Codec(["tests"])

ran: list[str] = []


# --------------------------------------------------------------------- what a developer may keep


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Colour(StrEnum):
    RED = "red"


class Rights(Flag):
    READ = 1
    WRITE = 2
    ADMIN = 4


class Bits(IntFlag):
    ONE = 1
    TWO = 2


class Point(Enum):
    ORIGIN = (0, 0)


@dataclass
class Order:
    item: str
    size: Size = Size.SMALL
    tags: set[str] = field(default_factory=set)
    parent: Order | None = None


@dataclass
class GiftOrder(Order):
    card: str | None = None


@dataclass(frozen=True)
class Address:
    street: str
    number: int


@dataclass(slots=True)
class Slotted:
    a: int
    b: list[str]


@dataclass(frozen=True, slots=True)
class FrozenSlotted:
    a: int


class HalfSlotted(Slotted):
    """Slots from its base, and a dictionary of its own."""


class Private:
    __slots__ = ("__hidden", "never_set")

    def __init__(self, hidden: int) -> None:
        self.__hidden = hidden

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Private) and other.__hidden == self.__hidden

    __hash__ = None  # type: ignore[assignment]


class Plain:
    """As the samples write it."""

    def __init__(self, name: str, age: int = 0) -> None:
        self.name = name
        self.age = age

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]

    class Nested:
        def __eq__(self, other: object) -> bool:
            return type(other) is Plain.Nested

        __hash__ = None  # type: ignore[assignment]


class Form(pydantic.BaseModel):
    title: str
    due: date | None = None
    _draft: int = pydantic.PrivateAttr(default=3)


class OwnActivity(Activity):
    """A model of the developer's own, derived from the SDK's."""


class Pair(NamedTuple):
    a: int
    b: list[str]


class Guarded(Pair):
    def __new__(cls, *values: Any) -> Any:
        raise AssertionError("what is read calls nothing")


OldPair: Any = namedtuple("OldPair", "a b")


class Bag(dict[str, Any]):
    """A dictionary that tells of what is done to it, with an attribute."""

    def __setitem__(self, key: str, value: Any) -> None:
        raise AssertionError("what is read calls nothing")

    __init__ = update = __setitem__  # type: ignore[assignment]


def bag() -> Bag:
    made = Bag.__new__(Bag)
    dict.update(made, {"a": [1], "$b": Level.HIGH})
    made.colour = "red"
    return made


class Basket(list[Any]):
    def __iter__(self) -> Any:
        raise AssertionError("what is stored is what is there")

    __len__ = extend = append = __init__ = __iter__  # type: ignore[assignment]


def basket() -> Basket:
    made: Basket = list.__new__(Basket)
    list.extend(made, [(1,), "x"])
    return made


class Name(str):
    __slots__ = ()


class Shout(str):
    def __str__(self) -> str:
        return self.upper()


class Ratio(float):
    pass


class Cents(int):
    pass


class Blob(bytes):
    pass


class Tags(set[str]):
    pass


class Frozen(frozenset[str]):
    pass


class Ranked(OrderedDict[str, int]):
    def __setitem__(self, key: str, value: int) -> None:
        raise AssertionError("what is read calls nothing")


def ranked() -> Ranked:
    made: Ranked = OrderedDict.__new__(Ranked)
    for key in "ba":
        OrderedDict.__setitem__(made, key, 1)
    return made


class Votes(Counter[str]):
    pass


T = TypeVar("T")


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


NumberPage = Page[int]


def nested_stack() -> DialogState:
    """Two component dialogs deep, as the SDK keeps it."""
    prompt = DialogInstance()
    prompt.id = "choice"
    options = PromptOptions(
        prompt=Activity(type=ActivityTypes.message, text="Which?", channel_data={}, timestamp=datetime.now(UTC)),
        choices=[Choice(value="fish", synonyms=["f"]), Choice(value="salad", action=CardAction(title="s"))],
        style=ListStyle.suggested_action,
        validations={"low": 1, "high": 9},
    )
    prompt.state = {"options": options, "state": {"attemptCount": 2}}
    inner = DialogInstance()
    inner.id = "steps"
    inner.state = {"stepIndex": 1, "values": {"order": Order("x"), "instanceId": "1"}, "options": {}}
    component = DialogInstance()
    component.id = "trip"
    component.state = {"dialogs": DialogState([inner, prompt])}
    return DialogState([component])


ROUND_TRIPS: dict[str, Any] = {
    "nothing": None,
    "text": 'Grüße \U0001f600 \x00 "$type"',
    "numbers": [0, -1, 2**63 - 1, -(2**63), 2**63, 2**64, 10**5000, -(10**5000), 1.5, -0.0, 5e-324],
    "booleans": [True, False, 1, 0],
    "infinite": [math.inf, -math.inf],
    "empty": [{}, [], (), set(), frozenset(), "", b""],
    "tuples": {"t": (1, ("a", [2])), "l": [1, 2]},
    "sets": [{1, "a", None}, frozenset({(1, 2), frozenset({3})})],
    "bytes": b"\x00\xff",
    "decimal": [Decimal("1.10"), Decimal("-Infinity"), Decimal("1E+400")],
    "uuid": UUID(int=7),
    "days": [
        date(2024, 2, 29),
        time(1, 2, 3, 4),
        time(1, tzinfo=UTC),
        timedelta(days=-1, microseconds=1),
        timedelta.max,
    ],
    "moments": [
        datetime(2024, 2, 29, 1, 2, 3, 4),
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
        datetime.min,
        datetime.max,
    ],
    "keys": {1: "a", "1": "b", None: "c", (1, 2): "d", False: "e", Level.HIGH: "f", date(2024, 1, 1): "g"},
    "dollar keys": {"$type": "subprocess:Popen", "v": {"args": "x"}, "$": {"$ref": 1}},
    "enums": [
        Size.LARGE,
        Level.HIGH,
        Colour.RED,
        Point.ORIGIN,
        Rights.READ | Rights.ADMIN,
        Rights(0),
        Bits.ONE | Bits.TWO,
    ],
    "dataclass": Order("tea", Size.LARGE, {"b", "a"}, parent=Order("pot")),
    "inherited": GiftOrder("tea", card="$type"),
    "frozen": [Address("Elm", 1)],
    "key of one's own": {Address("Elm", 1): 2},
    "slots": [Slotted(1, ["x"]), FrozenSlotted(2), HalfSlotted(3, []), Private(4)],
    "plain": Plain("Ann", 3),
    "nested class": Plain.Nested(),
    "pydantic": Form(title="t", due=date(2024, 1, 1)),
    "dialog stack": nested_stack(),
    "found": [
        FoundChoice(value="x", index=1, score=0.5),
        DateTimeResolution(value="v", timex="t"),
        DialogReason.EndCalled,
    ],
    "reference": ConversationReference(
        activity_id="1", user=ChannelAccount(id="u", aad_object_id="a"), service_url="https://x", locale="de-DE"
    ),
    "card": HeroCard(title="t", buttons=[CardAction(type="imBack", value={"a": None, "b": {}})]),
    "token": TokenResponse(token="t"),
    "named tuples": [Pair(1, ["x"]), tuple.__new__(Guarded, (1, 2)), OldPair(1, (2,)), {OldPair(1, 2): 3}],
    "ordered": [OrderedDict(b=1, a=(2,)), OrderedDict({1: 2})],
    "with defaults": [defaultdict(list, a=[1]), defaultdict(int, {1: 2}), defaultdict(None, a=1), defaultdict(Counter)],
    "counts": Counter("banana"),
    "queues": [deque([1, (2,)]), deque("abc", maxlen=2), deque()],
    "paths": [Path("/tmp/x"), PurePosixPath("a/b"), PureWindowsPath("c:\\x")],
    "fractions": [Fraction(1, 3), Fraction(-7), Fraction(10**30, 7)],
    "a dict of one's own": bag(),
    "a list of one's own": basket(),
    "text of one's own": [Name("x"), {Name("k"): Name("v")}, Shout("loud"), {Shout("a"): 1}],
    "numbers of one's own": [Ratio(0.5), Ratio("inf"), Cents(5), Cents(2**70)],
    "bytes and sets of one's own": [Blob(b"\x00"), Tags("ab"), Frozen("ab")],
    "collections of one's own": [ranked(), Votes("aab")],
    "subscripted": [Box[int](1), Box[list[str]](["x"]), NumberPage(items=[1])],
    "recognized": RecognizerResult(text="x", intents={"Book": IntentScore(0.9)}, entities={"to": [["Riga"]]}),
    "top intent": TopIntent("Book", 0.9),
    "derived from the SDK": OwnActivity(text="x", value={}),
}


BY_IDENTITY: tuple[Any, ...] = (object.__eq__, Model.__eq__)


def state_of(value: Any) -> Any:
    """A value with the types of everything in it, and with the attributes of what compares by identity."""
    if isinstance(value, dict):
        kept = [getattr(value, name, None) for name in ("default_factory", "__dict__")]
        return [type(value), kept, *([state_of(key), state_of(item)] for key, item in dict.items(value))]
    if isinstance(value, list | tuple):
        items: Any = list if isinstance(value, list) else tuple
        return [type(value), *(state_of(item) for item in items.__iter__(value))]
    if isinstance(value, deque):
        return [deque, value.maxlen, *(state_of(item) for item in value)]
    kind = type(value)
    if not isinstance(value, Enum) and any(kind.__eq__ is same for same in BY_IDENTITY) and hasattr(value, "__dict__"):
        attributes = {name: state_of(item) for name, item in vars(value).items() if name != "__orig_class__"}
        return [kind, attributes]
    return [kind, value]


@pytest.mark.parametrize("value", ROUND_TRIPS.values(), ids=ROUND_TRIPS.keys())
def test_what_is_put_in_comes_out(value: Any) -> None:
    """The same values of the same types, however they lie in one another."""
    stored = CODEC.encode({"x": value})
    assert state_of(CODEC.decode(stored)["x"]) == state_of(value)


@pytest.mark.parametrize("value", ROUND_TRIPS.values(), ids=ROUND_TRIPS.keys())
def test_what_was_not_changed_encodes_to_the_same_bytes(value: Any) -> None:
    """So a turn that changes nothing writes nothing."""
    stored = CODEC.encode({"x": value})
    assert CODEC.encode(CODEC.decode(stored)) == stored


def test_not_a_number_comes_out() -> None:
    """Which JSON does not have."""
    (restored,) = CODEC.decode(CODEC.encode([math.nan]))
    assert math.isnan(restored)


def test_a_moment_keeps_the_name_of_its_time_zone() -> None:
    """And its place in the hour that an autumn night has twice: later sums with it are right."""
    rome = ZoneInfo("Europe/Rome")
    for fold in (0, 1):
        moment = datetime(2024, 10, 27, 2, 30, tzinfo=rome, fold=fold)
        restored = CODEC.decode(CODEC.encode(moment))
        assert (restored, restored.tzinfo, restored.fold) == (moment, rome, fold)
    assert CODEC.decode(CODEC.encode(time(7, tzinfo=rome))).tzinfo is rome


@pytest.mark.parametrize("name", sorted(name for name, cls in SDK_CLASSES.items() if issubclass(cls, Model)))
def test_every_model_of_the_sdk_comes_out_as_it_was(name: str) -> None:
    """Empty, and with something in each attribute: an empty object too, which is not the same as nothing."""
    cls: Any = SDK_CLASSES[name]
    try:
        empty: Any = cls()
    except TypeError:  # one constructor of the SDK fails whatever it is given
        empty = object.__new__(cls)
        vars(empty).update(dict.fromkeys(cls._attribute_map), additional_properties={})
    full: Any = object.__new__(cls)
    vars(full).update({attribute: {} for attribute in vars(empty)}, additional_properties={"x": None})
    bare: Any = object.__new__(cls)
    vars(bare).update(vars(empty), additional_properties=None)
    for model in (empty, full, bare):
        restored = CODEC.decode(CODEC.encode(model))
        assert type(restored) is cls
        assert state_of(restored) == state_of(model)


def test_instances_do_not_share_what_their_class_starts_with() -> None:
    """A list that one activity grows does not grow in another."""
    first, second = CODEC.decode(CODEC.encode([Activity(type="message"), Activity(type="message")]))
    first.additional_properties["x"] = 1
    assert second.additional_properties == {}


def test_an_activity_made_in_another_order_gives_the_same_bytes() -> None:
    """The order of the SDK's attributes says nothing."""
    one = Activity(type="message", text="x")
    other = Activity(type="message")
    vars(other).clear()
    vars(other).update(dict(reversed(vars(one).items())))
    assert CODEC.encode(one) == CODEC.encode(other)


def test_equal_sets_give_the_same_bytes() -> None:
    """In whatever order they were filled."""
    values = [f"item{i}" for i in range(50)]
    assert CODEC.encode(set(values)) == CODEC.encode(set(reversed(values)))


def test_the_same_object_in_two_places_is_stored_twice() -> None:
    """State is a tree; only an object inside itself is refused."""
    address = Address("Elm", 1)
    assert CODEC.decode(CODEC.encode([address, address])) == [address, address]


keys_ = st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.none(), st.just("$type"), st.just("v"))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.datetimes(timezones=st.just(UTC) | st.none()).map(lambda moment: moment.replace(fold=0)),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.sampled_from([*Size, *Level, *Bits, Address("Elm", 1)]),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(keys_, inner, max_size=4),
        st.builds(Slotted, st.integers(), st.lists(inner, max_size=3)),
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(values)
def test_any_tree_of_values_comes_out(value: Any) -> None:
    """Types included: 1 is not True, and a tuple is not a list."""
    stored = CODEC.encode(value)
    assert repr(CODEC.decode(stored)) == repr(value)
    assert CODEC.encode(CODEC.decode(stored)) == stored


# --------------------------------------------------------------------- what is refused when it is put in


class Own(dict[str, int]):
    def __init__(self) -> None:
        self.__dict__ = self


class Failure(Exception):
    pass


def local() -> Any:
    class Local:
        pass

    return Local()


def cycle() -> Any:
    order = Order("x")
    order.parent = order
    return order


def iter_nothing() -> Iterator[int]:
    yield from ()


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class Generic_:
    """As numpy's scalars look; numpy itself is not installed everywhere."""

    def __init__(self, plain: Any = None) -> None:
        self.plain = plain

    def item(self) -> Any:
        return self if self.plain is None else self.plain


Generic_.__module__, Generic_.__name__ = "numpy", "generic"


class Long(Generic_):
    pass


Long.__module__, Long.__qualname__ = "numpy", "longdouble"


class Moment(Generic_):
    pass


Moment.__module__, Moment.__qualname__, Moment.__name__ = "numpy", "datetime64", "datetime64"


class Float64(float, Generic_):
    def __init__(self, plain: float) -> None:
        Generic_.__init__(self, plain)


Float64.__module__ = "numpy"


class Array:
    def item(self) -> int:
        return 1


Array.__module__, Array.__qualname__ = "numpy", "ndarray"


def test_scalars_of_numpy_are_stored_as_plain_values() -> None:
    """As keys and in sets too."""
    state = {"a": [Generic_(5), Generic_(True), Float64(0.5), Generic_("x")], Generic_("k"): {Generic_(1)}}
    restored = CODEC.decode(CODEC.encode(state))
    assert state_of(restored) == state_of({"a": [5, True, 0.5, "x"], "k": {1}})


def nobody() -> Any:
    return type("Nobody", (tuple,), {})([1])


def page_of_text() -> Any:
    return Page[str](items=["x"])


REFUSED: dict[str, tuple[Any, str, str]] = {
    "another package's class": (Template("x"), "string:Template", "add 'string' to STATE_MODULES"),
    "another package's enum": (HTTPStatus.OK, "http:HTTPStatus", "add 'http' to STATE_MODULES"),
    "a local class": (local(), "Local", "define it in a module"),
    "attributes that are items": (Own(), "tests.test_codec:Own", "define __getattr__"),
    "defaults that run code": (defaultdict(lambda: 0), "defaultdict", "use a dict and setdefault()"),
    "a class under another name": (nobody(), "tests.test_codec:Nobody", "its name there"),
    "subscripted by pydantic": (page_of_text(), "tests.test_codec:Page[str]", "its name there"),
    "a table of numpy": (Array(), "numpy:ndarray", "tolist()"),
    "a moment of numpy that is too fine": (Moment(1), "numpy:datetime64", "astype("),
    "a number of numpy that has no plain one": (Long(), "numpy:longdouble", "float()"),
    "an exception": (Failure(), "tests.test_codec:Failure", "store plain values or a plain class"),
    "a function": (local, "builtins:function", "store plain values or a plain class"),
    "a method": ([].append, "builtins:builtin_function_or_method", "store plain values or a plain class"),
    "a class": (Order, "builtins:type", "store plain values or a plain class"),
    "a generator": (iter_nothing(), "builtins:generator", "store plain values or a plain class"),
    "an object in itself": (cycle(), "state.place[1].parent", "state is stored as a tree"),
    "half a character": ("\ud83d", "lone surrogate", "decode the text first"),
}


@pytest.mark.parametrize(("value", "what", "advice"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_stored_is_refused_with_its_place(value: Any, what: str, advice: str) -> None:
    """The developer reads where it is, what it is and what to do about it."""
    with pytest.raises(UnstorableState) as refused:
        CODEC.encode({"place": [0, value]})
    message = str(refused.value)
    assert "state.place[1]" in message
    assert what in message
    assert advice in message


@pytest.mark.parametrize("inside", ["key", "member", "item", "attribute"])
def test_the_place_of_what_is_refused_is_named_wherever_it_is(inside: str) -> None:
    places: dict[str, tuple[Any, str]] = {
        "key": ({Failure(): 1}, "state key"),
        "member": ({"s": {Failure()}}, "state.s[0]"),
        "item": (OldPair(1, Failure()), "state[1]"),
        "attribute": (Plain(Failure()), "state.name"),  # type: ignore[arg-type]
    }
    value, place = places[inside]
    with pytest.raises(UnstorableState, match=place.replace("[", r"\[")):
        CODEC.encode(value)


def test_a_key_that_is_half_a_character_is_refused() -> None:
    with pytest.raises(UnstorableState):
        CODEC.encode({"\ud83d": 1})


def test_state_may_be_as_deep_as_dialogs_go_and_no_deeper() -> None:
    """A hundred and fifty component dialogs within one another are stored; what has no end is refused, not a crash."""
    state: Any = {"dialogs": 1}
    for _ in range(150):
        instance = DialogInstance()
        instance.id, instance.state = "component", {"dialogs": DialogState([instance_with(state)])}
        state = instance.state
    assert CODEC.encode(CODEC.decode(CODEC.encode(state))) == CODEC.encode(state)
    for levels in (PART_DEPTH, PART_DEPTH + 1, 2 * PART_DEPTH, 2 * PART_DEPTH + 1, MAX_DEPTH):
        widest: Any = 1
        for _ in range(levels):
            widest = {1: widest}
        assert CODEC.decode(CODEC.encode(widest)) == widest
    for levels in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(StateTooDeep, match="nested too deeply"):
            CODEC.encode(deep(levels))


def test_deep_state_may_be_wide_too() -> None:
    """What is in one place comes back in that place, however many parts there are."""
    value = {"left": [deep(PART_DEPTH), 1, deep(PART_DEPTH - 1)], "right": [deep(3 * PART_DEPTH), deep(5)]}
    assert CODEC.decode(CODEC.encode(value)) == value


def test_an_object_that_contains_itself_far_below_is_refused() -> None:
    inner: list[Any] = []
    value = inner
    for _ in range(PART_DEPTH + 10):
        value = [value]
    inner += [value, value]
    with pytest.raises(UnstorableState, match="refers to an object that contains it"):
        CODEC.encode(value)


def instance_with(state: Any) -> DialogInstance:
    instance = DialogInstance()
    instance.id, instance.state = "inner", {"values": 1}
    if "dialogs" in state and state["dialogs"] != 1:
        instance.state = state
    return instance


# --------------------------------------------------------------------- what is refused when it is read


class Descriptor:
    def __set__(self, instance: object, value: object) -> None:
        ran.append("descriptor")

    def __get__(self, instance: object, owner: type | None = None) -> object:
        ran.append("descriptor read")
        return None


class Watcher(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        ran.append("metaclass")
        return super().__call__(*args, **kwargs)


class Trap(metaclass=Watcher):
    """Tells of every piece of its code that is run."""

    watched = Descriptor()

    def __new__(cls, *args: Any) -> Trap:
        ran.append("new")
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None:
        ran.append("init")

    def __post_init__(self) -> None:
        ran.append("post_init")

    def __setstate__(self, state: Any) -> None:
        ran.append("setstate")

    def __reduce__(self) -> Any:
        ran.append("reduce")
        return super().__reduce__()

    def __setattr__(self, name: str, value: Any) -> None:
        ran.append("setattr")

    def __getattribute__(self, name: str) -> Any:
        if name != "__dict__":
            ran.append("getattribute")
        return super().__getattribute__(name)

    def __del__(self) -> None:
        if "armed" in object.__getattribute__(self, "__dict__"):
            return
        ran.append("made and dropped")

    @property
    def price(self) -> int:
        return 1

    @price.setter
    def price(self, value: int) -> None:
        ran.append("property")


class SlotBase:
    __slots__ = ("price",)


class SlotTrap(SlotBase):
    """A property over a slot of its base."""

    @property
    def price(self) -> int:
        return 1

    @price.setter
    def price(self, value: int) -> None:
        ran.append("property")


class TrapModel(Model):
    def __init__(self, **kwargs: Any) -> None:
        ran.append("init")
        super().__init__(**kwargs)


class TrapEnum(Enum):
    ONE = 1

    @classmethod
    def _missing_(cls, value: object) -> Any:
        ran.append("missing")


class TrapFlag(Flag):
    ONE = 1
    TWO = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        ran.append("missing")


class Holder:
    thing = Descriptor()
    Borrowed = Popen


def stored(name: str, **attributes: Any) -> bytes:
    return json.dumps({"x": {"$type": name, "v": attributes}}).encode()


@pytest.fixture
def nothing_ran() -> Any:
    ran.clear()
    yield
    assert ran == []


@pytest.mark.usefixtures("nothing_ran")
@pytest.mark.parametrize("name", ["Trap", "SlotTrap", "TrapModel"])
def test_decoding_runs_no_code_of_a_class(name: str) -> None:
    """No constructor, no setter, no hook: attributes are put where they belong and that is all."""
    attributes = {"price": 2, "watched": 3, "armed": True, "__class__": "x", "__init__": 1}
    if name == "TrapModel":
        attributes["additional_properties"] = {}
    restored = Codec(["tests"]).decode(stored(f"tests.test_codec:{name}", **attributes))["x"]
    assert object.__getattribute__(restored, "__dict__")["__class__"] == "x"
    assert type(restored).__name__ == name


HOSTILE: dict[str, bytes] = {
    "a process": stored("subprocess:Popen", args=["touch", "x"]),
    "a builtin": stored("builtins:eval"),
    "a builtin class": stored("builtins:object"),
    "a process by way of an allowed module": stored("tests.test_codec:Popen", args=["x"]),
    "a process by way of an allowed class": stored("tests.test_codec:Holder.Borrowed"),
    "a module by way of an allowed module": stored("tests.test_codec:json.decoder.JSONDecoder"),
    "a module in an allowed module": stored("tests.test_codec:json"),
    "a function": stored("tests.test_codec:stored"),
    "a method": stored("tests.test_codec:Trap.__del__"),
    "a descriptor": stored("tests.test_codec:Holder.thing.x"),
    "an instance": stored("tests.test_codec:CODEC"),
    "a metaclass attribute": stored("tests.test_codec:Trap.mro"),
    "a class's own class": stored("tests.test_codec:Trap.__class__"),
    "a dict of one's own without its items": stored("tests.test_codec:Bag", a=1),
    "a plain class with items": b'{"$type": "tests.test_codec:Plain", "v": {}, "of": [1]}',
    "a named tuple that has another field now": b'{"$type": "tests.test_codec:Pair", "v": {}, "of": [1]}',
    "defaults that run code": b'{"$type": "defaultdict", "of": "eval", "v": []}',
    "defaults without a name": b'{"$type": "defaultdict", "v": []}',
    "a queue that is none": b'{"$type": "deque", "of": "x", "v": []}',
    "counts that are none": b'{"$type": "Counter", "v": [1]}',
    "a fraction that is none": b'{"$type": "fraction", "v": "1e999999999"}',
    "a fraction of nothing": b'{"$type": "fraction", "v": "1/0"}',
    "an exception": stored("tests.test_codec:Failure"),
    "an enum as an instance": stored("tests.test_codec:Size", v=1),
    "a package that only begins alike": stored("tests_evil:Order"),
    "an empty module": stored(":Order"),
    "no class": stored("tests.test_codec:"),
    "no module": stored("Order"),
    "dots": stored("tests..test_codec:Order"),
    "a path": stored("tests./etc/passwd:Order"),
    "a main module": stored("tests.__main__:Order"),
    "a module that is not there": stored("tests.gone:Order"),
    "a class that is not there": stored("tests.test_codec:Renamed", a=1),
    "a class of the SDK that is not there": stored("sdk:Renamed"),
    "something of the SDK that is not state": stored("sdk:WaterfallDialog"),
    "an attribute that has no place": stored("tests.test_codec:FrozenSlotted", a=1, b=2),
    "a type that is no text": b'{"$type": ["list"], "v": 1}',
    "a type that is nothing": b'{"$type": null, "v": {}}',
    "no value": b'{"$type": "tuple"}',
    "attributes that are none": b'{"$type": "sdk:Activity", "v": [1]}',
    "an enum of no class": b'{"$type": "enum", "class": "tests.test_codec:Order", "v": 1}',
    "an enum that is a process": b'{"$type": "enum", "class": "subprocess:Popen", "v": 1}',
    "a member that is gone": b'{"$type": "enum", "class": "tests.test_codec:Size", "v": "xl"}',
    "a member that would be asked for": b'{"$type": "enum", "class": "tests.test_codec:TrapEnum", "v": 2}',
    "flags that would be asked for": b'{"$type": "enum", "class": "tests.test_codec:TrapFlag", "v": 3}',
    "flags that are not there": b'{"$type": "enum", "class": "tests.test_codec:Rights", "v": 64}',
    "a set of lists": b'{"$type": "set", "v": [[1]]}',
    "a key that is a list": b'{"$type": "dict", "v": [[[1], 2]]}',
    "pairs that are none": b'{"$type": "dict", "v": [[1, 2, 3]]}',
    "a time that is none": b'{"$type": "datetime", "v": "soon"}',
    "a zone that is a path": b'{"$type": "datetime", "v": "2024-01-01T00:00:00[../../../../etc/passwd]"}',
    "a span beyond all time": b'{"$type": "timedelta", "v": "9999999999:0:0"}',
    "a number that is none": b'{"$type": "decimal", "v": "x"}',
    "bytes that are none": b'{"$type": "bytes", "v": 5}',
    "no JSON": b"\x80\x04cos\nsystem",
    "half of it": b'{"$type": "tup',
    "nothing": b"",
    "a deep one": b'{"$type":"tuple","v":[' * 500 + b"]}" * 500,
    "one without an end": b"[" * 100_000,
}


@pytest.mark.usefixtures("nothing_ran")
@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_not_state_is_not_read(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies in the store: nothing is run, no module outside the allowed ones is imported, one error comes."""
    asked: list[str] = []
    from importlib import import_module

    def watched(name: str) -> Any:
        asked.append(name)
        return import_module(name)

    monkeypatch.setattr("state.codec.importlib.import_module", watched)
    with pytest.raises(UndecodableState):
        Codec(["tests"]).decode(data)
    assert all(name.startswith("tests.") for name in asked)


def test_a_module_that_fails_when_it_is_imported_is_no_crash(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's code may be broken today; the state says so and is kept."""
    (tmp_path / "broken_today.py").write_text("raise RuntimeError('not now')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UndecodableState, match="not now"):
        Codec(["broken_today"]).decode(stored("broken_today:Thing"))


def test_only_what_was_allowed_is_read() -> None:
    """The same bytes are state for one service and none for another."""
    data = CODEC.encode([Order("x")])
    assert CODEC.decode(data) == [Order("x")]
    assert Codec(["tests.test_codec"]).decode(data) == [Order("x")]
    for packages in ([], ["test"], ["tests.test_code"], ["tests.own_dialogs"]):
        with pytest.raises(UndecodableState, match="STATE_MODULES"):
            Codec(packages).decode(data)


def test_a_document_with_deep_state_is_left_to_those_who_read_it() -> None:
    """It has a format of its own; what is not deep is written as before, so that earlier versions read it."""
    document = Document(CODEC, None, 0)
    for levels, form in ((5, b"1"), (PART_DEPTH + 5, b"2"), (5, b"1")):
        document.keep({"a": deep(levels)})
        raw = document.encoded()
        assert raw is not None and raw.startswith(form + b"\n")
        document = Document(CODEC, raw, 1)
        assert document.load() == {"a": deep(levels)}
        assert document.encoded() is None


def test_a_document_of_a_newer_format_is_left_to_newer_processes() -> None:
    """However that format looks: it is not touched, and not taken for garbage."""
    for raw in (b"3\n{}\n{}", b"3", b"2 something else"):
        with pytest.raises(NewerState, match="Update"):
            Document(CODEC, raw, 1)


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.text(max_size=6), st.sampled_from(["sdk:Activity", "set"])
        ),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.fixed_dictionaries({"$type": inner, "v": inner})
            | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(body: Any) -> None:
    """There is no third way out."""
    try:
        CODEC.decode(json.dumps(body).encode())
    except UndecodableState as error:
        assert str(error)


def test_attachments_keep_their_content() -> None:
    """What an adaptive card or a button carries, nulls and empty objects included."""
    card = Attachment(content_type="application/vnd.microsoft.card.adaptive", content={"body": [{"a": None}], "m": {}})
    actions = SuggestedActions(actions=[CardAction(title="t", value={})])
    message = Activity(type="message", attachments=[card], suggested_actions=actions, value={}, entities=[])
    restored = CODEC.decode(CODEC.encode(message))
    assert restored.attachments[0].content == card.content
    assert (restored.value, restored.entities, restored.suggested_actions.actions[0].value) == ({}, [], {})
