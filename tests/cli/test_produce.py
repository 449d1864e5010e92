"""``kappa produce`` as a process: pipes, results, errors."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from kappa.avro import schema as avro
from kappa.config import KafkaSettings
from kappa.log import topics
from kappa.log.history import topic_history
from kappa.registry.topic import TopicRegistry
from tests.conftest import Finished

Kappa = Callable[..., Finished]

SCHEMA = {
    "type": "record",
    "name": "Reading",
    "fields": [{"name": "sensor", "type": "string"}, {"name": "value", "type": "double"}],
}
GOOD = '{"sensor": "s1", "value": 1.5}\n'
BAD = '{"sensor": "s1", "value": "high"}\n'


@pytest.fixture
def topic(environment: dict[str, str], kafka: KafkaSettings, unique: Callable[[str], str]) -> str:
    """A keyed topic, known to the registry that the test's kappa processes use."""
    name = unique("readings")
    registry = TopicRegistry(kafka, environment["KAPPA_REGISTRY__TOPIC"])
    registry.register(f"{name}-value", avro.parse(SCHEMA))
    registry.set_topic_key(name, "sensor")
    topics.create_topic(kafka, name, partitions=1)
    return name


def held(kafka: KafkaSettings, topic: str) -> int:
    """How many records the topic has."""
    return sum(part.end for part in topic_history(kafka, topic).partitions)


def test_a_pipe_is_published(kappa: Kappa, kafka: KafkaSettings, topic: str) -> None:
    done = kappa("produce", topic, "--json", stdin=GOOD * 3)
    assert done.code == 0, done.err
    assert done.json | {"seconds": 0, "records_per_second": 0} == {
        "topic": topic,
        "format": "jsonl",
        "schema_id": 1,
        "records": 3,
        "tombstones": 0,
        "bytes": 3 * (2 + 5 + 3 + 8),
        "skipped": 0,
        "bad": [],
        "seconds": 0,
        "records_per_second": 0,
    }
    assert held(kafka, topic) == 3


def test_of_a_pipe_the_lines_before_the_bad_one_are_published(
    kappa: Kappa, kafka: KafkaSettings, topic: str
) -> None:
    done = kappa("produce", topic, "-", "--json", stdin=GOOD * 2 + BAD + GOOD)
    assert done.code == 1
    assert done.out == ""
    assert json.loads(done.err) == {
        "error": "BadRecord",
        "message": "'high' is no double",
        "detail": {"line": 3, "column": "value", "published": 2},
        "hint": "what comes before line 3 was published; go on from there",
    }
    assert held(kafka, topic) == 2


def test_lines_passed_over_are_listed(kappa: Kappa, topic: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("sensor,value\n" + "s1,high\n" * 12 + "s1,1\n")
    done = kappa("produce", topic, "r.csv", "--skip-bad")
    assert done.code == 0, done.err
    listed = done.err.splitlines()
    assert listed[0] == "skipped: line 2, column value: 'high' is no double"
    assert listed[-1] == "skipped: 2 more"
    assert len(listed) == 11
    assert topic in done.out


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["absent.jsonl"], 2, "there is no such file"),
        (["--format", "parquet"], 2, "Parquet cannot be read from a pipe"),
    ],
)
def test_an_input_that_cannot_be_read(
    kappa: Kappa, args: list[str], code: int, message: str
) -> None:
    done = kappa("produce", "any", *args, "--json")
    assert done.code == code
    assert json.loads(done.err)["message"] == message


def test_a_file_that_cannot_be_opened(
    kappa: Kappa, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket has a name and cannot be opened by it, not even by root."""
    monkeypatch.chdir(tmp_path)  # the whole path may be longer than a socket's may be
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("orders.jsonl")
        done = kappa("produce", topic, "orders.jsonl", "--json")
    assert done.code == 2
    assert json.loads(done.err)["message"].startswith("the file cannot be opened")


def test_a_topic_without_a_schema(kappa: Kappa) -> None:
    done = kappa("produce", "nothing", "--json", stdin=GOOD)
    assert done.code == 3
    assert json.loads(done.err)["error"] == "UnknownSchema"
