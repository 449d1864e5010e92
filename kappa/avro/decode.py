"""Batches of framed values to the reader's columns, whoever wrote them.

Each value names its writer's schema. How a writer's columns become the reader's is worked out
once per schema id; then a batch is decoded in large blocks. Where that fails it is tried in ever
smaller parts, until the values to blame stand nearly alone; the reference decoder decides about
those. So a bad value is reported by its position, and never spoils the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from kappa.avro.columns import polars_schema
from kappa.avro.cursor import Undecodable
from kappa.avro.schema import AvroSchema
from kappa.avro.values import Values, blocks
from kappa.avro.wire import HEADER_BYTES, MAGIC
from kappa.avro.writer import Columns, Writer


@dataclass(frozen=True, slots=True)
class Failure:
    """A value that cannot be decoded, by its position in the batch.

    Attributes:
        error_class: one word, such as Truncated, TrailingBytes or BadText.
        message: the field and what is wrong with it.
    """

    position: int
    error_class: str
    message: str


@dataclass(frozen=True)
class Decoded:
    """A decoded batch.

    Attributes:
        frame: the reader's columns, one row per decoded value, in the batch's order.
        positions: the position of each row; None when every value was decoded.
        tombstones: the positions of absent values.
        failures: what could not be decoded, in the batch's order.
        schema_ids: the writers met.
    """

    frame: pl.DataFrame
    positions: NDArray[np.int64] | None
    tombstones: NDArray[np.int64]
    failures: tuple[Failure, ...]
    schema_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Part:
    """A decoded part of a batch, its positions those in the batch."""

    frame: pl.DataFrame
    rows: NDArray[np.int64]
    tombstones: NDArray[np.int64]
    failures: list[Failure]
    schema_ids: frozenset[int]


class BatchDecoder:
    """Decodes batches to one reader's columns. Remembers every writer it has met.

    Args:
        reader: the schema whose columns are wanted.
        writer_of: finds the schema of an id; raises UnknownSchema.
        columns: the reader's columns to give, all where it is None. Values are checked whole
            in any case.
    """

    def __init__(
        self,
        reader: AvroSchema,
        writer_of: Callable[[int], AvroSchema],
        columns: Collection[str] | None = None,
    ) -> None:
        every = polars_schema(reader)
        self._reader = reader
        self._wanted = [name for name in every if columns is None or name in columns]
        self._empty = pl.Schema({name: every[name] for name in self._wanted}).to_frame()
        self._writer_of = writer_of
        self._writers: dict[int, Writer] = {}

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decodes a batch, which may be a list or an Arrow or Polars column.

        Raises:
            UnknownSchema: a value names a schema that is not registered.
            IncompatibleSchema: a value's schema cannot be read as the reader's.
        """
        parts: list[_Part] = []
        count = 0
        for block in blocks(values):
            parts.append(self._block(block, count))
            count += len(block)
        frames = [part.frame for part in parts if len(part.frame)]
        frame = pl.concat(frames, rechunk=True) if frames else self._empty
        rows = _end_to_end([part.rows for part in parts])
        return Decoded(
            frame,
            None if len(rows) == count else rows,
            _end_to_end([part.tombstones for part in parts]),
            tuple(failure for part in parts for failure in part.failures),
            frozenset().union(*(part.schema_ids for part in parts)),
        )

    def _block(self, block: pa.BinaryArray, begin: int) -> _Part:
        """Decodes a part of a batch whose first value is at position ``begin`` of it."""
        rows, tombstones = _places(block, begin)
        present = Values(block.drop_null() if block.null_count else block)
        likely = schema_id_of(present.first) if len(present) else None
        if likely is not None:
            writer = self._writer(likely)
            columns = writer.accept(present)
            if columns is not None:
                frame = self._frame(writer.resolved(columns))
                return _Part(frame, rows, tombstones, [], frozenset({likely}))
        return self._carefully(present.to_list(), rows, tombstones)

    def _carefully(
        self, present: list[bytes], places: NDArray[np.int64], tombstones: NDArray[np.int64]
    ) -> _Part:
        """Each value to its writer, and each writer's in parts."""
        found = _Found()
        groups = _by_writer(present, found)
        # Every writer is known and can be read before anything is decoded.
        writers = {schema_id: self._writer(schema_id) for schema_id in groups}
        for schema_id, members in groups.items():
            columns = _in_parts(writers[schema_id], present, members, found)
            if columns is not None:
                found.frames.append(self._frame(writers[schema_id].resolved(columns)))
        frame = pl.concat(found.frames) if found.frames else self._empty
        rows = np.array(found.rows, dtype=np.int64)
        if len(groups) > 1:
            order = np.argsort(rows)
            frame, rows = frame[order], rows[order]
        failures = [
            Failure(int(places[number]), *what) for number, what in sorted(found.failures.items())
        ]
        return _Part(frame, places[rows], tombstones, failures, frozenset(groups))

    def _writer(self, schema_id: int) -> Writer:
        if schema_id not in self._writers:
            schema = self._writer_of(schema_id)
            self._writers[schema_id] = Writer(schema_id, schema, self._reader, self._wanted)
        return self._writers[schema_id]

    def _frame(self, columns: Columns) -> pl.DataFrame:
        if not self._wanted:
            return self._empty
        frame = pl.from_arrow(pa.table(columns, names=self._wanted))
        assert isinstance(frame, pl.DataFrame)
        return frame


