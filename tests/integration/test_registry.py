"""The schema topic on a real broker: what is written is found, once, by everybody."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from kappa.avro.schema import AvroSchema, parse
from kappa.config import KafkaSettings
from kappa.errors import (
    BrokerUnavailable,
    IncompatibleSchema,
    InvalidSchema,
    RegistryUnavailable,
    SchemaError,
    UnknownSchema,
)
from kappa.log.reader import LogReader
from kappa.log.records import TopicPartition
from kappa.log.topics import create_topic, show_topic
from kappa.registry import writer
from kappa.registry.topic import TopicRegistry

Unique = Callable[[str], str]
Pair = tuple[object, object]


def order(*fields: tuple[str, object]) -> AvroSchema:
    """A record of fields with a type each; all but the first have a default."""
    listed = [{"name": fields[0][0], "type": fields[0][1]}]
    listed += [{"name": name, "type": ["null", kind], "default": None} for name, kind in fields[1:]]
    return parse({"type": "record", "name": "order", "fields": listed})


FIRST = order(("id", "string"))
SECOND = order(("id", "string"), ("price", "double"))
THIRD = order(("id", "string"), ("price", "double"), ("city", "string"))


@pytest.fixture
def registry(kafka: KafkaSettings, unique: Unique) -> TopicRegistry:
    return TopicRegistry(kafka, unique("schemas"))


def again(registry: TopicRegistry) -> TopicRegistry:
    """Another registry over the same topic, as another process would have it."""
    copy: TopicRegistry = pickle.loads(pickle.dumps(registry))
    return copy


def records(kafka: KafkaSettings, topic: str) -> list[tuple[object, object]]:
    """Every committed record of a registry, as JSON."""
    found: list[tuple[object, object]] = []
    end = show_topic(kafka, topic).history.partitions[0].end
    at = TopicPartition(topic, 0)
    with LogReader(kafka, {at: (0, end)}) as reader:
        while (batch := reader.next(at)) is not None:
            for key, value in zip(batch.keys, batch.values, strict=True):
                found.append((json.loads(key or b"null"), json.loads(value or b"null")))
    return found


def foreign(kafka: KafkaSettings, topic: str, pairs: Sequence[Pair]) -> None:
    """Writes records as another program might; what is not bytes or None becomes JSON."""

    def data(part: object) -> bytes | None:
        return part if part is None or isinstance(part, bytes) else json.dumps(part).encode()

    faults: list[object] = []
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for key, value in pairs:
        producer.produce(
            topic,
            key=data(key),
            value=data(value),
            partition=0,
            on_delivery=lambda fault, _: faults.append(fault),
        )
    assert producer.flush(10) == 0
    assert faults == [None] * len(pairs)


def schema_key(subject: str, version: int) -> dict[str, object]:
    return {"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1}


def schema_value(schema_id: int, schema: AvroSchema, **more: object) -> dict[str, object]:
    return {"id": schema_id, "schema": schema.text, "deleted": False, **more}


def test_what_is_registered_is_found_by_others(registry: TopicRegistry) -> None:
    registered = registry.register("orders-value", FIRST)
    assert (registered.version, registered.schema_id) == (1, 1)
    other = again(registry)
    assert other.schema(1) == FIRST
    assert other.latest("orders-value") == registered
    assert other.subjects() == ("orders-value",)
    assert other.versions("nobody-value") == ()


def test_records_are_confluents(registry: TopicRegistry, kafka: KafkaSettings) -> None:
    registry.register("orders-value", FIRST)
    registry.set_topic_key("orders", "id")
    (schema, config) = records(kafka, registry.topic)
    assert schema == (
        {"keytype": "SCHEMA", "subject": "orders-value", "version": 1, "magic": 1},
        {
            "subject": "orders-value",
            "version": 1,
            "id": 1,
            "schema": FIRST.text,
            "deleted": False,
        },
    )
    assert config == (
        {"keytype": "CONFIG", "subject": "orders-value", "magic": 0},
        {
            "subject": "orders-value",
            "compatibilityLevel": "BACKWARD_TRANSITIVE",
            "defaultMetadata": {"properties": {"kappa.key": "id"}},
        },
    )
    topic = show_topic(kafka, registry.topic)
    assert (topic.history.compacted, topic.retention_ms, len(topic.partitions)) == (True, -1, 1)


def test_reading_creates_nothing(registry: TopicRegistry, kafka: KafkaSettings) -> None:
    assert registry.subjects() == ()
    assert registry.topic_key("orders") is None
    with pytest.raises(UnknownSchema) as caught:
        registry.latest("orders-value")
    assert "kappa schemas register" in caught.value.hint
    with pytest.raises(UnknownSchema):
        registry.schema(1)
    listed = AdminClient({"bootstrap.servers": kafka.bootstrap_servers}).list_topics(timeout=10)
    assert registry.topic not in listed.topics


def test_the_same_schema_twice_is_one_version(
    registry: TopicRegistry, kafka: KafkaSettings
) -> None:
    first = registry.register("orders-value", FIRST)
    second = registry.register("orders-value", SECOND)
    assert (second.version, second.schema_id) == (2, 2)
    assert registry.register("orders-value", FIRST) == first
    assert again(registry).register("orders-value", SECOND) == second
    assert len(records(kafka, registry.topic)) == 2


def test_the_same_schema_under_another_subject_keeps_its_id(registry: TopicRegistry) -> None:
    registry.register("orders-value", FIRST)
    registry.register("orders-value", SECOND)
    copied = again(registry).register("returns-value", SECOND)
    assert (copied.version, copied.schema_id) == (1, 2)
    assert registry.register("returns-value", THIRD).schema_id == 3


def test_an_incompatible_schema_is_refused(registry: TopicRegistry, kafka: KafkaSettings) -> None:
    registry.register("orders-value", SECOND)
    registry.register("orders-value", FIRST)
    wrong = order(("id", "string"), ("price", "string"))
    for refuse in (registry.check, registry.register):
        with pytest.raises(IncompatibleSchema, match=r"version 1 .*'price'") as caught:
            refuse("orders-value", wrong)
        assert (caught.value.detail["version"], caught.value.detail["field"]) == (1, "price")
    registry.check("orders-value", THIRD)
    registry.check("returns-value", wrong)
    assert len(records(kafka, registry.topic)) == 2


def test_an_id_that_was_registered_later_is_found(registry: TopicRegistry) -> None:
    reader = again(registry)
    assert reader.subjects() == ()
    registry.register("orders-value", FIRST)
    assert reader.schema(1) == FIRST
    registry.register("orders-value", SECOND)
    assert reader.schema(2) == SECOND
    with pytest.raises(UnknownSchema, match="schema_id=3"):
        reader.schema(3)


def test_a_known_id_needs_no_broker(registry: TopicRegistry, monkeypatch: object) -> None:
    registry.register("orders-value", FIRST)
    assert registry.schema(1) == FIRST
    registry._kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", default_api_timeout_ms=300)
    assert registry.schema(1) == FIRST
    with pytest.raises(BrokerUnavailable):
        registry.schema(2)


def test_a_topic_created_again_is_read_anew(registry: TopicRegistry, kafka: KafkaSettings) -> None:
    registry.register("orders-value", FIRST)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.delete_topics([registry.topic])[registry.topic].result()
    again(registry).register("returns-value", SECOND)
    assert registry.subjects() == ("returns-value",)
    assert registry.schema(1) == SECOND


def _register_all(kafka: KafkaSettings, topic: str, names: Sequence[str]) -> list[tuple[int, int]]:
    """Registers one version per name, all at once."""

    def one(name: str) -> tuple[int, int]:
        registry = TopicRegistry(kafka, topic)
        found = registry.register("orders-value", order(("id", "string"), (name, "long")))
        return found.version, found.schema_id

    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(one, names))


def test_processes_at_once_never_share_an_id(registry: TopicRegistry, kafka: KafkaSettings) -> None:
    names = [f"column{number}" for number in range(6)]
    halves = (names[:3], names[3:])
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        asked = [pool.submit(_register_all, kafka, registry.topic, half) for half in halves]
        got = [pair for future in asked for pair in future.result()]
    assert sorted(version for version, _ in got) == [1, 2, 3, 4, 5, 6]
    assert sorted(schema_id for _, schema_id in got) == [1, 2, 3, 4, 5, 6]
    for name, (_, schema_id) in zip(names, got, strict=True):
        assert f'"{name}"' in registry.schema(schema_id).text


def test_threads_at_once_that_register_one_schema_get_one_version(
    registry: TopicRegistry, kafka: KafkaSettings
) -> None:
    with ThreadPoolExecutor(4) as pool:
        got = set(pool.map(lambda _: again(registry).register("orders-value", FIRST), range(4)))
    assert got == {registry.latest("orders-value")}
    assert len(records(kafka, registry.topic)) == 1


@contextmanager
def overtaken_once(registry: TopicRegistry) -> Iterator[list[int]]:
    """Lets another writer register between a writer's reading and its writing."""
    tries: list[int] = []
    original = writer.write

    def write(kafka: KafkaSettings, topic: str, decide: writer.Decide) -> None:
        def overtaken() -> tuple[bytes, bytes] | None:
            record = decide()
            tries.append(1)
            if len(tries) == 1:
                with pytest.MonkeyPatch.context() as undone:
                    undone.setattr(writer, "write", original)
                    again(registry).register("orders-value", SECOND)
            return record

        original(kafka, topic, overtaken)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "write", write)
        yield tries


