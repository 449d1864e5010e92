"""What the schema topic says as a whole: a fold over its records."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kappa.avro import schema as avro
from kappa.avro.schema import AvroSchema
from kappa.errors import InvalidSchema, SchemaError
from kappa.registry.records import ConfigRecord, Record, SchemaRecord, SubjectDeletion


@dataclass(frozen=True)
class Registered:
    """One schema under one subject."""

    subject: str
    version: int
    """1, 2, 3 … within the subject."""
    schema_id: int
    """Stands in front of every value written with the schema; one id, one schema."""
    schema: AvroSchema


class Catalogue:
    """Subjects, versions and ids after some prefix of the topic."""

    def __init__(self) -> None:
        self.highest_id = 0
        """Of every id ever seen, whether or not its schema is still there."""
        self._versions: dict[str, dict[int, SchemaRecord]] = {}
        self._by_id: dict[int, dict[tuple[str, int], SchemaRecord]] = {}
        self._configs: dict[str, ConfigRecord] = {}
        self._parsed: dict[str, AvroSchema] = {}

    def apply(self, record: Record) -> None:
        """Takes one record of the topic into account, in order."""
        if isinstance(record, ConfigRecord):
            self._configs[record.subject] = record
        elif isinstance(record, SubjectDeletion):
            for version, old in self._versions.get(record.subject, {}).copy().items():
                if version <= record.version:
                    self._put(replace(old, deleted=True))
        else:
            self._put(record)

    def subjects(self) -> tuple[str, ...]:
        """The subjects that have a version, by name."""
        return tuple(sorted(subject for subject in self._versions if self.live(subject)))

    def live(self, subject: str) -> tuple[SchemaRecord, ...]:
        """The versions of a subject that are not deleted, oldest first."""
        known = self._versions.get(subject, {})
        return tuple(known[version] for version in sorted(known) if not known[version].deleted)

    def next_version(self, subject: str) -> int:
        """One more than any version the subject ever had, as far as the topic still tells."""
        return max(self._versions.get(subject, {}), default=0) + 1

    def config(self, subject: str) -> ConfigRecord:
        """What is set for a subject.

        Raises:
            SchemaError: something is, but it cannot be read.
        """
        config = self._configs.get(subject, ConfigRecord(subject))
        if config.flaw:
            raise SchemaError(f"the subject cannot be used: {config.flaw}", subject=subject)
        return config

    def registered(self, record: SchemaRecord) -> Registered:
        """A version with its schema.

        Raises:
            InvalidSchema: it is none, or none that kappa reads.
            SchemaError: its id is another schema's too.
        """
        if record.schema_id is None:
            raise _unusable(record, record.flaw)
        schema = self.schema(record.schema_id)
        if schema is None or record.flaw:
            raise _unusable(record, record.flaw)
        return Registered(record.subject, record.version, record.schema_id, schema)

    def schema(self, schema_id: int) -> AvroSchema | None:
        """The schema of an id, None if no version has it.

        Raises:
            InvalidSchema: it is none, or none that kappa reads.
            SchemaError: two schemas claim the id.
        """
        schemas = {}
        for record in self._by_id.get(schema_id, {}).values():
            schema = self._parse(record)
            schemas[schema.text] = schema
        if len(schemas) > 1:
            claims = ", ".join(f"{s} version {v}" for s, v in sorted(self._by_id[schema_id]))
            raise SchemaError(
                "the registry gives one id to different schemas",
                schema_id=schema_id,
                versions=claims,
                hint="two registries wrote to one topic; values with this id cannot be told apart",
            )
        return next(iter(schemas.values()), None)

    def id_of(self, schema: AvroSchema) -> int | None:
        """The lowest id that stands for this very schema, whatever the subject."""
        for schema_id in sorted(self._by_id):
            try:
                known = self.schema(schema_id)
            except SchemaError:
                continue  # others' schemas need not be readable to register one's own
            if known is not None and known.text == schema.text:
                return schema_id
        return None

    def _put(self, record: SchemaRecord) -> None:
        at = (record.subject, record.version)
        versions = self._versions.setdefault(record.subject, {})
        old = versions.pop(record.version, None)
        if old is not None and old.schema_id is not None:
            del self._by_id[old.schema_id][at]
        if record.removed:
            return
        versions[record.version] = record
        if record.schema_id is not None:
            self.highest_id = max(self.highest_id, record.schema_id)
            self._by_id.setdefault(record.schema_id, {})[at] = record

    def _parse(self, record: SchemaRecord) -> AvroSchema:
        if record.flaw:
            raise _unusable(record, record.flaw)
        if record.text not in self._parsed:
            try:
                self._parsed[record.text] = avro.parse(record.text)
            except SchemaError as error:
                raise _unusable(record, str(error)) from error
        return self._parsed[record.text]


def _unusable(record: SchemaRecord, why: str) -> InvalidSchema:
    return InvalidSchema(
        f"a registered schema cannot be used: {why}",
        subject=record.subject,
        version=record.version,
        schema_id=record.schema_id,
    )
