"""How little data can fill how many places in columns, and where that is too many.

A null record of a hundred fields is one byte and fills a hundred places; a list of a million of
them is a megabyte of data and gigabytes of columns. What one value may fill is bounded.
"""

from __future__ import annotations

from fractions import Fraction

from kappa.avro.nodes import Array, Enum, Fixed, Map, Node, Nullable, Primitive, Record

MAX_PLACES = 1 << 24
"""Places in columns that the lists of one value may fill."""

_LEAST = {"null": 0, "float": 4, "double": 8}


def least_bytes(node: Node) -> int:
    """The bytes of the shortest value of a node."""
    match node:
        case Primitive(name):
            return _LEAST.get(name, 1)
        case Fixed(size=size):
            return size
        case Record(fields=fields):
            return sum(least_bytes(field.node) for field in fields)
        case Enum() | Array() | Map() | Nullable():
            return 1


def places(node: Node) -> int:
    """The places a value takes in columns, those of its lists' items not counted."""
    match node:
        case Nullable(inner):
            return places(inner)
        case Record(fields=fields):
            return sum(places(field.node) for field in fields)
        case Fixed(size=size):
            return 1 + size // 8
    return 1


def harmless_bytes(node: Node) -> int | None:
    """A value no longer than this cannot have too many places; None if none can."""
    density = _density(node)
    return int(MAX_PLACES / density) if density else None


def _density(node: Node) -> Fraction:
    """The most places per byte that list items anywhere in the node fill."""
    match node:
        case Array(items):
            return max(_density(items), Fraction(places(items), least_bytes(items)))
        case Map(values):
            item = Fraction(1 + places(values), 1 + least_bytes(values))
            return max(_density(values), item)
        case Nullable(inner):
            return _density(inner)
        case Record(fields=fields):
            return max(_density(field.node) for field in fields)
    return Fraction(0)
