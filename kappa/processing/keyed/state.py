"""What a keyed processor remembers of each key, declared as attributes of its class.

In a handler a state is that of the key at hand; anywhere else it has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from operator import delitem, setitem
from typing import Any, Generic, Self, TypeVar

from kappa.errors import DeclarationError
from kappa.eventtime.durations import Duration, milliseconds
from kappa.processing.keyed.state_types import MAP_KEY_TYPES, normalizer, type_text
from kappa.processing.keyed.timers import EXPIRY
from kappa.processing.keyed.turn import Turn

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class _NoHandler:
    """Stands where the turn is while no handler is at work."""

    def __getattr__(self, name: str) -> Any:
        raise DeclarationError(
            "a state was used outside of on_event and on_timer",
            hint="it belongs to the key of a record; test handlers with kappa.testing",
        )


class State:
    """What all kinds of states have.

    Attributes:
        ttl_ms: how long after the latest of its writes it is emptied, in event time; None for
            never. A write that comes out of order never shortens its life.
    """

    _turn: Any = _NoHandler()
    _place = 0
    _name = ""

    def __init__(self, ttl: Duration | None) -> None:
        self.ttl_ms = None if ttl is None else milliseconds(ttl, "ttl")
        if self.ttl_ms == 0:
            raise DeclarationError(
                f"the ttl {ttl!r} is zero",
                hint='write how long a state is kept, such as ttl="7d"; leave it out for ever',
            )

    def bound(self, name: str, place: int, turn: Turn, *, where: str) -> Self:
        """The state as the handlers of one fold use it, at ``place`` among a key's values."""
        handle = copy(self)
        handle._name, handle._place, handle._turn = name, place, turn
        handle._prepare(f"{where}, state {name!r}")
        return handle

    def text(self, *, where: str) -> str:
        """What is stored, as text that changes when stored values could not be read any more.

        Raises:
            DeclarationError: it cannot hold values of the declared type.
        """
        raise NotImplementedError

    @property
    def stored_type(self) -> Any:
        """The type in which what it holds is encoded."""
        raise NotImplementedError

    def to_stored(self, held: Any) -> Any:
        """What it holds, as it is encoded."""
        return held

    def from_stored(self, stored: Any) -> Any:
        """What it holds, from what was encoded."""
        return stored

    def clear(self) -> None:
        """Empties it."""
        if self._turn.key.values[self._place] is not None:
            self._turn.replace(self._place, None)
            if self.ttl_ms is not None:
                self._turn.cancel_timer(EXPIRY, self._name)

    def _prepare(self, where: str) -> None:
        raise NotImplementedError

    def _held(self) -> Any:
        return self._turn.key.values[self._place]

    def _written(self) -> None:
        """Its life begins anew, unless it already lasts longer."""
        if self.ttl_ms is not None:
            until = self._turn.event_time + self.ttl_ms
            standing = self._turn.key.timers.get((EXPIRY, self._name), until)
            self._turn.set_timer(EXPIRY, self._name, max(until, standing))

    def _with_ttl(self, text: str) -> str:
        return text if self.ttl_ms is None else f"{text}, ttl {self.ttl_ms} ms"


class ValueState(State, Generic[T]):
    """One value per key, of an immutable type.

    Args:
        kind: the type of the value.
        ttl: how long after the latest time it was set at it is cleared, in event time.
    """

    def __init__(self, kind: type[T], *, ttl: Duration | None = None) -> None:
        super().__init__(ttl)
        self._kind: Any = kind

    def get(self) -> T | None:
        """The value; None where there is none."""
        value: T | None = self._turn.key.values[self._place]
        return value

    def set(self, value: T) -> None:
        """Sets the value; None clears it.

        Raises:
            InvalidValue: it is of another type.
        """
        if value is None:
            self.clear()
            return
        self._turn.replace(self._place, self._normal(value))
        self._written()

    def text(self, *, where: str) -> str:
        return self._with_ttl(f"value of {type_text(self._kind, where=where)}")

    @property
    def stored_type(self) -> Any:
        return self._kind

    def _prepare(self, where: str) -> None:
        self._normal = normalizer(self._kind, where=where)


