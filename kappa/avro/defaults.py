"""A field's default, from the JSON of a schema to the value a column holds.

fastavro hands a default out as it stands in the schema: bytes as text, a decimal and a
timestamp as their raw form. Here it means what the field's type says.
"""

from __future__ import annotations

import math
import uuid
from decimal import Decimal
from typing import Any

from kappa.avro.limits import DAY, INT
from kappa.avro.nodes import (
    Array,
    Enum,
    Field,
    Fixed,
    Logical,
    Map,
    Node,
    Nullable,
    Primitive,
    Record,
)
from kappa.errors import InvalidSchema

_LONG = 1 << 63


def decoded_default(field: Field, path: str) -> Any:
    """The default in decoded form, as ``pa.array`` takes it.

    Raises:
        InvalidSchema: the default is no value of the field's type.
    """
    try:
        return _value(field.node, field.default)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InvalidSchema(
            f"the default {field.default!r} is no value of the field's type", field=path
        ) from error


def _value(node: Node, default: Any) -> Any:
    match node:
        case Nullable(inner):
            return None if default is None else _value(inner, default)
        case Primitive("bytes"):
            return _binary(default, node.logical)
        case Fixed(size=size):
            if len(default) != size:
                raise ValueError(default)
            return _binary(default, node.logical)
        case Primitive():
            return _primitive(node, default)
        case Enum(symbols=symbols):
            return symbols.index(default)
        case Array(items):
            return [_value(items, item) for item in _checked(default, list)]
        case Map(values):
            pairs = _checked(default, dict).items()
            return [{"key": key, "value": _value(values, value)} for key, value in pairs]
        case Record(fields=fields):
            given = _checked(default, dict)
            return {field.name: _member(field, given) for field in fields}


def _member(field: Field, given: dict[str, Any]) -> Any:
    if field.name in given:
        return _value(field.node, given[field.name])
    if not field.has_default:
        raise KeyError(field.name)
    return _value(field.node, field.default)


def _binary(default: str, logical: Logical | None) -> Any:
    raw = default.encode("latin-1")
    if logical is None or logical.name != "decimal":
        return raw
    unscaled = int.from_bytes(raw, "big", signed=True)
    if not raw or abs(unscaled) >= 10**logical.precision:
        raise ValueError(default)
    digits = tuple(int(digit) for digit in str(abs(unscaled)))
    return Decimal((unscaled < 0, digits, -logical.scale))


def _primitive(node: Primitive, default: Any) -> Any:
    logical = node.logical.name if node.logical is not None else ""
    match node.name:
        case "null":
            if default is not None:
                raise TypeError(default)
            return None
        case "boolean":
            return _checked(default, bool)
        case "int" | "long":
            bound = INT if node.name == "int" else _LONG
            low, high = (0, DAY[logical]) if logical in DAY else (-bound, bound)
            if isinstance(default, bool) or not low <= _checked(default, int) < high:
                raise ValueError(default)
            return default
        case "string":
            text = _checked(default, str)
            return str(uuid.UUID(text)) if logical == "uuid" else text
    if isinstance(default, bool) or not isinstance(default, int | float):
        raise TypeError(default)
    number = float(default)
    if not math.isfinite(number):
        raise ValueError(default)
    return number


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(value)
    return value
