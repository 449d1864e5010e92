"""Records from files end up in the topic as they should: values, keys, order, and nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest
from confluent_kafka import Consumer, TopicPartition

from kappa.avro import schema as avro
from kappa.config import KafkaSettings, RegistrySettings, Settings
from kappa.errors import BadRecord, ConfigError, UnknownSchema, UnknownTopic
from kappa.operations import produce as operation
from kappa.operations import topics
from kappa.operations.produce import Format, Produced, produce
from kappa.publishing import lines, parquet
from kappa.registry.topic import TopicRegistry

ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "order_id", "type": "long"},
        {"name": "customer", "type": "string"},
        {"name": "amount", "type": "double"},
        {"name": "placed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "coupon", "type": ["null", "string"], "default": None},
    ],
}
ROWS = [
    {
        "order_id": n,
        "customer": f"c{n % 7}",
        "amount": n / 4,
        "placed_at": f"2024-01-01T00:00:{n % 60:02}.250Z",
        "coupon": "x" if n % 3 else None,
    }
    for n in range(500)
]
Unique = Callable[[str], str]
Send = Callable[..., Produced]


@pytest.fixture
def settings(kafka: KafkaSettings, unique: Unique) -> Settings:
    registry = RegistrySettings(topic=f"_schemas_{unique('p')}")
    return Settings(kafka=kafka, registry=registry)


@pytest.fixture
def make(settings: Settings, tmp_path: Path, unique: Unique) -> Callable[..., str]:
    """Makes a topic for a schema and returns its name."""

    def make(schema: dict[str, Any], key: str | None = None, compact: bool = False) -> str:
        file = tmp_path / "schema.avsc"
        file.write_text(json.dumps(schema))
        topic = unique("produce")
        topics.create(settings, topic, partitions=1, schema_file=file, key=key, compact=compact)
        return topic

    return make


@pytest.fixture
def send(settings: Settings, tmp_path: Path) -> Send:
    """Publishes a file: its name, and its text unless it is there already."""

    def send(topic: str, name: str, text: str | None = None, **options: Any) -> Produced:
        file = tmp_path / name
        if text is not None:
            file.write_text(text)
        given = {"given": None, "skip_bad": False, "on_progress": lambda *_: None, **options}
        return produce(settings, topic, file, **given)

    return send


def read(kafka: KafkaSettings, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    """Every key and value of the topic's only partition."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "unused"})
    partition = TopicPartition(topic, 0, 0)
    consumer.assign([partition])
    _, end = consumer.get_watermark_offsets(partition, timeout=30)
    messages = consumer.consume(end, timeout=30) if end else []
    consumer.close()
    assert len(messages) == end
    return [(message.key(), message.value()) for message in messages]


def decoded(value: bytes | None, schema: dict[str, Any]) -> Any:
    assert value is not None
    assert value[0] == 0
    parsed = fastavro.parse_schema(json.loads(json.dumps(schema)))
    return fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed, None)


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("held_bytes", [0, 10_000, operation.HELD_BYTES])
def test_every_format_gives_the_same_bytes(
    kafka: KafkaSettings,
    make: Callable[..., str],
    send: Send,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    held_bytes: int,
) -> None:
    """Also where not all of a checked file, or nothing, is kept for publishing."""
    monkeypatch.setattr(operation, "HELD_BYTES", held_bytes)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 8_000)
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 100)
    frame = pl.DataFrame(ROWS)
    frame.write_csv(tmp_path / "orders.csv")
    moments = pl.col("placed_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ")
    frame.with_columns(moments).write_parquet(tmp_path / "orders.parquet")
    topic = make(ORDER, key="customer")
    results = [
        send(topic, "orders.jsonl", jsonl(ROWS)),
        send(topic, "orders.csv"),
        send(topic, "orders.parquet"),
    ]
    assert [result.records for result in results] == [500] * 3
    assert [result.format for result in results] == list(Format)
    assert len({result.bytes for result in results}) == 1
    records = read(kafka, topic)
    assert records[:500] == records[500:1000] == records[1000:]
    first = decoded(records[7][1], ORDER)
    assert first | {"placed_at": first["placed_at"].isoformat()} == {
        "order_id": 7,
        "customer": "c0",
        "amount": 1.75,
        "placed_at": "2024-01-01T00:00:07.250000+00:00",
        "coupon": "x",
    }
    assert [key for key, _ in records[:500]] == [f"c{n % 7}".encode() for n in range(500)]
    assert results[0].bytes == sum(len(k or b"") + len(v or b"") for k, v in records[:500])


