"""Whether values written with an older schema can be read with a newer one.

Avro's own rules are decided by Apache's library; it tells whether, not where, so the two
schemas are walked together to find the field. Its rules do not look at logical types: a
timestamp read in other units, or a decimal with another scale, would be silently wrong by a
factor. Those changes are refused here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException

from kappa.avro.evolution import resolve_record
from kappa.avro.nodes import Array, Fixed, Logical, Map, Node, Nullable, Primitive, Record
from kappa.avro.schema import AvroSchema
from kappa.errors import IncompatibleSchema, InvalidSchema

_Conflict = tuple[str, str]
"""The path of a field, and what is wrong with it."""
_Schema = Any
"""One of the library's schema objects."""

_NAMED_TYPES = ("record", "error", "enum", "fixed")

_HOW_TO_EVOLVE = "docs/schemas.md lists the changes that history can still be read with"


def check_backward(
    new: AvroSchema, old: AvroSchema, *, subject: str | None = None, version: int | None = None
) -> None:
    """Passes if every value written with ``old`` can be read with ``new``, meaning the same.

    Args:
        subject, version: what ``old`` is registered as, for the message.

    Raises:
        IncompatibleSchema: names the first field that could not, such as ``lines[].price``.
        InvalidSchema: the library cannot read one of the schemas.
    """
    if new.text == old.text:
        return
    reader, writer = _parsed(new), _parsed(old)
    conflict = next(_structural("", reader, writer), None) or next(
        _meaning("", new.record, old.record), None
    )
    if conflict is None:
        conflict = _undecodable(new.record, old.record)
    if conflict is None:
        return
    field, reason = conflict
    where = f"field {field!r}" if field else "the schema"
    than = f"version {version}" if version is not None else "the older schema"
    raise IncompatibleSchema(
        f"values of {than} could not be read: {where} {reason}",
        hint=_HOW_TO_EVOLVE,
        subject=subject,
        version=version,
        field=field or None,
    )


def _structural(path: str, new: _Schema, old: _Schema) -> Iterator[_Conflict]:
    """What Avro's rules refuse, each conflict at the innermost field that has it."""
    if _readable(new, old):
        return
    found = False
    for conflict in _inside(path, new, old):
        found = True
        yield conflict
    if not found:
        yield path, _reason(new, old)


def _inside(path: str, new: _Schema, old: _Schema) -> Iterator[_Conflict]:
    match new.type, old.type:
        case ("record", "record") if _same_name(new, old):
            for field in new.fields:
                inner = f"{path}.{field.name}" if path else field.name
                former = _former(field, old)
                if former is not None:
                    yield from _structural(inner, field.type, former.type)
                elif not field.has_default:
                    yield inner, "is new and has no default"
        case ("array", "array"):
            yield from _structural(f"{path}[]", new.items, old.items)
        case ("map", "map"):
            yield from _structural(f"{path}{{}}", new.values, old.values)
        case ("union", _) | (_, "union"):
            inner_new, inner_old = _not_null(new), _not_null(old)
            if inner_new is not new or inner_old is not old:
                yield from _structural(path, inner_new, inner_old)


def _readable(new: _Schema, old: _Schema) -> bool:
    # A checker takes a pair it is still looking at for readable: a new one for each question.
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(new, old)
    return bool(result.compatibility is SchemaCompatibilityType.compatible)


def _reason(new: _Schema, old: _Schema) -> str:
    if new.type == old.type == "enum" and _same_name(new, old):
        lost = [symbol for symbol in old.symbols if symbol not in new.symbols]
        return f"no longer has the symbol {', '.join(lost)}, nor a default for it"
    if new.type == old.type == "fixed" and _same_name(new, old):
        return f"has {new.size} bytes, had {old.size}"
    if old.type == "union" and new.type != "union" and _readable(new, _not_null(old)):
        return "can no longer be null, but older values may be"
    if new.type == old.type and hasattr(new, "fullname") and hasattr(old, "fullname"):
        return f"is called {new.fullname}, was {old.fullname}, which is not among its aliases"
    return f"is of type {_named(new)}, was {_named(old)}"


