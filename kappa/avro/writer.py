"""One writer's schema: its decoders, and the way from its columns to the reader's."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from kappa.avro.evolution import resolve_record
from kappa.avro.framed import is_vectorised
from kappa.avro.lift import Doubtful
from kappa.avro.reference import ReferenceDecoder
from kappa.avro.schema import AvroSchema
from kappa.avro.sizes import MAX_PLACES, harmless_bytes
from kappa.avro.values import Values
from kappa.avro.vectorised import VectorisedDecoder

Columns = list[pa.Array]
"""A column per field of a record, in order."""

_SMALL = 8
"""So few values are sooner read one by one than tried in smaller parts."""

_AT_ONCE_BYTES = 64 * 1024 * 1024
_AT_ONCE_PLACES = 4 * MAX_PLACES
"""What the lists of values decoded at once may fill."""


class Writer:
    """Decodes values of one schema id to the columns wanted of a reader.

    Raises:
        IncompatibleSchema: the reader cannot read what was written with the schema.
    """

    def __init__(
        self, schema_id: int, schema: AvroSchema, reader: AvroSchema, wanted: Sequence[str]
    ) -> None:
        resolution = resolve_record(schema.record, reader.record)
        plans = dict(
            zip((field.name for field in reader.record.fields), resolution.fields, strict=True)
        )
        self._plans = [plans[name] for name in wanted]
        self._slow = ReferenceDecoder(resolution.decode_as)
        self._fast = (
            VectorisedDecoder(resolution.decode_as, schema_id)
            if is_vectorised(resolution.decode_as)
            else None
        )
        self._longest = harmless_bytes(resolution.decode_as)
        self._at_once = _AT_ONCE_BYTES
        if self._longest is not None:
            self._at_once = min(self._at_once, self._longest * (_AT_ONCE_PLACES // MAX_PLACES))

    def accept(self, values: Values) -> Columns | None:
        """The columns of all these values, for ``resolved``; None if that takes a closer look."""
        if self._fast is None or values.size > self._at_once or self._too_long(values):
            return None
        try:
            return self._fast.decode(values)
        except Doubtful:
            return None

    def _too_long(self, values: Values) -> bool:
        """Whether a value might fill more places than one may: the slow way counts them."""
        longest = self._longest
        return longest is not None and values.size > longest and values.lengths.max() > longest

    def is_small(self, count: int) -> bool:
        """Whether so many values that were not accepted should be read one by one."""
        return self._fast is None or count <= _SMALL

    def read(self, value: bytes) -> list[object]:
        """One value, for ``columns``.

        Raises:
            Undecodable: it is no datum of the writer's schema.
        """
        return self._slow.read(value)

    def columns(self, rows: Sequence[list[object]]) -> Columns:
        """The columns of values read one by one, for ``resolved``."""
        return self._slow.columns(rows)

    def resolved(self, columns: Columns) -> Columns:
        """The columns wanted of the reader."""
        return [
            convert(columns[0 if number is None else number]) for number, convert in self._plans
        ]
