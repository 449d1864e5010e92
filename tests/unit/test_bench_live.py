"""What the benches make of what they saw, and which targets that misses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bench import diff, latency, memory, replay, scaling, stall, state
from bench.__main__ import main
from bench.pinned import Measured
from bench.resident import Held, Sample, growth
from bench.seen import Seen
from bench.stream import PARTITIONS
from bench.ticks import Sent


def sent(*lanes: list[int]) -> Sent:
    quiet: list[list[int]] = [[] for _ in range(PARTITIONS - len(lanes))]
    return [np.array(lane, dtype=np.int64) for lane in [*lanes, *quiet]]


def seen(*looks: tuple[int, list[int]]) -> Seen:
    found = Seen()
    for at, latest in looks:
        found.add(at, latest + [0] * (PARTITIONS - len(latest)))
    return found


def test_a_tick_is_visible_at_the_first_look_that_shows_it_or_a_later_one() -> None:
    looks = seen((100, [0]), (200, [120]), (300, [120]), (400, [310]))
    assert looks.latencies(sent([90, 120, 121, 310])).tolist() == [110, 80, 279, 90]


def test_lanes_are_seen_on_their_own() -> None:
    looks = seen((100, [50, 0]), (200, [50, 60]))
    assert looks.latencies(sent([50], [60])).tolist() == [50, 140]


def test_a_tick_that_is_never_seen_is_no_latency() -> None:
    with pytest.raises(LookupError):
        seen((100, [50])).latencies(sent([50, 51]))


def samples(*resident: int) -> list[Sample]:
    return [Sample(float(at), held) for at, held in enumerate(resident)]


def test_memory_that_goes_up_and_down_does_not_grow() -> None:
    assert growth(samples(100, 101, 99, 99, 101, 100)) == pytest.approx(0)


def test_growth_is_a_share_of_the_mean() -> None:
    assert growth(samples(90, 100, 110)) == pytest.approx(0.2)


def test_memory_that_is_too_much_or_is_kept_is_missed() -> None:
    held = Held(descriptors=42, threads=36, sessions=3)
    good = memory.Report(20_000_000, 60, 196.0, 2**30, 0.05, held, replace(held, threads=35))
    assert memory.missed(good) == []
    kept = replace(good, peak_bytes=2**30 + 2**20, growth=0.06, after=replace(held, sessions=4))
    assert memory.missed(kept) == [
        "peak memory 1,025 MiB, at most 1,024 wanted",
        "growth 6.0%, at most 5% wanted",
        "4 sessions afterwards, at most 3 wanted",
    ]


def test_a_latency_of_more_times_the_loops_is_missed() -> None:
    bare, slow = (latency.Latency(1_000, 1.0, 2.0, p99, 400.0, 900.0) for p99 in (100.0, 310.0))
    report = latency.Report(10_000, 5, 0.1, bare, bare)
    assert latency.missed(report) == []
    (line,) = latency.missed(replace(report, kappa=slow))
    assert line.startswith("p99 3.1 times")


def test_two_workers_that_are_hardly_faster_are_missed_where_the_work_is_theirs() -> None:
    caught = (scaling.Caught(1, 1_000, 10.0), scaling.Caught(2, 1_000, 8.0))
    jobs = scaling.Job("theirs", caught, 1.5), scaling.Job("the database's", caught, None)
    (line,) = scaling.missed(scaling.Report(2, 0.1, jobs, (4,)))
    assert line == "theirs: two workers 1.25 times as fast as one, at least 1.5 wanted"
    alone = scaling.Job("theirs", caught[:1], 1.5)
    assert scaling.missed(scaling.Report(1, 0.1, (alone,), (2, 4))) == []


def test_a_job_below_its_rate_and_a_slow_restart_are_missed() -> None:
    one = Measured(1_000, 7, 2.0, 3.0, 2.5, 2**20)
    job = replay.Done("tumbling", "windows", 500, by_hand=one, kappa=one, rows=7)
    report = replay.Report(0, 0.1, (), (job, replace(job, target=501)))
    assert replay.missed(report) == ["tumbling: 500 records/s, 501 wanted"]
    kept = state.Report(0, 0.1, 1_000, one, one, 10.0)
    assert state.missed(kept) == []
    large = replace(kept, build=replace(one, peak_bytes=2**31), restarted_s=10.5)
    assert [line.split()[0] for line in state.missed(large)] == ["peak", "restart"]


def test_a_diff_that_takes_longer_than_both_ways_is_missed() -> None:
    report = diff.Report(0.1, 1_000, 1, diff_s=1.5, one_way_s=1.0, except_s=2.0)
    assert diff.missed(report) == []
    assert diff.missed(replace(report, diff_s=2.1)) != []
    assert "1.00" in diff.render(report)


def test_a_read_that_waits_as_if_nothing_limited_it_is_missed() -> None:
    limited, without = stall.Stalled(50, 900, 0.08, 17), stall.Stalled(60_000, 9, 2.9, 1)
    assert stall.missed([limited, without]) == []
    assert stall.missed([replace(limited, longest_s=0.3), without]) != []


def test_a_missed_target_ends_the_bench_with_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = diff.Report(0.1, 1_000, 1, diff_s=3.0, one_way_s=1.0, except_s=2.0)
    monkeypatch.setattr(diff, "measure", lambda rows: report)
    monkeypatch.setattr("sys.argv", ["bench", "diff", "--json"])
    assert main() == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["diff_s"] == 3.0
    assert err.startswith("missed: kappa diff")