@dataclass
class _Found:
    """What is known so far of a batch that is not decoded at once, by number of the value."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    failures: dict[int, tuple[str, str]] = field(default_factory=dict)
    """The class and the message."""


def schema_id_of(value: bytes) -> int | None:
    """The schema id in a value's frame, None where there is no frame."""
    if len(value) < HEADER_BYTES or value[0] != MAGIC:
        return None
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def _by_writer(values: list[bytes], found: _Found) -> dict[int, list[int]]:
    groups: dict[bytes, list[int]] = {}
    for number, value in enumerate(values):
        groups.setdefault(value[:HEADER_BYTES], []).append(number)
    known: dict[int, list[int]] = {}
    for frame, members in groups.items():
        schema_id = schema_id_of(frame)
        if schema_id is not None:
            known[schema_id] = members
            continue
        what = (
            ("BadMagic", f"the first byte is {frame[0]}, not {MAGIC}")
            if frame and frame[0] != MAGIC
            else ("Truncated", "too short for the magic byte and a schema id")
        )
        found.failures.update(dict.fromkeys(members, what))
    return known


def _in_parts(
    writer: Writer, values: list[bytes], members: list[int], found: _Found
) -> Columns | None:
    """The columns of all members that can be decoded, in order; the others are failures.

    A part that is not accepted is tried again at a quarter of its size, down to a few values
    that are read one by one; behind an accepted part comes one of twice its size. Where most
    values are bad, longer and longer parts are read one by one without trying.
    """
    parts: list[Columns] = []
    at, size, hopeful = 0, len(members), True
    while at < len(members):
        part = members[at : at + size]
        columns = _at_once(writer, values, part, found) if hopeful else None
        if columns is not None:
            size *= 2
        elif not hopeful or writer.is_small(len(part)):
            failed = len(found.failures)
            columns = _one_by_one(writer, values, part, found)
            hopeful = 2 * (len(found.failures) - failed) <= len(part)
            size = len(part) if hopeful else 2 * len(part)
        else:
            size = len(part) // 4
            continue
        if columns is not None:
            parts.append(columns)
        at += len(part)
    return [pa.concat_arrays(column) for column in zip(*parts, strict=True)] or None


def _at_once(
    writer: Writer, values: list[bytes], members: list[int], found: _Found
) -> Columns | None:
    columns = writer.accept(Values.of([values[number] for number in members]))
    if columns is not None:
        found.rows.extend(members)
    return columns


def _one_by_one(
    writer: Writer, values: list[bytes], members: list[int], found: _Found
) -> Columns | None:
    rows = []
    for number in members:
        try:
            rows.append(writer.read(values[number]))
        except Undecodable as error:
            found.failures[number] = (error.error_class, error.message)
        else:
            found.rows.append(number)
    return writer.columns(rows) if rows else None


def _places(block: pa.BinaryArray, begin: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The positions of a block's values, and of those that are absent."""
    if not block.null_count:
        return np.arange(begin, begin + len(block)), np.empty(0, dtype=np.int64)
    valid = block.is_valid().to_numpy(zero_copy_only=False)
    return begin + np.flatnonzero(valid), begin + np.flatnonzero(~valid)


def _end_to_end(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
