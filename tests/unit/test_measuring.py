"""From what workers say to metrics: differences, partitions that leave, and the bottleneck."""

from __future__ import annotations

import pytest

from kappa.errors import DatabaseUnavailable
from kappa.operations.measuring import Measuring, bottleneck
from kappa.runtime.live.observer import Post, Worker
from kappa.runtime.live.pulse import Pulse, Standing
from kappa.runtime.worker.job import Report
from kappa.telemetry.metrics import Metrics

POST = Post("revenue", 1, 0)
LABELS = {"processor": "revenue", "version": "1"}


def standing(partition: int, next_offset: int = 5, end: int | None = 9) -> Standing:
    return Standing("orders", partition, next_offset, end, 1_000)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, LABELS | labels)


def lag(metrics: Metrics, partition: int) -> float | None:
    return value(metrics, "kappa_lag_records", topic="orders", partition=str(partition))


def test_seconds_add_up_over_a_worker_and_its_successor() -> None:
    metrics = Metrics()
    measuring = Measuring(metrics)
    for pid in (1, 2):
        worker = Worker.at(POST, pid)
        measuring.started(worker)
        measuring.pulse(worker, Pulse("following", fetch_s=1.0))
        measuring.pulse(worker, Pulse("following", fetch_s=2.5))
        measuring.failed(worker, DatabaseUnavailable("gone"), 1.0)
    assert value(metrics, "kappa_fetch_wait_seconds_total", worker="0") == 5.0
    assert value(metrics, "kappa_worker_restarts_total", error="DatabaseUnavailable") == 2


def test_checkpoints_are_counted() -> None:
    metrics = Metrics()
    Measuring(metrics).report(Worker.at(POST, 1), Report(records=7, late=2, commit_s=0.1))
    assert value(metrics, "kappa_records_total") == 7
    assert value(metrics, "kappa_late_records_total") == 2


def test_a_partition_that_left_is_no_longer_measured() -> None:
    metrics = Metrics()
    measuring = Measuring(metrics)
    worker = Worker.at(POST, 1)
    measuring.started(worker)
    measuring.pulse(worker, Pulse("following", (standing(0), standing(1, end=None))))
    assert (lag(metrics, 0), lag(metrics, 1)) == (4, 0)
    measuring.pulse(worker, Pulse("following", (standing(1),)))
    assert (lag(metrics, 0), lag(metrics, 1)) == (None, 4)
    other = Worker.at(Post("revenue", 2, 0), 2)
    measuring.started(other)
    measuring.pulse(other, Pulse("following", (standing(1),)))
    measuring.ended(worker)
    assert lag(metrics, 1) is None


def test_a_partition_that_went_to_another_worker_of_the_process_stays() -> None:
    metrics = Metrics()
    measuring = Measuring(metrics)
    first, second = Worker.at(POST, 1), Worker.at(Post("revenue", 1, 1), 2)
    for worker in (first, second):
        measuring.started(worker)
        measuring.pulse(worker, Pulse("following", (standing(0),)))
    measuring.ended(first)
    assert lag(metrics, 0) == 4


@pytest.mark.parametrize(
    ("fetch", "fold", "commit", "end", "expected"),
    [
        (0.9, 0.05, 0.05, 9, "source"),
        (1.0, 0.0, 0.0, 9, "source"),
        (1.0, 0.0, 0.0, 5, None),
        (0.0, 0.0, 0.0, 9, None),
        (0.1, 0.6, 0.3, 9, "processing"),
        (0.1, 0.3, 0.6, 5, "database"),
    ],
)
def test_the_bottleneck_is_where_the_time_went(
    fetch: float, fold: float, commit: float, end: int, expected: str | None
) -> None:
    before = Pulse("following", fetch_s=10, fold_s=20, commit_s=30)
    now = Pulse("following", (standing(0, 5, end),), 10 + fetch, 20 + fold, 30 + commit)
    assert bottleneck(before, now) == expected
