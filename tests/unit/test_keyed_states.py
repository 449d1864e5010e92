"""What states hold: immutable values of the declared type, the same before and after a restart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, NamedTuple, Union

import msgspec
import pytest

from kappa import ListState, MapState, ValueState
from kappa.errors import DeclarationError, InvalidValue
from kappa.processing.keyed.key_codec import KeyCodec
from kappa.processing.keyed.keys import Key, PartitionKeys
from kappa.processing.keyed.state import State
from kappa.processing.keyed.state_types import normalizer, type_text
from kappa.processing.keyed.timers import EXPIRY
from kappa.processing.keyed.turn import Turn


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Place:
    city: str
    floors: tuple[int, ...] = ()


class Point(NamedTuple):
    x: int
    y: int


class Frozen(msgspec.Struct, frozen=True):
    place: Place


@dataclass
class Loose:
    city: str


class LooseStruct(msgspec.Struct):
    city: str


@dataclass(frozen=True)
class HoldsList:
    cities: list[str]


KINDS: list[tuple[Any, str, list[Any]]] = [
    (bool, "bool", [True, False]),
    (int, "int", [0, -(2**63), 2**63 - 1, 2**64 - 1]),
    (float, "float", [0.5, -0.0, math.inf]),
    (str, "str", ["", "a", "ä\0🐍"]),
    (bytes, "bytes", [b"", b"\0\xff"]),
    (Decimal, "Decimal", [Decimal("1.50")]),
    (date, "date", [date(2024, 2, 29)]),
    (datetime, "datetime", [datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2024, 1, 1)]),
    (timedelta, "timedelta", [timedelta(seconds=1.5)]),
    (Colour, "Colour['blue', 'red']", [Colour.RED]),
    (Literal["a", 1], "Literal['a', 1]", ["a", 1]),
    (Union[int, str], "int | str", [1, "1"]),  # noqa: UP007
    (tuple[int, str], "tuple[int, str]", [(1, "a")]),
    (tuple[int, ...], "tuple[int, ...]", [(), (1, 2)]),
    (frozenset[int], "frozenset[int]", [frozenset({3, 1, 2})]),
    (Place, "Place(city: str, floors: tuple[int, ...])", [Place("Ulm", (1, 2))]),
    (Point, "Point(x: int, y: int)", [Point(1, 2)]),
    (
        Frozen,
        "Frozen(place: Place(city: str, floors: tuple[int, ...]))",
        [Frozen(Place("Ulm"))],
    ),
]


@pytest.mark.parametrize(("kind", "text", "values"), KINDS, ids=[text for _, text, _ in KINDS])
def test_values_of_immutable_types_are_kept_as_they_are(
    kind: Any, text: str, values: list[Any]
) -> None:
    assert type_text(kind, where="p") == text
    normal = normalizer(kind, where="p")
    for value in values:
        kept = normal(value)
        assert (kept, type(kept)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        (list[int], "ListState"),
        (dict[str, int], "MapState"),
        (set[int], "frozenset"),
        (bytearray, "ListState"),
        (tuple[int, list[int]], "ListState"),
        (Any, "tuple"),
        (object, "tuple"),
        (Loose, "@dataclass(frozen=True)"),
        (LooseStruct, "frozen=True"),
        (HoldsList, "ListState"),
        (Callable[[], int], "tuple"),
    ],
)
def test_a_type_that_can_change_in_place_is_refused(kind: Any, hint: str) -> None:
    with pytest.raises(DeclarationError) as error:
        type_text(kind, where="fraud version 1, state 'seen'")
    assert error.match("fraud version 1, state 'seen'")
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (bool, 1),
        (int, True),
        (int, 1.0),
        (int, 2**64),
        (int, "1"),
        (float, True),
        (float, "1"),
        (str, b"a"),
        (str, "\ud800"),
        (bytes, "a"),
        (tuple[int, str], (1, 2)),
        (Place, "Ulm"),
        (Place, object()),
        (Colour, "green"),
        (date, datetime(2024, 1, 1)),
    ],
)
def test_a_value_of_another_type_is_refused_when_it_is_set(kind: Any, value: object) -> None:
    with pytest.raises(InvalidValue, match="fraud, state 'seen'"):
        normalizer(kind, where="fraud, state 'seen'")(value)


def test_a_value_is_what_a_restart_would_make_of_it() -> None:
    berlin = timezone(timedelta(hours=1))
    kept = normalizer(datetime, where="p")(datetime(2024, 1, 1, 12, tzinfo=berlin))
    assert kept == datetime(2024, 1, 1, 11, tzinfo=UTC)
    assert kept.tzinfo is not berlin
    assert type(normalizer(float, where="p")(1)) is float


class Scene:
    """States of one key, as handlers use them."""

    def __init__(self, **states: State) -> None:
        self.turn = Turn()
        self.turn.keys = PartitionKeys(0, len(states), asks=False)
        self.turn.key = self.turn.keys.blank("k")
        self.codec = KeyCodec(states)
        self.states: Any = type("States", (), {})()
        for place, (name, state) in enumerate(states.items()):
            setattr(self.states, name, state.bound(name, place, self.turn, where="p"))

    def stored(self) -> bytes:
        return self.codec.encode(self.turn.key)

    def restarted(self) -> None:
        self.turn.key = Key("k", *self.codec.decode(self.stored()))


def test_states_are_read_back_as_they_were() -> None:
    scene = Scene(
        value=ValueState(Place),
        items=ListState(Point),
        table=MapState(date, tuple[int, ...]),
        never=ValueState(int),
    )
    states = scene.states
    states.value.set(Place("Ulm"))
    states.items.extend([Point(1, 2), Point(3, 4)])
    states.table.put(date(2024, 1, 2), (1,))
    states.table.put(date(2024, 1, 1), ())
    scene.turn.set_timer(1, "later", 5)
    scene.restarted()
    assert states.value.get() == Place("Ulm")
    assert states.items.get() == (Point(1, 2), Point(3, 4))
    assert states.table.items() == [(date(2024, 1, 1), ()), (date(2024, 1, 2), (1,))]
    assert states.table.get(date(2024, 1, 2)) == (1,)
    assert states.never.get() is None
    assert scene.turn.key.timers == {(1, "later"): 5}


def test_equal_states_have_equal_bytes() -> None:
    one, other = (Scene(table=MapState(int, frozenset[str])) for _ in range(2))
    words = frozenset(f"word {number}" for number in range(20))
    for key in range(10):
        one.states.table.put(key, words)
        other.states.table.put(9 - key, frozenset(sorted(words, reverse=True)))
    for scene, names in ((one, "ab"), (other, "ba")):
        for name in names:
            scene.turn.set_timer(1, name, 7)
    assert one.stored() == other.stored()


def test_what_a_list_gives_is_no_longer_the_state() -> None:
    scene = Scene(items=ListState(int))
    before = scene.states.items.get()
    scene.states.items.append(1)
    assert (before, scene.states.items.get()) == ((), (1,))


def test_a_list_takes_all_values_or_none() -> None:
    scene = Scene(items=ListState(int))
    with pytest.raises(InvalidValue):
        scene.states.items.extend([1, 2, "three"])
    assert scene.states.items.get() == ()


def test_a_write_out_of_order_does_not_shorten_a_life() -> None:
    scene = Scene(items=ListState(int, ttl="1h"))
    expiry = (EXPIRY, "items")
    for event_time, until in ((43_200_000, 46_800_000), (37_800_000, 46_800_000)):
        scene.turn.event_time = event_time
        scene.states.items.append(1)
        assert scene.turn.key.timers == {expiry: until}
    scene.states.items.clear()
    assert scene.turn.key.timers == {}
    scene.states.items.append(1)
    assert scene.turn.key.timers == {expiry: 41_400_000}, "what was cleared counts no more"


def test_setting_none_clears_and_an_emptied_map_is_gone() -> None:
    scene = Scene(value=ValueState(int), table=MapState(str, int))
    scene.states.value.set(1)
    scene.states.value.set(None)
    scene.states.table.put("a", 1)
    scene.states.table.put("a", None)
    assert scene.turn.key.is_blank


def test_a_map_refuses_a_key_of_another_type() -> None:
    scene = Scene(table=MapState(int, int))
    for key in (True, "1", 1.0):
        with pytest.raises(InvalidValue):
            scene.states.table.put(key, 1)


@pytest.mark.parametrize("state", [ValueState(int), ListState(int), MapState(int, int)])
def test_a_state_belongs_to_handlers(state: Any) -> None:
    with pytest.raises(DeclarationError, match="outside of on_event"):
        state.clear()
    with pytest.raises(DeclarationError, match="outside of on_event"):
        state.get(*([1] if isinstance(state, MapState) else []))