def test_a_writer_that_was_overtaken_begins_again(
    registry: TopicRegistry, kafka: KafkaSettings
) -> None:
    registry.register("orders-value", FIRST)
    with overtaken_once(registry) as tries:
        found = registry.register("orders-value", THIRD)
    assert len(tries) == 2
    assert (found.version, found.schema_id) == (3, 3)
    assert [entry.schema for entry in again(registry).versions("orders-value")] == [
        FIRST,
        SECOND,
        THIRD,
    ]
    assert len(records(kafka, registry.topic)) == 3


def test_no_broker(unique: Unique) -> None:
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:1", default_api_timeout_ms=300)
    registry = TopicRegistry(nowhere, unique("schemas"))
    for ask in (
        lambda: registry.schema(1),
        lambda: registry.latest("orders-value"),
        lambda: registry.register("orders-value", FIRST),
        lambda: registry.set_topic_key("orders", "id"),
    ):
        with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
            ask()


def test_the_key_of_a_topic(registry: TopicRegistry) -> None:
    registry.register("orders-value", FIRST)
    registry.set_topic_key("orders", "id")
    assert again(registry).topic_key("orders") == "id"
    assert registry.topic_key("returns") is None
    with pytest.raises(SchemaError, match="'nothing'"):
        registry.set_topic_key("orders", "nothing")
    for lost in (order(("name", "string")), order(("name", "string"), ("id", "string"))):
        with pytest.raises(IncompatibleSchema):
            registry.register("orders-value", lost)
    assert registry.register("orders-value", SECOND).version == 2


