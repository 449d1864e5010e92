"""What a state may hold: values that nobody can change in place, each with one encoding.

A value is kept as its encoding says it is, so that a handler sees the same before and after a
restart; one whose encoding does not fit the declared type is refused when it is set.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
from msgspec import inspect

from kappa.errors import DeclarationError, InvalidValue

MAP_KEY_TYPES: tuple[Any, ...] = (str, int, bytes, bool, date)
"""Types of a map's keys: the order of their values is the order of its items."""

_PLAIN: dict[type, str] = {
    inspect.NoneType: "None",
    inspect.BoolType: "bool",
    inspect.IntType: "int",
    inspect.FloatType: "float",
    inspect.StrType: "str",
    inspect.BytesType: "bytes",
    inspect.DecimalType: "Decimal",
    inspect.UUIDType: "UUID",
    inspect.DateType: "date",
    inspect.TimeType: "time",
    inspect.DateTimeType: "datetime",
    inspect.TimeDeltaType: "timedelta",
}


def type_text(kind: Any, *, where: str) -> str:
    """The type as text that is equal only where stored values can be read as either.

    ``where`` says in an error which processor and state it is about.

    Raises:
        DeclarationError: its values could be changed in place, or have no encoding.
    """
    try:
        return _text(inspect.type_info(kind), where, ())
    except TypeError as error:
        raise _unknown(kind, error, where) from error


def _unknown(kind: Any, error: TypeError, where: str) -> DeclarationError:
    return DeclarationError(
        f"{where}: {kind!r} cannot be stored: {error}",
        hint="declare a type such as int, str, tuple[str, int] or a frozen dataclass",
    )


def normalizer(kind: Any, *, where: str) -> Callable[[Any], Any]:
    """What makes of any value one of type ``kind``, as its encoding has it.

    It raises InvalidValue for a value of another type.
    """
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    try:
        decode = msgspec.msgpack.Decoder(kind).decode
    except TypeError as error:
        raise _unknown(kind, error, where) from error

    def through_encoding(value: Any) -> Any:
        try:
            return decode(encode(value))
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
            raise InvalidValue(
                f"{where}: {reprlib.repr(value)} is no {_name(kind)}: {error}"
            ) from error

    unchanged = _UNCHANGED.get(kind)
    if unchanged is None:
        return through_encoding
    return lambda value: value if unchanged(value) else through_encoding(value)


_UNCHANGED: dict[Any, Callable[[Any], bool]] = {
    bool: lambda value: value is True or value is False,
    int: lambda value: type(value) is int and -(1 << 63) <= value < 1 << 63,
    float: lambda value: type(value) is float,
    str: lambda value: type(value) is str and value.isascii(),
}
"""Values of the simplest types that come out of their encoding as they went in."""


def _text(info: inspect.Type, where: str, inside: tuple[type, ...]) -> str:
    plain = _PLAIN.get(type(info))
    if plain is not None:
        return plain
    match info:
        case inspect.UnionType(types):
            return " | ".join(sorted(_text(one, where, inside) for one in types))
        case inspect.VarTupleType(item):
            return f"tuple[{_text(item, where, inside)}, ...]"
        case inspect.TupleType(items):
            return f"tuple[{', '.join(_text(item, where, inside) for item in items)}]"
        case inspect.FrozenSetType(item):
            return f"frozenset[{_text(item, where, inside)}]"
        case inspect.LiteralType(values):
            return f"Literal[{', '.join(sorted(map(repr, values)))}]"
        case inspect.EnumType(cls):
            return f"{cls.__name__}[{', '.join(sorted(repr(member.value) for member in cls))}]"
        case inspect.NamedTupleType() | inspect.DataclassType() | inspect.StructType():
            return _record_text(info, where, inside)
    raise DeclarationError(
        f"{where}: a value of type {_kind_of(info)} could be changed in place",
        hint="keep several values in a ListState or a MapState; a value itself is a number, text,"
        " a tuple, a frozenset, a frozen dataclass or the like",
    )


def _record_text(
    info: inspect.NamedTupleType | inspect.DataclassType | inspect.StructType,
    where: str,
    inside: tuple[type, ...],
) -> str:
    cls = info.cls
    if not _is_frozen(info):
        raise DeclarationError(
            f"{where}: a value of type {cls.__name__} could be changed in place",
            hint=f"freeze it ({_FREEZE[type(info)]}), or keep its parts in a ListState or a"
            " MapState",
        )
    if cls in inside:
        return cls.__name__
    within = (*inside, cls)
    fields = (f"{field.encode_name}: {_text(field.type, where, within)}" for field in info.fields)
    return f"{cls.__name__}({', '.join(fields)})"


_FREEZE: dict[type, str] = {
    inspect.DataclassType: "@dataclass(frozen=True)",
    inspect.StructType: "class …(msgspec.Struct, frozen=True)",
}


def _is_frozen(
    info: inspect.NamedTupleType | inspect.DataclassType | inspect.StructType,
) -> bool:
    match info:
        case inspect.DataclassType(cls):
            return bool(getattr(getattr(cls, "__dataclass_params__", None), "frozen", False))
        case inspect.StructType(cls):
            return bool(cls.__struct_config__.frozen)
    return True


def _kind_of(info: inspect.Type) -> str:
    if isinstance(info, inspect.CustomType):
        return _name(info.cls)
    return type(info).__name__.removesuffix("Type").lower()


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
