"""``kappa topics`` as a process: what it prints and how it exits."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kappa.cli.topics import app
from kappa.config import KafkaSettings
from tests.conftest import Finished
from tests.integration.kafka_scenes import fill, make_topic

Unique = Callable[[str], str]
Kappa = Callable[..., Finished]

ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "order_id", "type": "long"}, {"name": "customer", "type": "string"}],
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
        *("--schema", schema, "--key", "customer"),
    )
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"created topic {topic} with 2 partitions",
        f"schema {topic}-value version 1, id 1",
        "key column customer",
    ]
    shown = kappa("topics", "show", topic).out.splitlines()
    assert shown[0] == f"topic      {topic}"
    assert shown[2:8] == [
        "cleanup    keeps everything",
        "timestamps the broker's",
        "replicas   1",
        "schema     version 1, id 1",
        "key        customer",
        "history    complete",
    ]
    assert shown[9].split() == [
        *("partition", "log", "start", "log", "end", "last", "stable"),
        *("bytes", "leader", "complete"),
    ]
    assert [line.split()[:5] for line in shown[10:]] == [["0"] * 5, ["1", "0", "0", "0", "0"]]


def test_create_and_list_as_json(kappa: Kappa, kafka: KafkaSettings, unique: Unique) -> None:
    topic = unique("plain")
    done = kappa("topics", "create", topic, "--compact", "--json")
    assert done.json == {
        "topic": topic,
        "partitions": 3,
        "compacted": True,
        "subject": None,
        "schema_version": None,
        "schema_id": None,
        "key": None,
    }
    fill(kafka, topic, [(b"k", b"v")] * 3)
    listed = {entry["topic"]: entry for entry in kappa("topics", "list", "--json").json}
    assert listed[topic] == {
        "topic": topic,
        "partitions": 3,
        "offsets": 3,
        "compacted": True,
        "complete": True,
    }
    assert not [name for name in listed if name.startswith("__")]


def test_a_missing_key_column_is_named_with_those_that_exist(
    kappa: Kappa, unique: Unique, schema: str
) -> None:
    done = kappa(
        "topics", "create", unique("orders"), "--schema", schema, "--key", "client", "--json"
    )
    refused = error(done)
    assert done.code == 4
    assert "client" in str(refused["message"])
    assert "order_id" in str(refused)
    assert "customer" in str(refused)


def test_a_topic_that_does_not_exist(kappa: Kappa, unique: Unique) -> None:
    topic = unique("missing")
    done = kappa("topics", "show", topic)
    assert done.code == 3
    assert done.err.splitlines() == [
        f"error: the topic does not exist (topic={topic})",
        "hint: 'kappa topics list' shows the topics that exist",
    ]


def test_an_existing_topic(kappa: Kappa, kafka: KafkaSettings, unique: Unique) -> None:
    done = kappa("topics", "create", make_topic(kafka, unique("orders")), "--json")
    assert (done.code, error(done)["error"]) == (4, "TopicExists")


def test_no_broker_is_named_in_time(kappa: Kappa) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    env = {
        "KAPPA_KAFKA__BOOTSTRAP_SERVERS": address,
        "KAPPA_KAFKA__DEFAULT_API_TIMEOUT_MS": "1000",
    }
    done = kappa("topics", "list", "--json", env=env)
    assert (done.code, error(done)["error"]) == (5, "BrokerUnavailable")
    assert "Connection refused" in str(error(done)["detail"])


def test_the_list_for_people(kappa: Kappa, kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("listed"), 2)
    fill(kafka, topic, [(None, b"v")] * 1234)
    lines = kappa("topics", "list").out.splitlines()
    assert lines[0].split() == ["topic", "partitions", "offsets", "compacted", "complete"]
    (line,) = [line for line in lines if line.startswith(topic)]
    assert line.split() == [topic, "2", "1,234", "no", "yes"]


@pytest.mark.parametrize("command", ["create", "list", "show"])
def test_help_holds_an_example(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"Example: kappa topics {command}" in done.output
