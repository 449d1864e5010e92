"""The commands of ``kappa schemas``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from kappa.avro import schema as avro
from kappa.avro.schema import AvroSchema
from kappa.config import Settings, require_kafka
from kappa.errors import ConfigError, UnknownSchema
from kappa.registry.topic import Registered, TopicRegistry, value_subject


@dataclass(frozen=True)
class RegisteredSchema:
    """A schema that is in the registry now."""

    subject: str
    version: int
    schema_id: int
    created: bool
    """False if the subject had this very schema already."""


@dataclass(frozen=True)
class ListedSubject:
    """One subject, by its newest version."""

    subject: str
    versions: int
    latest_version: int
    schema_id: int
    fields: int


@dataclass(frozen=True)
class ShownSchema:
    """One version of a subject in full."""

    subject: str
    version: int
    schema_id: int
    latest: bool
    key: str | None
    """The column that is the record key; None if none was named."""
    schema: object
    """The schema as a JSON object."""


@dataclass(frozen=True)
class CheckedSchema:
    """A schema that could be registered."""

    subject: str
    versions: int
    """How many versions' values it can read: all there are."""
    known: int | None
    """The version that is this very schema, if one is."""


def register(
    settings: Settings, topic: str, file: Path, *, subject: str | None = None
) -> RegisteredSchema:
    """Adds a version to a subject, by default the one of the topic's values.

    Raises:
        ConfigError: the file cannot be read.
        InvalidSchema: it holds no schema kappa can use.
        IncompatibleSchema: some version's values could not be read with it.
    """
    schema = _read(file)
    registry = _registry(settings)
    subject = subject or value_subject(topic)
    before = {entry.version for entry in registry.versions(subject)}
    registered = registry.register(subject, schema)
    return RegisteredSchema(
        subject=registered.subject,
        version=registered.version,
        schema_id=registered.schema_id,
        created=registered.version not in before,
    )


def list_all(settings: Settings) -> tuple[ListedSubject, ...]:
    """Every subject, by name."""
    registry = _registry(settings)
    return tuple(_listed(registry.versions(subject)) for subject in registry.subjects())


def show(
    settings: Settings, topic: str, *, version: int | None = None, subject: str | None = None
) -> ShownSchema:
    """One version of a subject, by default the newest of the topic's values.

    Raises:
        UnknownSchema: there is no such subject, or no such version of it.
    """
    registry = _registry(settings)
    subject = subject or value_subject(topic)
    latest = registry.latest(subject)
    found = latest if version is None else _version(registry.versions(subject), version)
    return ShownSchema(
        subject=found.subject,
        version=found.version,
        schema_id=found.schema_id,
        latest=found.version == latest.version,
        key=registry.topic_key(topic) if subject == value_subject(topic) else None,
        schema=json.loads(found.schema.text),
    )


def check(
    settings: Settings, topic: str, file: Path, *, subject: str | None = None
) -> CheckedSchema:
    """Whether ``register`` would accept the file; changes nothing.

    Raises:
        ConfigError, InvalidSchema, IncompatibleSchema: as ``register``.
    """
    schema = _read(file)
    registry = _registry(settings)
    subject = subject or value_subject(topic)
    registry.check(subject, schema)
    versions = registry.versions(subject)
    same = [entry.version for entry in versions if entry.schema == schema]
    return CheckedSchema(subject, len(versions), same[-1] if same else None)


def _registry(settings: Settings) -> TopicRegistry:
    return TopicRegistry(require_kafka(settings), settings.registry.topic)


def _listed(versions: tuple[Registered, ...]) -> ListedSubject:
    latest = versions[-1]
    return ListedSubject(
        subject=latest.subject,
        versions=len(versions),
        latest_version=latest.version,
        schema_id=latest.schema_id,
        fields=len(latest.schema.record.fields),
    )


def _version(versions: tuple[Registered, ...], wanted: int) -> Registered:
    for entry in versions:
        if entry.version == wanted:
            return entry
    known = ", ".join(str(entry.version) for entry in versions)
    raise UnknownSchema(
        f"the subject has no version {wanted}",
        subject=versions[0].subject if versions else None,
        hint=f"it has {known}",
    )


def _read(file: Path) -> AvroSchema:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the schema cannot be read: {error}", file=str(file)) from error
    return avro.parse(text)
