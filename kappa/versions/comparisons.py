"""Comparing what readers of two versions would see, at the same offsets, and keeping the result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kappa.errors import ConfigError, IllegalTransition
from kappa.tables import bookkeeping, differences
from kappa.tables.cutover import diff
from kappa.tables.differences import Sample, share
from kappa.tables.pairs import Retyped, pairs
from kappa.versions import records
from kappa.versions.caught_up import Position
from kappa.versions.holding import Snapshot, at_same_offsets
from kappa.versions.lifecycle import BUILT
from kappa.versions.records import VersionRecord


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much may differ.

    Attributes:
        max_rate: the share of the rows of an output that may differ; it allows nothing that
            readers know to be gone or to be of another type.
        expect: whether any difference is accepted.
    """

    max_rate: float = 0.0
    expect: bool = False


@dataclass(frozen=True, slots=True)
class ColumnRate:
    """Of how many rows that both versions have a column differs."""

    column: str
    changed: int
    rate: float


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """How the two versions differ in one output.

    Attributes:
        output: ``main``, or a side output's name.
        matched_by: the key that rows were matched by; empty where the versions have other keys
            and rows were matched by all they show.
        rate: the share of all rows that differ.
        removed: columns that only the older version shows.
        added: columns that only the newer one shows.
    """

    output: str
    rows_before: int
    rows_after: int
    changed: int
    only_before: int
    only_after: int
    rate: float
    matched_by: tuple[str, ...]
    columns: tuple[ColumnRate, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    retyped: tuple[Retyped, ...]
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """Records that are in no row: those that were late, and those that could not be processed."""

    late: int
    dead: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    Attributes:
        id: of the stored result.
        accepted: whether no more differs than was allowed.
        offsets: where both versions stood.
        removed: side outputs that only the older version has.
        added: side outputs that only the newer one has.
    """

    id: UUID
    processor: str
    from_version: int
    to_version: int
    accepted: bool
    offsets: tuple[Position, ...]
    outputs: tuple[OutputDifference, ...]
    counts_before: Counts
    counts_after: Counts
    removed: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def rate(self) -> float:
        """That of the output that differs most."""
        return _most(self.outputs)


@dataclass(frozen=True, slots=True)
class StoredComparison:
    """A comparison as it was stored.

    Attributes:
        offsets: where both versions stood: topic, topic_id, partition, next_offset.
        fingerprints: of the code of the older and the newer version when they were compared.
        allowed: what was allowed: ``max_rate`` and ``expect``.
        result: counts, rates and samples, see `Comparison`.
    """

    id: UUID
    processor: str
    from_version: int
    to_version: int
    who: str
    at: datetime
    accepted: bool
    offsets: tuple[dict[str, Any], ...]
    fingerprints: tuple[str, str]
    allowed: Allowance
    result: dict[str, Any]


def compare(
    engine: Engine,
    processor: str,
    from_version: int,
    to_version: int,
    *,
    who: str,
    allowance: Allowance,
    most_samples: int,
    timeout_s: float,
) -> Comparison:
    """Compares two built versions where both stand, and stores what was found.

    Args:
        most_samples: rows to show of each kind of difference and output.
        timeout_s: how long the one that is behind may take to come to where the other is.

    Raises:
        UnknownVersion, IllegalTransition: one of them is not built.
        NotCaughtUp: one of them was not there in time.
        VersionHeld: somebody else compares versions of this processor.
        SourceDropped, TopicRecreated: they do not read the same topics.
    """
    if from_version == to_version:
        raise ConfigError(
            f"version {from_version} cannot be compared with itself",
            hint=f"kappa verify {processor} --version {from_version} replays it once more",
        )
    with engine.connect() as conn:
        before = _built(conn, processor, from_version)
        after = _built(conn, processor, to_version)
    versions = (from_version, to_version)
    with at_same_offsets(engine, processor, versions, timeout_s=timeout_s) as moment:
        outputs = tuple(_outputs(engine, moment, before, after, most_samples))
        counts = [_counts(moment.conn, each) for each in (before, after)]
    sides = [{side.name for side in each.layout.sides} for each in (before, after)]
    removed = tuple(sorted(sides[0] - sides[1]))
    is_within = not lost(outputs, removed) and _most(outputs) <= allowance.max_rate
    found = Comparison(
        id=uuid4(),
        processor=processor,
        from_version=from_version,
        to_version=to_version,
        accepted=allowance.expect or is_within,
        offsets=moment.offsets,
        outputs=outputs,
        counts_before=counts[0],
        counts_after=counts[1],
        removed=removed,
        added=tuple(sorted(sides[1] - sides[0])),
    )
    with engine.begin() as conn:
        _store(conn, found, (before.fingerprint, after.fingerprint), allowance, who)
    return found


def lost(outputs: Iterable[OutputDifference], removed: Iterable[str]) -> tuple[str, ...]:
    """What readers of the older version know and the newer one does not show so, for people.

    ``removed`` are side outputs that only the older version has.
    """
    columns = (
        f"column {column!r} of {output.output}"
        for output in outputs
        for column in (*output.removed, *(one.column for one in output.retyped))
    )
    return (*columns, *(f"side output {name!r}" for name in removed))


def latest(
    conn: Connection, processor: str, from_version: int, to_version: int
) -> StoredComparison | None:
    """The last comparison of these two versions; None if they were never compared.

    One is only worth something while the fingerprints in it are still those of the versions.
    """
    query = (
        sa.select(diff)
        .where(
            diff.c.processor == processor,
            diff.c.from_version == from_version,
            diff.c.to_version == to_version,
        )
        .order_by(diff.c.at.desc())
        .limit(1)
    )
    row = conn.execute(query).first()
    if row is None:
        return None
    result = dict(row.result)
    first, second = result.pop("fingerprints")
    return StoredComparison(
        id=row.id,
        processor=row.processor,
        from_version=row.from_version,
        to_version=row.to_version,
        who=row.who,
        at=row.at,
        accepted=row.accepted,
        offsets=tuple(row.offsets),
        fingerprints=(first, second),
        allowed=Allowance(**result.pop("allowed")),
        result=result,
    )


def _most(outputs: Iterable[OutputDifference]) -> float:
    return max((output.rate for output in outputs), default=0.0)


def _built(conn: Connection, processor: str, version: int) -> VersionRecord:
    record = records.require(conn, processor, version)
    if record.state not in BUILT:
        raise IllegalTransition(
            f"{processor} version {version} is {record.state.value} and cannot be compared",
            hint=f"kappa versions list {processor}",
        )
    return record


def _outputs(
    engine: Engine, moment: Snapshot, before: VersionRecord, after: VersionRecord, samples: int
) -> Iterator[OutputDifference]:
    for pair in pairs(moment.conn, before.layout, after.layout):
        found = differences.find(engine, moment.conn, moment.name, pair, most_samples=samples)
        yield OutputDifference(
            output=pair.output,
            rows_before=found.rows_before,
            rows_after=found.rows_after,
            changed=found.changed,
            only_before=found.only_before,
            only_after=found.only_after,
            rate=found.rate,
            matched_by=pair.key,
            columns=tuple(
                ColumnRate(name, changed, share(changed, found.matched))
                for name, changed in found.columns.items()
            ),
            removed=pair.removed,
            added=pair.added,
            retyped=pair.retyped,
            samples=found.samples,
        )


def _counts(conn: Connection, record: VersionRecord) -> Counts:
    letter = bookkeeping.dead_letter
    dead = sa.select(sa.func.count()).where(
        letter.c.processor == record.processor,
        letter.c.version == record.version,
        sa.text(bookkeeping.OPEN),
    )
    late = 0
    if record.layout.late_table is not None:
        counted = sa.select(sa.func.count()).select_from(sa.table(record.layout.late_table))
        late = conn.scalar(counted) or 0
    return Counts(late, conn.scalar(dead) or 0)


def _store(
    conn: Connection,
    found: Comparison,
    fingerprints: tuple[str, str],
    allowance: Allowance,
    who: str,
) -> None:
    parts = asdict(found)
    result = {
        name: parts[name]
        for name in ("outputs", "counts_before", "counts_after", "removed", "added")
    }
    conn.execute(
        sa.insert(diff).values(
            id=found.id,
            processor=found.processor,
            from_version=found.from_version,
            to_version=found.to_version,
            who=who,
            accepted=found.accepted,
            offsets=parts["offsets"],
            result={**result, "fingerprints": fingerprints, "allowed": asdict(allowance)},
        )
    )