def test_every_shape_of_json(kafka: KafkaSettings, make: Callable[..., str], send: Send) -> None:
    schema = {
        "type": "record",
        "name": "Everything",
        "fields": [
            {"name": "tags", "type": {"type": "map", "values": ["null", "int"]}},
            {"name": "raw", "type": "bytes"},
            {
                "name": "price",
                "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
            },
            {
                "name": "lines",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "Line",
                        "fields": [
                            {"name": "at", "type": {"type": "int", "logicalType": "time-millis"}},
                            {
                                "name": "side",
                                "type": {"type": "enum", "name": "S", "symbols": ["A"]},
                            },
                        ],
                    },
                },
            },
            {"name": "note", "type": "string", "default": "none"},
        ],
    }
    topic = make(schema)
    row = {
        "tags": {"a": 1, "b": None},
        "raw": "/w==",
        "price": "12.5",
        "lines": [{"at": "00:00:01", "side": "A"}],
    }
    send(topic, "all.jsonl", jsonl([row]))
    ((key, value),) = read(kafka, topic)
    found = decoded(value, schema)
    assert key is None
    assert found.pop("lines")[0]["at"].isoformat() == "00:00:01"
    assert found == {
        "tags": {"a": 1, "b": None},
        "raw": b"\xff",
        "price": Decimal("12.50"),
        "note": "none",
    }


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        ('{"order_id": 1', None, "not JSON"),
        (json.dumps({**ROWS[0], "order_id": "1"}), "order_id", "'1' is no long"),
        (json.dumps({**ROWS[0], "colour": 1}), "colour", "no such field"),
        (json.dumps({"order_id": 1}), "customer", "is missing and has no default"),
        (json.dumps({**ROWS[0], "customer": None}), "customer", "null, where string is needed"),
    ],
)
def test_of_a_file_with_a_bad_line_nothing_is_published(
    kafka: KafkaSettings,
    make: Callable[..., str],
    send: Send,
    line: str,
    column: str | None,
    reason: str,
) -> None:
    topic = make(ORDER, key="customer")
    text = jsonl(ROWS[:3]) + line + "\n" + jsonl(ROWS[3:])
    with pytest.raises(BadRecord, match=reason) as caught:
        send(topic, "orders.jsonl", text)
    assert caught.value.detail["line"] == 4
    assert caught.value.detail.get("column") == column
    assert caught.value.detail["published"] == 0
    assert read(kafka, topic) == []


def test_bad_lines_can_be_passed_over(
    kafka: KafkaSettings, make: Callable[..., str], send: Send
) -> None:
    topic = make(ORDER, key="customer")
    broken = [{**ROWS[0], "amount": "much"}] * 12
    result = send(topic, "orders.jsonl", jsonl(ROWS[:2] + broken + ROWS[2:5]), skip_bad=True)
    assert (result.records, result.skipped) == (5, 12)
    assert [str(bad) for bad in result.bad] == [
        f"line {line}, column amount: 'much' is no double" for line in range(3, 13)
    ]
    assert [decoded(value, ORDER)["order_id"] for _, value in read(kafka, topic)] == [*range(5)]


def test_tombstones_keep_their_place(
    kafka: KafkaSettings, make: Callable[..., str], send: Send
) -> None:
    topic = make(ORDER, key="customer", compact=True)
    deletion = {"customer": "c0", "@tombstone": True}
    late = {"customer": "c9", "@tombstone": True}
    result = send(topic, "orders.jsonl", jsonl([deletion, ROWS[0], deletion, ROWS[7], late]))
    assert (result.records, result.tombstones) == (5, 3)
    assert [(key, value is None) for key, value in read(kafka, topic)] == [
        (b"c0", True),
        (b"c0", False),
        (b"c0", True),
        (b"c0", False),
        (b"c9", True),
    ]


def test_a_tombstone_needs_a_key_column_and_a_fitting_key(
    make: Callable[..., str], send: Send
) -> None:
    deletion = jsonl([{"order_id": "x", "@tombstone": True}])
    with pytest.raises(BadRecord, match="no key column"):
        send(make(ORDER), "a.jsonl", deletion)
    with pytest.raises(BadRecord, match="'x' is no long"):
        send(make(ORDER, key="order_id"), "b.jsonl", deletion)


def test_progress_is_heard_for_both_passes(make: Callable[..., str], send: Send) -> None:
    heard: list[tuple[str, int, int | None, int]] = []
    text = jsonl(ROWS)
    send(make(ORDER), "orders.jsonl", text, on_progress=lambda *news: heard.append(news))
    assert heard[0] == ("checking", len(text), len(text), 500)
    assert heard[-1] == ("publishing", len(text), len(text), 500)


def test_an_empty_file_publishes_nothing(make: Callable[..., str], send: Send) -> None:
    assert send(make(ORDER), "orders.jsonl", "\n\n").records == 0


def test_a_topic_without_a_schema_is_refused(
    settings: Settings, send: Send, unique: Unique, make: Callable[..., str]
) -> None:
    make(ORDER)
    bare = unique("bare")
    topics.create(settings, bare, partitions=1)
    with pytest.raises(UnknownSchema):
        send(bare, "orders.jsonl", jsonl(ROWS))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("orders.txt", "x", "format does not follow"),
        ("absent.jsonl", None, "no such file"),
        (".", None, "directory"),
    ],
)
def test_what_cannot_be_an_input(send: Send, name: str, text: str | None, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        send("any", name, text)


def test_a_schema_without_a_topic_is_refused(
    settings: Settings, send: Send, unique: Unique
) -> None:
    topic = unique("none")
    registry = TopicRegistry(settings.kafka, settings.registry.topic)
    registry.register(f"{topic}-value", avro.parse(ORDER))
    with pytest.raises(UnknownTopic):
        send(topic, "orders.jsonl", jsonl(ROWS))
