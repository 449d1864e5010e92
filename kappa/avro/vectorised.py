"""The fast decoder: a batch of framed values to columns, by pyruhvro, all or nothing.

Values that lie one after the other are the items of an Avro array, so the decoder is given one
datum instead of many. They are decoded with their frame: schema ids are a column too and nothing
is sliced off each value; see ``framed``. pyruhvro is quick because it believes
what it reads, and says of a batch that fails neither where nor, with a panic, always by an
exception. So a batch is accepted only if nothing about it is doubtful; see ``lift``.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyruhvro
from numpy.typing import NDArray

from kappa.avro.framed import framed_schema, framed_values, id_bits
from kappa.avro.lift import Doubtful, lift
from kappa.avro.nodes import Record
from kappa.avro.values import Values
from kappa.avro.widths import Sizes
from kappa.avro.wire import HEADER_BYTES

_PANIC = "PanicException"


class VectorisedDecoder:
    """Decodes values of one writer's schema, one that ``framed.is_vectorised``."""

    def __init__(self, writer: Record, schema_id: int) -> None:
        self._schema = framed_schema(writer)
        self._lifts = [lift(field.node) for field in writer.fields]
        self._id_bits = id_bits(schema_id)

    def decode(self, values: Values) -> list[pa.Array]:
        """The writer's columns in decoded form.

        Raises:
            Doubtful: some value is no datum, or of another schema, or unusual.
        """
        count = len(values)
        items = _items(framed_values(count, values.data), self._schema)
        if len(items) != count:
            raise Doubtful
        schema_id, *columns = items.flatten()
        if schema_id.null_count or (_bits(schema_id) != self._id_bits).any():
            raise Doubtful
        sizes = Sizes(count, HEADER_BYTES)
        lifted = [
            lift(column, None, sizes) for lift, column in zip(self._lifts, columns, strict=True)
        ]
        if not np.array_equal(sizes.per_row(), values.lengths):
            raise Doubtful
        return lifted


def _bits(column: pa.FloatArray) -> NDArray[np.uint32]:
    return np.frombuffer(column.buffers()[1], dtype=np.uint32, count=len(column))


def _items(datum: bytes, schema: str) -> pa.StructArray:
    try:
        batch = pyruhvro.deserialize_array([datum], schema)
    except ValueError:
        raise Doubtful from None
    except BaseException as error:  # a panic is no Exception
        if type(error).__name__ != _PANIC:
            raise
        raise Doubtful from None
    return batch.column(0).values
