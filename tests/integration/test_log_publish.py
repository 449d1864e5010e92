"""Publishing: everything arrives once, in order, on the partition Java would choose."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from confluent_kafka import murmur2

from kappa.config import KafkaSettings
from kappa.errors import ConfigError, DeliveryFailed, UnknownTopic
from kappa.log.publish import Producer
from tests.integration.kafka_scenes import make_topic, read, whole
from tests.integration.proxy import Proxy

Unique = Callable[[str], str]
MIB = 1024 * 1024


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_everything_arrives_in_order(
    kafka: KafkaSettings, unique: Unique, compression: str
) -> None:
    topic = make_topic(kafka, unique("all"), 3)
    values = [b"%d" % number for number in range(25_000)]
    keys = [b"k%d" % (number % 100) for number in range(25_000)]
    with Producer(kafka, compression=compression) as publisher:
        publisher.send(topic, values[:20_000], keys[:20_000])
        publisher.send(topic, values[20_000:], keys[20_000:])
        assert publisher.flush() == 25_000

    found = read(kafka, whole(kafka, topic))
    assert sorted(int(value or b"") for _, _, _, value in found) == list(range(25_000))
    for partition, _, key, _ in found[::97]:
        assert key is not None
        assert partition == murmur2(key, 3)
    by_key: dict[bytes | None, list[int]] = {}
    for _, _, key, value in found:
        by_key.setdefault(key, []).append(int(value or b""))
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def test_null_keys_and_values(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("nulls"))
    with Producer(kafka) as publisher:
        publisher.send(topic, [None, b"", b"v"], [b"k", b"", None])
        publisher.send(topic, [b"no keys"])
    found = [(key, value) for _, _, key, value in read(kafka, whole(kafka, topic))]
    assert found == [(b"k", None), (b"", b""), (None, b"v"), (None, b"no keys")]


def test_a_full_queue_makes_send_wait_and_keeps_order(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("full"))
    values = [b"%06d" % number + b"x" * 1000 for number in range(5_000)]
    with Producer(kafka, buffer_bytes=MIB // 2) as publisher:
        publisher.send(topic, values)
        assert publisher.flush() == 5_000
    assert [value for _, _, _, value in read(kafka, whole(kafka, topic))] == values


def test_a_topic_that_does_not_exist(kafka: KafkaSettings, unique: Unique) -> None:
    topic = unique("missing")
    with Producer(kafka) as publisher, pytest.raises(UnknownTopic) as caught:
        publisher.send(topic, [b"x"])
    assert caught.value.detail["topic"] == topic


def test_a_record_the_broker_refuses_is_counted(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("big"), max_message_bytes="2000")
    with Producer(kafka, compression="none") as publisher:
        publisher.send(topic, [b"fits"])
        assert publisher.flush() == 1
        publisher.send(topic, [b"x" * 5000])
        with pytest.raises(DeliveryFailed) as caught:
            publisher.flush()
    assert (caught.value.detail["failed"], caught.value.detail["delivered"]) == (1, 1)
    assert "too large" in str(caught.value.detail["reason"])


def test_a_record_larger_than_the_buffer_is_refused(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("huge"))
    with Producer(kafka, buffer_bytes=MIB) as publisher, pytest.raises(DeliveryFailed):
        publisher.send(topic, [b"x" * 2 * MIB])


def test_leaving_the_block_flushes_and_failing_there_is_an_error(
    kafka: KafkaSettings, unique: Unique
) -> None:
    topic = make_topic(kafka, unique("leave"), max_message_bytes="2000")
    with pytest.raises(DeliveryFailed), Producer(kafka, compression="none") as publisher:
        publisher.send(topic, [b"x" * 5000])


def test_an_exception_drops_what_is_queued(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("drops"))
    threads = threading.active_count()

    def interrupted() -> None:
        with Producer(kafka) as publisher:
            publisher.send(topic, [b"x"] * 10)
            raise KeyError("the caller's own")

    with pytest.raises(KeyError):
        interrupted()
    assert threading.active_count() == threads


def test_a_broker_that_stays_away_fails_the_delivery(kafka: KafkaSettings, unique: Unique) -> None:
    topic = make_topic(kafka, unique("away"))
    with Proxy(kafka.bootstrap_servers) as proxy:
        settings = KafkaSettings(bootstrap_servers=proxy.bootstrap_servers)
        with Producer(settings, delivery_timeout_s=2.0) as publisher:
            publisher.send(topic, [b"first"])
            publisher.flush()
            proxy.refuse()
            publisher.send(topic, [b"x"] * 5)
            with pytest.raises(DeliveryFailed) as caught:
                publisher.flush()
    assert (caught.value.detail["failed"], caught.value.detail["delivered"]) == (5, 1)


def test_a_broker_that_comes_back_gets_everything_once(
    kafka: KafkaSettings, unique: Unique
) -> None:
    topic = make_topic(kafka, unique("back"))
    values = [b"%d" % number + b"x" * 300 for number in range(3000)]
    with Proxy(kafka.bootstrap_servers) as proxy:
        settings = KafkaSettings(bootstrap_servers=proxy.bootstrap_servers)
        with Producer(settings) as publisher:
            for low in range(0, 3000, 300):
                publisher.send(topic, values[low : low + 300])
                if low % 900 == 600:
                    proxy.cut()
            assert publisher.flush() == 3000
    assert [value for _, _, _, value in read(kafka, whole(kafka, topic))] == values


def test_settings_the_client_refuses(kafka: KafkaSettings) -> None:
    with pytest.raises(ConfigError, match="brotli"):
        Producer(kafka, compression="brotli")
    with pytest.raises(ConfigError, match="TELEPATHY"):
        Producer(kafka.model_copy(update={"security_protocol": "TELEPATHY"}))


def test_keys_must_match_values(kafka: KafkaSettings) -> None:
    with Producer(kafka) as publisher, pytest.raises(ValueError, match="1 keys for 2 values"):
        publisher.send("orders", [b"a", b"b"], [b"k"])
