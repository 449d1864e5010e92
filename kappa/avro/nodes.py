"""A schema as a tree of typed nodes, names resolved: what decoders and evolution walk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Logical:
    """A logical type that kappa understands; others are ignored, as the specification says."""

    name: str
    precision: int = 0
    scale: int = 0


@dataclass(frozen=True)
class Primitive:
    """null, boolean, int, long, float, double, bytes or string."""

    name: str
    logical: Logical | None = None


@dataclass(frozen=True)
class Fixed:
    """``size`` raw bytes."""

    name: str
    size: int
    aliases: tuple[str, ...] = ()
    logical: Logical | None = None


@dataclass(frozen=True)
class Enum:
    """One of the symbols; a reader takes ``default`` for a symbol it does not know."""

    name: str
    symbols: tuple[str, ...]
    default: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Array:
    items: Node


@dataclass(frozen=True)
class Map:
    values: Node


@dataclass(frozen=True)
class Nullable:
    """A union of null and one other type."""

    node: Node
    null_first: bool


@dataclass(frozen=True)
class Field:
    """A record's field; ``default`` is JSON, meaningful only with ``has_default``."""

    name: str
    node: Node
    aliases: tuple[str, ...] = ()
    has_default: bool = False
    default: Any = None

    def __hash__(self) -> int:
        return hash((self.name, self.node, self.aliases, self.has_default))


@dataclass(frozen=True)
class Record:
    name: str
    fields: tuple[Field, ...]
    aliases: tuple[str, ...] = ()


Node = Primitive | Fixed | Enum | Array | Map | Nullable | Record
