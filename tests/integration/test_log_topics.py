"""Creating, listing and showing topics: what is refused, and that nothing is half done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.admin import ConfigResource

from kappa.config import KafkaSettings, RegistrySettings, Settings
from kappa.errors import (
    ConfigError,
    IncompatibleSchema,
    InvalidSchema,
    InvalidTopicName,
    KappaError,
    LogError,
    TopicExists,
    UnknownSchema,
    UnknownTopic,
)
from kappa.log.topics import check_name
from kappa.operations import topics
from kappa.registry.topic import TopicRegistry
from tests.integration.kafka_scenes import admin, fill, make_topic, producer

Unique = Callable[[str], str]

ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "order_id", "type": "long"}, {"name": "customer", "type": "string"}],
}


@pytest.fixture
def settings(kafka: KafkaSettings, unique: Unique) -> Settings:
    return Settings(kafka=kafka, registry=RegistrySettings(topic=f"_schemas_{unique('t')}"))


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    return written(tmp_path / "order.avsc", ORDER)


def written(file: Path, document: object) -> Path:
    file.write_text(json.dumps(document))
    return file


def registry(settings: Settings) -> TopicRegistry:
    return TopicRegistry(settings.kafka, settings.registry.topic)


def assert_nothing_exists(settings: Settings, topic: str) -> None:
    with pytest.raises(UnknownTopic):
        topics.show(settings, topic)
    with pytest.raises(UnknownSchema):
        registry(settings).latest(f"{topic}-value")
    assert registry(settings).topic_key(topic) is None


def test_a_topic_keeps_its_records_for_ever(settings: Settings, unique: Unique) -> None:
    topic = unique("orders")
    topics.create(settings, topic, partitions=2)
    client = admin(settings.kafka)
    (future,) = client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    config = {name: entry.value for name, entry in future.result(20).items()}
    assert config["retention.ms"] == config["retention.bytes"] == "-1"
    assert config["message.timestamp.type"] == "LogAppendTime"
    assert config["cleanup.policy"] == "delete"

    shown = topics.show(settings, topic)
    assert (shown.log_append_time, shown.compacted, shown.complete) == (True, False, True)
    assert len(shown.topic_id) == 22
    assert [part.partition for part in shown.partitions] == [0, 1]


def test_schema_and_key_are_stored(settings: Settings, unique: Unique, schema: Path) -> None:
    topic = unique("orders")
    created = topics.create(settings, topic, schema_file=schema, key="customer")
    assert (created.subject, created.schema_version) == (f"{topic}-value", 1)
    assert registry(settings).latest(f"{topic}-value").schema_id == created.schema_id
    assert registry(settings).topic_key(topic) == "customer"
    shown = topics.show(settings, topic)
    assert (shown.key, shown.schema_version) == ("customer", 1)


def test_a_key_may_be_a_column_of_the_schema_that_is_registered_already(
    settings: Settings, unique: Unique, schema: Path
) -> None:
    topic = unique("orders")
    with pytest.raises(ConfigError, match="needs a schema"):
        topics.create(settings, topic, key="customer")
    assert_nothing_exists(settings, topic)
    with pytest.raises(LogError):
        topics.create(settings, topic, schema_file=schema, replication_factor=99)
    topics.create(settings, topic, key="customer")  # the refused command left the schema
    assert topics.show(settings, topic).key == "customer"


@pytest.mark.parametrize(
    ("document", "key", "refusal"),
    [
        (ORDER, "client", InvalidSchema),
        ({"type": "record", "name": "X", "fields": [{"name": "a", "type": "lonk"}]}, None, None),
        ({"type": "string"}, None, None),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    settings: Settings,
    unique: Unique,
    tmp_path: Path,
    document: object,
    key: str | None,
    refusal: type[KappaError] | None,
) -> None:
    topic = unique("orders")
    file = written(tmp_path / "schema.avsc", document)
    with pytest.raises(refusal or InvalidSchema) as caught:
        topics.create(settings, topic, schema_file=file, key=key)
    if key is not None:
        assert "client" in caught.value.message
        assert "order_id, customer" in str(caught.value) + caught.value.hint
    assert_nothing_exists(settings, topic)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_schema_file_that_cannot_be_read(
    settings: Settings, unique: Unique, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "schema.avsc"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        topics.create(settings, unique("orders"), schema_file=file)
    assert caught.value.detail["file"] == str(file)


def test_an_existing_topic_gets_no_schema(settings: Settings, unique: Unique, schema: Path) -> None:
    topic = make_topic(settings.kafka, unique("orders"))
    with pytest.raises(TopicExists):
        topics.create(settings, topic, schema_file=schema)
    with pytest.raises(UnknownSchema):
        registry(settings).latest(f"{topic}-value")


def test_an_incompatible_schema_creates_no_topic(
    settings: Settings, unique: Unique, schema: Path, tmp_path: Path
) -> None:
    topic = unique("orders")
    with pytest.raises(LogError):
        topics.create(settings, topic, schema_file=schema, replication_factor=99)
    fields = [*ORDER["fields"], {"name": "amount", "type": "double"}]
    other = written(tmp_path / "other.avsc", {**ORDER, "fields": fields})
    with pytest.raises(IncompatibleSchema):
        topics.create(settings, topic, schema_file=other)
    with pytest.raises(UnknownTopic):
        topics.show(settings, topic)


def test_show_tells_what_each_partition_holds(settings: Settings, unique: Unique) -> None:
    topic = make_topic(settings.kafka, unique("holds"), 2)
    fill(settings.kafka, topic, [(None, b"x" * 100)] * 10)
    client = admin(settings.kafka)
    upto = ConfluentPartition(topic, 0, 4)
    client.delete_records([upto])[upto].result(20)
    writer = producer(settings.kafka, transactional_id=topic)
    writer.init_transactions(20)
    writer.begin_transaction()
    writer.produce(topic, b"pending", partition=1)
    writer.flush(20)

    shown = topics.show(settings, topic)
    writer.abort_transaction(20)

    first, second = shown.partitions
    assert (first.log_start, first.last_stable_offset, first.log_end) == (4, 10, 10)
    assert (first.complete, second.complete, shown.complete) == (False, True, False)
    assert (second.log_start, second.last_stable_offset, second.log_end) == (0, 0, 1)
    assert first.size_bytes is not None
    assert first.size_bytes > 100
    assert first.leader is not None


def test_the_list_knows_what_is_complete(settings: Settings, unique: Unique) -> None:
    topic = make_topic(settings.kafka, unique("listed"), 2, cleanup_policy="compact,delete")
    fill(settings.kafka, topic, [(b"k", b"v")] * 5)
    client = admin(settings.kafka)
    upto = ConfluentPartition(topic, 0, 2)
    client.delete_records([upto])[upto].result(20)
    (listed,) = [entry for entry in topics.list_all(settings) if entry.topic == topic]
    assert (listed.partitions, listed.offsets) == (2, 3)
    assert (listed.compacted, listed.complete) == (True, False)


@pytest.mark.parametrize("name", ["", "a b", ".", "..", "x" * 250, "ü", "a/b", "a\n"])
def test_names_kafka_does_not_allow(name: str) -> None:
    with pytest.raises(InvalidTopicName):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 249, "..."])
def test_names_kafka_allows(name: str) -> None:
    check_name(name)
