"""The fast decoder: a batch of framed values to columns, by pyruhvro, all or nothing.

The values are decoded with their frame, so that magic bytes and schema ids are columns too and
nothing is sliced off each value; see ``framed``. pyruhvro is quick because it believes what it
reads, and says of a batch that fails neither where nor, with a panic, always by an exception.
So a batch is accepted only if nothing about it is doubtful; see ``lift``.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyruhvro

from kappa.avro.framed import FRAME_FIELDS, framed_schema, id_bits
from kappa.avro.lift import Doubtful, Tally, lift
from kappa.avro.nodes import Record
from kappa.avro.wire import HEADER_BYTES

_PANIC = "PanicException"


class VectorisedDecoder:
    """Decodes values of one writer's schema, one that ``framed.is_vectorised``."""

    def __init__(self, writer: Record, schema_id: int) -> None:
        self._schema = framed_schema(writer)
        self._lifts = [lift(field.node) for field in writer.fields]
        self._id_bits = id_bits(schema_id)

    def decode(self, values: list[bytes], size: int) -> list[pa.Array]:
        """The writer's columns in decoded form.

        ``size`` is the length of all values together.

        Raises:
            Doubtful: some value is no datum, or of another schema, or unusual.
        """
        columns = _columns(values, self._schema)
        if np.asarray(columns[0]).any():
            raise Doubtful
        if (np.asarray(columns[1]).view(np.uint32) != self._id_bits).any():
            raise Doubtful
        tally = Tally(HEADER_BYTES * len(values))
        lifted = [
            lift(column, len(values), tally)
            for lift, column in zip(self._lifts, columns[FRAME_FIELDS:], strict=True)
        ]
        if tally.bytes != size:
            raise Doubtful
        return lifted


def _columns(values: list[bytes], schema: str) -> list[pa.Array]:
    try:
        columns: list[pa.Array] = pyruhvro.deserialize_array(values, schema).columns
    except ValueError:
        raise Doubtful from None
    except BaseException as error:  # a panic is no Exception
        if type(error).__name__ != _PANIC:
            raise
        raise Doubtful from None
    return columns
