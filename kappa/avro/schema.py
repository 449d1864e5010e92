"""Parsing schemas, and refusing by name what could not be read back as columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException

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

MAX_DEPTH = 32
"""How deep types may nest: every level costs a level of the interpreter's stack."""

MAX_PRECISION = 38
"""The digits of a 128-bit decimal."""

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_LOGICAL_BASES = {
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
    "decimal": "bytes",
}


@dataclass(frozen=True)
class AvroSchema:
    """A record schema that kappa can read and write.

    Attributes:
        text: the schema as compact JSON; equal texts are the same schema.
        record: the same as a tree of nodes.
    """

    text: str
    record: Record = field(compare=False, repr=False)


def parse(source: str | bytes | Mapping[str, Any]) -> AvroSchema:
    """Reads a schema from JSON text or the object it stands for.

    Raises:
        InvalidSchema: it is no Avro, or of a shape kappa refuses; names the field.
    """
    document = _document(source)
    try:
        parsed = fastavro.parse_schema(document)
    except (SchemaParseException, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidSchema(f"this is no Avro schema: {error or type(error).__name__}") from error
    node = _Builder().build(parsed, "", 0)
    if not isinstance(node, Record):
        raise InvalidSchema(
            "a topic's schema must be a record",
            found=_kind(node),
            hint="wrap the type in a record with one field",
        )
    return AvroSchema(json.dumps(document, separators=(",", ":"), ensure_ascii=False), node)


def _document(source: str | bytes | Mapping[str, Any]) -> Any:
    if isinstance(source, Mapping):
        return json.loads(json.dumps(source))
    try:
        return json.loads(source)
    except (ValueError, RecursionError) as error:
        raise InvalidSchema(f"this is not JSON: {error}") from error


class _Builder:
    """Builds nodes from fastavro's parsed form, where every name is a full name."""

    def __init__(self) -> None:
        self._named: dict[str, Node] = {}
        self._open: set[str] = set()

    def build(self, schema: Any, path: str, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise InvalidSchema(f"types nest deeper than {MAX_DEPTH} levels", field=path)
        if isinstance(schema, list):
            return self._union(schema, path, depth)
        if isinstance(schema, str):
            return self._reference(schema, path)
        kind = schema["type"]
        if isinstance(kind, list | dict):
            return self.build(kind, path, depth)
        match kind:
            case "record" | "error":
                return self._record(schema, path, depth)
            case "enum":
                enum = Enum(
                    schema["name"],
                    tuple(schema["symbols"]),
                    schema.get("default"),
                    tuple(schema.get("aliases", ())),
                )
                return self._keep(schema["name"], enum)
            case "fixed":
                return self._keep(schema["name"], self._fixed(schema, path))
            case "array":
                return Array(self._item(schema["items"], f"{path}[]", depth))
            case "map":
                return Map(self._item(schema["values"], f"{path}{{}}", depth))
            case _ if kind in _PRIMITIVES:
                return Primitive(kind, _logical(schema, path))
        return self._reference(kind, path)

    def _record(self, schema: Mapping[str, Any], path: str, depth: int) -> Record:
        name = schema["name"]
        if not schema["fields"]:
            raise InvalidSchema(f"the record {name} has no fields", field=path or None)
        self._open.add(name)
        fields = []
        for declared in schema["fields"]:
            inner = f"{path}.{declared['name']}" if path else declared["name"]
            fields.append(
                Field(
                    declared["name"],
                    self.build(declared["type"], inner, depth + 1),
                    tuple(declared.get("aliases", ())),
                    "default" in declared,
                    declared.get("default"),
                )
            )
        self._open.discard(name)
        record = Record(name, tuple(fields), tuple(schema.get("aliases", ())))
        self._named[name] = record
        return record

    def _fixed(self, schema: Mapping[str, Any], path: str) -> Fixed:
        size = schema["size"]
        if size < 1:
            raise InvalidSchema(f"the fixed {schema['name']} has no bytes", field=path)
        logical = None
        if schema.get("logicalType") == "decimal":
            logical = _decimal(schema, path)
        elif schema.get("logicalType") == "uuid" and size == 16:
            logical = Logical("uuid")
        return Fixed(schema["name"], size, tuple(schema.get("aliases", ())), logical)

    def _union(self, branches: list[Any], path: str, depth: int) -> Node:
        others = [branch for branch in branches if _name_of(branch) != "null"]
        if len(branches) != 2 or len(others) != 1:
            raise InvalidSchema(
                "a union of anything but null and one type has no column",
                field=path,
                hint="use a record with one nullable field per type",
            )
        null_first = _name_of(branches[0]) == "null"
        return Nullable(self.build(others[0], path, depth), null_first)

    def _item(self, schema: Any, path: str, depth: int) -> Node:
        node = self.build(schema, path, depth + 1)
        if node == Primitive("null"):
            raise InvalidSchema(
                "items of zero width: a few bytes could stand for millions of them", field=path
            )
        return node

    def _reference(self, name: str, path: str) -> Node:
        if name in _PRIMITIVES:
            return Primitive(name)
        if name in self._open:
            raise InvalidSchema(
                f"the schema is recursive: {name} holds itself",
                field=path,
                hint="keep a list of nodes that name their parent instead",
            )
        return self._named[name]

    def _keep(self, name: str, node: Node) -> Node:
        self._named[name] = node
        return node


def _logical(schema: Mapping[str, Any], path: str) -> Logical | None:
    name = schema.get("logicalType")
    if _LOGICAL_BASES.get(name or "") != schema["type"]:
        return None
    return _decimal(schema, path) if name == "decimal" else Logical(str(name))


def _decimal(schema: Mapping[str, Any], path: str) -> Logical:
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if not isinstance(precision, int) or not 1 <= precision <= MAX_PRECISION:
        raise InvalidSchema(
            f"a decimal needs a precision from 1 to {MAX_PRECISION}",
            field=path,
            precision=precision,
        )
    if not isinstance(scale, int) or not 0 <= scale <= precision:
        raise InvalidSchema("a decimal's scale is from 0 to its precision", field=path, scale=scale)
    return Logical("decimal", precision, scale)


def _name_of(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _kind(node: Node) -> str:
    return node.name if isinstance(node, Primitive) else type(node).__name__.lower()
