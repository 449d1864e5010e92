"""Windows on a grid in Apache Flink.

Its watermark W says that no element at or before W will come, ours that none before it: what it
calls 1999 is 2000 here. Its negative offsets are written as the positive ones of the same grid.
"""

from __future__ import annotations

from kappa.eventtime.sessions import Session
from kappa.eventtime.windows import Hopping, Sliding, Tumbling
from tests.unit.published.cases import (
    FAR_BEHIND,
    Case,
    Counted,
    InPane,
    InWindows,
    Record,
    Refused,
    every,
    ms,
    records,
    started,
)

TESTS = (
    "apache/flink flink-streaming-java/src/test/java/org/apache/flink/"
    "streaming/runtime/operators/windowing"
)
TABLE = (
    "apache/flink flink-table/flink-table-runtime/src/test/java/org/apache/flink/"
    "table/runtime/operators/window"
)
DOCS = "apache/flink docs/content/docs/dev/datastream/operators/windows.md"
TUMBLING = f"{TESTS}/TumblingEventTimeWindowsTest.java"
SLIDING = f"{TESTS}/SlidingEventTimeWindowsTest.java"
STARTS = f"{TESTS}/TimeWindowTest.java testGetWindowStartWithOffset"
OPERATOR = f"{TESTS}/WindowOperatorTest.java"
ASSIGNER = f"{TABLE}/groupwindow/assigners/SlidingWindowAssignerTest.java"

HOUR = 3_600_000
SECONDLY = Hopping(5000, 1000)
OFF_BY_100 = Hopping(5000, 1000, offset=100)
OFF_BY_MINUS_100 = Hopping(5000, 1000, offset=1000 - 100)
OFF_BY_HALF = Hopping("5s", "1s", offset="500ms")

WINDOWS: list[Case] = [
    *started(f"{TUMBLING} testWindowAssignment", Tumbling(5000), {0: 0, 4999: 0, 5000: 5000}),
    *started(
        f"{TUMBLING} testWindowAssignmentWithGlobalOffset",
        Tumbling(5000, offset=100),
        {100: 100, 5099: 100, 5100: 5100},
    ),
    *started(
        f"{TUMBLING} testWindowAssignmentWithNegativeGlobalOffset",
        Tumbling(5000, offset=5000 - 100),
        {0: -100, 4899: -100, 4900: 4900},
    ),
    *started(
        f"{TUMBLING} testTimeUnits",
        Tumbling("5s", offset="1s"),
        {1000: 1000, 5999: 1000, 6000: 6000},
    ),
    InWindows(
        Tumbling("10s", offset="20s"),
        0,
        [(0, 10_000)],
        source=f"{TUMBLING} testInvalidParameters",
        theirs="refused",
        why="an offset says where a window begins, and any of the grid will do",
    ),
    *started(STARTS, Tumbling(7), {1: 0, 6: 0, 7: 7, 8: 7}),
    *started(STARTS, Tumbling(7, offset=3), {1: -4, 2: -4, 3: 3, 9: 3, 10: 10}),
    *started(STARTS, Tumbling(7, offset=7 - 2), {1: -2, -2: -2, 3: -2, 4: -2, 7: 5, 12: 12}),
    *started(STARTS, Tumbling("1d", offset="16h"), {1470902048450: 1470844800000}),
    *started(STARTS, Tumbling("1d", zone="Asia/Shanghai"), {1470902048450: 1470844800000}),
    *(
        InWindows(window, event, every(5000, range(first, first + 5000, 1000)), source=source)
        for source, window, event, first in [
            (f"{SLIDING} testWindowAssignment", SECONDLY, 0, -4000),
            (f"{SLIDING} testWindowAssignment", SECONDLY, 4999, 0),
            (f"{SLIDING} testWindowAssignment", SECONDLY, 5000, 1000),
            (f"{SLIDING} testWindowAssignmentWithOffset", OFF_BY_100, 100, -3900),
            (f"{SLIDING} testWindowAssignmentWithOffset", OFF_BY_100, 5099, 100),
            (f"{SLIDING} testWindowAssignmentWithOffset", OFF_BY_100, 5100, 1100),
            (f"{SLIDING} testWindowAssignmentWithNegativeOffset", OFF_BY_MINUS_100, 0, -4100),
            (f"{SLIDING} testWindowAssignmentWithNegativeOffset", OFF_BY_MINUS_100, 4899, -100),
            (f"{SLIDING} testWindowAssignmentWithNegativeOffset", OFF_BY_MINUS_100, 4900, 900),
            (f"{SLIDING} testTimeUnits", OFF_BY_HALF, 100, -4500),
            (f"{SLIDING} testTimeUnits", OFF_BY_HALF, 5499, 500),
            (f"{SLIDING} testTimeUnits", OFF_BY_HALF, 5100, 500),
        ]
    ),
    InWindows(
        Hopping(2000, 500, offset=10),
        333,
        [(-1490, 510), (-990, 1010), (-490, 1510), (10, 2010)],
        source=f"{OPERATOR} testEventTimeSlidingWindowsWithOffset",
    ),
    InWindows(
        Tumbling("1h", offset="15m"),
        ms("1970-01-01T02:14:59.999+00:00"),
        every(HOUR, [ms("1970-01-01T01:15+00:00")]),
        source=f"{DOCS} Tumbling Windows",
    ),
    InWindows(
        Hopping("1h", "30m", offset="15m"),
        ms("1970-01-01T02:00+00:00"),
        every(HOUR, [ms("1970-01-01T01:15+00:00"), ms("1970-01-01T01:45+00:00")]),
        source=f"{DOCS} Sliding Windows",
    ),
    *(
        InPane(window, event, pane, 5, source=f"{ASSIGNER} {test}")
        for test, window, event, pane in [
            ("testWindowAssignment", Sliding(5000, 1000), 0, 0),
            ("testWindowAssignment", Sliding(5000, 1000), 4999, 4000),
            ("testWindowAssignment", Sliding(5000, 1000), 5000, 5000),
            ("testWindowAssignmentWithOffset", Sliding(5000, 1000, 100), 100, 100),
            ("testWindowAssignmentWithOffset", Sliding(5000, 1000, 100), 5099, 4100),
            ("testWindowAssignmentWithOffset", Sliding(5000, 1000, 100), 5100, 5100),
        ]
    ),
    Refused(
        Sliding,
        ["5s", "2s"],
        "does not divide",
        source=f"{TABLE}/tvf/slicing/HoppingSliceAssignerTest.java testInvalidParameters",
    ),
    InPane(
        Hopping("5s", "2s"),
        4500,
        4000,
        5,
        source=f"{TABLE}/tvf/slicing/HoppingSliceAssignerTest.java testInvalidParameters",
        theirs="refused",
        why="two slices a hop, of 1 s each, are enough for any size",
    ),
    Refused(
        Tumbling,
        ["4h"],
        "whole days",
        zone="America/Los_Angeles",
        source=f"{TABLE}/tvf/slicing/TumblingSliceAssignerTest.java testDstSaving",
        theirs="windows by the clock on the wall, of 3 to 5 hours where it changes",
        why="hours are hours; only days are as long as a zone makes them",
    ),
    Refused(
        Session,
        ["0s"],
        "gap above zero",
        source=f"{TESTS}/EventTimeSessionWindowsTest.java testInvalidParameters",
    ),
]

