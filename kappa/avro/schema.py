"""Parsing schemas, and refusing by name what could not be read back as columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException

from kappa.avro.building import Builder
from kappa.avro.nodes import Node, Primitive, Record
from kappa.errors import InvalidSchema

MAX_TEXT = 1 << 20
"""Characters of a schema: as many as fit a message of a registry topic."""


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
    node = Builder().build(document)
    if not isinstance(node, Record):
        raise InvalidSchema(
            "a topic's schema must be a record",
            found=_kind(node),
            hint="wrap the type in a record with one field",
        )
    try:
        fastavro.parse_schema(document)
    except (SchemaParseException, ValueError, TypeError, KeyError) as error:
        raise InvalidSchema(f"this is no Avro schema: {error or type(error).__name__}") from error
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return AvroSchema(text, node)


def _document(source: str | bytes | Mapping[str, Any]) -> Any:
    if isinstance(source, Mapping):
        return json.loads(json.dumps(source))
    if len(source) > MAX_TEXT:
        raise InvalidSchema(f"a schema of more than {MAX_TEXT} characters")
    try:
        return json.loads(source)
    except (ValueError, RecursionError) as error:
        raise InvalidSchema(f"this is not JSON: {error}") from error


def _kind(node: Node) -> str:
    return node.name if isinstance(node, Primitive) else type(node).__name__.lower()
