"""A site whose topics get faults, and replays of them in this process.

Records are published one by one, so that a test knows of every offset what lies there.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import sqlalchemy as sa
from confluent_kafka import Message, Producer
from sqlalchemy import Engine

from kappa import failpoints
from kappa.avro import schema as avro
from kappa.config import KafkaSettings, PostgresSettings, RegistrySettings, Settings
from kappa.log.history import topic_history
from kappa.operations.replay import DEFAULT_BATCH_SIZE, PlannedReplay, Replayed, replay
from kappa.registry.topic import TopicRegistry, value_subject
from kappa.tables import migrate
from kappa.tables.digest import digest
from kappa.tables.engine import connect
from tests.integration.kafka_scenes import make_topic, producer
from tests.readings import SCHEMA, Sent, Unsent

BATCH_SIZES = (1, 7, DEFAULT_BATCH_SIZE)


class Interrupted(Exception):
    """The replay was stopped by its test."""


@dataclass(frozen=True)
class Partition:
    """What a version knows of one partition."""

    next_offset: int
    records: int
    late: int
    dead: int
    filtered: int


@dataclass
class Site:
    """Servers, a registry, and processors that are found by this process and its children."""

    settings: Settings
    engine: Engine
    plugins: Path
    registry: TopicRegistry = field(init=False)
    producer: Producer = field(init=False)

    def __post_init__(self) -> None:
        self.registry = TopicRegistry(self.settings.kafka, self.settings.registry.topic)
        self.producer = producer(self.settings.kafka, linger_ms=0)

    @property
    def kafka(self) -> KafkaSettings:
        return self.settings.kafka

    @property
    def environment(self) -> dict[str, str]:
        """Makes a kappa process work at this site."""
        return {
            "KAPPA_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "KAPPA_POSTGRES__URL": self.settings.postgres.url.get_secret_value(),
            "KAPPA_REGISTRY__TOPIC": self.settings.registry.topic,
            "PYTHONPATH": str(self.plugins),
        }

    def kappa(self, *args: str, failpoint: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs ``kappa ARGS…`` as a process; with a failpoint, killed where it reaches that."""
        armed = {failpoints.VARIABLE: failpoint} if failpoint else {}
        return subprocess.run(
            [sys.executable, "-m", "kappa", *args],
            env={**os.environ, **self.environment, **armed},
            cwd=self.plugins,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def topic(self, partitions: int = 1, **config: str) -> str:
        """A topic of readings with their schema."""
        topic = f"readings{_tag()}"
        self.create(topic, partitions, **config)
        self.registry.register(value_subject(topic), avro.parse(SCHEMA))
        return topic

    def create(self, topic: str, partitions: int = 1, **config: str) -> None:
        make_topic(self.kafka, topic, partitions, message_timestamp_type="LogAppendTime", **config)

    def schema_id(self, topic: str) -> int:
        return self.registry.latest(value_subject(topic)).schema_id

    def force_schema(
        self,
        topic: str,
        schema: dict[str, Any],
        version: int,
        number: int,
        *,
        deleted: bool = False,
    ) -> None:
        """Writes a schema into the registry's topic as another program would, unchecked."""
        subject = value_subject(topic)
        key = {"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1}
        said = {"subject": subject, "version": version, "id": number, "deleted": deleted}
        value = {**said, "schema": json.dumps(schema)}
        record = Unsent(0, _compact(key), _compact(value))
        self.publish(self.settings.registry.topic, [record])

    def publish(
        self, topic: str, records: Iterable[Unsent], by: Producer | None = None
    ) -> list[Sent]:
        """Publishes in order; returns once the broker has it all, with every offset."""
        client = by or self.producer
        sent: list[Sent] = []
        waiting = list(records)
        for record in waiting:
            client.produce(
                topic, record.value, record.key, record.partition, _delivered(record, sent)
            )
        assert client.flush(30) == 0
        assert len(sent) == len(waiting)
        return sorted(sent, key=lambda one: (one.partition, one.offset))

    def processor(self, code: str, topic: str, versions: Sequence[str] = ("processor",)) -> str:
        """Installs a processor over the topic; returns its name.

        ``versions`` says what the code calls its first version, its second and so on.
        """
        name = f"sums{_tag()}"
        info = self.plugins / f"{name}_plugin-1.0.dist-info"
        info.mkdir(parents=True)
        (self.plugins / f"{name}_plugin.py").write_text(code.format(name=name, topic=topic))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}_plugin\nVersion: 1\n")
        entries = [
            f"{name}.v{number} = {name}_plugin:{version}\n"
            for number, version in enumerate(versions, start=1)
        ]
        (info / "entry_points.txt").write_text("".join(["[kappa.processors]\n", *entries]))
        importlib.invalidate_caches()
        return name

    def replay(
        self,
        name: str,
        batch_size: int = DEFAULT_BATCH_SIZE,
        *,
        version: int = 1,
        workers: int = 1,
        allow_truncated: bool = False,
        once_planned: Callable[[], object] = lambda: None,
        stop_after: int | None = None,
    ) -> Replayed:
        """``once_planned`` is called between the plan and its execution.

        Raises:
            Interrupted: ``stop_after`` offsets were committed.
        """
        passed = 0

        def planned(plan: PlannedReplay) -> None:
            once_planned()

        def progressed(offsets: int) -> None:
            nonlocal passed
            passed += offsets
            if stop_after is not None and passed >= stop_after:
                raise Interrupted

        return replay(
            self.settings,
            name,
            version,
            workers=workers,
            batch_size=batch_size,
            allow_truncated=allow_truncated,
            on_plan=planned,
            on_progress=progressed,
        )

    def query(self, statement: str, **parameters: object) -> list[Any]:
        with self.engine.begin() as connection:
            return list(connection.execute(sa.text(statement), parameters).all())

    def partitions(self, name: str) -> dict[int, Partition]:
        """The version's progress by partition; empty before it is recorded."""
        found = self.query(
            "SELECT partition, next_offset, records, late, dead, filtered FROM kappa_offset"
            " WHERE processor = :name",
            name=name,
        )
        return {row[0]: Partition(*row[1:]) for row in found}

    def positions(self, name: str) -> dict[int, int]:
        return {number: row.next_offset for number, row in self.partitions(name).items()}

    def ends(self, topic: str) -> dict[int, int]:
        """The last stable offset of each partition now."""
        return {part.partition: part.end for part in topic_history(self.kafka, topic).partitions}

    def letters(self, name: str) -> dict[tuple[int, int], Any]:
        """Dead letters by partition and offset."""
        found = self.query(
            'SELECT topic, partition, "offset", timestamp, key, value, error_class, message'
            " FROM kappa_dead_letter WHERE processor = :name",
            name=name,
        )
        return {(row.partition, row.offset): row for row in found}

    def everything(self, name: str) -> tuple[object, ...]:
        """All that a refused replay must leave as it was: state, tables, positions, letters."""
        state = self.query("SELECT state FROM kappa_version WHERE processor = :name", name=name)
        with self.engine.begin() as connection:
            tables = [
                digest(connection, table)
                for table in (f"{name}__v1", f"{name}__v1__late")
                if connection.scalar(sa.select(sa.func.to_regclass(table))) is not None
            ]
        return state, tables, self.partitions(name), sorted(self.letters(name))

    def totals(self, name: str) -> dict[tuple[str, int], tuple[int, int, int]]:
        """Rows of a TOTALS table: by sensor and start, their count, units and greatest code."""
        found = self.query(
            "SELECT sensor, extract(epoch FROM window_start) * 1000, readings, total__units, most"
            f" FROM {name}__v1"
        )
        return {(row[0], int(row[1])): (row[2], int(row[3]), row[4]) for row in found}

    def late(self, name: str) -> dict[tuple[int, int], int]:
        found = self.query(f"SELECT _partition, _offset, _late_by_ms FROM {name}__v1__late")
        return {(row[0], row[1]): row[2] for row in found}

    def latest(self, name: str) -> dict[str, tuple[int, float]]:
        """Rows of a LATEST table."""
        found = self.query(f"SELECT sensor, code, value FROM {name}__v1")
        return {row[0]: (row[1], row[2]) for row in found}


@contextmanager
def open_site(
    bootstrap_servers: str, postgres: str, engine: Engine, plugins: Path
) -> Iterator[Site]:
    """A site whose processors this process finds in the directory ``plugins``."""
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=bootstrap_servers),
        postgres=PostgresSettings.model_validate({"url": postgres}),
        registry=RegistrySettings(topic=f"_schemas{_tag()}"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(plugins))
        yield Site(settings, engine, plugins)


