"""A field's default, from the JSON of a schema to the value a column holds.

fastavro hands a default out as it stands in the schema: bytes as text, a decimal and a
timestamp as their raw form. Here it means what the field's type says.
"""

from __future__ import annotations

from typing import Any

from kappa.avro.nodes import Array, Enum, Fixed, Map, Node, Nullable, Primitive, Record
from kappa.errors import InvalidSchema


def physical_default(node: Node, default: Any, path: str) -> Any:
    """The default in physical form, as ``pa.array`` takes it.

    Raises:
        InvalidSchema: the default is no value of the field's type.
    """
    try:
        return _value(node, default)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InvalidSchema(
            f"the default {default!r} is no value of the field's type", field=path
        ) from error


def _value(node: Node, default: Any) -> Any:
    match node:
        case Nullable(inner):
            return None if default is None else _value(inner, default)
        case Primitive("bytes") | Fixed():
            raw = default.encode("latin-1")
            if isinstance(node, Fixed) and len(raw) != node.size:
                raise ValueError(f"{len(raw)} bytes of {node.size}")
            return raw
        case Primitive(name):
            return _primitive(name, default)
        case Enum(symbols=symbols):
            if default not in symbols:
                raise ValueError(f"no symbol {default!r}")
            return default
        case Array(items):
            return [_value(items, item) for item in default]
        case Map(values):
            return [{"key": key, "value": _value(values, item)} for key, item in default.items()]
        case Record(fields=fields):
            return {
                f.name: _member(f.name, f.has_default, f.default, f.node, default) for f in fields
            }


def _member(name: str, has_default: bool, own: Any, node: Node, default: Any) -> Any:
    if name not in default and not has_default:
        raise KeyError(name)
    return _value(node, default.get(name, own))


def _primitive(name: str, default: Any) -> Any:
    wanted: dict[str, tuple[type[Any], ...]] = {
        "null": (type(None),),
        "boolean": (bool,),
        "int": (int,),
        "long": (int,),
        "float": (int, float),
        "double": (int, float),
        "string": (str,),
    }
    wrong = name != "boolean" and isinstance(default, bool)
    if wrong or not isinstance(default, wanted[name]):
        raise TypeError(f"{default!r} for {name}")
    return float(default) if name in ("float", "double") else default
