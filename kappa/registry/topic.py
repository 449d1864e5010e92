"""The registry: schemas by id and by subject, over one compacted topic."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from kappa.avro.compatibility import check_backward
from kappa.avro.keys import check_key_column
from kappa.avro.schema import AvroSchema
from kappa.config import KafkaSettings
from kappa.errors import IncompatibleSchema, RegistryUnavailable, SchemaError, UnknownSchema
from kappa.registry import source, writer
from kappa.registry.catalogue import Catalogue
from kappa.registry.catalogue import Registered as Registered
from kappa.registry.records import (
    MAX_INT,
    SchemaRecord,
    config_record,
    schema_record,
)

_POLL_S = 0.01

T = TypeVar("T")


class TopicRegistry:
    """A schema registry without a server.

    The topic is created by the first registration; until then the registry is empty. Everything
    but ``schema`` reads the topic to its end first, from where it stopped the last time. An
    object may be shared between threads, and pickled: the copy reads the topic anew.

    Every method raises BrokerUnavailable if no broker answers, RegistryUnavailable if the topic
    cannot be used, and InvalidSchema if the topic holds something unreadable in the place of
    what was asked for.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self.topic = topic
        self._kafka = kafka
        self._lock = threading.RLock()
        self._schemas: dict[int, AvroSchema] = {}
        self._catalogue = Catalogue()
        self._topic_id = ""
        self._position = 0

    def __reduce__(self) -> tuple[type[TopicRegistry], tuple[KafkaSettings, str]]:
        return TopicRegistry, (self._kafka, self.topic)

    def schema(self, schema_id: int) -> AvroSchema:
        """The schema values with this id were written with. Known ones cost no request.

        Raises:
            UnknownSchema: the topic holds no such id, up to its end.
        """
        known = self._schemas.get(schema_id)
        if known is not None:
            return known
        with self._lock:
            found = self._catalogue.schema(schema_id)
            if found is None:
                self._refresh()
                found = self._catalogue.schema(schema_id)
            if found is None:
                raise UnknownSchema(
                    "no schema has this id",
                    schema_id=schema_id,
                    registry=self.topic,
                    hint="the values may come from another registry:"
                    " KAPPA_REGISTRY__TOPIC names the one in use",
                )
            self._schemas[schema_id] = found
            return found

    def latest(self, subject: str) -> Registered:
        """The newest version of a subject.

        Raises:
            UnknownSchema: it has none.
        """
        with self._lock:
            self._refresh()
            live = self._catalogue.live(subject)
            if not live:
                raise UnknownSchema(
                    "no schema is registered for this subject",
                    subject=subject,
                    registry=self.topic,
                    hint="'kappa schemas register TOPIC FILE' registers one,"
                    " and so does 'kappa topics create --schema FILE'",
                )
            return self._catalogue.registered(live[-1])

    def versions(self, subject: str) -> tuple[Registered, ...]:
        """Every version of a subject, oldest first; none if it is unknown."""
        with self._lock:
            self._refresh()
            live = self._catalogue.live(subject)
            return tuple(self._catalogue.registered(record) for record in live)

    def subjects(self) -> tuple[str, ...]:
        """Every subject that has a version, by name."""
        with self._lock:
            self._refresh()
            return self._catalogue.subjects()

    def check(self, subject: str, schema: AvroSchema) -> None:
        """Whether ``register`` would accept the schema.

        Raises:
            IncompatibleSchema: some version's values could not be read with it, or it loses the
                record key.
        """
        with self._lock:
            self._refresh()
            self._require_compatible(subject, schema)

    def register(self, subject: str, schema: AvroSchema) -> Registered:
        """Adds a version; a schema the subject has already is returned as it is.

        A schema known under another subject keeps its id. Once this returns, every reader of the
        topic finds the version.

        Raises:
            IncompatibleSchema: as ``check``.
        """
        with self._lock:
            self._refresh()
            found = self._find(subject, schema)
            if found is None:
                self._require_compatible(subject, schema)
                self._write(lambda: self._new_version(subject, schema))
                found = self._await(lambda: self._find(subject, schema))
            return found

    def topic_key(self, topic: str) -> str | None:
        """The column that is the record key of a topic; None if none was named."""
        with self._lock:
            self._refresh()
            return self._catalogue.config(value_subject(topic)).key_column

    def set_topic_key(self, topic: str, column: str) -> None:
        """Names the column that is the record key of a topic.

        Raises:
            SchemaError: the topic's newest schema has no such column, or it cannot be a key.
        """
        subject = value_subject(topic)

        def is_set() -> str | None:
            return column if self._catalogue.config(subject).key_column == column else None

        def config() -> tuple[bytes, bytes] | None:
            if is_set():
                return None
            live = self._catalogue.live(subject)
            if live:
                check_key_column(self._catalogue.registered(live[-1]).schema, column)
            return config_record(self._catalogue.config(subject).with_key_column(column))

        with self._lock:
            self._refresh()
            if config() is not None:
                self._write(config)
                self._await(is_set)

    def derived_from(self, topic: str) -> str | None:
        """Whose output a topic holds; None of a topic that holds history."""
        with self._lock:
            self._refresh()
            return self._catalogue.config(value_subject(topic)).derived_from

    def mark_derived(self, topic: str, origin: str) -> None:
        """Says that a topic holds an output, and not history; ``origin`` says whose."""
        subject = value_subject(topic)

        def is_marked() -> str | None:
            return origin if self._catalogue.config(subject).derived_from == origin else None

        def config() -> tuple[bytes, bytes] | None:
            if is_marked():
                return None
            return config_record(self._catalogue.config(subject).with_origin(origin))

        with self._lock:
            self._refresh()
            if config() is not None:
                self._write(config)
                self._await(is_marked)

    def _new_version(self, subject: str, schema: AvroSchema) -> tuple[bytes, bytes] | None:
        if self._find(subject, schema) is not None:
            return None
        self._require_compatible(subject, schema)
        catalogue = self._catalogue
        schema_id = catalogue.id_of(schema) or catalogue.highest_id + 1
        version = catalogue.next_version(subject)
        if max(schema_id, version) > MAX_INT:
            raise RegistryUnavailable("no id is left", topic=self.topic, subject=subject)
        return schema_record(SchemaRecord(subject, version, schema_id, schema.text))

    def _find(self, subject: str, schema: AvroSchema) -> Registered | None:
        for record in self._catalogue.live(subject):
            registered = self._catalogue.registered(record)
            if registered.schema.text == schema.text:
                return registered
        return None

    def _require_compatible(self, subject: str, schema: AvroSchema) -> None:
        for record in reversed(self._catalogue.live(subject)):
            old = self._catalogue.registered(record)
            check_backward(schema, old.schema, subject=subject, version=old.version)
        key = self._catalogue.config(subject).key_column
        if key is None:
            return
        try:
            check_key_column(schema, key)
        except SchemaError as error:
            raise IncompatibleSchema(
                f"the record key would be lost: {error.message}",
                hint=error.hint,
                **{"subject": subject, **error.detail},
            ) from error

    def _write(self, decide: Callable[[], tuple[bytes, bytes] | None]) -> None:
        """Writes what ``decide`` says of the topic's state, as its only writer."""

        def decide_at_end() -> tuple[bytes, bytes] | None:
            self._refresh()
            return decide()

        source.ensure_exists(self._kafka, self.topic)
        with source.registry_errors(self.topic):
            writer.write(self._kafka, self.topic, decide_at_end)

    def _refresh(self) -> None:
        news = source.read(self._kafka, self.topic, self._topic_id, self._position)
        if news.fresh:
            self._catalogue = Catalogue()
            self._schemas.clear()
        for record in news.records:
            self._catalogue.apply(record)
        self._topic_id, self._position = news.topic_id, news.position

    def _await(self, find: Callable[[], T | None]) -> T:
        """A commit shows to readers only a moment after it was acknowledged."""
        deadline = time.monotonic() + self._kafka.default_api_timeout_ms / 1000
        while True:
            self._refresh()
            found = find()
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise RegistryUnavailable(
                    "what was written does not show to readers yet",
                    topic=self.topic,
                    hint="another program holds a transaction open on the topic",
                )
            time.sleep(_POLL_S)


def value_subject(topic: str) -> str:
    """The subject of the schemas of a topic's values."""
    return f"{topic}-value"
