"""The keys of a partition that are in memory: their states and timers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kappa.processing.keyed.timers import PROCESSING, Entry, TimerId, TimerQueue


class Key:
    """What is remembered of one key.

    Attributes:
        text: the record key.
        values: per state, in the order of declaration, what it holds; None where it is empty.
        timers: when each timer that is set is due, ms.
        dirty: whether it was changed since the last flush.
        unsettled: how many flushes hold it that are not committed yet.
        used: the number of the batch for which it was last looked for.
    """

    __slots__ = ("dirty", "text", "timers", "unsettled", "used", "values")

    def __init__(self, text: str, values: list[Any], timers: dict[TimerId, int]) -> None:
        self.text = text
        self.values = values
        self.timers = timers
        self.dirty = False
        self.unsettled = 0
        self.used = 0

    @property
    def is_blank(self) -> bool:
        """Whether nothing is remembered: it is as good as a key never met."""
        return not self.timers and self.values.count(None) == len(self.values)


class PartitionKeys:
    """The keys of one partition in memory, and what is due among them.

    Attributes:
        number: the partition.
        by_text: the keys.
        event_timers: timers and expiries in event time.
        processing_timers: timers in processing time.
        dirty: the keys changed since the last flush, each once.
        asks: whether the store may know of keys that are not in memory.
        batch: the number of the batch at hand.
    """

    def __init__(self, number: int, states: int, *, asks: bool) -> None:
        self.number = number
        self.by_text: dict[str, Key] = {}
        self.event_timers = TimerQueue()
        self.processing_timers = TimerQueue()
        self.dirty: list[Key] = []
        self.asks = asks
        self.batch = 0
        self._states = states
        self._blank = self.nothing("")

    def add(self, key: Key) -> None:
        """Takes a key into memory, as it was stored, or one the store knows nothing of."""
        key.used = self.batch
        self.by_text[key.text] = key
        for (kind, name), at in key.timers.items():
            self.push(at, kind, key.text, name)

    def blank(self, text: str) -> Key:
        """A key nothing is remembered of, until something is: only then it takes room."""
        self._blank.text = text
        return self._blank

    def nothing(self, text: str) -> Key:
        """A key nothing is remembered of, to be kept in memory: the store need not be asked."""
        return Key(text, [None] * self._states, {})

    def push(self, at: int, kind: int, text: str, name: str) -> None:
        """Puts a timer that was set or moved into its queue."""
        queue = self.processing_timers if kind == PROCESSING else self.event_timers
        queue.push(at, kind, text, name)

    def mark(self, key: Key) -> None:
        """Notes that the key is to be flushed."""
        if not key.dirty:
            key.dirty = True
            self.dirty.append(key)
        if key is self._blank:
            self.add(key)
            self._blank = self.nothing("")

    def fire(self, queue: TimerQueue, through: int) -> Iterator[tuple[Key, int, str, int]]:
        """Takes out the timers due by ``through`` (ms) in their order: key, kind, name, time.

        Those that are set meanwhile and due take their place in the order.
        """
        while queue.due <= through:
            at, kind, text, name = queue.pop()
            key = self.by_text.get(text)
            if key is not None and key.timers.get((kind, name)) == at:
                del key.timers[kind, name]
                self.mark(key)
                yield key, kind, name, at

    def tidy(self) -> None:
        """Drops the entries that moved and cancelled timers have left behind, if they are many."""
        for queue in (self.event_timers, self.processing_timers):
            if queue.has_grown(len(self.by_text)):
                queue.replace(list(self._standing(of_events=queue is self.event_timers)))

    def _standing(self, *, of_events: bool) -> Iterator[Entry]:
        for text, key in self.by_text.items():
            for (kind, name), at in key.timers.items():
                if (kind != PROCESSING) is of_events:
                    yield at, kind, text, name
