"""Batches of framed values to the reader's columns, whoever wrote them.

Each value names its writer's schema. How a writer's columns become the reader's is worked out
once per schema id; then a batch is decoded whole. A value that cannot be decoded is found by
halving and reported by its position, and never spoils the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from kappa.avro.columns import arrow_schema, polars_schema
from kappa.avro.evolution import OutOfRange, Resolve, resolve_field
from kappa.avro.nodes import Record
from kappa.avro.reference import ReferenceDecoder
from kappa.avro.schema import AvroSchema
from kappa.avro.strict import NotAvro, check
from kappa.avro.vectorised import Refused, VectorisedDecoder, is_vectorised, schema_id_of
from kappa.avro.wire import HEADER_BYTES


@dataclass(frozen=True, slots=True)
class Failure:
    """A value that cannot be decoded, by its position in the batch."""

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
        failures: what could not be decoded.
        schema_ids: the writers met.
    """

    frame: pl.DataFrame
    positions: NDArray[np.int64] | None
    tombstones: NDArray[np.int64]
    failures: tuple[Failure, ...]
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
        self._schema = pl.Schema({name: every[name] for name in self._wanted})
        self._writer_of = writer_of
        self._writers: dict[int, _Writer] = {}
        self._likely: int | None = None

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decodes a batch.

        Raises:
            UnknownSchema: a value names a schema that is not registered.
            IncompatibleSchema: a value's schema cannot be read as the reader's.
        """
        present, tombstones = _present(values)
        quick = self._whole(present) if present else None
        if quick is not None:
            positions = None if len(present) == len(values) else _others(len(values), tombstones)
            return Decoded(
                self._frame([quick]), positions, tombstones, (), frozenset({self._likely or 0})
            )
        kept = np.arange(len(values)) if not len(tombstones) else _others(len(values), tombstones)
        return self._by_writer(present, kept, len(values), tombstones)

    def _whole(self, values: Sequence[bytes]) -> list[pa.Array] | None:
        """The columns, if all values have the first one's schema and nothing is wrong."""
        self._likely = schema_id_of(values[0])
        if self._likely is None:
            return None
        writer = self._writer(self._likely)
        if writer.fast is None:
            return None
        try:
            columns, doubtful = writer.fast.decode(values)
            return None if doubtful.any() else writer.resolved(columns, len(values))
        except (Refused, OutOfRange):
            return None

    def _by_writer(
        self,
        values: Sequence[bytes],
        kept: NDArray[np.int64],
        total: int,
        tombstones: NDArray[np.int64],
    ) -> Decoded:
        """The careful way: value by value to its writer, and each writer's by halving."""
        groups: dict[int, list[int]] = {}
        failures: list[Failure] = []
        for number, value in enumerate(values):
            schema_id = schema_id_of(value)
            if schema_id is None:
                failures.append(_failure(kept[number], "no magic byte and schema id in front"))
            else:
                groups.setdefault(schema_id, []).append(number)
        parts: list[list[pa.Array]] = []
        order: list[int] = []
        for schema_id, members in groups.items():
            self._writer(schema_id).decode(values, members, parts, order, failures, kept)
        frame = self._frame(parts)
        rows = np.array(order, dtype=np.int64)
        if len(groups) > 1:
            sorting = np.argsort(rows)
            frame, rows = frame[sorting], rows[sorting]
        return Decoded(
            frame,
            None if len(rows) == total else kept[rows],
            tombstones,
            tuple(sorted(failures, key=lambda failure: failure.position)),
            frozenset(groups),
        )

    def _writer(self, schema_id: int) -> _Writer:
        if schema_id not in self._writers:
            schema = self._writer_of(schema_id)
            self._writers[schema_id] = _Writer(schema.record, schema_id, self._reader, self._wanted)
        return self._writers[schema_id]

    def _frame(self, parts: Sequence[list[pa.Array]]) -> pl.DataFrame:
        if not parts:
            return self._schema.to_frame()
        frames = [
            pl.from_arrow(pa.table(dict(zip(self._wanted, columns, strict=True))))
            for columns in parts
        ]
        if not self._wanted:
            return pl.DataFrame()
        return pl.concat([frame for frame in frames if isinstance(frame, pl.DataFrame)])


class _Writer:
    """One writer's schema: its decoders, and the way to the reader's columns."""

    def __init__(
        self, writer: Record, schema_id: int, reader: AvroSchema, wanted: Sequence[str]
    ) -> None:
        self.fast = VectorisedDecoder(writer, schema_id) if is_vectorised(writer) else None
        self._writer = writer
        self._slow = ReferenceDecoder(writer)
        plans: dict[str, tuple[int | None, Resolve]] = {
            field.name: resolve_field(field, writer, field.name) for field in reader.record.fields
        }
        self._plans = [plans[name] for name in wanted]
        self._unwanted = [plan for name, plan in plans.items() if name not in wanted]
        self._types = [arrow_schema(reader).field(name).type for name in wanted]

    def resolved(self, columns: Sequence[pa.Array], rows: int) -> list[pa.Array]:
        """The reader's columns of the writer's."""
        nothing = pa.nulls(rows)
        return [
            plan(nothing if number is None else columns[number]).cast(type_)
            for (number, plan), type_ in zip(self._plans, self._types, strict=True)
        ]

    def decode(
        self,
        values: Sequence[bytes],
        members: list[int],
        parts: list[list[pa.Array]],
        order: list[int],
        failures: list[Failure],
        kept: NDArray[np.int64],
    ) -> None:
        """Decodes these members of a batch, halving where one of them cannot be."""
        try:
            if self.fast is not None:
                columns, doubtful = self.fast.decode([values[member] for member in members])
                wrong = self._wrong(values, [members[at] for at in np.flatnonzero(doubtful)])
            else:
                columns, found = self._slow.decode([values[member] for member in members])
                wrong = {members[at]: why for at, why in found.items()}
            if wrong:
                failures += [_failure(kept[member], why) for member, why in wrong.items()]
                left = [member for member in members if member not in wrong]
                if left:
                    self.decode(values, left, parts, order, failures, kept)
                return
            parts.append(self.resolved(columns, len(members)))
            order.extend(members)
        except (Refused, OutOfRange) as error:
            if len(members) == 1:
                why = self._wrong(values, members).get(members[0], str(error))
                failures.append(_failure(kept[members[0]], why))
                return
            middle = len(members) // 2
            for half in (members[:middle], members[middle:]):
                self.decode(values, half, parts, order, failures, kept)

    def _wrong(self, values: Sequence[bytes], members: Sequence[int]) -> dict[int, str]:
        """Which of these are no datum of the writer's schema, and why."""
        wrong = {}
        for member in members:
            try:
                check(self._writer, values[member], HEADER_BYTES)
            except NotAvro as error:
                wrong[member] = str(error)
        return wrong


def _present(values: Sequence[bytes | None]) -> tuple[Sequence[bytes], NDArray[np.int64]]:
    present = [value for value in values if value is not None] if None in values else values
    if len(present) == len(values):
        return present, np.empty(0, dtype=np.int64)  # type: ignore[return-value]
    absent = [position for position, value in enumerate(values) if value is None]
    return present, np.array(absent, dtype=np.int64)  # type: ignore[return-value]


def _others(total: int, absent: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.delete(np.arange(total, dtype=np.int64), absent)


def _failure(position: np.int64, why: str) -> Failure:
    return Failure(int(position), "Undecodable", why)
