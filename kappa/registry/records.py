"""The records of the schema topic, in the format of Confluent's registry.

    key                                                             value
    {"keytype":"SCHEMA","subject":S,"version":1,"magic":1}          subject, version, id, schema, deleted
    {"keytype":"CONFIG","subject":S,"magic":0}                      defaultMetadata, compatibilityLevel …
    {"keytype":"DELETE_SUBJECT","subject":S,"magic":0}              subject, version: all up to it
    {"keytype":"NOOP","magic":0}, MODE, CONTEXT …                   nothing kappa needs

Pure: bytes in, a description out. Others may write to the topic too. What cannot be read is
ignored, unless its key says which subject it is about: then it becomes a record with a ``flaw``,
so that whoever needs the subject hears of it instead of being given an older version.
"""  # noqa: E501

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_INT = 2**31 - 1
"""Ids and versions are Java ints."""

_KEY_COLUMN = "kappa.key"
_DERIVED_FROM = "kappa.derived_from"


@dataclass(frozen=True, slots=True)
class SchemaRecord:
    """One version of a subject."""

    subject: str
    version: int
    schema_id: int | None = None
    """None only if ``flaw`` says why, or if the version was ``removed``."""
    text: str = ""
    deleted: bool = False
    """No longer a version of its subject; its id is still answered for."""
    removed: bool = False
    """Deleted for good, with its id."""
    flaw: str = ""
    """Why kappa cannot use it; empty if it can."""


@dataclass(frozen=True, slots=True)
class ConfigRecord:
    """What is set for a subject."""

    subject: str
    settings: Mapping[str, object] = field(default_factory=dict)
    flaw: str = ""

    @property
    def key_column(self) -> str | None:
        """The column that is the record key, if one was named."""
        return self._property(_KEY_COLUMN)

    @property
    def derived_from(self) -> str | None:
        """Whose output the topic holds; None of a topic that holds history."""
        return self._property(_DERIVED_FROM)

    def with_key_column(self, column: str) -> ConfigRecord:
        """The same settings, with another record key."""
        return self._with(_KEY_COLUMN, column)

    def with_origin(self, origin: str) -> ConfigRecord:
        """The same settings, with the topic marked as derived."""
        return self._with(_DERIVED_FROM, origin)

    def _property(self, name: str) -> str | None:
        found = _inner(_inner(self.settings, "defaultMetadata"), "properties").get(name)
        return found if isinstance(found, str) else None

    def _with(self, name: str, value: str) -> ConfigRecord:
        metadata = _inner(self.settings, "defaultMetadata")
        properties = {**_inner(metadata, "properties"), name: value}
        settings = {
            "compatibilityLevel": "BACKWARD_TRANSITIVE",
            **self.settings,
            "subject": self.subject,
            "defaultMetadata": {**metadata, "properties": properties},
        }
        return ConfigRecord(self.subject, settings)


@dataclass(frozen=True, slots=True)
class SubjectDeletion:
    """All versions of a subject up to one are deleted."""

    subject: str
    version: int


Record = SchemaRecord | ConfigRecord | SubjectDeletion


def schema_record(record: SchemaRecord) -> tuple[bytes, bytes]:
    """Key and value of a version to write."""
    key = {
        "keytype": "SCHEMA",
        "subject": record.subject,
        "version": record.version,
        "magic": 1,
    }
    value = {
        "subject": record.subject,
        "version": record.version,
        "id": record.schema_id,
        "schema": record.text,
        "deleted": record.deleted,
    }
    return _json(key), _json(value)


def config_record(record: ConfigRecord) -> tuple[bytes, bytes]:
    """Key and value of settings to write."""
    key = {"keytype": "CONFIG", "subject": record.subject, "magic": 0}
    return _json(key), _json(record.settings)


def interpret(key: bytes | None, value: bytes | None) -> Record | None:
    """What one record of the topic says; None if it says nothing kappa needs."""
    about = _document(key)
    if about is None:
        return None
    subject, version = about.get("subject"), about.get("version")
    if not isinstance(subject, str):
        return None
    match about.get("keytype"):
        case "SCHEMA" if (number := _positive(version)) is not None:
            return _schema(subject, number, value)
        case "CONFIG":
            return _config(subject, value)
        case "DELETE_SUBJECT":
            last = _positive((_document(value) or {}).get("version"))
            return SubjectDeletion(subject, last) if last is not None else None
    return None


def _schema(subject: str, version: int, value: bytes | None) -> SchemaRecord:
    if value is None:
        return SchemaRecord(subject, version, removed=True)
    said = _document(value)
    if said is None:
        return SchemaRecord(subject, version, flaw="its record is not a JSON object")
    schema_id, text = _positive(said.get("id")), said.get("schema")
    flaw = ""
    if schema_id is None:
        flaw = "its record has no id"
    elif not isinstance(text, str):
        flaw = "its record has no schema"
    elif said.get("schemaType", "AVRO") not in ("AVRO", None):
        flaw = f"it is of type {said['schemaType']}, not Avro"
    elif said.get("references"):
        flaw = "it refers to other schemas by name; kappa reads schemas that are whole"
    return SchemaRecord(
        subject,
        version,
        schema_id,
        text if isinstance(text, str) else "",
        deleted=said.get("deleted") is True,
        flaw=flaw,
    )


def _config(subject: str, value: bytes | None) -> ConfigRecord:
    if value is None:
        return ConfigRecord(subject)
    said = _document(value)
    if said is None:
        return ConfigRecord(subject, flaw="the record of its settings is not a JSON object")
    return ConfigRecord(subject, said)


def _document(data: bytes | None) -> dict[str, object] | None:
    if data is None:
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _positive(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 1 <= value <= MAX_INT else None


def _inner(document: Mapping[str, object], name: str) -> dict[str, object]:
    found = document.get(name)
    return dict(found) if isinstance(found, dict) else {}


def _json(document: Mapping[str, object]) -> bytes:
    # Compaction compares keys byte by byte: the same order and spacing as Confluent's.
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
