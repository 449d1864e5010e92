"""A schema with its meaning taken out, so that decoders give values as Avro stores them."""

from __future__ import annotations

from typing import Any

from kappa.avro.nodes import Array, Enum, Fixed, Map, Node, Nullable, Primitive, Record


def physical_document(node: Node, *, bytes_as: str = "bytes") -> Any:
    """The node's schema as JSON: without logical types, defaults and references.

    Named types get names of their own at every place, since the same one may stand at several.
    ``bytes_as`` is the type that stands for bytes: ``string`` has the same encoding.
    """
    return _Writer(bytes_as).write(node)


class _Writer:
    def __init__(self, bytes_as: str) -> None:
        self._bytes_as = bytes_as
        self._count = 0

    def write(self, node: Node) -> Any:
        match node:
            case Primitive("bytes"):
                return self._bytes_as
            case Primitive(name):
                return name
            case Fixed(size=size):
                return {"type": "fixed", "name": self._name(), "size": size}
            case Enum(symbols=symbols):
                return {"type": "enum", "name": self._name(), "symbols": list(symbols)}
            case Array(items):
                return {"type": "array", "items": self.write(items)}
            case Map(values):
                return {"type": "map", "values": self.write(values)}
            case Nullable(inner, null_first):
                other = self.write(inner)
                return ["null", other] if null_first else [other, "null"]
            case Record(fields=fields):
                return {
                    "type": "record",
                    "name": self._name(),
                    "fields": [{"name": f.name, "type": self.write(f.node)} for f in fields],
                }

    def _name(self) -> str:
        self._count += 1
        return f"T{self._count}"
