"""Apache Beam."""

from __future__ import annotations

from kappa.eventtime.windows import Hopping, Sliding, Tumbling
from tests.unit.published.cases import (
    FAR_BEHIND,
    Case,
    Counted,
    Earliest,
    InWindows,
    Record,
    Refused,
    every,
    held,
    ms,
    records,
    started,
)

TESTS = "apache/beam sdks/java/core/src/test/java/org/apache/beam/sdk/transforms/windowing"
RUNNER = "apache/beam runners/core-java/src/test/java/org/apache/beam/runners/core"
PYTHON = "apache/beam sdks/python/apache_beam/transforms/window_test.py"
TRANSCRIPTS = "apache/beam sdks/python/apache_beam/transforms/trigger_transcripts.yaml"
GO = "apache/beam sdks/go/pkg/beam/core/runtime/exec/window_test.go"
GUIDE = "apache/beam website/www/site/content/en/documentation/programming-guide.md"
FIXED = f"{TESTS}/FixedWindowsTest.java"
SLIDING = f"{TESTS}/SlidingWindowsTest.java"
CALENDAR = f"{TESTS}/CalendarWindowsTest.java"

MINUTE = 60_000
DAYS = Tumbling("1d", zone="UTC")
WEDNESDAYS = Tumbling("7d", offset="6d", zone="UTC")
PACIFIC_DAYS = Tumbling("1d", zone="America/Los_Angeles")


def at(date: str, time: str = "00:00", offset: str = "+00:00") -> int:
    return ms(f"{date}T{time}{offset}")


WINDOWS: list[Case] = [
    *held(
        f"{FIXED} testSimpleFixedWindow",
        Tumbling(10),
        {(0, 10): [1, 2, 5, 9], (10, 20): [10, 11], (100, 110): [100]},
    ),
    *held(
        f"{FIXED} testFixedOffsetWindow",
        Tumbling(10, offset=5),
        {(-5, 5): [1, 2], (5, 15): [5, 9, 10, 11], (95, 105): [100]},
    ),
    *held(
        f"{FIXED} testTimeUnit",
        Tumbling("10s", offset="5s"),
        {(-5000, 5000): [1, 2, 1000], (5000, 15_000): [5000, 5001, 10_000]},
    ),
    InWindows(
        Tumbling("1s", offset="2s"),
        500,
        [(0, 1000)],
        source=f"{FIXED} testInvalidInput",
        theirs="refused",
        why="an offset says where a window begins, and any of the grid will do, as in their Python",
    ),
    *started(f"{PYTHON} test_fixed_windows", Tumbling(5, offset=2), {7: 7, 11: 7, 12: 12}),
    *started(f"{PYTHON} test_fixed_windows", Tumbling(5), {5: 5, 9: 5, 10: 10}),
    *started(f"{PYTHON} test_fixed_windows", Tumbling(5, offset=12), {11: 7}),
    *held(
        f"{PYTHON} test_sliding_windows_assignment",
        Sliding(15, 5, offset=2),
        {span: [7, 8, 11] for span in [(7, 22), (2, 17), (-3, 12)]},
    ),
    *held(
        f"{PYTHON} test_sliding_windows",
        Sliding(4, 2),
        {(-2, 2): [1], (0, 4): [1, 2, 3], (2, 6): [2, 3]},
    ),
    *held(
        f"{SLIDING} testSimple",
        Sliding(10, 5),
        {(-5, 5): [1, 2], (0, 10): [1, 2, 5, 9], (5, 15): [5, 9, 10, 11], (10, 20): [10, 11]},
    ),
    *held(
        f"{SLIDING} testSlightlyOverlapping",
        Hopping(7, 5),
        {(-5, 2): [1], (0, 7): [1, 2, 5], (5, 12): [5, 9, 10, 11], (10, 17): [10, 11]},
    ),
    *held(
        f"{SLIDING} testElidings",
        Hopping(3, 10),
        {(0, 3): [1, 2], (10, 13): [10, 11], (100, 103): [100]},
        nowhere=[3, 5, 9],
    ),
    *held(
        f"{SLIDING} testOffset",
        Hopping(10, 5, offset=2),
        {(-8, 2): [1], (-3, 7): [1, 2, 5], (2, 12): [2, 5, 9, 10, 11], (7, 17): [9, 10, 11]},
    ),
    *(
        Earliest(Hopping(1000, 300, offset=40), event, earliest, source=source)
        for source in [f"{SLIDING} testGetSideInputWindow"]
        for event, earliest in [
            (1040, (340, 1340)),
            (1338, (340, 1340)),
            (1339, (340, 1340)),
            (1340, (640, 1640)),
        ]
    ),
    *(
        Earliest(Hopping(1000, 300), event, earliest, source=f"{GO} TestMapWindow")
        for event, earliest in [(998, (0, 1000)), (1000, (300, 1300))]
    ),
    *started(
        f"{GO} TestAssignWindow",
        Tumbling("1m"),
        {0: 0, -123: -MINUTE, 59_999: 0, 60_000: MINUTE},
    ),
    *started(f"{GO} TestAssignWindow", Tumbling("2m"), {60_000: 0}),
    *(
        InWindows(
            Sliding("3m", "1m"),
            event,
            every(3 * MINUTE, [first, first + MINUTE, first + 2 * MINUTE]),
            source=f"{GO} TestAssignWindow",
        )
        for event, first in [(0, -2 * MINUTE), (123, -2 * MINUTE), (60_000, -MINUTE)]
    ),
    *held(
        f"{CALENDAR} testDays",
        DAYS,
        {
            (at("2014-01-01"), at("2014-01-02")): [at("2014-01-01"), at("2014-01-01", "23:59")],
            (at("2014-01-02"), at("2014-01-03")): [at("2014-01-02"), at("2014-01-02", "05:05")],
            (at("2015-01-01"), at("2015-01-02")): [at("2015-01-01"), at("2015-01-01", "05:05")],
        },
    ),
    *held(
        f"{CALENDAR} testWeeks",
        WEDNESDAYS,
        {
            (at("2014-01-01"), at("2014-01-08")): [at("2014-01-01"), at("2014-01-05", "05:05")],
            (at("2014-01-08"), at("2014-01-15")): [at("2014-01-08"), at("2014-01-12", "05:05")],
            (at("2014-12-31"), at("2015-01-07")): [at("2015-01-01"), at("2015-01-06", "05:05")],
        },
    ),
    *held(
        f"{CALENDAR} testTimeZone",
        PACIFIC_DAYS,
        {
            (at("2014-01-01", offset="-08:00"), at("2014-01-02", offset="-08:00")): [
                at("2014-01-01", "00:00", "-08:00"),
                at("2014-01-01", "23:59", "-08:00"),
            ],
            (at("2014-01-02", offset="-08:00"), at("2014-01-03", offset="-08:00")): [
                at("2014-01-02", "08:00"),
                at("2014-01-03", "07:59"),
            ],
        },
    ),
    Refused(Tumbling, [-1000], "negative", source=f"{FIXED} testInvalidInput"),
    Refused(Tumbling, [1000, -1000], "negative", source=f"{FIXED} testInvalidInput"),
    Refused(
        Tumbling,
        ["7mo"],
        "not a duration",
        zone="UTC",
        source=f"{CALENDAR} testMultiMonths",
        theirs="windows of months and years",
        why="durations have a length; group by a month of the event time instead",
    ),
]

