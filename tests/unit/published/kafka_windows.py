"""Windows on a grid in Kafka Streams.

Its stream time is a watermark without out-of-orderness, and its grace is our lateness.
"""

from __future__ import annotations

from kappa.eventtime.sessions import Session
from kappa.eventtime.windows import Hopping, Sliding, Tumbling
from tests.unit.published.cases import (
    Case,
    Counted,
    InWindows,
    Record,
    Refused,
    every,
    held,
    ms,
    records,
    started,
)

TESTS = "apache/kafka streams/src/test/java/org/apache/kafka/streams/kstream"
MAIN = "apache/kafka streams/src/main/java/org/apache/kafka/streams/kstream"
DOCS = "apache/kafka docs/streams/developer-guide/dsl-api.html"
SUPPRESSED = f"{TESTS}/internals/SuppressScenarioTest.java"
AGGREGATED = f"{TESTS}/internals/KStreamWindowAggregateTest.java"
SLIDING = f"{TESTS}/internals/KStreamSlidingWindowAggregateTest.java"
TIME_WINDOWS = f"{TESTS}/TimeWindowsTest.java"

WINDOWS: list[Case] = [
    InWindows(
        Hopping(12, 5),
        21,
        [(10, 22), (15, 27), (20, 32)],
        source=f"{TIME_WINDOWS} shouldComputeWindowsForHoppingWindows",
    ),
    InWindows(
        Hopping(6, 5),
        7,
        [(5, 11)],
        source=f"{TIME_WINDOWS} shouldComputeWindowsForBarelyOverlappingHoppingWindows",
    ),
    InWindows(
        Tumbling(12),
        21,
        [(12, 24)],
        source=f"{TIME_WINDOWS} shouldComputeWindowsForTumblingWindows",
    ),
    InWindows(
        Hopping(123, 124),
        123,
        [],
        source=f"{TIME_WINDOWS} advanceIntervalMustNotBeLargerThanWindowSize",
        theirs="refused",
        why="a gap between windows is a way to sample; Beam takes it too",
    ),
    InWindows(
        Tumbling(1),
        -1,
        [(-1, 0)],
        source=f"{TESTS}/WindowTest.java shouldThrowIfStartIsNegative",
        theirs="refused",
        why="events from before 1970 are events",
    ),
    InWindows(
        Hopping(10, 5),
        0,
        [(-5, 5), (0, 10)],
        source=f"{AGGREGATED} testAggBasic",
        theirs=[(0, 10)],
        why="they have no windows that begin before 1970",
    ),
    *held(
        f"{AGGREGATED} testAggBasic",
        Hopping(10, 5),
        {(0, 10): [5, 6, 9], (5, 15): [5, 6, 9, 10, 13, 14], (10, 20): [10, 13, 14]},
    ),
    *started(
        f"{TESTS}/internals/TimeWindowedKStreamImplTest.java processData",
        Tumbling(500),
        {10: 0, 15: 0, 500: 500, 550: 500, 1000: 1000},
    ),
    *started(f"{DOCS} Tumbling time windows", Tumbling(5000), {4999: 0, 5000: 5000}),
    InWindows(
        Hopping(5000, 3000), 3000, every(5000, [0, 3000]), source=f"{DOCS} Hopping time windows"
    ),
    InWindows(
        Sliding(11, 1),
        14,
        every(11, range(4, 15)),
        source=f"{SLIDING} testAggregateSmallInput",
        theirs="[4, 14] and others that begin or end at a record",
        why="a grid lies still, their windows go by the records of a key",
        note="their time difference of 10 has both ends in it: a size of 11",
    ),
    InWindows(
        Sliding("5s", "1s"),
        12_400,
        every(5000, [8000, 9000, 10_000, 11_000, 12_000]),
        source=f"{MAIN}/SlidingWindows.java class comment",
        theirs=[(7400, 12_400), (8001, 13_001), (9201, 14_201)],
        why="a grid lies still, their windows go by the records of a key",
    ),
    Refused(
        Tumbling,
        [0],
        "size above zero",
        source=f"{TIME_WINDOWS} windowSizeMustNotBeZero",
    ),
    Refused(
        Tumbling,
        [-1],
        "negative",
        source=f"{TIME_WINDOWS} windowSizeMustNotBeNegative",
    ),
    Refused(
        Hopping,
        [123, 0],
        "hop above zero",
        source=f"{TIME_WINDOWS} advanceIntervalMustNotBeZero",
    ),
    Refused(
        Session,
        [0],
        "gap above zero",
        source=f"{TESTS}/SessionWindowsTest.java windowSizeMustNotBeZero",
    ),
    Refused(
        Session,
        [-1],
        "negative",
        source=f"{TESTS}/SessionWindowsTest.java windowSizeMustNotBeNegative",
    ),
]

LATENESS: list[Case] = [
    Counted(
        Hopping(10, 5),
        90,
        records(100, 0, 1, 2, 3, 4, 5, 6, 105, 106),
        [[95, 100], [], [], [], [], [], [5], [5], [100, 105], [100, 105]],
        late=dict.fromkeys(range(1, 6), 0),
        source=f"{AGGREGATED} shouldLogAndMeterWhenSkippingExpiredWindow",
    ),
    Counted(
        Tumbling(10),
        90,
        records(200, 100, 101, 102, 103, 104, 105, 6),
        [[200], [], [], [], [], [], [], []],
        late={**dict.fromkeys(range(1, 7), 0), 7: 100},
        source=f"{AGGREGATED} shouldLogAndMeterWhenSkippingExpiredWindowByGrace",
    ),
    Counted(
        Tumbling(2),
        1,
        records(0, 1, 2, 1, 0, 5, 0),
        [[0], [0], [2], [0], [0], [4], []],
        late={6: 2},
        source=f"{SUPPRESSED} shouldSupportFinalResultsForTimeWindows",
    ),
    Counted(
        Tumbling(2),
        2,
        records(0, 1, 2, 0, 3, 0, 4, 0, 30),
        [[0], [0], [2], [0], [2], [0], [4], [], [30]],
        late={7: 0},
        source=f"{SUPPRESSED} shouldSupportFinalResultsForTimeWindowsWithLargeJump",
    ),
    Counted(
        Hopping(10, 5),
        100,
        records(14, 3, 2, 9),
        [[5, 10], [-5, 0], [-5, 0], [0, 5]],
        source=f"{AGGREGATED} testAggBasic",
        theirs=[[5, 10], [0], [0], [0, 5]],
        why="they have no windows that begin before 1970",
    ),
    Counted(
        Tumbling("1h"),
        600_000,
        [
            Record(ms("1970-01-01T09:30+00:00"), ms("1970-01-01T10:09:59.999+00:00")),
            Record(ms("1970-01-01T09:30+00:00"), ms("1970-01-01T10:10+00:00")),
        ],
        [[ms("1970-01-01T09:00+00:00")], []],
        late={1: 0},
        source=f"{DOCS} Window Final Results",
    ),
    Counted(
        Sliding(11, 1),
        90,
        records(200, 100),
        [[*range(190, 201)], [100]],
        source=f"{SLIDING} shouldLogAndMeterWhenSkippingExpiredWindowByGrace",
        theirs="100 is dropped, for [90, 100] is closed and there is no other window",
        why="windows are there whatever records come: [100, 111) is still open",
        note="their time difference of 10 has both ends in it: a size of 11",
    ),
]
