"""Runs a processor's handlers over records and the timers that fall due, in their order.

A record's turn::

    processing time reaches the record's    processing-time timers due by then
    the watermark reaches the record's      on_event
                                            expiries and event-time timers due by then

Whatever a handler raises undoes that call alone and becomes a dead letter, unless it says that
something is not declared, as the handler's next call would too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kappa.errors import DeclarationError
from kappa.processing.keyed.context import Context
from kappa.processing.keyed.failures import Failures, timer_text
from kappa.processing.keyed.keys import PartitionKeys
from kappa.processing.keyed.records import Records
from kappa.processing.keyed.timers import EXPIRY, TimerQueue
from kappa.processing.keyed.turn import Turn


class Handlers:
    """The handlers of one processor.

    Args:
        on_event, on_timer: the handlers.
        context: what they are given.
        turn: what the context and the states look at.
        places: where each state is among a key's values.
    """

    def __init__(
        self,
        on_event: Callable[[Any, Context], object],
        on_timer: Callable[[int, Context], object],
        context: Context,
        turn: Turn,
        places: Mapping[str, int],
    ) -> None:
        self._on_event = on_event
        self._on_timer = on_timer
        self._context = context
        self._turn = turn
        self._places = places
        self.failures = Failures()

    def run(self, keys: PartitionKeys, records: Records, watermark: int) -> None:
        """Runs them over a batch of the partition of ``keys``; ``watermark`` is that before it."""
        turn, context, on_event = self._turn, self._context, self._on_event
        find, undo = keys.by_text.get, turn.undo
        event_timers, processing_timers = keys.event_timers, keys.processing_timers
        turn.keys = keys
        turn.watermark = watermark
        for text, event, event_time, watermark, processing_time, offset in records.rows:
            turn.offset = offset
            turn.processing_time = processing_time
            if processing_timers.due <= processing_time:
                self._fire(processing_timers, processing_time)
            turn.watermark = watermark
            turn.event_time = event_time
            turn.key = find(text) or keys.blank(text)
            try:
                on_event(event, context)
            except Exception as error:  # noqa: BLE001 - a handler may raise anything
                self._failed(error, None)
            if undo:
                undo.clear()
            if event_timers.due <= watermark:
                self._fire(event_timers, watermark)

    def _fire(self, queue: TimerQueue, through: int) -> None:
        """Fires the timers of the queue that are due by ``through``, ms."""
        turn = self._turn
        for key, kind, name, at in turn.keys.fire(queue, through):
            if kind == EXPIRY:
                key.values[self._places[name]] = None
                continue
            turn.fire(key, kind, name, at)
            try:
                self._on_timer(at, self._context)
            except Exception as error:  # noqa: BLE001 - a handler may raise anything
                self._failed(error, timer_text(kind, name, key.text, at))
            turn.undo.clear()
            turn.spend(through)
        turn.fired_all()

    def _failed(self, error: Exception, timer: str | None) -> None:
        if isinstance(error, MemoryError | DeclarationError):  # it is not the record's doing
            raise error
        self._turn.take_back()
        self.failures.add(self._turn.offset, error, timer)
