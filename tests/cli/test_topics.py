"""``kappa topics`` as a process."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition as ConfluentPartition

from kappa.config import KafkaSettings
from tests.conftest import Finished
from tests.integration.kafka_scenes import admin, fill, make_topic, producer

Unique = Callable[[str], str]
Kappa = Callable[..., Finished]

ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "order_id", "type": "long"},
        {"name": "customer", "type": "string"},
        {"name": "amount", "type": "double"},
    ],
}


@pytest.fixture
def schema(tmp_path: Path) -> str:
    file = tmp_path / "order.avsc"
    file.write_text(json.dumps(ORDER))
    return str(file)


def error(done: Finished) -> dict[str, object]:
    assert done.code != 0
    assert done.out == ""
    document: dict[str, object] = json.loads(done.err)
    return document


def test_create_with_schema_and_key_then_show(kappa: Kappa, unique: Unique, schema: str) -> None:
    topic = unique("orders")
    done = kappa(
        *("topics", "create", topic, "--partitions", "2"),
        *("--schema", schema, "--key", "customer", "--json"),
    )
    assert done.code == 0, done.err
    assert done.json == {
        "topic": topic,
        "partitions": 2,
        "compacted": False,
        "subject": f"{topic}-value",
        "schema_version": 1,
        "schema_id": 1,
        "key": "customer",
    }
    shown = kappa("topics", "show", topic, "--json").json
    assert (shown["key"], shown["schema_version"], shown["schema_id"]) == ("customer", 1, 1)
    assert (shown["retention_ms"], shown["retention_bytes"]) == (-1, -1)
    assert (shown["log_append_time"], shown["compacted"], shown["complete"]) == (True, False, True)
    assert len(shown["topic_id"]) == 22
    assert shown["partitions"] == [
        {
            "partition": number,
            "log_start": 0,
            "log_end": 0,
            "last_stable_offset": 0,
            "size_bytes": 0,
            "leader": shown["partitions"][number]["leader"],
            "complete": True,
        }
        for number in range(2)
    ]


def test_a_plain_topic_needs_no_schema(kappa: Kappa, unique: Unique) -> None:
    topic = unique("plain")
    done = kappa("topics", "create", topic, "--compact")
    assert done.code == 0, done.err
    assert done.out == f"created compacted topic {topic} with 3 partitions\n"
    shown = kappa("topics", "show", topic)
    assert "cleanup    compact" in shown.out
    assert "history    latest record per key" in shown.out
    assert kappa("topics", "show", topic, "--json").json["complete"] is False


def test_show_tells_what_each_partition_holds(
    kappa: Kappa, kafka: KafkaSettings, unique: Unique
) -> None:
    topic = make_topic(kafka, unique("holds"), 2)
    fill(kafka, topic, [(None, b"x" * 100)] * 10)
    client = admin(kafka)
    upto = ConfluentPartition(topic, 0, 4)
    client.delete_records([upto])[upto].result(20)
    writer = producer(kafka, transactional_id=topic)
    writer.init_transactions(20)
    writer.begin_transaction()
    writer.produce(topic, b"pending", partition=1)
    writer.flush(20)

    done = kappa("topics", "show", topic, "--json")
    writer.abort_transaction(20)

    assert done.json["complete"] is False
    first, second = done.json["partitions"]
    assert (first["log_start"], first["last_stable_offset"], first["log_end"]) == (4, 10, 10)
    assert first["size_bytes"] > 100
    assert first["complete"] is False
    assert (second["log_start"], second["last_stable_offset"], second["log_end"]) == (0, 0, 1)
    text = kappa("topics", "show", topic).out
    assert "incomplete: partition 0 no longer begins at 0" in text


def test_list_names_topics_but_not_kafkas_own(
    kappa: Kappa, kafka: KafkaSettings, unique: Unique
) -> None:
    topic = make_topic(kafka, unique("listed"), 2, cleanup_policy="compact")
    fill(kafka, topic, [(b"k", b"v")] * 3)
    listed = {entry["topic"]: entry for entry in kappa("topics", "list", "--json").json}
    assert listed[topic] == {
        "topic": topic,
        "partitions": 2,
        "offsets": 3,
        "compacted": True,
        "complete": True,
    }
    assert not [name for name in listed if name.startswith("__")]
    assert topic in kappa("topics", "list").out


def test_a_missing_key_column_is_named_and_nothing_is_created(
    kappa: Kappa, unique: Unique, schema: str
) -> None:
    topic = unique("orders")
    done = kappa("topics", "create", topic, "--schema", schema, "--key", "client", "--json")
    refused = error(done)
    assert "client" in str(refused["message"])
    for column in ("order_id", "customer", "amount"):
        assert column in str(refused)
    assert error(kappa("topics", "show", topic, "--json"))["error"] == "UnknownTopic"
    again = kappa("topics", "create", topic, "--schema", schema, "--key", "customer", "--json")
    assert again.json["schema_version"] == 1


def test_a_bad_schema_creates_nothing(kappa: Kappa, unique: Unique, tmp_path: Path) -> None:
    topic = unique("orders")
    file = tmp_path / "bad.avsc"
    file.write_text('{"type": "record", "name": "X", "fields": [{"name": "a", "type": "lonk"}]}')
    done = kappa("topics", "create", topic, "--schema", str(file), "--json")
    assert (done.code, error(done)["error"]) == (4, "InvalidSchema")
    assert kappa("topics", "show", topic).code == 3


def test_a_key_without_a_schema_is_refused(kappa: Kappa, unique: Unique) -> None:
    done = kappa("topics", "create", unique("orders"), "--key", "customer", "--json")
    assert (done.code, error(done)["hint"]) == (2, "add --schema FILE")


def test_a_schema_file_that_is_not_there(kappa: Kappa, unique: Unique) -> None:
    done = kappa("topics", "create", unique("orders"), "--schema", "nowhere.avsc", "--json")
    assert (done.code, error(done)["error"]) == (2, "ConfigError")


def test_an_existing_topic_is_refused_and_its_schema_untouched(
    kappa: Kappa, kafka: KafkaSettings, unique: Unique, schema: str
) -> None:
    topic = make_topic(kafka, unique("orders"))
    done = kappa("topics", "create", topic, "--schema", schema, "--json")
    assert (done.code, error(done)["error"]) == (4, "TopicExists")
    assert kappa("topics", "show", topic, "--json").json["schema_version"] is None


@pytest.mark.parametrize("name", ["a b", "..", "x" * 250, "ü"])
def test_names_kafka_does_not_allow(kappa: Kappa, name: str) -> None:
    done = kappa("topics", "create", name, "--json")
    assert (done.code, error(done)["error"]) == (2, "InvalidTopicName")


def test_more_replicas_than_brokers(kappa: Kappa, unique: Unique) -> None:
    done = kappa("topics", "create", unique("orders"), "--replication", "9", "--json")
    assert done.code == 1
    assert "replication factor of 9" in str(error(done)["message"])


def test_a_topic_that_does_not_exist(kappa: Kappa, unique: Unique) -> None:
    topic = unique("missing")
    done = kappa("topics", "show", topic)
    assert done.code == 3
    assert done.err.splitlines() == [
        f"error: the topic does not exist (topic={topic})",
        "hint: 'kappa topics list' shows the topics that exist",
    ]


@pytest.mark.parametrize("command", [["list"], ["show", "orders"], ["create", "orders"]])
def test_no_broker_is_named_in_time(kappa: Kappa, command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    env = {
        "KAPPA_KAFKA__BOOTSTRAP_SERVERS": address,
        "KAPPA_KAFKA__DEFAULT_API_TIMEOUT_MS": "1000",
    }
    done = kappa("topics", *command, "--json", env=env)
    assert (done.code, error(done)["error"]) == (5, "BrokerUnavailable")
    assert "Connection refused" in str(error(done)["detail"])


@pytest.mark.parametrize("command", ["create", "list", "show"])
def test_help_holds_an_example(kappa: Kappa, command: str) -> None:
    done = kappa("topics", command, "--help")
    assert done.code == 0
    assert f"Example: kappa topics {command}" in done.out
