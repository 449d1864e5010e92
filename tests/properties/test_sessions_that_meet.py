"""Sessions that records join, take back and cut in two, as timelines."""

from __future__ import annotations

import polars as pl
import pytest

from kappa import Count, Session, Source, WindowedAggregate
from kappa.testing import Driver, assert_deterministic
from kappa.testing.moments import in_ms

SCHEMA = {"user": pl.String, "at": pl.Int64}


def visits(*, max_length: int | None = None, lateness: int = 0) -> WindowedAggregate:
    return WindowedAggregate(
        name="visits",
        version=1,
        source=Source("clicks", event_time="at", out_of_orderness=5),
        key=["user"],
        window=Session(6, max_length),
        allowed_lateness=lateness,
        aggregates={"clicks": Count()},
    )


@pytest.mark.parametrize(
    ("processor", "times", "sessions", "late"),
    [
        # 3 4 . . . . . . . . . . 15     the watermark, 10, closes [3, 10)
        #     5                          in time for a session of its own: [5, 11)
        # 3                              late by itself, but near that one: [3, 11)
        (visits(), [3, 4, 15, 5, 3], [(3, 10, 2), (3, 11, 2), (15, 21, 1)], []),
        # 0 . . . . . . . 8 . . . . . .  two sessions
        #         4                      near to both: one
        (visits(), [0, 8, 4], [(0, 14, 3)], []),
        # the same, but no longer than 7: it joins the earlier one
        (visits(max_length=7), [0, 8, 4], [(0, 10, 2), (8, 14, 1)], []),
        # 0 . . . . . . . . . . 11       the watermark, 6, closes [0, 6)
        # 0                              as late as can be
        (visits(), [0, 11, 0], [(0, 6, 1), (11, 17, 1)], [0]),
        # one ms more of lateness keeps it open
        (visits(lateness=1), [0, 11, 0], [(0, 6, 2), (11, 17, 1)], []),
    ],
)
def test_timeline(
    processor: WindowedAggregate,
    times: list[int],
    sessions: list[tuple[int, int, int]],
    late: list[int],
) -> None:
    rows = [{"user": "ann", "at": at} for at in times]
    driver = Driver(processor, schema=SCHEMA)
    driver.send(*rows)
    assert [
        (in_ms(row["window_start"]), in_ms(row["window_end"]), row["clicks"]) for row in driver.rows
    ] == sessions
    assert [row["_late_by_ms"] for row in driver.late] == late
    assert_deterministic(processor, rows, schema=SCHEMA)
