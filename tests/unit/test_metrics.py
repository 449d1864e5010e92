"""Metrics as Prometheus reads them: names, values, and series that vanish with a version."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kappa.telemetry.metrics import Metrics

NOW = 1_700_000_100.0


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics(now=lambda: NOW)
    for version in (1, 2):
        for _ in range(2):
            made.checkpoint(
                "revenue",
                version,
                records=100,
                rows=40,
                late=3,
                corrections=2,
                dead=1,
                filtered=5,
                size_bytes=9_000,
                commit_s=0.02,
            )
        place(made, version, next_offset=90)
        made.worker("revenue", version, "0", state="running", fetch_wait_s=1.5, fold_s=0.5)
        made.restarted("revenue", version, "DatabaseUnavailable")
        made.table("revenue", version, "rows", 8_192)
    made.relayed("revenue", "alerts", 7)
    made.outbox("revenue", "alerts", 3)
    return made


def place(metrics: Metrics, version: int, *, next_offset: int) -> None:
    metrics.partition(
        "revenue",
        version,
        "orders",
        3,
        next_offset=next_offset,
        end_offset=100,
        max_event_time_ms=1_700_000_000_000,
        watermark_ms=1_699_999_995_000,
    )


ORDER = ["processor", "version", "topic", "partition", "worker", "output", "table"]


def place_of(label: tuple[str, str]) -> int:
    return ORDER.index(label[0]) if label[0] in ORDER else len(ORDER)


def samples(metrics: Metrics) -> dict[str, float]:
    """By name and the values of its labels, as ``kappa_lag_records revenue 1 orders 3``."""
    return {
        " ".join(
            [sample.name, *(v for _, v in sorted(sample.labels.items(), key=place_of))]
        ): sample.value
        for family in text_string_to_metric_families(metrics.exposition())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_counters_add_up_per_version(metrics: Metrics) -> None:
    found = samples(metrics)
    expected = {
        "records": 200,
        "rows_written": 80,
        "checkpoints": 2,
        "late_records": 6,
        "corrections": 4,
        "dead_letters": 2,
        "filtered_records": 10,
        "read_bytes": 18_000,
    }
    for name, value in expected.items():
        assert found[f"kappa_{name}_total revenue 1"] == value, name
    assert found["kappa_commit_seconds_count revenue 1"] == 2
    assert found["kappa_commit_seconds_bucket revenue 1 0.01"] == 0
    assert found["kappa_commit_seconds_bucket revenue 1 0.025"] == 2
    assert found["kappa_relayed_records_total revenue alerts"] == 7
    assert found["kappa_outbox_rows revenue alerts"] == 3
    assert found["kappa_worker_restarts_total revenue 1 DatabaseUnavailable"] == 1


def test_lag_is_measured_in_records_and_in_event_time_while_behind(metrics: Metrics) -> None:
    found = samples(metrics)
    assert found["kappa_lag_records revenue 1 orders 3"] == 10
    assert found["kappa_lag_seconds revenue 1 orders 3"] == 100
    assert found["kappa_event_time_timestamp_seconds revenue 1 orders 3"] == 1_700_000_000
    assert found["kappa_watermark_timestamp_seconds revenue 1 orders 3"] == 1_699_999_995
    place(metrics, 1, next_offset=100)
    found = samples(metrics)
    assert found["kappa_lag_records revenue 1 orders 3"] == 0
    assert found["kappa_lag_seconds revenue 1 orders 3"] == 0


def test_a_worker_is_in_one_state_and_its_seconds_add_up(metrics: Metrics) -> None:
    metrics.worker("revenue", 1, "0", state="waiting", fetch_wait_s=1.0, resident_bytes=5)
    found = samples(metrics)
    states = [key for key in found if key.startswith("kappa_worker_state revenue 1")]
    assert states == ["kappa_worker_state revenue 1 0 waiting"]
    assert found["kappa_fetch_wait_seconds_total revenue 1 0"] == 2.5
    assert found["kappa_resident_memory_bytes revenue 1 0"] == 5


def test_a_retired_version_vanishes_and_others_stay(metrics: Metrics) -> None:
    metrics.forget("revenue", 1)
    found = samples(metrics)
    assert not [key for key in found if " revenue 1" in key]
    assert found["kappa_records_total revenue 2"] == 200
    assert found["kappa_relayed_records_total revenue alerts"] == 7
    metrics.forget("revenue", 9)  # was never there


def test_a_partition_that_went_elsewhere_vanishes(metrics: Metrics) -> None:
    metrics.revoked("revenue", 1, "orders", 3)
    found = samples(metrics)
    assert not [key for key in found if key.startswith("kappa_lag") and " revenue 1" in key]
    assert found["kappa_lag_records revenue 2 orders 3"] == 10
    assert found["kappa_records_total revenue 1"] == 200


def test_names_keep_the_conventions(metrics: Metrics) -> None:
    for family in text_string_to_metric_families(metrics.exposition()):
        assert family.name.startswith("kappa_")
        assert family.documentation.endswith(".")
        assert not family.name.endswith(("_ms", "_milliseconds"))


def test_it_is_on_a_registry_of_its_own() -> None:
    code = (
        "from prometheus_client import REGISTRY, generate_latest\n"
        "from kappa.telemetry.metrics import Metrics\n"
        "Metrics(), Metrics()\n"
        "assert b'kappa_' not in generate_latest(REGISTRY)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
