"""Logical types: which are understood on which type. Others are ignored, as Avro demands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from kappa.avro.nodes import Logical
from kappa.errors import InvalidSchema

MAX_PRECISION = 38
"""The digits of a 128-bit decimal."""

_BASES = {
    "date": "int",
    "time-millis": "int",
    "time-micros": "long",
    "timestamp-millis": "long",
    "timestamp-micros": "long",
    "timestamp-nanos": "long",
    "local-timestamp-millis": "long",
    "local-timestamp-micros": "long",
    "local-timestamp-nanos": "long",
    "uuid": "string",
}
_UUID_BYTES = 16


def logical_of(schema: Mapping[str, Any], path: str) -> Logical | None:
    """What a primitive or fixed type means; None if nothing more than it is.

    Raises:
        InvalidSchema: it is a decimal that no column can hold. Ignoring that would turn amounts
            into bytes.
    """
    name, kind = schema.get("logicalType"), schema["type"]
    if not isinstance(name, str):
        return None
    if name == "decimal" and kind in ("bytes", "fixed"):
        return _decimal(schema, path)
    if name == "uuid" and kind == "fixed":
        return Logical(name) if schema["size"] == _UUID_BYTES else None
    return Logical(name) if _BASES.get(name) == kind else None


def _decimal(schema: Mapping[str, Any], path: str) -> Logical:
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    where = path or None
    if not _is_whole(precision) or not 1 <= precision <= MAX_PRECISION:
        raise InvalidSchema(
            f"a decimal needs a precision from 1 to {MAX_PRECISION}",
            field=where,
            precision=precision,
        )
    if not _is_whole(scale) or not 0 <= scale <= precision:
        raise InvalidSchema(
            "a decimal's scale is from 0 to its precision", field=where, scale=scale
        )
    if schema["type"] == "fixed" and 10**precision > 1 << (8 * int(schema["size"]) - 1):
        raise InvalidSchema(
            f"a decimal of {precision} digits does not fit {schema['size']} bytes", field=where
        )
    return Logical("decimal", precision, scale)


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