LATENESS: list[Case] = [
    Counted(
        Tumbling("2s"),
        500,
        [Record(500, FAR_BEHIND), Record(1300, 1501), Record(1997, 2301), Record(1998, 6001)],
        [[0], [0], [0], []],
        late={3: 3501},
        source=f"{OPERATOR} testLateness",
    ),
    Counted(
        Tumbling("2s"),
        0,
        [
            Record(1000, FAR_BEHIND),
            Record(1980, 1986),
            Record(1998, 2000),
            Record(2001, 2000),
        ],
        [[0], [0], [], [2000]],
        late={2: 0},
        source=f"{OPERATOR} testDropDueToLatenessTumbling",
    ),
    Counted(
        Sliding("3s", "1s"),
        0,
        [
            Record(1000, FAR_BEHIND),
            Record(2000, 2000),
            *records(3001, 2400, 2400, 3001, 3900, watermark=3001),
            Record(3001, 6001),
        ],
        [
            [-1000, 0, 1000],
            [0, 1000, 2000],
            [1000, 2000, 3000],
            [1000, 2000],
            [1000, 2000],
            [1000, 2000, 3000],
            [1000, 2000, 3000],
            [],
        ],
        late={7: 1},
        source=f"{OPERATOR} testDropDueToLatenessSliding",
    ),
    Counted(
        Tumbling("5m"),
        60_000,
        [
            Record(ms("1970-01-01T12:03+00:00"), ms("1970-01-01T12:05:59.999+00:00")),
            Record(ms("1970-01-01T12:03+00:00"), ms("1970-01-01T12:06+00:00")),
        ],
        [[ms("1970-01-01T12:00+00:00")], []],
        late={1: 0},
        source=f"{DOCS} Window Lifecycle",
    ),
    Counted(
        Tumbling("2s", offset=100),
        0,
        [
            Record(1000, FAR_BEHIND),
            *records(1980, 1998, 2001, watermark=1986),
            Record(2001, 2011),
            Record(2001, 3000),
        ],
        [[100]] * 5 + [[]],
        late={5: 900},
        source=f"{OPERATOR} testEventTimeTumblingWindowsWithOffset",
        note="two records more, to see what watermarks 2010 and 2999 leave open",
    ),
]
