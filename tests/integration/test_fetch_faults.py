"""A broker that goes away, comes back, falls silent, or was never there."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from kappa.config import KafkaSettings
from kappa.errors import BrokerUnavailable
from kappa.log.reader import LogReader
from kappa.log.records import TopicPartition
from tests.integration.kafka_scenes import fill, make_topic, rows
from tests.integration.proxy import Proxy

Unique = Callable[[str], str]


@pytest.fixture
def proxy(kafka: KafkaSettings) -> Iterator[Proxy]:
    with Proxy(kafka.bootstrap_servers) as between:
        yield between


def through(proxy: Proxy, **settings: int) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=proxy.bootstrap_servers, **settings)


_EVERY_CLIENT = """
import sys
from kappa.config import KafkaSettings
from kappa.errors import BrokerUnavailable
from kappa.log.history import topic_history
from kappa.log.publish import Producer
from kappa.log.reader import LogReader
from kappa.log.records import TopicPartition

nobody = KafkaSettings(bootstrap_servers=sys.argv[1], default_api_timeout_ms=1000)
at = TopicPartition("orders", 0)

def follow():
    with LogReader(nobody, {at: (0, None)}) as reader:
        reader.next(at)

def publish():
    with Producer(nobody) as publisher:
        publisher.send("orders", [b"x"])

for use in (follow, publish, lambda: topic_history(nobody, "orders")):
    try:
        use()
    except BrokerUnavailable as error:
        print(error.detail["reason"], "|", error.hint)
"""


def test_nobody_listens_and_no_client_chatters() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    done = subprocess.run(
        [sys.executable, "-c", _EVERY_CLIENT, address], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert address in line
        assert "KAPPA_KAFKA__BOOTSTRAP_SERVERS" in line
    assert "Connection refused" in lines[-1]


def test_reading_goes_on_after_every_cut(
    kafka: KafkaSettings, unique: Unique, proxy: Proxy
) -> None:
    topic = make_topic(kafka, unique("cuts"), 2)
    for number in range(2):
        records = [(None, b"%d" % n + b"x" * 500) for n in range(1000)]
        fill(kafka, topic, records, partition=number, batch_size=8000)
    parts = [TopicPartition(topic, number) for number in range(2)]
    dice = random.Random(3)
    options = {"fetch_bytes": 20_000, "buffer_bytes": 100_000}
    found: dict[int, list[int]] = {0: [], 1: []}
    with LogReader(through(proxy), dict.fromkeys(parts, (0, 1000)), **options) as reader:  # type: ignore[arg-type]
        pending = list(parts)
        turns = 0
        while pending:
            turns += 1
            if turns % 15 == 0:
                proxy.cut_after(dice.choice([0, 3, 100, 5_000, 30_000]))
            batch = reader.next(pending[0], 30)
            if batch is None:
                pending.pop(0)
                continue
            found[batch.partition] += batch.offsets.tolist()
            pending.append(pending.pop(0))
    assert found == {0: list(range(1000)), 1: list(range(1000))}
    assert proxy.cuts >= 3


def test_a_broker_that_comes_back_on_new_connections(
    kafka: KafkaSettings, unique: Unique, proxy: Proxy
) -> None:
    topic = make_topic(kafka, unique("back"))
    at = TopicPartition(topic, 0)
    fill(kafka, topic, [(None, b"before")])
    with LogReader(through(proxy), {at: (0, None)}) as reader:
        first = reader.next(at, 20)
        assert first is not None
        proxy.refuse()
        fill(kafka, topic, [(None, b"meanwhile")])
        assert reader.next(at, 1.0) is None
        proxy.accept()
        second = reader.next(at, 30)
    assert second is not None
    assert rows(second) == [(0, 1, None, b"meanwhile")]


def test_a_broker_that_stays_away_is_named_after_the_patience(
    kafka: KafkaSettings, unique: Unique, proxy: Proxy
) -> None:
    topic = make_topic(kafka, unique("away"))
    at = TopicPartition(topic, 0)
    fill(kafka, topic, [(None, b"before")])
    settings = through(proxy, default_api_timeout_ms=1000)
    with LogReader(settings, {at: (0, None)}, patience_s=1.0) as reader:
        assert reader.next(at, 20) is not None
        proxy.refuse()
        with pytest.raises(BrokerUnavailable) as caught:
            reader.next(at, 60)
    assert caught.value.detail["offset"] == 1


def test_a_silent_broker_times_out_and_reading_goes_on_elsewhere(
    kafka: KafkaSettings, unique: Unique, proxy: Proxy
) -> None:
    topic = make_topic(kafka, unique("silent"))
    at = TopicPartition(topic, 0)
    fill(kafka, topic, [(None, b"before")])
    settings = through(proxy, request_timeout_ms=1500, default_api_timeout_ms=2000)
    with LogReader(settings, {at: (0, None)}) as reader:
        assert reader.next(at, 20) is not None
        proxy.silence()
        fill(kafka, topic, [(None, b"meanwhile")])
        assert reader.next(at, 3.0) is None  # longer than the request's time limit
        proxy.speak()
        batch = reader.next(at, 30)
    assert batch is not None
    assert rows(batch) == [(0, 1, None, b"meanwhile")]


@pytest.mark.parametrize("fault", ["refuse", "silence"])
def test_closing_without_a_broker_is_quick(
    kafka: KafkaSettings, unique: Unique, proxy: Proxy, fault: str
) -> None:
    topic = make_topic(kafka, unique("quick"))
    at = TopicPartition(topic, 0)
    fill(kafka, topic, [(None, b"before")])
    reader = LogReader(through(proxy), {at: (0, None)})
    assert reader.next(at, 20) is not None
    getattr(proxy, fault)()
    reader.next(at, 0.5)
    started = time.monotonic()
    reader.close()
    assert time.monotonic() - started < 10
    assert "kappa-fetch" not in [thread.name for thread in threading.enumerate()]