class ListState(State, Generic[T]):
    """Values per key in the order they were added, each of an immutable type.

    Args:
        kind: the type of one value.
        ttl: how long after the latest was added the list is cleared, in event time.
    """

    def __init__(self, kind: type[T], *, ttl: Duration | None = None) -> None:
        super().__init__(ttl)
        self._kind: Any = kind

    def get(self) -> tuple[T, ...]:
        """The values as they are now."""
        return tuple(self._held() or ())

    def append(self, value: T) -> None:
        """Adds one value at the end.

        Raises:
            InvalidValue: it is of another type.
        """
        self._add([self._normal(value)])

    def extend(self, values: Iterable[T]) -> None:
        """Adds values at the end: all of them, or none if one is refused.

        Raises:
            InvalidValue: one is of another type.
        """
        added = [self._normal(value) for value in values]
        if added:
            self._add(added)

    def text(self, *, where: str) -> str:
        return self._with_ttl(f"list of {type_text(self._kind, where=where)}")

    @property
    def stored_type(self) -> Any:
        return list[self._kind]  # type: ignore[name-defined]

    def _prepare(self, where: str) -> None:
        self._normal = normalizer(self._kind, where=where)

    def _add(self, added: list[T]) -> None:
        held = self._held()
        if held is None:
            self._turn.replace(self._place, added)
        else:
            self._turn.changed(delitem, held, slice(len(held), None))
            held.extend(added)
        self._written()


class MapState(State, Generic[K, V]):
    """Values by keys of their own (within each record key), both of immutable types.

    Args:
        key_kind: the type of the map's keys: str, int, bytes, bool or date.
        kind: the type of one value.
        ttl: how long after the latest was put the whole map is cleared, in event time.
    """

    def __init__(self, key_kind: type[K], kind: type[V], *, ttl: Duration | None = None) -> None:
        super().__init__(ttl)
        self._key_kind: Any = key_kind
        self._kind: Any = kind

    def get(self, key: K) -> V | None:
        """The value of ``key``; None where there is none."""
        held = self._held()
        return None if held is None else held.get(key)

    def put(self, key: K, value: V) -> None:
        """Sets the value of ``key``; None removes it.

        Raises:
            InvalidValue: the key or the value is of another type.
        """
        if value is None:
            self.remove(key)
            return
        key, value = self._normal_key(key), self._normal(value)
        held = self._held()
        if held is None:
            self._turn.replace(self._place, {key: value})
        elif key in held:
            self._turn.changed(setitem, held, key, held[key])
            held[key] = value
        else:
            self._turn.changed(delitem, held, key)
            held[key] = value
        self._written()

    def remove(self, key: K) -> None:
        """Removes ``key``, if it is there."""
        held = self._held()
        if held is None or key not in held:
            return
        if len(held) == 1:
            self.clear()
        else:
            self._turn.changed(setitem, held, key, held[key])
            del held[key]

    def items(self) -> list[tuple[K, V]]:
        """All keys and values, in the order of the keys."""
        return sorted((self._held() or {}).items(), key=_first)

    def text(self, *, where: str) -> str:
        if self._key_kind not in MAP_KEY_TYPES:
            raise DeclarationError(
                f"{where}: {self._key_kind!r} cannot be the type of a map's keys",
                hint="use " + ", ".join(kind.__name__ for kind in MAP_KEY_TYPES),
            )
        kind = type_text(self._kind, where=where)
        return self._with_ttl(f"map of {self._key_kind.__name__} to {kind}")

    @property
    def stored_type(self) -> Any:
        return list[tuple[self._key_kind, self._kind]]  # type: ignore[name-defined]

    def to_stored(self, held: Any) -> Any:
        return None if held is None else sorted(held.items(), key=_first)

    def from_stored(self, stored: Any) -> Any:
        return None if stored is None else dict(stored)

    def _prepare(self, where: str) -> None:
        self._normal_key = normalizer(self._key_kind, where=where)
        self._normal = normalizer(self._kind, where=where)


def _first(item: tuple[Any, Any]) -> Any:
    return item[0]
