"""One input value against one type of the schema: what fits, and why something does not.

What comes out is Avro's own physical value: whole numbers for dates, times and timestamps, bytes,
text; only a decimal stays a ``Decimal``. The forms accepted are listed in docs/publishing.md.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import TypeAlias

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
from kappa.publishing import moments
from kappa.publishing.digits import Written
from kappa.publishing.misfit import Misfit, quoted

Physical: TypeAlias = (
    "bool | int | float | str | bytes | Decimal | list[Physical] | dict[str, Physical] | None"
)

MAX_FLOAT = 3.4028234663852886e38
"""The largest finite 32-bit float."""

RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
"""Inclusive bounds of Avro's whole numbers."""

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_DECIMAL_TEXT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_WIDE = Context(prec=200)
_EXACT_DIGITS = 15
"""Decimal digits a JSON number keeps on its way through a double."""


def conform(value: object, node: Node) -> Physical:
    """The physical value of ``value`` in the type ``node``.

    Raises:
        Misfit: it has none.
    """
    if isinstance(node, Nullable):
        return None if value is None else conform(value, node.node)
    if value is None:
        if node == Primitive("null"):
            return None
        raise Misfit(f"null, where {name_of(node)} is needed")
    match node:
        case Primitive(name, logical):
            if logical is None:
                return _PRIMITIVE[name](value, name)
            return _logical(value, name, logical)
        case Fixed(size=size, logical=logical):
            return _fixed(value, size) if logical is None else _logical(value, "fixed", logical)
        case Enum(symbols=symbols):
            if value not in symbols:
                raise Misfit(f"{quoted(value)} is not one of {', '.join(symbols)}")
            return str(value)
        case Array(items):
            if not isinstance(value, list):
                raise _unlike(value, "array")
            return [_within(f"[{at}]", item, items) for at, item in enumerate(value)]
        case Map(values):
            if not isinstance(value, Mapping):
                raise _unlike(value, "map")
            return {str(k): _within(f"[{k!r}]", item, values) for k, item in value.items()}
        case Record(fields=fields):
            return _record(value, fields)


def has_decimal(node: Node) -> bool:
    """Whether a type is a decimal, or holds one."""
    match node:
        case Nullable(inner) | Array(inner) | Map(inner):
            return has_decimal(inner)
        case Record(fields=fields):
            return any(has_decimal(field.node) for field in fields)
        case Primitive(logical=Logical("decimal")) | Fixed(logical=Logical("decimal")):
            return True
    return False


def default_of(field: Field) -> Physical:
    """A field's default as a physical value."""
    return _default(field.default, field.node)


def name_of(node: Node) -> str:
    """How a message calls a type."""
    if isinstance(node, Primitive | Fixed) and node.logical is not None:
        return node.logical.name
    return node.name if isinstance(node, Primitive) else type(node).__name__.lower()


def _logical(value: object, base: str, logical: Logical) -> Physical:
    if logical.name == "decimal":
        return _decimal(value, logical)
    if logical.name == "uuid":
        return _uuid(value)
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        number = moments.physical(value, logical.name)
    if logical.name.startswith("time-"):
        moments.require_time_of_day(number, logical.name)
    return _whole(number, base)


def _null(value: object, name: str) -> None:
    raise _unlike(value, name)


def _boolean(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return value
    raise _unlike(value, name)


def _whole(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unlike(value, name)
    low, high = RANGES[name]
    if not low <= value <= high:
        raise Misfit(f"{value} is out of the range of {name}")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _unlike(value, name)
    try:
        number = float(value)
    except OverflowError:
        raise Misfit(f"{quoted(value)} is out of the range of {name}") from None
    if name == "float" and math.isfinite(number) and abs(number) > MAX_FLOAT:
        raise Misfit(f"{value} is out of the range of float")
    return number


def _string(value: object, name: str) -> str:
    if isinstance(value, str):
        return value
    raise _unlike(value, name)


def _bytes(value: object, name: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise _unlike(value, name)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Misfit(f"{quoted(value)} is not base64") from None


def _fixed(value: object, size: int) -> bytes:
    content = _bytes(value, "fixed")
    if len(content) != size:
        raise Misfit(f"{len(content)} bytes, where {size} are needed")
    return content


def _uuid(value: object) -> str:
    try:
        return str(uuid.UUID(_string(value, "uuid")))
    except ValueError:
        raise Misfit(f"{quoted(value)} is no uuid") from None


def _decimal(value: object, logical: Logical) -> Decimal:
    try:
        number = _as_decimal(value)
        scaled = number.quantize(Decimal(1).scaleb(-logical.scale), context=_WIDE)
    except InvalidOperation:
        raise Misfit(f"{quoted(value)} has more than {logical.precision} digits") from None
    if scaled != number:
        raise Misfit(f"{quoted(value)} has more than {logical.scale} digits after the point")
    if len(scaled.as_tuple().digits) > logical.precision:
        raise Misfit(f"{quoted(value)} has more than {logical.precision} digits")
    return scaled


def _as_decimal(value: object) -> Decimal:
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and _DECIMAL_TEXT.fullmatch(value):
        return Decimal(value)
    if isinstance(value, Written) and math.isfinite(value):
        return Decimal(value.text)
    if isinstance(value, float) and math.isfinite(value):
        number = Decimal(repr(value))
        if len(number.as_tuple().digits) <= _EXACT_DIGITS:
            return number
        raise Misfit(f"{value} may have lost digits as a JSON number; write it as a string")
    raise _unlike(value, "decimal")


def _record(value: object, fields: tuple[Field, ...]) -> dict[str, Physical]:
    if not isinstance(value, Mapping):
        raise _unlike(value, "record")
    unknown = sorted(value.keys() - {field.name for field in fields})
    if unknown:
        raise Misfit("the schema has no such field", f".{unknown[0]}")
    filled: dict[str, Physical] = {}
    for field in fields:
        if field.name in value:
            filled[field.name] = _within(f".{field.name}", value[field.name], field.node)
        elif field.has_default:
            filled[field.name] = default_of(field)
        else:
            raise Misfit("the field is missing and has no default", f".{field.name}")
    return filled


def _default(default: object, node: Node) -> Physical:
    """Schemas write bytes as Latin-1 text; everything else is in the form of records."""
    match node:
        case Nullable(inner):
            return None if default is None else _default(default, inner)
        case Primitive("bytes") | Fixed() if isinstance(default, str):
            content = default.encode("latin-1")
            match node.logical:
                case Logical("decimal", _, scale):
                    return Decimal(int.from_bytes(content, "big", signed=True)).scaleb(-scale)
                case Logical("uuid"):
                    return str(uuid.UUID(bytes=content))
            return content
        case Array(items) if isinstance(default, list):
            return [_default(item, items) for item in default]
        case Map(values) if isinstance(default, Mapping):
            return {str(key): _default(item, values) for key, item in default.items()}
        case Primitive() | Enum():
            return conform(default, node)
        case Record(fields=fields) if isinstance(default, Mapping):
            return {f.name: _default(default.get(f.name, f.default), f.node) for f in fields}
    raise _unlike(default, name_of(node))


def _within(step: str, value: object, node: Node) -> Physical:
    try:
        return conform(value, node)
    except Misfit as misfit:
        raise Misfit(misfit.reason, step + misfit.path) from None


def _unlike(value: object, name: str) -> Misfit:
    return Misfit(f"{quoted(value)} is no {name}")


_PRIMITIVE: dict[str, Callable[[object, str], Physical]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _whole,
    "long": _whole,
    "float": _number,
    "double": _number,
    "string": _string,
    "bytes": _bytes,
}
