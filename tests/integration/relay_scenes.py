"""Relays as processes that are killed, and what consumers of their topics find."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any, Self

import fastavro
import psutil
from confluent_kafka import Consumer, KafkaError, TopicPartition

from kappa import failpoints
from kappa.config import Settings
from kappa.errors import KappaError, RelayFenced
from kappa.log import transactions
from kappa.log.client import confluent_config
from kappa.log.topics import exists
from kappa.registry.topic import TopicRegistry
from kappa.runtime.relay import topic as topic_relay
from kappa.runtime.relay.sending import Relayed, run_relay
from tests.faults import Site, wait_until


@dataclass(frozen=True)
class Found:
    """One record of an output topic; ``row`` is None for a tombstone."""

    partition: int
    offset: int
    key: str | None
    row: dict[str, Any] | None


class Reader:
    """A plain read_committed consumer of a whole topic, from its beginning on."""

    def __init__(self, site: Site, topic: str) -> None:
        config = {
            **confluent_config(site.kafka),
            "group.id": f"reader-{topic}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
        }
        self.found: list[Found] = []
        self._ends: dict[int, int] = {}
        self._registry = TopicRegistry(site.kafka, site.settings.registry.topic)
        self._parsed: dict[int, Any] = {}
        wait_until("the topic of the output is there", lambda: exists(site.kafka, topic))
        self._consumer = Consumer(config)
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, 0) for number in partitions])

    def read(self, timeout_s: float = 0.0) -> int:
        """Takes what is there; returns how many records there are by now."""
        while (messages := self._consumer.consume(1_000, timeout_s)) != []:
            timeout_s = 0.0
            for message in messages:
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    self._ends[message.partition()] = message.offset()
                    continue
                assert error is None, error
                key = message.key()
                self.found.append(
                    Found(
                        message.partition(),
                        message.offset(),
                        key.decode() if key is not None else None,
                        self._row(message.value()),
                    )
                )
        return len(self.found)

    def wait_for(self, count: int) -> list[Found]:
        """Waits for so many records; returns all there are."""
        wait_until(f"record {count} of the output", lambda: self.read(0.1) >= count, seconds=30)
        return self.found

    def read_to_end(self) -> list[Found]:
        """Takes all that was committed before; returns all there are."""
        of_all = {
            place.partition: self._consumer.get_watermark_offsets(place, timeout=10)[1]
            for place in self._consumer.assignment()
        }

        def has_ended() -> bool:
            self.read(0.1)
            return all(self._ends.get(number, -1) >= end for number, end in of_all.items())

        wait_until("the end of the output", has_ended, seconds=30)
        return self.found

    def last_by_key(self) -> dict[str, dict[str, Any] | None]:
        return {one.key: one.row for one in self.found if one.key is not None}

    def close(self) -> None:
        self._consumer.close()

    def _row(self, value: bytes | None) -> dict[str, Any] | None:
        if value is None:
            return None
        schema_id = int.from_bytes(value[1:5], "big")
        if schema_id not in self._parsed:
            text = self._registry.schema(schema_id).text
            self._parsed[schema_id] = fastavro.parse_schema(json.loads(text))
        data = io.BytesIO(value[5:])
        row = fastavro.schemaless_reader(data, self._parsed[schema_id])
        assert not data.read()
        return row


@contextmanager
def reading(site: Site, topic: str) -> Iterator[Reader]:
    reader = Reader(site, topic)
    try:
        yield reader
    finally:
        reader.close()


@contextmanager
def relaying(settings: Settings, processor: str, output: str = "main") -> Iterator[list[Relayed]]:
    """A relay in a thread of this process; gives what it tells."""
    stop = threading.Event()
    told: list[Relayed] = []
    failed: list[KappaError] = []

    def run() -> None:
        try:
            run_relay(settings, processor, output, stop, told.append)
        except KappaError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
        assert not failed, failed


STEPS = ("relay_chosen", "relay_published", "relay_sent")
"""Where a relay can be killed: before a batch leaves, in its transaction, and after it."""


class Killed:
    """A relay as a process of its own, started again after each kill. Use it as a context manager.

    It sends ``batch_rows`` at a time.
    """

    def __init__(
        self, settings: Settings, processor: str, output: str = "main", *, batch_rows: int
    ) -> None:
        self._arguments = (settings, processor, output, batch_rows)
        # Without a lock: a process killed while it holds one would stop the next, and this one.
        self._batches = _PROCESSES.Value("q", 0, lock=False)
        self._process: BaseProcess | None = None

    def start(self, failpoint: str = "") -> None:
        """Starts it, to be killed at a failpoint, ``NAME@n`` for the n-th time it is there."""
        arguments = (*self._arguments, self._batches, failpoint)
        self._process = _PROCESSES.Process(target=_run, args=arguments)
        self._process.start()

    def run_until_stopped(self, step: str) -> None:
        """Starts it and waits until it stands still at a step, as by SIGSTOP."""
        self.start(f"stop {step}")
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        wait_until("it stands still", lambda: process.status() == psutil.STATUS_STOPPED)

    def go_on(self) -> int | None:
        """Lets one that stands still go on until it ends; returns its exit status."""
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)
        self._process.join(30)
        return self._process.exitcode

    def run_until_killed(self, failpoint: str) -> None:
        """Starts it and waits until it was killed at a failpoint."""
        self.start(failpoint)
        assert self._process is not None
        self._process.join(60)
        assert self._process.exitcode == -signal.SIGKILL, "the relay did not come there"

    def kill(self) -> None:
        process = self._process
        assert process is not None
        assert process.is_alive(), "the relay has ended by itself"
        process.kill()
        process.join()

    def wait_until_it_sends(self) -> None:
        before = self._batches.value
        wait_until("a batch is sent", lambda: self._batches.value > before, pause_s=0.001)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()


_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


def _run(
    settings: Settings, processor: str, output: str, batch_rows: int, batches: Any, failpoint: str
) -> None:
    topic_relay._BATCH_ROWS = batch_rows
    if failpoint.startswith("stop "):
        topic_relay.reach = transactions.reach = partial(_stop_at, failpoint.removeprefix("stop "))
    elif failpoint:
        topic_relay.reach = transactions.reach = failpoints._armed(failpoint)

    def listen(relayed: Relayed) -> None:
        if relayed.sent:
            batches.value += 1

    try:
        run_relay(settings, processor, output, threading.Event(), listen)
    except RelayFenced:
        sys.exit(RelayFenced.exit_code)


def _stop_at(step: str, name: str) -> None:
    if name == step:
        os.kill(os.getpid(), signal.SIGSTOP)


def records_in(site: Site, topic: str) -> int:
    """How many records a topic holds, those of aborted transactions included."""
    config = {
        **confluent_config(site.kafka),
        "group.id": f"counter-{topic}",
        "isolation.level": "read_uncommitted",
        "enable.partition.eof": True,
    }
    count, at_end = 0, 0
    with Consumer(config) as consumer:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        while at_end < len(partitions):
            for message in consumer.consume(10_000, 1.0):
                if message.error() is None:
                    count += 1
                else:
                    at_end += 1
    return count