def _named(schema: _Schema) -> str:
    if schema.type == "union":
        return " or ".join(_named(branch) for branch in schema.schemas)
    return str(schema.type)


def _same_name(new: _Schema, old: _Schema) -> bool:
    return bool(new.name == old.name or old.fullname in (new.props.get("aliases") or ()))


def _former(field: _Schema, old: _Schema) -> _Schema | None:
    """The older record's field that a field is read from: by its name, else by an alias."""
    names = (field.name, *(field.props.get("aliases") or ()))
    return next((old.fields_dict[name] for name in names if name in old.fields_dict), None)


def _not_null(schema: _Schema) -> _Schema:
    if schema.type != "union":
        return schema
    others = [branch for branch in schema.schemas if branch.type != "null"]
    return others[0] if len(others) == 1 else schema


def _meaning(path: str, new: Node, old: Node) -> Iterator[_Conflict]:
    """Where the same bytes would mean something else. The structures are known to fit."""
    new = new.node if isinstance(new, Nullable) else new
    old = old.node if isinstance(old, Nullable) else old
    match new, old:
        case Record(), Record():
            former = {field.name: field.node for field in old.fields}
            for field in new.fields:
                inner = f"{path}.{field.name}" if path else field.name
                names = (name for name in (field.name, *field.aliases) if name in former)
                for name in names:
                    yield from _meaning(inner, field.node, former[name])
                    break
        case Array(), Array():
            yield from _meaning(f"{path}[]", new.items, old.items)
        case Map(), Map():
            yield from _meaning(f"{path}{{}}", new.values, old.values)
        case ((Primitive() | Fixed()), (Primitive() | Fixed())) if new.logical != old.logical:
            yield path, f"means {_spelled(new)}, meant {_spelled(old)}"


def _undecodable(new: Record, old: Record) -> _Conflict | None:
    """What kappa's own decoder would refuse though the rules allow it."""
    try:
        resolve_record(old, new)
    except IncompatibleSchema as error:
        return str(error.detail.get("field", "")), "cannot be decoded from it"
    return None


def _spelled(node: Primitive | Fixed) -> str:
    logical: Logical | None = node.logical
    if logical is None:
        return f"a plain {node.name if isinstance(node, Primitive) else 'fixed'}"
    if logical.name == "decimal":
        return f"decimal({logical.precision}, {logical.scale})"
    return logical.name


def _parsed(schema: AvroSchema) -> _Schema:
    document = _physical(json.loads(schema.text))
    try:
        return avro.schema.parse(
            json.dumps(document), validate_enum_symbols=False, validate_names=False
        )
    except AvroException as error:
        raise InvalidSchema(f"Apache Avro refuses the schema: {error}") from error


def _physical(node: Any, namespace: str = "") -> Any:
    """The schema without logical types, of which the library would warn if it does not know
    them, and with full names as aliases: it compares them as they stand.
    """
    if isinstance(node, list):
        return [_physical(branch, namespace) for branch in node]
    if not isinstance(node, dict):
        return node
    if set(node) - {"logicalType"} == {"type"}:
        return _physical(node["type"], namespace)
    kept = {name: value for name, value in node.items() if name != "logicalType"}
    if kept.get("type") in _NAMED_TYPES:
        namespace = _namespace(kept, namespace)
        kept["aliases"] = [
            alias if "." in alias or not namespace else f"{namespace}.{alias}"
            for alias in kept.get("aliases") or ()
        ]
    for inner in ("type", "items", "values", "fields"):
        if inner in kept:
            kept[inner] = _physical(kept[inner], namespace)
    return kept


def _namespace(node: dict[str, Any], outer: str) -> str:
    """The namespace of the names inside a named type."""
    given = str(node["name"])
    return given.rpartition(".")[0] if "." in given else str(node.get("namespace", outer))
