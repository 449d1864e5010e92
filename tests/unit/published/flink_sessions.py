"""Sessions in Apache Flink.

Its watermark W says that no element at or before W will come, ours that none before it: what it
calls 1999 is 2000 here.
"""

from __future__ import annotations

from collections.abc import Sequence

from kappa.eventtime.sessions import Session
from tests.unit.published.cases import FAR_BEHIND, Case, Record, Sessions, records

TESTS = (
    "apache/flink flink-streaming-java/src/test/java/org/apache/flink/"
    "streaming/runtime/operators/windowing"
)
OPERATOR = f"{TESTS}/WindowOperatorTest.java"


def key1(*times: int) -> list[Record]:
    return records(*times, watermark=FAR_BEHIND, key="key1")


def key2(*times: int, watermark: int = FAR_BEHIND) -> list[Record]:
    return records(*times, watermark=watermark, key="key2")


UP_TO_14600: Sequence[Record] = [
    *key2(1000),
    *key2(2000, watermark=2000),
    *key2(4500, 8500, watermark=4999),
    *key2(7000, watermark=7401),
    *key2(11_600, watermark=11_502),
]
"""What the tests named testDropDueToLatenessSession… have in common."""

CASES: list[Case] = [
    Sessions(
        Session("3s"),
        [
            *key2(0, 1000, 2500),
            *key1(10, 1000, 2500),
            *key2(5501, 6000, 6000, 6050),
            *key2(15_000, 15_000, watermark=12_001),
        ],
        {
            ("key1", 10, 5500): 3,
            ("key2", 0, 5500): 3,
            ("key2", 5501, 9050): 4,
            ("key2", 15_000, 18_000): 2,
        },
        source=f"{OPERATOR} testSessionWindows",
    ),
    Sessions(
        Session("3s"),
        [*key2(0, 1000, 2500, 3500), *key1(10, 1000, 2500, 6000, 6500, 7000, 4500)],
        {("key2", 0, 6500): 4, ("key1", 10, 10_000): 7},
        source=f"{OPERATOR} testSessionWindowsWithCountTrigger",
    ),
    Sessions(
        Session("3s"),
        [*UP_TO_14600, *key2(10_000, 10_100, 14_500, watermark=14_601)],
        {("key2", 1000, 11_500): 5, ("key2", 11_600, 14_600): 1, ("key2", 14_500, 17_500): 1},
        late={6: 1601, 7: 1501},
        source=f"{OPERATOR} testDropDueToLatenessSessionZeroLatenessPurgingTrigger",
    ),
    Sessions(
        Session("3s"),
        [*UP_TO_14600, *key2(10_000, 14_500, watermark=14_601)],
        {("key2", 1000, 11_500): 5, ("key2", 10_000, 17_500): 3},
        lateness=10,
        source=f"{OPERATOR} testDropDueToLatenessSessionWithLateness",
    ),
    Sessions(
        Session("3s"),
        [*UP_TO_14600, *key2(10_000, 14_500, watermark=14_601)],
        {("key2", 1000, 17_500): 8},
        lateness=10_000,
        source=f"{OPERATOR} testDropDueToLatenessSessionWithHugeLateness",
    ),
    Sessions(
        Session("3s"),
        [*key2(1000), *key2(1000, watermark=14_601)],
        {("key2", 1000, 4000): 1},
        lateness=10,
        late={1: 10_591},
        source=f"{OPERATOR} testCleanupTimerWithEmptyReduceStateForSessionWindows",
        note="one record more, to see that nothing is left to join",
    ),
    Sessions(
        Session(1),
        records(0, 1, 2, 4, 5),
        {("", time, time + 1): 1 for time in (0, 1, 2, 4, 5)},
        source=f"{TESTS}/EventTimeSessionWindowsTest.java testMergeConsecutiveWindows",
        theirs={(0, 3): 3, (4, 6): 2},
        why="they merge windows that touch; half-open intervals that touch have nothing in common",
        note="their windows are one long each, as of sessions with a gap of 1",
    ),
    Sessions(
        Session("5s"),
        records(0, 4999, 5000, watermark=FAR_BEHIND),
        {("", 0, 10_000): 3},
        source=f"{TESTS}/EventTimeSessionWindowsTest.java testWindowAssignment",
        note="their three windows [0, 5000), [4999, 9999) and [5000, 10000), merged",
    ),
]
