"""When timers are due: earliest first; at one instant expiries, then by key, then by name."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

EXPIRY, EVENT, PROCESSING = 0, 1, 2
"""Kinds of timers: the end of a state's life and the handlers' own in event time, and those in
processing time. Of one instant the lower number comes first."""

NEVER = 1 << 63
"""Later than any time, ms."""

TimerId = tuple[int, str]
"""A timer of one key: its kind, and its name or the name of the state that ends."""

Entry = tuple[int, int, str, str]
"""When (ms), which kind, of which key, of what name; in this order they fire."""


class TimerQueue:
    """The timers of a partition in one kind of time.

    A timer that is moved or cancelled leaves its old entry behind, so whoever takes an entry
    asks its key whether the timer still stands at that time.

    Attributes:
        due: when the first entry is due, ms; NEVER when there is none.
    """

    __slots__ = ("_entries", "_settled", "due")

    def __init__(self) -> None:
        self.due = NEVER
        self._entries: list[Entry] = []
        self._settled = 0

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, at: int, kind: int, key: str, name: str) -> None:
        heappush(self._entries, (at, kind, key, name))
        if at < self.due:
            self.due = at

    def pop(self) -> Entry:
        """Takes the first entry out."""
        entry = heappop(self._entries)
        self.due = self._entries[0][0] if self._entries else NEVER
        return entry

    def has_grown(self, keys: int) -> bool:
        """Whether most entries may be left-behind ones, with so many keys in memory."""
        return len(self._entries) > 2 * (self._settled + keys) + 1_000

    def replace(self, entries: list[Entry]) -> None:
        """Holds these entries instead: those that still stand."""
        heapify(entries)
        self._entries = entries
        self._settled = len(entries)
        self.due = entries[0][0] if entries else NEVER