def test_a_key_is_kept_although_other_versions_would_be_read(registry: TopicRegistry) -> None:
    registry.register("orders-value", SECOND)
    registry.set_topic_key("orders", "id")
    without = parse(
        {
            "type": "record",
            "name": "order",
            "fields": [{"name": "price", "type": ["null", "double"], "default": None}],
        }
    )
    with pytest.raises(IncompatibleSchema, match=r"record key would be lost.*'id'"):
        registry.check("orders-value", without)


def test_a_key_joins_the_settings_of_others(registry: TopicRegistry, kafka: KafkaSettings) -> None:
    registry.register("orders-value", FIRST)
    settings = {
        "subject": "orders-value",
        "compatibilityLevel": "FULL",
        "defaultMetadata": {"properties": {"owner": "sales"}, "tags": {}},
    }
    config_key = {"keytype": "CONFIG", "subject": "orders-value", "magic": 0}
    foreign(kafka, registry.topic, [(config_key, settings)])
    assert registry.topic_key("orders") is None
    registry.set_topic_key("orders", "id")
    _, written = records(kafka, registry.topic)[-1]
    settings["defaultMetadata"] = {
        "properties": {"owner": "sales", "kappa.key": "id"},
        "tags": {},
    }
    assert written == settings
    foreign(kafka, registry.topic, [(config_key, b"nonsense")])
    with pytest.raises(SchemaError, match="orders-value"):
        registry.topic_key("orders")


