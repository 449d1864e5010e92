"""What a LogReader delivers from real logs: codecs, nulls, gaps, tails, limits, endings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil
import pytest
from confluent_kafka import TopicPartition as ConfluentPartition

from kappa.config import KafkaSettings
from kappa.errors import LogError, OffsetOutOfRange, TopicRecreated, UnknownTopic
from kappa.log.history import topic_history
from kappa.log.publish import Producer
from kappa.log.reader import LogReader
from kappa.log.records import TopicPartition
from tests.integration.kafka_scenes import (
    admin,
    consume,
    fill,
    make_topic,
    producer,
    read,
    rows,
    whole,
)

Unique = Callable[[str], str]
MIB = 1024 * 1024


@pytest.mark.parametrize("timestamps", ["CreateTime", "LogAppendTime"])
def test_every_codec(kafka: KafkaSettings, unique: Unique, timestamps: str) -> None:
    topic = make_topic(kafka, unique("codecs"), message_timestamp_type=timestamps)
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    expected = []
    for codec in codecs:
        pairs = [(b"%d" % n, codec.encode() * (n % 50)) for n in range(300)]
        fill(kafka, topic, pairs, compression_type=codec)
        expected += pairs

    found = read(kafka, whole(kafka, topic))

    assert [(key, value) for _, _, key, value in found] == expected
    assert [offset for _, offset, _, _ in found] == list(range(len(expected)))
    assert found == consume(kafka, whole(kafka, topic))


def test_null_and_empty_keys_and_values_are_told_apart(
    kafka: KafkaSettings, unique: Unique
) -> None:
    topic = make_topic(kafka, unique("nulls"))
    pairs: list[tuple[bytes | None, bytes | None]] = [
        (None, None),
        (b"", b""),
        (b"k", None),
        (None, b"v"),
    ]
    fill(kafka, topic, pairs)
    assert [(key, value) for _, _, key, value in read(kafka, whole(kafka, topic))] == pairs


def test_headers_do_not_disturb(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("headers"), message_timestamp_type="LogAppendTime")
    client = producer(kafka)
    for number in range(5):
        client.produce(topic, b"%d" % number, b"k", headers={"trace": "x" * 100, "none": None})
    assert client.flush(20) == 0
    at = TopicPartition(topic, 0)
    for with_keys in (True, False):
        found = read(kafka, {at: (0, 5)}, with_keys=with_keys)
        assert [value for _, _, _, value in found] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(("kind", "own"), [("CreateTime", True), ("LogAppendTime", False)])
def test_timestamps_are_the_records_own(
    kafka: KafkaSettings, unique: Unique, kind: str, own: bool
) -> None:
    topic = make_topic(kafka, unique("stamps"), message_timestamp_type=kind)
    before = int(time.time() * 1000) - 60_000
    client = producer(kafka, linger_ms=50)
    for number in range(3):
        client.produce(topic, b"v", timestamp=1_700_000_000_000 + number)
    client.flush(20)
    at = TopicPartition(topic, 0)
    with LogReader(kafka, {at: (0, 3)}) as reader:
        batch = reader.next(at, 20)
    assert batch is not None
    stamps = batch.timestamps.tolist()
    if own:
        assert stamps == [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002]
    else:
        assert all(stamp >= before for stamp in stamps)


def test_compaction_leaves_gaps_that_the_ranges_cover(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(
        kafka,
        unique("compacted"),
        cleanup_policy="compact",
        min_cleanable_dirty_ratio="0.01",
        segment_bytes=str(MIB),
        max_compaction_lag_ms="1",
    )
    padding = b"x" * 1000
    for _ in range(4):  # each round overwrites the one before and fills a segment
        fill(kafka, topic, [(b"k%d" % (n % 7), b"%d" % n + padding) for n in range(1200)])
    at = TopicPartition(topic, 0)
    end = whole(kafka, topic)[at][1]

    deadline = time.monotonic() + 60
    while len(consume(kafka, {at: (0, end)})) == end:
        assert time.monotonic() < deadline, "the cleaner never ran"
        time.sleep(0.2)

    reference = consume(kafka, {at: (0, end)})
    found = read(kafka, {at: (0, end)}, fetch_bytes=3000)
    # the cleaner may have gone on between the two reads: nothing kept for good may be missing
    assert set(found) <= set(reference)
    assert {row[2] for row in found} == {b"k%d" % n for n in range(7)}
    assert found[-1] == reference[-1]
    offsets = [row[1] for row in found]
    assert offsets == sorted(set(offsets))
    assert offsets[0] > 0


def test_a_large_record_comes_whole_whatever_the_fetch_size(
    kafka: KafkaSettings, unique: Unique
) -> None:
    topic = make_topic(kafka, unique("large"), max_message_bytes=str(20 * MIB))
    large = b"0123456789" * MIB
    fill(kafka, topic, [(None, b"a"), (None, large), (None, b"b")], message_max_bytes=20 * MIB)
    found = read(kafka, whole(kafka, topic), fetch_bytes=1000, buffer_bytes=MIB)
    assert [row[3] for row in found] == [b"a", large, b"b"]


def test_the_buffer_keeps_its_limit_while_nobody_reads(
    kafka: KafkaSettings, unique: Unique
) -> None:
    topic = make_topic(kafka, unique("buffer"), 3)
    for partition in range(3):
        fill(kafka, topic, [(None, b"x" * 10_000)] * 400, partition=partition)
    limit = 3 * MIB
    ranges = whole(kafka, topic)
    with LogReader(kafka, ranges, fetch_bytes=MIB // 2, buffer_bytes=limit) as reader:
        highest = _settled(lambda: reader.buffered_bytes)
        assert 0 < highest <= limit
        # the last partition can be read to its end while the others' buffers stay full
        last = TopicPartition(topic, 2)
        records = 0
        while (batch := reader.next(last, 30)) is not None:
            records += len(batch)
            highest = max(highest, reader.buffered_bytes)
        assert records == 400
        assert highest <= limit
        for number in range(2):
            at = TopicPartition(topic, number)
            while reader.next(at, 30) is not None:
                assert reader.buffered_bytes <= limit
        assert reader.bytes_fetched > 12_000_000


def _settled(measure: Callable[[], int]) -> int:
    """The value once it has stayed the same for a while."""
    last, since = measure(), time.monotonic()
    while time.monotonic() - since < 0.5:
        time.sleep(0.02)
        now = measure()
        if now != last:
            last, since = now, time.monotonic()
    return last


def test_an_empty_range_ends_at_once(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("empty"))
    fill(kafka, topic, [(None, b"a")] * 3)
    at = TopicPartition(topic, 0)
    for bounds in ((0, 0), (3, 3), (2, 1)):
        with LogReader(kafka, {at: bounds}) as reader:
            assert reader.next(at, 0) is None
            assert reader.bytes_fetched == 0


def test_the_end_is_a_promise_even_while_the_log_grows(
    kafka: KafkaSettings, unique: Unique
) -> None:
    topic = make_topic(kafka, unique("grows"))
    fill(kafka, topic, [(None, b"old")] * 10)
    ranges = whole(kafka, topic)
    fill(kafka, topic, [(None, b"new")] * 10)
    assert [row[3] for row in read(kafka, ranges)] == [b"old"] * 10
    at = TopicPartition(topic, 0)
    assert [row[1] for row in read(kafka, {at: (4, 13)})] == list(range(4, 13))


def test_following_the_log_sees_what_is_published_later(
    kafka: KafkaSettings, unique: Unique
) -> None:
    topic = make_topic(kafka, unique("live"), 2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    with LogReader(kafka, {first: (0, None), second: (0, None)}) as reader:
        assert reader.next(first, 0.1) is None
        for number in range(3):
            fill(kafka, topic, [(None, b"%d" % number)], partition=1)
            batch = reader.next(second, 20)
            assert batch is not None
            assert rows(batch) == [(1, number, None, b"%d" % number)]
            assert reader.stable_offset(second) == number + 1
        assert reader.next(first, 0) is None
        assert reader.position(first) == 0


def test_deleted_records_are_named_not_skipped(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("cut"))
    fill(kafka, topic, [(None, b"a")] * 10)
    client = admin(kafka)
    upto = ConfluentPartition(topic, 0, 4)
    client.delete_records([upto])[upto].result(20)
    at = TopicPartition(topic, 0)

    with LogReader(kafka, {at: (2, 10)}) as reader, pytest.raises(OffsetOutOfRange) as caught:
        reader.next(at, 20)
    assert caught.value.detail == {
        "topic": topic,
        "partition": 0,
        "offset": 2,
        "log_start": 4,
        "log_end": 10,
    }
    assert [row[1] for row in read(kafka, {at: (4, 10)})] == list(range(4, 10))


def test_a_position_past_the_end_of_the_log_is_refused(
    kafka: KafkaSettings, unique: Unique
) -> None:
    topic = make_topic(kafka, unique("past"))
    fill(kafka, topic, [(None, b"a")] * 3)
    at = TopicPartition(topic, 0)
    with LogReader(kafka, {at: (7, None)}) as reader, pytest.raises(OffsetOutOfRange) as caught:
        reader.next(at, 20)
    assert (caught.value.detail["offset"], caught.value.detail["log_end"]) == (7, 3)


def test_a_failure_stays_a_failure(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("stays"))
    fill(kafka, topic, [(None, b"a")])
    at = TopicPartition(topic, 0)
    with LogReader(kafka, {at: (9, 12)}) as reader:
        for _ in range(2):
            with pytest.raises(OffsetOutOfRange):
                reader.next(at, 20)


def test_a_topic_that_does_not_exist(kafka: KafkaSettings, unique: Unique) -> None:
    at = TopicPartition(unique("missing"), 0)
    with LogReader(kafka, {at: (0, None)}) as reader, pytest.raises(UnknownTopic) as caught:
        reader.next(at, 30)
    assert caught.value.detail["topic"] == at.topic


def test_a_partition_that_does_not_exist(kafka: KafkaSettings, unique: Unique) -> None:
    at = TopicPartition(make_topic(kafka, unique("one")), 5)
    with LogReader(kafka, {at: (0, None)}) as reader, pytest.raises(UnknownTopic) as caught:
        reader.next(at, 30)
    assert caught.value.detail["partition"] == 5


def test_a_topic_created_again_is_refused_by_its_id(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("again"))
    fill(kafka, topic, [(None, b"old")] * 5)
    before = topic_history(kafka, topic)
    _recreate(kafka, topic)
    fill(kafka, topic, [(None, b"new")] * 5)
    after = topic_history(kafka, topic)
    assert before.topic_id != after.topic_id

    at = TopicPartition(topic, 0)
    stale = {topic: before.topic_id}
    with LogReader(kafka, {at: (0, 5)}, topic_ids=stale) as reader:  # noqa: SIM117
        with pytest.raises(TopicRecreated):
            reader.next(at, 30)
    fresh = {topic: after.topic_id}
    assert [row[3] for row in read(kafka, {at: (0, 5)}, topic_ids=fresh)] == [b"new"] * 5


def test_a_topic_created_again_while_it_is_followed(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("under"))
    fill(kafka, topic, [(None, b"old")] * 5)
    at = TopicPartition(topic, 0)
    ids = {topic: topic_history(kafka, topic).topic_id}
    with LogReader(kafka, {at: (0, None)}, topic_ids=ids) as reader:
        assert reader.next(at, 20) is not None
        _recreate(kafka, topic)
        fill(kafka, topic, [(None, b"new")] * 9)
        with pytest.raises(TopicRecreated):
            reader.next(at, 30)


def _recreate(kafka: KafkaSettings, topic: str) -> None:
    client = admin(kafka)
    client.delete_topics([topic])[topic].result(20)
    deadline = time.monotonic() + 20
    while True:
        try:
            make_topic(kafka, topic)
        except Exception:  # the broker still deletes; anything else fails at the deadline
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def test_closing_leaves_no_thread_and_no_socket(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("leaks"), 4)
    parts = [TopicPartition(topic, number) for number in range(4)]
    with Producer(kafka) as publisher:
        publisher.send(topic, [b"x" * 100] * 1000)
    process = psutil.Process()

    def held() -> tuple[int, int]:
        return threading.active_count(), len(process.net_connections("tcp"))

    before = held()
    for _ in range(3):
        with LogReader(kafka, dict.fromkeys(parts, (0, None))) as reader:
            reader.next(parts[0], 0.3)
            assert held() > before
        assert held() == before


def test_closing_wakes_whoever_waits(kafka: KafkaSettings, unique: Unique) -> None:
    at = TopicPartition(make_topic(kafka, unique("waits")), 0)
    reader = LogReader(kafka, {at: (0, None)})
    caught: list[Exception] = []

    def wait() -> None:
        try:
            reader.next(at)
        except LogError as error:
            caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    reader.close()
    waiting.join(20)
    assert [str(error).split(" (")[0] for error in caught] == ["the reader is closed"]
    reader.close()  # twice is once
