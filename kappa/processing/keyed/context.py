"""What a handler is given beside the event: the moment, and what it can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kappa.errors import DeclarationError, InvalidValue
from kappa.processing.keyed.outputs import Output
from kappa.processing.keyed.timers import EVENT, NEVER, PROCESSING
from kappa.processing.keyed.turn import Turn

LONGEST_TIMER_NAME = 200
"""UTF-8 bytes of a timer's name."""


class Context:
    """The moment a handler is called for. All times are integer milliseconds since the epoch.

    Timers belong to the key at hand. A key has one timer of each kind and name; setting it
    again moves it.
    """

    __slots__ = ("_has_time", "_has_timers", "_main", "_sides", "_turn", "_value_of", "_where")

    def __init__(
        self,
        turn: Turn,
        main: Output,
        sides: Mapping[str, Output],
        value_of: Callable[[str], Any],
        *,
        where: str,
        has_time: bool,
        has_timers: bool,
    ) -> None:
        self._turn = turn
        self._main = main
        self._sides = sides
        self._value_of = value_of
        self._where = where
        self._has_time = has_time
        self._has_timers = has_timers

    @property
    def key(self) -> Any:
        """The record key, as the key column has it."""
        return self._value_of(self._turn.key.text)

    @property
    def event_time(self) -> int:
        """When the event happened, or when the event-time timer was due; the watermark in a
        processing-time timer.

        Raises:
            DeclarationError: the source has no event time.
        """
        if not self._has_time:
            self._refuse_time()
        return self._turn.event_time

    @property
    def watermark(self) -> int:
        """The partition's watermark, this record included.

        Raises:
            DeclarationError: the source has no event time.
        """
        if not self._has_time:
            self._refuse_time()
        return self._turn.watermark

    @property
    def processing_time(self) -> int:
        """The greatest timestamp of the partition's records so far, this one included.

        Tombstones and records that were refused count, bytes that cannot be decoded do not.
        """
        return self._turn.processing_time

    @property
    def timer(self) -> str | None:
        """The name of the timer that fired; None for an event."""
        fired = self._turn.fired
        return None if fired is None else fired[1]

    def emit(self, /, **columns: Any) -> None:
        """Adds a row to the processor's table; columns left out are null.

        Raises:
            InvalidValue: a column is not declared, or cannot hold its value.
        """
        self._main.add(columns, self._turn)

    def emit_to(self, output: str, /, **columns: Any) -> None:
        """Adds a row to a side output; columns left out are null.

        Raises:
            InvalidValue: the output or a column is not declared, or cannot hold its value.
        """
        side = self._sides.get(output)
        if side is None:
            raise InvalidValue(
                f"{self._where} declares no output {output!r}",
                hint="its side outputs are " + (", ".join(self._sides) or "none"),
            )
        side.add(columns, self._turn)

    def set_event_timer(self, at_ms: int, name: str = "") -> None:
        """Has ``on_timer`` called once the partition's watermark reaches ``at_ms``.

        Raises:
            InvalidValue: the time or the name is none; or, in ``on_timer``, the timer has fired
                with this record for that time or a later one, and might do so for ever.
            DeclarationError: the source has no event time, or the processor no ``on_timer``.
        """
        if not self._has_time:
            self._refuse_time()
        self._set(EVENT, at_ms, name)

    def set_processing_timer(self, at_ms: int, name: str = "") -> None:
        """Has ``on_timer`` called once the partition's processing time reaches ``at_ms``, before
        the record that brings it there.

        Raises:
            InvalidValue: the time or the name is none; or, in ``on_timer``, the timer has fired
                with this record for that time or a later one, and might do so for ever.
            DeclarationError: the processor has no ``on_timer``.
        """
        self._set(PROCESSING, at_ms, name)

    def cancel_event_timer(self, name: str = "") -> None:
        """Cancels the timer, if it is set."""
        self._turn.cancel_timer(EVENT, name)

    def cancel_processing_timer(self, name: str = "") -> None:
        """Cancels the timer, if it is set."""
        self._turn.cancel_timer(PROCESSING, name)

    def _set(self, kind: int, at_ms: int, name: str) -> None:
        if not self._has_timers:
            raise DeclarationError(
                f"{self._where} sets a timer and has no on_timer",
                hint="define on_timer(self, at, ctx)",
            )
        if type(at_ms) is not int or not -NEVER < at_ms < NEVER:
            raise InvalidValue(
                f"{at_ms!r} is no time", hint="a timer's time is an integer of milliseconds"
            )
        if not _is_timer_name(name):
            raise InvalidValue(f"{name!r} is no name of a timer", most_bytes=LONGEST_TIMER_NAME)
        self._turn.set_timer(kind, name, at_ms)

    def _refuse_time(self) -> None:
        raise DeclarationError(
            f"{self._where}: its source has no event time",
            hint='declare it: Source(…, event_time="at"), or use processing time',
        )


def _is_timer_name(name: object) -> bool:
    if not isinstance(name, str):
        return False
    try:
        return len(name.encode()) <= LONGEST_TIMER_NAME
    except UnicodeEncodeError:
        return False
