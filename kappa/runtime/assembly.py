"""Puts one processor version together: its plugin, its reader's schema, its tables."""

from __future__ import annotations

from dataclasses import dataclass

from kappa import plugins
from kappa.avro.columns import polars_schema, required_columns
from kappa.avro.schema import AvroSchema
from kappa.config import Settings, require_kafka
from kappa.processing.projection import Projection
from kappa.registry.topic import TopicRegistry, value_subject
from kappa.tables.layout import Layout
from kappa.versions.identity import fingerprint
from kappa.versions.layout import Bound, layout_of


@dataclass(frozen=True)
class Assembly:
    """Everything about a version that does not change while it runs.

    Attributes:
        reader: the schema its records are resolved to, pinned by its id when the version is
            created.
        fingerprint: of its declaration and code, see kappa.versions.identity.
    """

    loaded: plugins.Loaded
    reader_schema_id: int
    reader: AvroSchema
    bound: Bound
    layout: Layout
    fingerprint: str

    @property
    def name(self) -> str:
        return self.loaded.plugin.name

    @property
    def version(self) -> int:
        return self.loaded.plugin.version

    @property
    def topic(self) -> str:
        return self.bound.declaration.source.topic

    @property
    def accepts_compacted(self) -> bool:
        """Whether a compacted topic holds all the history it needs."""
        declaration = self.bound.declaration
        return isinstance(declaration, Projection) and declaration.latest_by is not None


def registry_of(settings: Settings) -> TopicRegistry:
    """The schema registry in force."""
    return TopicRegistry(require_kafka(settings), settings.registry.topic)


def assemble(
    loaded: plugins.Loaded, registry: TopicRegistry, reader_schema_id: int | None = None
) -> Assembly:
    """Binds a loaded declaration to its source's schema.

    ``reader_schema_id`` is the schema the version was created with; None takes the newest.

    Raises:
        UnknownSchema: the topic has no schema.
        IncompatibleSchema: the newest schema cannot read what older ones wrote.
        DeclarationError: the declaration does not fit it.
    """
    declaration = loaded.declaration
    topic = declaration.source.topic
    if reader_schema_id is None:
        newest = registry.latest(value_subject(topic))
        # Registered past the checks, it would be found out only by the records it cannot read,
        # and the version would be bound to it by then.
        registry.check(newest.subject, newest.schema)
        reader_schema_id = newest.schema_id
    reader = registry.schema(reader_schema_id)
    bound = declaration.bind(
        polars_schema(reader), required_columns(reader), registry.topic_key(topic)
    )
    plugin = loaded.plugin
    return Assembly(
        loaded=loaded,
        reader_schema_id=reader_schema_id,
        reader=reader,
        bound=bound,
        layout=layout_of(bound),
        fingerprint=fingerprint(plugin.name, plugin.version, plugin.object_path),
    )
