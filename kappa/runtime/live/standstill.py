"""Whether a worker gets on, judged by its positions beside where the log ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto

REBUILD_AFTER_S = 15.0
"""Without progress, while there is something to read, before clients are built anew; and how long
clients are given before they are blamed."""
END_AFTER_S = 45.0
"""Without progress before the process ends."""
DATABASE_AFTER_S = 90.0
"""The same while a commit is under way: a database that is paused can come back with it."""


class Remedy(Enum):
    """What is to be done about a worker that stands still."""

    WAIT = auto()
    REBUILD = auto()
    END = auto()


@dataclass(frozen=True)
class Stuck:
    """The partition that has stood longest, though the log goes on, and for how many seconds."""

    partition: int
    seconds: float
    remedy: Remedy


@dataclass
class _Stand:
    """Where a partition stands, since when, and when clients were last built anew for it."""

    position: int
    since: float
    rebuilt_at: float | None = None


class Standstill:
    """Remembers how long each partition has had something to read and not moved.

    Clients that are built anew have the same partitions stand where they stood: the time runs on
    until they move, so that what does not help is done once.
    """

    def __init__(self) -> None:
        self._stands: dict[int, _Stand] = {}

    def look(
        self,
        now: float,
        clients_since: float,
        positions: Mapping[int, int],
        ends: Mapping[int, int],
        *,
        excused: Collection[int] = (),
        in_database: bool = False,
    ) -> Stuck | None:
        """Judges the worker at ``now``; None while it gets on. Times are in seconds.

        Args:
            clients_since: when the clients at work were built.
            positions: what is committed of the partitions it holds.
            ends: where they end, as far as is known.
            excused: those that are not to move.
            in_database: whether a commit is what is waited for.
        """
        stands: dict[int, _Stand] = {}
        for number, position in positions.items():
            stand = self._stands.get(number)
            nothing_to_do = ends.get(number, 0) <= position or number in excused
            if stand is None or stand.position != position or nothing_to_do:
                stand = _Stand(position, now)
            stands[number] = stand
        # What went to others and comes back has not stood still meanwhile.
        self._stands = stands
        if not stands:
            return None
        number, longest = min(stands.items(), key=lambda item: item[1].since)
        seconds = now - longest.since
        if seconds <= REBUILD_AFTER_S:
            return None
        remedy = self._remedy(now, clients_since, longest, in_database=in_database)
        if remedy is Remedy.REBUILD:
            self._rebuilding(now)
        return Stuck(number, seconds, remedy)

    def _remedy(
        self, now: float, clients_since: float, longest: _Stand, *, in_database: bool
    ) -> Remedy:
        if now - max(clients_since, longest.rebuilt_at or clients_since) <= REBUILD_AFTER_S:
            return Remedy.WAIT
        if longest.rebuilt_at is None and not in_database:
            return Remedy.REBUILD
        enough = DATABASE_AFTER_S if in_database else END_AFTER_S
        return Remedy.END if now - longest.since > enough else Remedy.WAIT

    def _rebuilding(self, now: float) -> None:
        """All that stand still get the same new clients."""
        for stand in self._stands.values():
            if now - stand.since > REBUILD_AFTER_S:
                stand.rebuilt_at = now