@contextmanager
def migrated_site(bootstrap_servers: str, postgres: str, plugins: Path) -> Iterator[Site]:
    """A site at a database that is given kappa's tables, and a directory ``plugins`` to be made."""
    plugins.mkdir(parents=True)
    engine = connect(postgres)
    try:
        migrate.upgrade(engine)
        with open_site(bootstrap_servers, postgres, engine, plugins) as site:
            yield site
    finally:
        engine.dispose()


@contextmanager
def beside(work: Callable[[Event], None]) -> Iterator[None]:
    """Does ``work`` in a thread until the block ends; then it is told to end and waited for."""
    over = Event()
    thread = Thread(target=work, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def wait_until(
    what: str, condition: Callable[[], bool], seconds: float = 90, pause_s: float = 0.05
) -> None:
    """Asks again and again; fails if it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: it does not happen"
        time.sleep(pause_s)


def _delivered(record: Unsent, sent: list[Sent]) -> Callable[[object, Message], None]:
    def delivered(error: object, message: Message) -> None:
        assert error is None, error
        offset, (_, timestamp) = message.offset(), message.timestamp()
        assert offset is not None
        sent.append(
            Sent(record.partition, offset, timestamp, record.key, record.value, record.reading)
        )

    return delivered


def _compact(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _tag() -> str:
    return f"x{uuid.uuid4().hex[:10]}"
