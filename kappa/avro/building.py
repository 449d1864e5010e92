"""From a schema's JSON to nodes: names are resolved, and what cannot be kept is refused.

Refused are schemas that are no Avro, and those whose values have no place in columns or would
cost more memory than their bytes let on. The error names the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kappa.avro.defaults import decoded_default
from kappa.avro.logical import logical_of
from kappa.avro.nodes import Array, Enum, Field, Fixed, Map, Node, Nullable, Primitive, Record
from kappa.avro.sizes import least_bytes
from kappa.errors import InvalidSchema

MAX_DEPTH = 32
"""How deep types may nest: every level costs a level of the interpreter's stack."""

MAX_TYPES = 4096
"""How many types a schema may have, one that is referred to counted every time."""

MAX_FIXED_BYTES = 1 << 20

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_Json = Any


class Builder:
    """Builds the nodes of one schema."""

    def __init__(self) -> None:
        self._named: dict[str, Node] = {}
        self._costs: dict[str, tuple[int, int]] = {}
        """Per named type: how many types it is made of, and how many levels deep."""
        self._open: set[str] = set()
        self._types = 0
        self._deepest = 0

    def build(self, schema: _Json, path: str = "", namespace: str = "", depth: int = 0) -> Node:
        """The node of a type.

        Raises:
            InvalidSchema
        """
        self._count(1, depth, path)
        match schema:
            case str():
                return self._reference(schema, path, namespace, depth)
            case list():
                return self._union(schema, path, namespace, depth)
            case {"type": ("record" | "error")}:
                return self._define(schema, path, namespace, depth)
            case {"type": ("enum" | "fixed")}:
                return self._define(schema, path, namespace, depth)
            case {"type": "array", "items": items}:
                return Array(self._item(items, f"{path}[]", namespace, depth))
            case {"type": "map", "values": values}:
                return Map(self._item(values, f"{path}{{}}", namespace, depth))
            case {"type": str(name)} if name in _PRIMITIVES:
                return Primitive(name, logical_of(schema, path))
            case {"type": (str() | list() | dict()) as inner} if inner not in ("array", "map"):
                return self.build(inner, path, namespace, depth + 1)
        raise refused("this is no type", path, found=str(schema)[:80])

    def _count(self, types: int, depth: int, path: str) -> None:
        self._types += types
        self._deepest = max(self._deepest, depth)
        if self._deepest > MAX_DEPTH:
            raise refused(f"types nest deeper than {MAX_DEPTH} levels", path)
        if self._types > MAX_TYPES:
            raise refused(f"the schema is made of more than {MAX_TYPES} types", path)

    def _reference(self, name: str, path: str, namespace: str, depth: int) -> Node:
        if name in _PRIMITIVES:
            return Primitive(name)
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        if full in self._open:
            raise refused(
                f"the schema is recursive: {full} holds itself",
                path,
                hint="keep a list of nodes that name their parent instead",
            )
        if full not in self._named:
            raise refused(f"there is no type {name!r}", path)
        types, levels = self._costs[full]
        self._count(types, depth + levels, path)
        return self._named[full]

    def _define(self, schema: Mapping[str, _Json], path: str, outer: str, depth: int) -> Node:
        full, namespace = _full_name(schema, path, outer)
        if full in self._named or full in self._open:
            raise refused(f"the type {full} is defined twice", path)
        before, deepest = self._types, self._deepest
        self._deepest = depth
        self._open.add(full)
        node: Node
        match schema["type"]:
            case "enum":
                node = _enum(schema, full, namespace, path)
            case "fixed":
                node = _fixed(schema, full, namespace, path)
            case _:
                node = self._record(schema, full, namespace, path, depth)
        self._open.discard(full)
        self._named[full] = node
        self._costs[full] = self._types - before, self._deepest - depth
        self._deepest = max(self._deepest, deepest)
        return node

    def _record(
        self, schema: Mapping[str, _Json], full: str, namespace: str, path: str, depth: int
    ) -> Record:
        declared = schema.get("fields")
        if not isinstance(declared, list) or not declared:
            raise refused(f"the record {full} has no fields", path)
        fields = [self._field(each, path, namespace, depth) for each in declared]
        names = [field.name for field in fields]
        for name in names:
            if names.count(name) > 1:
                raise refused(f"the record {full} has two fields {name!r}", path)
        return Record(full, tuple(fields), _aliases(schema, namespace, path))

    def _field(self, declared: _Json, path: str, namespace: str, depth: int) -> Field:
        if not isinstance(declared, dict) or "type" not in declared:
            raise refused("a field needs a name and a type", path, found=str(declared)[:80])
        name = _name(declared.get("name"), path, "field")
        inner = f"{path}.{name}" if path else name
        field = Field(
            name,
            self.build(declared["type"], inner, namespace, depth + 1),
            _aliases(declared, "", inner),
            "default" in declared,
            declared.get("default"),
        )
        if field.has_default:
            decoded_default(field, inner)  # refuses what is no value of the type
        return field

    def _union(self, branches: list[_Json], path: str, namespace: str, depth: int) -> Nullable:
        nulls = [number for number, branch in enumerate(branches) if _is_null(branch)]
        if len(branches) != 2 or len(nulls) != 1:
            raise refused(
                "a union of anything but null and one type has no column",
                path,
                hint="use a record with one nullable field per type",
            )
        inner = self.build(branches[1 - nulls[0]], path, namespace, depth + 1)
        if isinstance(inner, Nullable):
            raise refused("a union directly inside a union", path)
        return Nullable(inner, null_first=nulls[0] == 0)

    def _item(self, schema: _Json, path: str, namespace: str, depth: int) -> Node:
        node = self.build(schema, path, namespace, depth + 1)
        if least_bytes(node) == 0:
            raise refused("items of zero width: a few bytes could stand for millions of them", path)
        return node