LATENESS: list[Case] = [
    Counted(
        Tumbling(10),
        0,
        records(13, 5, 16, 18, watermark=15),
        [[10], [], [10], [10]],
        late={1: 5},
        source=f"{RUNNER}/LateDataDroppingDoFnRunnerTest.java testLateDataFilter",
    ),
    Counted(
        Tumbling(10),
        100,
        [Record(1, 0), Record(3, 10)],
        [[0], [0]],
        source=f"{RUNNER}/ReduceFnRunnerTest.java testOnlyOneOnTimePane",
    ),
    Counted(
        Tumbling(10),
        10,
        [Record(14, 15), Record(13, 20), Record(13, 29), Record(13, 30)],
        [[10], [10], [10], []],
        late={3: 0},
        source=f"{RUNNER}/ReduceFnRunnerTest.java dontSetHoldIfTooLateForEndOfWindowTimer",
        note="two records more, around the garbage collection at 30",
    ),
    Counted(
        Hopping(100, 30),
        0,
        [Record(23, FAR_BEHIND), Record(40, FAR_BEHIND), Record(60, 70), Record(40, 130)],
        [[-60, -30, 0], [-30, 0, 30], [0, 30, 60], []],
        late={3: 0},
        source=f"{RUNNER}/ReduceFnRunnerTest.java testDropDataMultipleWindowsFinishedTrigger",
        note="their trigger ends with the window, whatever the lateness; their comment leaves out "
        "that 60 is in [60, 160) too",
    ),
    Counted(
        Tumbling(10),
        0,
        records(2, 3, 7, 8, watermark=5),
        [[0]] * 4,
        source=f"{TRANSCRIPTS} known_late_data_watermark",
    ),
    Counted(
        Tumbling(10),
        0,
        [*records(1, 2, 3, 10, 11, 25, watermark=FAR_BEHIND), Record(7, 100)],
        [[0], [0], [0], [10], [10], [20], []],
        late={6: 90},
        source=f"{TRANSCRIPTS} fixed_default_late_data",
        theirs="7 is counted in [0, 10)",
        why="without an allowed lateness theirs never closes a window, ours closes it at its end",
    ),
    Counted(
        Tumbling("5m"),
        0,
        [
            Record(4 * MINUTE + 59_000),
            Record(5 * MINUTE + 34_000),
            Record(3 * MINUTE + 38_000),
        ],
        [[0], [5 * MINUTE], []],
        late={2: 4000},
        out_of_orderness=30_000,
        source=f"{GUIDE} Watermarks and late data",
    ),
    Counted(
        Tumbling("1m"),
        2 * 86_400_000,
        [Record(0, 2 * 86_400_000 + MINUTE - 1), Record(0, 2 * 86_400_000 + MINUTE)],
        [[0], []],
        late={1: 0},
        source=f"{GUIDE} Managing late data",
    ),
]
