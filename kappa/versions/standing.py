"""Where versions stand in their logs, as their offset rows say, and what readers have seen.

All functions run in the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.tables import bookkeeping
from kappa.versions.caught_up import Position, check_caught_up
from kappa.versions.deployment import Move

_offset, _served = bookkeeping.offset, bookkeeping.served
_ORDER = (_offset.c.version, _offset.c.topic, _offset.c.partition)


@dataclass(frozen=True, slots=True)
class Standing:
    """Both versions of a move at one moment.

    Attributes:
        blue: the version in service; nothing where none is.
        green: the one to take its place.
        served: how far readers had seen when the view was last moved.
    """

    move: Move
    blue: tuple[Position, ...]
    green: tuple[Position, ...]
    served: tuple[Position, ...]

    def check(self, dropped: frozenset[str]) -> None:
        """Passes if the new version is at or past the old one and all that was ever served.

        Raises:
            NotCaughtUp, SourceDropped, TopicRecreated: as `check_caught_up`.
        """
        check_caught_up(
            self.move.processor,
            self.move.to_version,
            self.blue,
            self.green,
            self.served,
            dropped,
        )

    def given_up(self, dropped: frozenset[str]) -> frozenset[str]:
        """Those of the topics ``dropped`` that readers have seen something of and the new version
        does not read; it may read another one of the same name."""
        read = {at.topic_id for at in self.green}
        return frozenset(
            seen.topic
            for seen in (*self.blue, *self.served)
            if seen.topic in dropped and seen.topic_id not in read
        )

    def recreated(self) -> frozenset[str]:
        """The topics that were deleted and created again between the two versions."""
        read = {at.topic: at.topic_id for at in self.green}
        return frozenset(
            at.topic for at in self.blue if read.get(at.topic, at.topic_id) != at.topic_id
        )


def standing(conn: Connection, move: Move, *, lock: bool = False) -> Standing:
    """Where both versions stand; with ``lock`` they stay there until the transaction ends."""
    old = [] if move.from_version is None else [move.from_version]
    found = {
        version: read_positions(conn, move.processor, version, lock=lock)
        for version in sorted([*old, move.to_version])
    }
    return Standing(
        move=move,
        blue=tuple(at for version in old for at in found[version]),
        green=found[move.to_version],
        served=_read_served(conn, move.processor),
    )


def read_positions(
    conn: Connection, processor: str, version: int, *, lock: bool = False
) -> tuple[Position, ...]:
    """Where a version stands, in order."""
    query = (
        sa.select(_offset.c.topic, _offset.c.partition, _offset.c.topic_id, _offset.c.next_offset)
        .where(*_of(processor, [version]))
        .order_by(*_ORDER)
    )
    rows = conn.execute(query.with_for_update() if lock else query)
    return tuple(Position(*row) for row in rows)


def raise_epochs(conn: Connection, processor: str, versions: list[int]) -> None:
    """Whoever held a partition of these versions must claim it again.

    The rows are locked in order first, as everybody does.
    """
    locked = sa.select(_offset.c.partition).where(*_of(processor, versions)).order_by(*_ORDER)
    conn.execute(locked.with_for_update())
    conn.execute(
        sa.update(_offset).where(*_of(processor, versions)).values(epoch=_offset.c.epoch + 1)
    )


def _read_served(conn: Connection, processor: str) -> tuple[Position, ...]:
    rows = conn.execute(
        sa.select(
            _served.c.topic, _served.c.partition, _served.c.topic_id, _served.c.next_offset
        ).where(_served.c.processor == processor)
    )
    return tuple(Position(*row) for row in rows)


def _of(processor: str, versions: list[int]) -> tuple[sa.ColumnElement[bool], ...]:
    return _offset.c.processor == processor, _offset.c.version.in_(versions)
