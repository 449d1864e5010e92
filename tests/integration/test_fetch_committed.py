"""read_committed: only committed records arrive, whatever the fetch size and start."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from kappa.config import KafkaSettings
from kappa.log.history import topic_history
from kappa.log.reader import LogReader
from kappa.log.records import TopicPartition
from tests.integration.kafka_scenes import (
    Record,
    Transactions,
    consume,
    fill,
    make_topic,
    producer,
    read,
    rows,
    whole,
)

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def interleaved(kafka: KafkaSettings) -> Transactions:
    """Three producers, 30% aborts, plain records between them, on two partitions."""
    topic = make_topic(kafka, f"interleaved{random.randrange(16**8):08x}", 2)
    scene = Transactions(kafka, topic, 2, random.Random(7))
    for codec in ("none", "zstd"):
        scene.interleave(producers=3, transactions=12, abort_rate=0.3, compression_type=codec)
        fill(kafka, topic, [(b"plain", b"plain")] * 3, partition=1)
    return scene


def truth(scene: Transactions, ranges: dict[TopicPartition, tuple[int, int]]) -> list[Record]:
    bounds = {at.partition: bound for at, bound in ranges.items()}
    return sorted(
        (row for row in scene.committed if bounds[row[0]][0] <= row[1] < bounds[row[0]][1]),
        key=lambda row: row[:2],
    )


@pytest.mark.parametrize("fetch_bytes", [8 * MIB, 3000, 1])
def test_whole_history_equals_the_reference_and_what_was_committed(
    kafka: KafkaSettings, interleaved: Transactions, fetch_bytes: int
) -> None:
    ranges = whole(kafka, interleaved.topic)
    ids = {interleaved.topic: topic_history(kafka, interleaved.topic).topic_id}

    found = sorted(
        read(kafka, ranges, fetch_bytes=fetch_bytes, topic_ids=ids), key=lambda row: row[:2]
    )

    assert found == consume(kafka, ranges)
    assert [row for row in found if row[3] != b"plain"] == truth(interleaved, ranges)
    assert len(found) > 200


@pytest.mark.parametrize(("fetch_bytes", "draws"), [(8 * MIB, 25), (3000, 15), (1, 5)])
def test_any_range_holds_what_the_whole_holds_there(
    kafka: KafkaSettings, interleaved: Transactions, fetch_bytes: int, draws: int
) -> None:
    full = whole(kafka, interleaved.topic)
    reference = consume(kafka, full)
    dice = random.Random(fetch_bytes)
    for _ in range(draws):
        ranges = {
            at: tuple(sorted((dice.randint(0, end), dice.randint(0, end))))
            for at, (_, end) in full.items()
        }
        found = read(kafka, ranges, fetch_bytes=fetch_bytes)  # type: ignore[arg-type]
        assert found == [
            row
            for row in reference
            if (bound := ranges[TopicPartition(interleaved.topic, row[0])])[0] <= row[1] < bound[1]
        ]


def test_an_aborted_tail_ends(kafka: KafkaSettings, unique: Callable[[str], str]) -> None:
    topic = make_topic(kafka, unique("tail"))
    fill(kafka, topic, [(None, b"kept")])
    client = producer(kafka, transactional_id=topic)
    client.init_transactions(20)
    client.begin_transaction()
    for _ in range(5):
        client.produce(topic, b"dropped")
    client.flush(20)
    client.abort_transaction(20)

    (part,) = topic_history(kafka, topic).partitions
    assert part.end == 7  # one record, five aborted, one marker

    at = TopicPartition(topic, 0)
    assert read(kafka, {at: (0, 7)}) == [(0, 0, None, b"kept")]
    assert read(kafka, {at: (3, 7)}, fetch_bytes=1) == []


def test_an_open_transaction_holds_the_end_back_until_it_commits(
    kafka: KafkaSettings, unique: Callable[[str], str]
) -> None:
    topic = make_topic(kafka, unique("open"))
    at = TopicPartition(topic, 0)
    fill(kafka, topic, [(None, b"before")])
    client = producer(kafka, transactional_id=topic)
    client.init_transactions(20)
    client.begin_transaction()
    client.produce(topic, b"pending")
    client.flush(20)
    fill(kafka, topic, [(None, b"after")])

    (part,) = topic_history(kafka, topic).partitions
    assert (part.end, part.high_watermark) == (1, 3)
    with LogReader(kafka, {at: (0, None)}) as reader:
        first = reader.next(at, 20)
        assert first is not None
        assert rows(first) == [(0, 0, None, b"before")]
        assert reader.stable_offset(at) == 1
        assert reader.next(at, 0.7) is None  # longer than one long poll
        client.commit_transaction(20)
        found: list[Record] = []
        while reader.position(at) < 4:
            batch = reader.next(at, 20)
            assert batch is not None
            found += rows(batch)
        assert [row[3] for row in found] == [b"pending", b"after"]
