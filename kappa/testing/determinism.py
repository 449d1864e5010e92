"""Whether a processor comes to the same tables however its topic is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from kappa.processing.admission import LATEST_MS
from kappa.processing.events import Events
from kappa.testing.driver import dead, in_place
from kappa.testing.handled import KeyedKind, emitted
from kappa.testing.kinds import Kind
from kappa.testing.rehearsal import Rehearsal
from kappa.testing.rows import RowReader
from kappa.testing.schedules import (
    Act,
    Read,
    Schedule,
    after_jumps,
    at_random,
    fixed,
    one_by_one,
)
from kappa.testing.setup import Processor, Schema, kind_of
from kappa.testing.tables import Tables
from kappa.testing.topic import Records, Topic, between, by_partition

Lines = dict[str, list[str]]
"""What a run came to, as text: lines by the table they are of."""

_JUMPS = 3
_SHOWN = 5


def assert_deterministic(
    processor: Processor,
    events: Records | Mapping[int, Records],
    *,
    schema: Schema,
    record_key: str | None = None,
    ways: int = 10,
    seed: int = 0,
) -> None:
    """Reads the same records in many ways and compares all tables.

    Args:
        processor: a declaration, or a keyed processor or its class.
        events: the rows (or ``Sent``) of partition 0, or of several partitions by number.
        schema, record_key: as for ``Driver``.
        ways: how many random ways are tried: cut into batches, with the partitions
            interleaved, with checkpoints and restarts in between.
        seed: of the random ways.

    Raises:
        AssertionError: two ways come to different tables; it says which, and how they differ.
        DeclarationError, BadRecord, InvalidSchema: see ``Driver``.
    """
    reader = RowReader.of(schema)
    kind = kind_of(processor, reader, record_key)
    topic = Topic(kind.source, reader, kind.record_key)
    partitions = {
        number: topic.append(number, records)
        for number, records in by_partition(events).items()
        if records
    }
    lengths = {number: _length(batch) for number, batch in partitions.items()}
    plain = one_by_one(lengths)
    expected = outcome(kind, partitions, plain)
    jumps = {number: _jumps(kind, batch) for number, batch in partitions.items()}
    others = [*fixed(lengths), *after_jumps(lengths, jumps), *at_random(lengths, ways, seed)]
    for schedule in others:
        found = outcome(kind, partitions, schedule)
        if found != expected:
            raise AssertionError(_difference(plain, expected, schedule, found))


def outcome(kind: Kind, partitions: Mapping[int, Events], schedule: Schedule) -> Lines:
    """What all tables hold when the partitions were read in this way."""
    tables = read(kind, partitions, schedule)
    return {name: list(map(_line, rows)) for name, rows in _listed(kind, tables)}


def read(kind: Kind, partitions: Mapping[int, Events], schedule: Schedule) -> Tables:
    """Reads the partitions, each as one batch to be cut, in this way."""
    rehearsal = Rehearsal(kind)
    at = dict.fromkeys(partitions, 0)
    for step in schedule.steps:
        match step:
            case Read(partition, count):
                start, at[partition] = at[partition], at[partition] + count
                rehearsal.take(between(partitions[partition], start, at[partition]))
            case Act.CHECKPOINT:
                rehearsal.checkpoint()
            case Act.FLUSH:
                rehearsal.flush()
            case Act.RESTART:
                rehearsal.restart()
    rehearsal.checkpoint()
    return rehearsal.tables


def _listed(kind: Kind, tables: Tables) -> Iterator[tuple[str, Sequence[Any]]]:
    yield "rows", kind.shown(tables, LATEST_MS)
    yield "late records", in_place(tables.late)
    # A stack may name an object by its address.
    yield "dead letters", [letter | {"stack": None} for letter in dead(tables.dead)]
    for name, side in tables.sides.items():
        yield f"rows of output {name!r}", emitted(side)
    if isinstance(kind, KeyedKind):
        yield "states", sorted(kind.states(tables).items())
        yield "timers", kind.timers(tables)


def _line(row: object) -> str:
    """A row as text, equal for equal rows to the last bit."""
    if isinstance(row, dict):
        return ", ".join(f"{name}={_line(value)}" for name, value in row.items())
    if isinstance(row, tuple) and not hasattr(row, "_fields"):
        return ", ".join(map(_line, row))
    if isinstance(row, frozenset):
        return f"{{{', '.join(sorted(map(_line, row)))}}}"
    return str(row) if hasattr(row, "isoformat") else repr(row)


def _length(events: Events) -> int:
    return len(events.frame) + len(events.tombstones)


def _jumps(kind: Kind, events: Events) -> list[int]:
    """The offsets of the records whose event time goes furthest beyond those before."""
    column = kind.source.event_time
    if column is None:
        return []
    time = pl.col(column).to_physical().fill_null(strategy="forward")
    beyond = time.cum_max().diff().fill_null(0).alias("beyond")
    moved = events.frame.select("@offset", beyond).filter(pl.col("beyond") > 0)
    return sorted(moved.sort("beyond", descending=True)["@offset"].head(_JUMPS))


def _difference(plain: Schedule, expected: Lines, other: Schedule, found: Lines) -> str:
    """What differs, table by table, and how to read the partitions that way again."""
    parts = [f"it matters how the topic is read: {plain.name}, or {other.name}"]
    for table in expected:
        for name, lines, not_in in (
            (plain.name, expected[table], found[table]),
            (other.name, found[table], expected[table]),
        ):
            only = [line for line in lines if line not in not_in]
            if only:
                parts.append(f"{table} only with {name}:")
                parts += [f"    {line}" for line in only[:_SHOWN]]
                parts += [f"    and {len(only) - _SHOWN} more"] if len(only) > _SHOWN else []
    if len(parts) == 1:
        parts.append("the same rows come in another order or number")
    parts.append(f"{other.name} is: {other}")
    return "\n".join(parts)
