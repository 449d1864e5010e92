"""What a keyed processor should do, worked out the slow and obvious way.

One record after another. Every key is a dictionary, every handler works on a copy of its key that
takes the place of the original if the handler returns, and the next timer is found by looking at
all timers of all keys.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tests.unit.keyed_programs import OUT_OF_ORDERNESS, TTLS, Interpreter


@dataclass(frozen=True)
class Record:
    """A record of one partition.

    Attributes:
        at: the event time; None is a dead letter.
        program: which program it runs; None is a tombstone.
        own_key: whether the record key is the key column's; else it is a dead letter.
    """

    offset: int
    timestamp: int
    account: str
    at: int | None
    program: int | None
    own_key: bool = True

    @property
    def is_dead(self) -> bool:
        return self.at is None or not self.own_key


@dataclass
class Remembered:
    """Of one key: states by name, and timers by rank (0 expiry, 1 event, 2 processing) and name."""

    states: dict[str, Any] = field(default_factory=dict)
    timers: dict[tuple[int, str], int] = field(default_factory=dict)


class Reference:
    """One partition, from its first record on."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.keys: dict[str, Remembered] = {}
        self.rows: dict[str, list[tuple[int, int, str]]] = {"main": [], "notes": []}
        self.letters: list[tuple[int, str, str | None]] = []
        self.max_event_time: int | None = None
        self.processing_time: int | None = None
        self.fired: dict[tuple[int, str, str], int] = {}
        self._interpreter = deepcopy(interpreter)
        for name in ("value", "fading", "recent", "log", "table", "scores"):
            kind = {"value": _Value, "fading": _Value, "recent": _List, "log": _List}
            vars(self._interpreter)[name] = kind.get(name, _Map)(self, name)

    def take(self, record: Record) -> None:
        self.processing_time = max(record.timestamp, self.processing_time or 0)
        if record.program is None:
            return
        if record.is_dead:
            self.letters.append((record.offset, "Refused", None))
            return
        assert record.at is not None
        self.offset = record.offset
        self._fire_all(ranks=(2,), through=self.processing_time)
        self.max_event_time = max(record.at, self.max_event_time or record.at)
        event = SimpleNamespace(program=record.program)
        self._call(record.account, record.at, None, lambda ctx: self._on_event(event, ctx))
        self._fire_all(ranks=(0, 1), through=self.watermark)

    @property
    def watermark(self) -> int:
        assert self.max_event_time is not None
        return self.max_event_time - OUT_OF_ORDERNESS

    def _fire_all(self, *, ranks: tuple[int, ...], through: int) -> None:
        while (timer := self._next_timer(ranks=ranks, through=through)) is not None:
            self._fire(*timer)
        self.fired.clear()

    def _next_timer(
        self, *, ranks: tuple[int, ...], through: int
    ) -> tuple[int, int, str, str] | None:
        due = [
            (at, rank, key, name)
            for key, remembered in self.keys.items()
            for (rank, name), at in remembered.timers.items()
            if rank in ranks and at <= through
        ]
        return min(due, default=None)

    def _fire(self, at: int, rank: int, key: str, name: str) -> None:
        del self.keys[key].timers[rank, name]
        if rank == 0:
            del self.keys[key].states[name]
            return
        time = at if rank == 1 else self.watermark
        self.fired[rank, key, name] = at
        self._call(key, time, (rank, name, at), lambda ctx: self._interpreter.on_timer(at, ctx))

    def _on_event(self, event: Any, ctx: Any) -> None:
        self._interpreter.on_event(event, ctx)

    def _call(
        self, key: str, event_time: int, timer: tuple[int, str, int] | None, handler: Any
    ) -> None:
        self.at_hand = deepcopy(self.keys.get(key, Remembered()))
        self.event_time = event_time
        said = {name: list(rows) for name, rows in self.rows.items()}
        try:
            handler(_Context(self, key, timer))
        except Exception as error:  # noqa: BLE001 - as the fold has it
            self.rows = said
            text = None
            if timer is not None:
                of = {1: "event", 2: "processing"}[timer[0]]
                text = f"{of}-time timer {timer[1]!r} of {key!r} at {timer[2]}"
            self.letters.append((self.offset, type(error).__name__, text))
        else:
            self.keys[key] = self.at_hand

    def say(self, output: str, said: object) -> None:
        if not isinstance(said, str):
            raise InvalidValue
        index = sum(offset == self.offset for offset, _, _ in self.rows[output])
        self.rows[output].append((self.offset, index, said))

    def remembered(self) -> dict[str, Remembered]:
        """All that is left of keys of which something is left."""
        return {key: left for key, left in self.keys.items() if left.states or left.timers}


class InvalidValue(Exception):
    """Named as the error of the fold."""


class _State:
    def __init__(self, reference: Reference, name: str) -> None:
        self._reference = reference
        self._name = name

    def held(self) -> Any:
        return self._reference.at_hand.states.get(self._name)

    def hold(self, value: Any) -> None:
        self._reference.at_hand.states[self._name] = value
        ttl = TTLS.get(self._name)
        if ttl is not None:
            timers = self._reference.at_hand.timers
            until = self._reference.event_time + ttl
            timers[0, self._name] = max(until, timers.get((0, self._name), until))

    def clear(self) -> None:
        self._reference.at_hand.states.pop(self._name, None)
        self._reference.at_hand.timers.pop((0, self._name), None)


class _Value(_State):
    def get(self) -> Any:
        return self.held()

    def set(self, value: int) -> None:
        self.hold(value)


class _List(_State):
    def get(self) -> tuple[Any, ...]:
        return self.held() or ()

    def append(self, value: Any) -> None:
        self.extend([value])

    def extend(self, values: list[Any]) -> None:
        if len({type(value) for value in values}) > 1:
            raise InvalidValue
        self.hold((*self.get(), *values))


class _Map(_State):
    def get(self, key: Any) -> Any:
        return (self.held() or {}).get(key)

    def put(self, key: Any, value: Any) -> None:
        if value is None:
            self.remove(key)
        else:
            self.hold({**(self.held() or {}), key: value})

    def remove(self, key: Any) -> None:
        left = {name: value for name, value in (self.held() or {}).items() if name != key}
        if left:
            self._reference.at_hand.states[self._name] = left
        else:
            self.clear()

    def items(self) -> list[tuple[Any, Any]]:
        return sorted((self.held() or {}).items())


class _Context:
    def __init__(self, reference: Reference, key: str, timer: tuple[int, str, int] | None) -> None:
        self._reference = reference
        self._timers = reference.at_hand.timers
        self.key = key
        self.timer = None if timer is None else timer[1]
        self.event_time = reference.event_time
        self.watermark = reference.watermark
        self.processing_time = reference.processing_time

    def emit(self, *, said: object) -> None:
        self._reference.say("main", said)

    def emit_to(self, output: str, *, said: object) -> None:
        self._reference.say(output, said)

    def set_event_timer(self, at: int, name: str) -> None:
        self._set(1, name, at)

    def set_processing_timer(self, at: int, name: str) -> None:
        self._set(2, name, at)

    def _set(self, rank: int, name: str, at: int) -> None:
        if at <= self._reference.fired.get((rank, self.key, name), at - 1):
            raise InvalidValue
        self._timers[rank, name] = at

    def cancel_event_timer(self, name: str) -> None:
        self._timers.pop((1, name), None)

    def cancel_processing_timer(self, name: str) -> None:
        self._timers.pop((2, name), None)
