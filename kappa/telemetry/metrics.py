"""What is counted and measured while kappa runs, for Prometheus.

Counters only grow and begin at zero with the process. Fed plain values by whoever has them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics import MetricWrapperBase

_VERSION = ("processor", "version")
_PARTITION = (*_VERSION, "topic", "partition")
_WORKER = (*_VERSION, "worker")
_OUTPUT = ("processor", "output")

_COMMIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass
class _Place:
    """Where a partition stands, asked when metrics are read."""

    behind: bool
    max_event_time_ms: int | None


class Metrics:
    """All of kappa's metrics, on a registry of their own. May be used from several threads.

    Args:
        now: the clock by which event time is behind, in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self._now = now
        self._places: dict[tuple[str, str, str, str], _Place] = {}
        self._states: dict[tuple[str, str, str], str] = {}
        self._kept: list[tuple[MetricWrapperBase, tuple[str, ...]]] = []
        self._count_records()
        self._measure_places()
        self._watch_workers()
        self._count_outputs()

    def checkpoint(
        self,
        processor: str,
        version: int,
        *,
        records: int,
        rows: int,
        late: int,
        corrections: int,
        dead: int,
        filtered: int,
        size_bytes: int,
        commit_s: float,
    ) -> None:
        """A checkpoint was committed: what it added, and how long its transaction took."""
        labels = (processor, str(version))
        for counter, count in (
            (self._checkpoints, 1),
            (self._records, records),
            (self._rows, rows),
            (self._late, late),
            (self._corrections, corrections),
            (self._dead, dead),
            (self._filtered, filtered),
            (self._bytes, size_bytes),
        ):
            counter.labels(*labels).inc(count)
        self._commit_s.labels(*labels).observe(commit_s)

    def partition(
        self,
        processor: str,
        version: int,
        topic: str,
        partition: int,
        *,
        next_offset: int,
        end_offset: int,
        max_event_time_ms: int | None,
        watermark_ms: int | None = None,
    ) -> None:
        """Where a partition stands: committed up to ``next_offset`` of ``end_offset``."""
        labels = (processor, str(version), topic, str(partition))
        behind = next_offset < end_offset
        self._lag_records.labels(*labels).set(max(end_offset - next_offset, 0))
        self._places[labels] = _Place(behind, max_event_time_ms)
        self._lag_seconds.labels(*labels).set_function(partial(self._behind_s, labels))
        if max_event_time_ms is not None:
            self._event_time.labels(*labels).set(max_event_time_ms / 1000)
        if watermark_ms is not None:
            self._watermark.labels(*labels).set(watermark_ms / 1000)

    def revoked(self, processor: str, version: int, topic: str, partition: int) -> None:
        """The partition is another process's from now on: its series vanish here."""
        labels = (processor, str(version), topic, str(partition))
        self._remove(dict(zip(_PARTITION, labels, strict=True)))
        self._places.pop(labels, None)

    def worker(
        self,
        processor: str,
        version: int,
        worker: str,
        *,
        state: str,
        fetch_wait_s: float = 0.0,
        fold_s: float = 0.0,
        commit_wait_s: float = 0.0,
        buffered_bytes: int = 0,
        resident_bytes: int = 0,
    ) -> None:
        """What a worker is doing; seconds are those since its last report.

        ``worker`` names a place among the workers (``"0"``, ``"1"``), not a process: each name is
        a series for good.
        """
        labels = (processor, str(version), worker)
        former = self._states.get(labels)
        if former not in (None, state):
            self._worker_state.remove(*labels, former)
        self._states[labels] = state
        self._worker_state.labels(*labels, state).set(1)
        self._fetch_wait_s.labels(*labels).inc(fetch_wait_s)
        self._fold_s.labels(*labels).inc(fold_s)
        self._commit_wait_s.labels(*labels).inc(commit_wait_s)
        self._buffered.labels(*labels).set(buffered_bytes)
        self._resident.labels(*labels).set(resident_bytes)

    def restarted(self, processor: str, version: int, error_class: str) -> None:
        """A worker ended with an error of this class and is started anew."""
        self._restarts.labels(processor, str(version), error_class).inc()

    def table(self, processor: str, version: int, table: str, size_bytes: int) -> None:
        """How much disk a table of the version takes, its indexes included."""
        self._table_bytes.labels(processor, str(version), table).set(size_bytes)

    def relayed(self, processor: str, output: str, records: int) -> None:
        """So many records have left by an output."""
        self._relayed.labels(processor, output).inc(records)

    def outbox(self, processor: str, output: str, rows: int) -> None:
        """So many rows wait to leave by an output."""
        self._outbox.labels(processor, output).set(rows)

    def forget(self, processor: str, version: int) -> None:
        """The version is retired, or others run it: its series vanish."""
        which = (processor, str(version))
        self._remove(dict(zip(_VERSION, which, strict=True)))
        for place in [place for place in list(self._places) if place[:2] == which]:
            self._places.pop(place, None)
        for worker in [worker for worker in list(self._states) if worker[:2] == which]:
            self._states.pop(worker, None)

    def exposition(self) -> str:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry).decode()

    def _behind_s(self, labels: tuple[str, str, str, str]) -> float:
        place = self._places.get(labels)
        if place is None or not place.behind or place.max_event_time_ms is None:
            return 0.0
        return max(self._now() - place.max_event_time_ms / 1000, 0.0)

    def _remove(self, labels: dict[str, str]) -> None:
        for metric, names in self._kept:
            if labels.keys() <= set(names):
                metric.remove_by_labels(labels)

    def _counter(self, name: str, help_: str, labels: tuple[str, ...]) -> Counter:
        made = Counter(f"kappa_{name}", help_, labels, registry=self.registry)
        self._kept.append((made, labels))
        return made

    def _gauge(self, name: str, help_: str, labels: tuple[str, ...]) -> Gauge:
        made = Gauge(f"kappa_{name}", help_, labels, registry=self.registry)
        self._kept.append((made, labels))
        return made

    def _count_records(self) -> None:
        self._records = self._counter("records", "Records read and committed.", _VERSION)
        self._rows = self._counter("rows_written", "Rows inserted or merged.", _VERSION)
        self._checkpoints = self._counter("checkpoints", "Committed checkpoints.", _VERSION)
        self._late = self._counter("late_records", "Records after their window.", _VERSION)
        self._corrections = self._counter(
            "corrections", "Records applied to rows that were final.", _VERSION
        )
        self._dead = self._counter("dead_letters", "Records that became dead letters.", _VERSION)
        self._filtered = self._counter("filtered_records", "Records left out.", _VERSION)
        self._bytes = self._counter("read_bytes", "Bytes of the records read.", _VERSION)
        self._commit_s = Histogram(
            "kappa_commit_seconds",
            "How long the transaction of a checkpoint took.",
            _VERSION,
            registry=self.registry,
            buckets=_COMMIT_BUCKETS_S,
        )
        self._kept.append((self._commit_s, _VERSION))
        self._table_bytes = self._gauge(
            "table_bytes", "Disk a table takes, with its indexes.", (*_VERSION, "table")
        )

    def _measure_places(self) -> None:
        self._lag_records = self._gauge("lag_records", "Offsets not yet committed.", _PARTITION)
        self._lag_seconds = self._gauge(
            "lag_seconds", "Now minus the greatest event time; 0 when not behind.", _PARTITION
        )
        self._event_time = self._gauge(
            "event_time_timestamp_seconds", "Greatest event time committed.", _PARTITION
        )
        self._watermark = self._gauge(
            "watermark_timestamp_seconds", "How far event time has come.", _PARTITION
        )

    def _watch_workers(self) -> None:
        self._worker_state = self._gauge(
            "worker_state", "1 for the state each worker is in.", (*_WORKER, "state")
        )
        self._fetch_wait_s = self._counter(
            "fetch_wait_seconds", "Time spent waiting for records.", _WORKER
        )
        self._fold_s = self._counter("fold_seconds", "Time spent folding records.", _WORKER)
        self._commit_wait_s = self._counter(
            "commit_wait_seconds", "Time spent waiting for PostgreSQL.", _WORKER
        )
        self._buffered = self._gauge("buffered_bytes", "Bytes between fetch and commit.", _WORKER)
        self._resident = self._gauge(
            "resident_memory_bytes", "Resident memory of the worker's process.", _WORKER
        )
        self._restarts = self._counter(
            "worker_restarts", "Workers started anew after an error.", (*_VERSION, "error")
        )

    def _count_outputs(self) -> None:
        self._relayed = self._counter("relayed_records", "Records sent by an output.", _OUTPUT)
        self._outbox = self._gauge("outbox_rows", "Rows that wait to leave.", _OUTPUT)
