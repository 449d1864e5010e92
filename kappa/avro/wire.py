"""What stands in front of every value: a magic byte and the schema's id."""

from __future__ import annotations

import struct

MAGIC = 0
HEADER_BYTES = 5
"""The magic byte and the schema's id."""

_HEADER = struct.Struct(">bi")


def header(schema_id: int) -> bytes:
    """The five bytes in front of a value written with the schema of this id."""
    return _HEADER.pack(MAGIC, schema_id)