def test_what_others_wrote_and_nobody_asked_for_is_passed_over(
    registry: TopicRegistry, kafka: KafkaSettings
) -> None:
    registry.register("orders-value", FIRST)
    foreign(
        kafka,
        registry.topic,
        [
            (b"\xff\xfe", b"\x00"),
            (b"[" * 100_000, b"deep"),
            ([], {}),
            ({"keytype": "NOOP", "magic": 0}, None),
            ({"keytype": "MODE", "subject": None, "magic": 0}, {"mode": "READWRITE"}),
            ({"keytype": "CONFIG", "subject": None, "magic": 0}, {"compatibilityLevel": "NONE"}),
            ({"keytype": "CONTEXT", "tenant": "default", "context": ".", "magic": 0}, {}),
            ({"keytype": "SCHEMA", "subject": 7, "version": 1, "magic": 1}, {}),
            (schema_key("other-value", 0), schema_value(9, FIRST)),
            (schema_key("other-value", True), schema_value(9, FIRST)),
            (schema_key("broken-value", 1), b"nonsense"),
            (schema_key("proto-value", 1), schema_value(7, FIRST, schemaType="PROTOBUF")),
            (schema_key("text-value", 1), {"id": 8, "schema": '"string"'}),
        ],
    )
    assert registry.latest("orders-value").schema == FIRST
    assert registry.schema(1) == FIRST
    assert registry.register("orders-value", SECOND).schema_id == 9
    with pytest.raises(UnknownSchema):
        registry.latest("other-value")


def test_what_others_wrote_in_the_place_asked_for_is_refused(
    registry: TopicRegistry, kafka: KafkaSettings
) -> None:
    registry.register("orders-value", FIRST)
    foreign(
        kafka,
        registry.topic,
        [
            (schema_key("orders-value", 2), b"nonsense"),
            (schema_key("proto-value", 1), schema_value(7, FIRST, schemaType="PROTOBUF")),
            (schema_key("text-value", 1), {"id": 8, "schema": '"string"'}),
            (schema_key("whole-value", 1), schema_value(9, FIRST, references=[{"name": "x"}])),
            (schema_key("high-value", 1), schema_value(2**31, FIRST)),
        ],
    )
    with pytest.raises(InvalidSchema, match="version=2"):
        registry.latest("orders-value")
    with pytest.raises(InvalidSchema):
        registry.register("orders-value", SECOND)
    for schema_id, subject in ((7, "proto"), (8, "text"), (9, "whole")):
        with pytest.raises(InvalidSchema, match=f"{subject}-value"):
            registry.schema(schema_id)
    with pytest.raises(InvalidSchema, match="no id"):
        registry.latest("high-value")


def test_one_id_for_two_schemas_is_refused(registry: TopicRegistry, kafka: KafkaSettings) -> None:
    registry.register("orders-value", FIRST)
    foreign(kafka, registry.topic, [(schema_key("other-value", 1), schema_value(1, SECOND))])
    for ask in (
        lambda: again(registry).schema(1),
        lambda: registry.latest("orders-value"),
        lambda: registry.latest("other-value"),
    ):
        with pytest.raises(SchemaError, match="one id to different schemas"):
            ask()


def test_deleted_versions(registry: TopicRegistry, kafka: KafkaSettings) -> None:
    for schema in (FIRST, SECOND, THIRD):
        registry.register("orders-value", schema)
    delete = {"keytype": "DELETE_SUBJECT", "subject": "orders-value", "magic": 0}
    foreign(
        kafka,
        registry.topic,
        [
            (schema_key("orders-value", 3), schema_value(3, THIRD, deleted=True)),
            (delete, {"subject": "orders-value", "version": 1}),
        ],
    )
    for reader in (registry, again(registry)):
        assert [entry.version for entry in reader.versions("orders-value")] == [2]
        assert reader.schema(1) == FIRST
    restored = registry.register("orders-value", THIRD)
    assert (restored.version, restored.schema_id) == (4, 3)
    foreign(kafka, registry.topic, [(schema_key("orders-value", 1), None)])
    with pytest.raises(UnknownSchema):
        again(registry).schema(1)


def test_a_topic_that_would_lose_schemas_is_refused(kafka: KafkaSettings, unique: Unique) -> None:
    kept, many = unique("schemas"), unique("schemas")
    create_topic(kafka, kept, partitions=1)
    with pytest.raises(RegistryUnavailable, match=r"cleanup\.policy"):
        TopicRegistry(kafka, kept).register("orders-value", FIRST)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(many, 2, 1)])[many].result()
    with pytest.raises(RegistryUnavailable, match="one partition"):
        TopicRegistry(kafka, many).subjects()
