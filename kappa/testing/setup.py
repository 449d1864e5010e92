"""From what a test declares to what is tried out."""

from __future__ import annotations

from pathlib import Path

from kappa.errors import DeclarationError
from kappa.processing.keyed.declaration import KeyedProcessor
from kappa.processing.projection import Projection
from kappa.processing.windowed.declaration import WindowedAggregate
from kappa.testing.handled import KeyedKind
from kappa.testing.kinds import Kind
from kappa.testing.projected import ProjectionKind
from kappa.testing.rows import Columns, RowReader
from kappa.testing.windowed import WindowedKind

Processor = Projection | WindowedAggregate | KeyedProcessor | type[KeyedProcessor]
"""What can be tried out: what an entry point would name."""

Schema = str | Path | Columns
"""The path of the topic's Avro schema, or its columns and their Polars types."""


def kind_of(processor: Processor, reader: RowReader, record_key: str | None) -> Kind:
    """Binds a processor to its topic's columns.

    Raises:
        DeclarationError: it is no processor, or does not fit the columns.
    """
    declaration: object = processor
    if isinstance(processor, type) and issubclass(processor, KeyedProcessor):
        declaration = processor()
    columns, required = reader.schema, reader.required
    match declaration:
        case Projection():
            return ProjectionKind(declaration.bind(columns, required, record_key), columns)
        case WindowedAggregate():
            return WindowedKind.of(
                declaration.bind(columns, required, record_key), columns, record_key
            )
        case KeyedProcessor():
            return KeyedKind.of(declaration, columns, required, record_key)
    raise DeclarationError(
        f"{processor!r} is no processor",
        hint="give a Projection, a WindowedAggregate or a KeyedProcessor",
    )
