"""Sessions record by record: for records whose session depends on the order they came in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

LATE = -1


@dataclass(slots=True)
class Live:
    """A session that is not known to be closed.

    Attributes:
        first, last: event times of its first and last record, ms.
        number: its place in ``Judge.part_of``.
    """

    first: int
    last: int
    number: int


@dataclass(slots=True)
class Judge:
    """Finds the session of one record after the other.

    Attributes:
        gap, lateness: as declared, ms.
        max_length: the greatest distance of a session's first and last record, ms.
        part_of: per session the one it has become part of; its own number if it has not.
    """

    gap: int
    lateness: int
    max_length: float = math.inf
    part_of: list[int] = field(default_factory=list)

    def open(self, sessions: Iterable[tuple[int, int, int]]) -> dict[int, list[Live]]:
        """Sessions by chain; given are chain, first and last event time of each."""
        opened: dict[int, list[Live]] = {}
        for chain, first, last in sessions:
            opened.setdefault(chain, []).append(self.session(first, last))
        return opened

    def session(self, first: int, last: int) -> Live:
        """Another session."""
        number = len(self.part_of)
        self.part_of.append(number)
        return Live(first, last, number)

    def judge(
        self, records: Iterable[tuple[int, int, int]], sessions: Mapping[int, list[Live]]
    ) -> list[int]:
        """The number of each record's session when it came; LATE where it has none.

        Args:
            records: chain, event time and watermark; chain by chain, in order of arrival in each.
            sessions: what the chains hold before that.
        """
        gap, closes_after = self.gap, self.gap + self.lateness
        numbers: list[int] = []
        chain, live = None, list[Live]()
        for of_chain, time, watermark in records:
            if of_chain != chain:
                chain, live = of_chain, sessions.get(of_chain, [])
            closed = watermark - closes_after  # no session whose last record is no later is open
            low, high = max(time - gap, closed), time + gap
            reached = [s for s in live if s.last > low and s.first < high]
            joined = self._join(reached, time) if reached else None
            if joined is not None:
                if len(reached) > 1:
                    live = [s for s in live if self.part_of[s.number] == s.number]
            elif time > closed:
                joined = self.session(time, time)
                live = [s for s in live if s.last > closed]
                live.append(joined)
            numbers.append(LATE if joined is None else joined.number)
        return numbers

    def _join(self, reached: list[Live], time: int) -> Live | None:
        """The session that a record makes of those it reaches; None if it may join none."""
        if len(reached) > 1:
            reached.sort(key=attrgetter("first", "last"))
        joined, first, last = None, time, time
        for session in reached:
            new_first = session.first if session.first < first else first
            new_last = session.last if session.last > last else last
            if new_last - new_first > self.max_length:
                continue
            first, last = new_first, new_last
            if joined is None:
                joined = session
            else:
                self.part_of[session.number] = joined.number
        if joined is not None:
            joined.first, joined.last = first, last
        return joined