def refused(message: str, path: str, *, hint: str = "", **detail: object) -> InvalidSchema:
    """The error for a schema that is not taken, located by the path of a field."""
    return InvalidSchema(message, hint=hint, field=path or None, **detail)


def _enum(schema: Mapping[str, _Json], full: str, namespace: str, path: str) -> Enum:
    symbols = schema.get("symbols")
    if not isinstance(symbols, list) or not symbols or len(set(map(str, symbols))) < len(symbols):
        raise refused(f"the enum {full} needs symbols, each once", path)
    named = tuple(_name(symbol, path, "symbol") for symbol in symbols)
    default = schema.get("default")
    if default is not None and default not in named:
        raise refused(f"the default {default!r} is no symbol of the enum {full}", path)
    return Enum(full, named, default, _aliases(schema, namespace, path))


def _fixed(schema: Mapping[str, _Json], full: str, namespace: str, path: str) -> Fixed:
    size = schema.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_FIXED_BYTES:
        raise refused(f"the fixed {full} needs a size from 1 to {MAX_FIXED_BYTES} bytes", path)
    return Fixed(full, size, _aliases(schema, namespace, path), logical_of(schema, path))


def _full_name(schema: Mapping[str, _Json], path: str, outer: str) -> tuple[str, str]:
    """A named type's full name, and the namespace of the names inside it."""
    given = schema.get("name")
    if not isinstance(given, str) or not given:
        raise refused(f"a type {schema['type']!r} needs a name", path)
    namespace = schema.get("namespace", outer)
    if not isinstance(namespace, str):
        raise refused("a namespace is a text", path)
    full = given if "." in given or not namespace else f"{namespace}.{given}"
    for part in full.split("."):
        _name(part, path, "type")
    return full, full.rpartition(".")[0]


def _aliases(schema: Mapping[str, _Json], namespace: str, path: str) -> tuple[str, ...]:
    aliases = schema.get("aliases") or []
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise refused("aliases are a list of names", path)
    return tuple(
        alias if "." in alias or not namespace else f"{namespace}.{alias}" for alias in aliases
    )


def _name(given: _Json, path: str, of: str) -> str:
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise refused(
            f"{given!r} cannot be the name of a {of}",
            path,
            hint="names are letters, digits and underscores, and begin with no digit",
        )
    return given


def _is_null(branch: _Json) -> bool:
    return branch == "null" or (isinstance(branch, dict) and branch.get("type") == "null")
