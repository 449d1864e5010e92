"""Sessions in Apache Beam, where windows that touch are two, as here."""

from __future__ import annotations

from kappa.eventtime.sessions import Session
from tests.unit.published.cases import FAR_BEHIND, Case, Record, Sessions, records

TESTS = "apache/beam sdks/java/core/src/test/java/org/apache/beam/sdk/transforms/windowing"
RUNNER = "apache/beam runners/core-java/src/test/java/org/apache/beam/runners/core"
PYTHON = "apache/beam sdks/python/apache_beam/transforms/window_test.py"
TRANSCRIPTS = "apache/beam sdks/python/apache_beam/transforms/trigger_transcripts.yaml"
GO = "apache/beam sdks/go/pkg/beam/core/runtime/exec/window_test.go"
JAVA = f"{TESTS}/SessionsTest.java"

TEN = Session(10)


def bounded(*times: int) -> list[Record]:
    """Records of a collection that is all there."""
    return records(*times, watermark=FAR_BEHIND)


CASES: list[Case] = [
    Sessions(
        TEN,
        bounded(0, 10, 101),
        {("", 0, 10): 1, ("", 10, 20): 1, ("", 101, 111): 1},
        source=f"{JAVA} testSimple",
    ),
    Sessions(
        TEN,
        bounded(1, 2, 5, 9, 100, 101),
        {("", 1, 19): 4, ("", 100, 111): 2},
        source=f"{JAVA} testConsecutive",
    ),
    Sessions(
        TEN,
        bounded(1, 15, 30, 100, 101, 95, 22, 10),
        {("", 1, 40): 5, ("", 95, 111): 3},
        source=f"{JAVA} testMerging",
    ),
    Sessions(
        Session("1s"),
        bounded(1, 2, 1000, 5000, 5001, 10_000),
        {("", 1, 2000): 3, ("", 5000, 6001): 2, ("", 10_000, 11_000): 1},
        source=f"{JAVA} testTimeUnit",
    ),
    *(
        Sessions(TEN, bounded(*times), sessions, source=f"{PYTHON} test_sessions_merging")
        for times, sessions in [
            ((2,), {("", 2, 12): 1}),
            ((2, 19), {("", 2, 12): 1, ("", 19, 29): 1}),
            ((2, 9), {("", 2, 19): 2}),
            ((9, 2), {("", 2, 19): 2}),
            ((2, 9, 19), {("", 2, 19): 2, ("", 19, 29): 1}),
            ((19, 9, 2), {("", 2, 19): 2, ("", 19, 29): 1}),
            ((2, 15, 10), {("", 2, 25): 3}),
        ]
    ),
    Sessions(
        TEN,
        bounded(1, 2, 3, 20, 35, 27),
        {("", 1, 13): 3, ("", 20, 45): 3},
        source=f"{PYTHON} test_sessions",
    ),
    Sessions(
        TEN,
        [*bounded(1, 2, 3, 4, 5, 6), *records(1, 3, 4, watermark=100)],
        {("", 1, 16): 6},
        late={6: 89, 7: 87, 8: 86},
        source=f"{TRANSCRIPTS} early_late_sessions",
        theirs={(1, 16): 9},
        why="without an allowed lateness theirs never closes a session, ours closes it at its end",
    ),
    Sessions(
        TEN,
        [*bounded(1, 2, 3, 4, 5, 6), *records(1, 3, 4, watermark=100)],
        {("", 1, 16): 9},
        lateness=85,
        source=f"{TRANSCRIPTS} early_late_sessions",
        note="with a lateness that keeps the session open: 16 + 85 > 100",
    ),
    Sessions(
        TEN,
        bounded(1, 10),
        {("", 1, 20): 2},
        source=f"{RUNNER}/ReduceFnRunnerTest.java testMergeBeforeFinalizing",
    ),
    Sessions(
        TEN,
        [Record(1, 0)],
        {("", 1, 11): 1},
        lateness=50,
        source=f"{RUNNER}/ReduceFnRunnerTest.java testSessionEowAndGcTogether",
    ),
    Sessions(
        TEN,
        [*bounded(1, 2), *records(1, 2, watermark=13)],
        {("", 1, 12): 4},
        lateness=50,
        source=f"{RUNNER}/ReduceFnRunnerTest.java testMergingWithCloseTrigger",
        theirs="the last two change nothing, for the trigger has finished",
        why="there are no triggers here: a session takes records until its lateness is over",
    ),
    Sessions(
        Session("1m"),
        bounded(60_000),
        {("", 60_000, 120_000): 1},
        source=f"{GO} TestAssignWindow",
    ),
]
