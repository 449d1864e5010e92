"""What a promote is asked to do, and what it has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID, uuid4

from kappa.versions.caught_up import Position


class Action(Enum):
    """What moves a view. The value is what is stored in the history."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Move:
    """One processor's part: its view goes from a version to another.

    Attributes:
        from_version: the version that serves; None for a first promote.
    """

    processor: str
    from_version: int | None
    to_version: int


@dataclass(frozen=True, slots=True)
class Options:
    """What a person allowed.

    Attributes:
        recreate: whether views may be dropped and made anew where their columns change.
        dropped_sources: topics the new versions need not read although the old ones do; of one
            that was deleted and created again, the former one.
        ignore_snapshots: whether readers with old snapshots are not waited for.
        require_diff: whether an accepted comparison with the version in service is needed.
    """

    recreate: bool = False
    dropped_sources: frozenset[str] = frozenset()
    ignore_snapshots: bool = False
    require_diff: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one move.

    Attributes:
        changed: False when the version was serving already.
        offsets: the new version's positions at the swap; none where nothing changed.
    """

    processor: str
    from_version: int | None
    to_version: int
    changed: bool
    offsets: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One promote or rollback, over all its attempts; its moves happen together or not at all.

    Attributes:
        moves: by the processors' names.
        lock_timeout_ms: how long an attempt waits for a lock.
    """

    action: Action
    who: str
    moves: tuple[Move, ...]
    lock_timeout_ms: int
    options: Options = Options()
    id: UUID = field(default_factory=uuid4)

    def moved(self, offsets: Mapping[str, tuple[Position, ...]]) -> tuple[Moved, ...]:
        """What became of every move, given the new positions of those processors that changed."""
        return tuple(
            Moved(
                move.processor,
                move.from_version,
                move.to_version,
                move.processor in offsets,
                offsets.get(move.processor, ()),
            )
            for move in self.moves
        )
