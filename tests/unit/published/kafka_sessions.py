"""Sessions in Kafka Streams.

Its inactivity gap has both ends in it: a gap of 5 ms is one of 6 ms here.
"""

from __future__ import annotations

from kappa.eventtime.sessions import Session
from tests.unit.published.cases import Case, Record, Sessions, records

TESTS = "apache/kafka streams/src/test/java/org/apache/kafka/streams/kstream"
MAIN = "apache/kafka streams/src/main/java/org/apache/kafka/streams/kstream"
DOCS = "apache/kafka docs/streams/developer-guide/dsl-api.html"
SESSIONS = f"{TESTS}/internals/KStreamSessionWindowAggregateProcessorTest.java"
SUPPRESSED = f"{TESTS}/internals/SuppressScenarioTest.java"

MINUTE = 60_000
GAP = 5 * MINUTE
FIVE_MINUTES = Session(GAP + 1)

CASES: list[Case] = [
    Sessions(
        FIVE_MINUTES,
        records(0, 500),
        {("", 0, 500 + GAP + 1): 2},
        source=f"{SESSIONS} shouldCreateSingleSessionWhenWithinGap",
    ),
    Sessions(
        FIVE_MINUTES,
        records(0, GAP + 1, GAP // 2),
        {("", 0, GAP + 1): 1, ("", GAP // 2, 2 * GAP + 2): 2},
        source=f"{SESSIONS} shouldMergeSessions",
        theirs={(0, GAP + 1): 3},
        why="without grace the first session is closed when the third record comes; they join it "
        "all the same while their store retains it, and what was final changes",
    ),
    Sessions(
        FIVE_MINUTES,
        records(0, GAP + 1, GAP // 2),
        {("", 0, 2 * GAP + 2): 3},
        lateness=GAP,
        source=f"{SESSIONS} shouldMergeSessions",
        note="with a lateness, as they join within their retention",
    ),
    Sessions(
        FIVE_MINUTES,
        records(0, 0),
        {("", 0, GAP + 1): 2},
        source=f"{SESSIONS} shouldUpdateSessionIfTheSameTime",
    ),
    Sessions(
        FIVE_MINUTES,
        records(0, *[GAP + 1] * 2, *[2 * GAP + 2] * 3),
        {("", n * (GAP + 1), (n + 1) * (GAP + 1)): n + 1 for n in range(3)},
        source=f"{SESSIONS} shouldHaveMultipleSessionsForSameIdWhenTimestampApartBySessionGap",
    ),
    Sessions(
        FIVE_MINUTES,
        records(0, 100),
        {("", 0, 100 + GAP + 1): 2},
        source=f"{SESSIONS} shouldRemoveMergedSessionsFromStateStore",
    ),
    Sessions(
        FIVE_MINUTES,
        [
            *(Record(0, key=key) for key in "abcd"),
            Record(GAP // 2, key="d"),
            *(Record(GAP + 1, key=key) for key in "ab"),
            *(Record(GAP + 1 + GAP // 2, key=key) for key in "ac"),
        ],
        {
            ("a", 0, GAP + 1): 1,
            ("b", 0, GAP + 1): 1,
            ("c", 0, GAP + 1): 1,
            ("d", 0, GAP // 2 + GAP + 1): 2,
            ("b", GAP + 1, 2 * GAP + 2): 1,
            ("a", GAP + 1, GAP // 2 + 2 * GAP + 2): 2,
            ("c", GAP + 1 + GAP // 2, GAP // 2 + 2 * GAP + 2): 1,
        },
        source=f"{SESSIONS} shouldHandleMultipleSessionsAndMerging",
    ),
    Sessions(
        Session(10 + 1),
        [
            Record(0, key="dummy"),
            Record(0, key="OnTime1"),
            Record(11, key="dummy"),
            Record(0, key="Late1"),
        ],
        {("dummy", 0, 11): 1, ("OnTime1", 0, 11): 1, ("dummy", 11, 22): 1},
        late={3: 0},
        source=f"{SESSIONS} shouldLogAndMeterWhenSkippingLateRecordWithZeroGrace",
    ),
    Sessions(
        Session(10 + 1),
        [
            Record(0, key="dummy"),
            Record(0, key="OnTime1"),
            Record(11, key="dummy"),
            Record(0, key="OnTime2"),
            Record(12, key="dummy"),
            Record(0, key="Late1"),
        ],
        {
            ("dummy", 0, 11): 1,
            ("dummy", 11, 23): 2,
            ("OnTime1", 0, 11): 1,
            ("OnTime2", 0, 11): 1,
        },
        lateness=1,
        late={5: 0},
        source=f"{SESSIONS} shouldLogAndMeterWhenSkippingLateRecordWithNonzeroGrace",
    ),
    Sessions(
        Session(30 + 1),
        [Record(10), Record(15, key="2"), *records(30, 70, 100, 90)],
        {("", 10, 61): 2, ("2", 15, 46): 1, ("", 70, 131): 3},
        source=f"{TESTS}/internals/KGroupedStreamImplTest.java shouldAggregateSessionWindows",
    ),
    Sessions(
        Session(500 + 1),
        [*records(10, 15, 600), *records(600, 599, key="2")],
        {("", 10, 516): 2, ("", 600, 1101): 1, ("2", 599, 1101): 2},
        source=f"{TESTS}/internals/SessionWindowedKStreamImplTest.java processData",
    ),
    Sessions(
        Session(5 + 1),
        [*records(0, 5, 1), Record(11, key="k2"), *records(5, 30)],
        {("", 0, 11): 3, ("k2", 11, 17): 1, ("", 30, 36): 1},
        late={4: 0},
        source=f"{SUPPRESSED} shouldSupportFinalResultsForSessionWindows",
    ),
    Sessions(
        Session(5),
        records(0, 5),
        {("", 0, 5): 1, ("", 5, 10): 1},
        source=f"{SUPPRESSED} shouldSupportFinalResultsForSessionWindows",
        theirs={(0, 5): 2},
        why="intervals are half-open: a whole gap of silence ends a session",
    ),
    Sessions(
        Session(5 + 1),
        records(10, 12, 20, 16),
        {("", 10, 26): 4},
        lateness=10,
        source=f"{MAIN}/SessionWindows.java class comment",
        note="with a lateness, of which their example says nothing",
    ),
    Sessions(
        FIVE_MINUTES,
        [
            *(Record(minute * MINUTE, key=key) for minute, key in [(0, "green"), (2, "blue")]),
            *(Record(minute * MINUTE, key="green") for minute in (6, 4)),
            *(Record(minute * MINUTE, key="blue") for minute in (5, 11)),
        ],
        {
            ("green", 0, 6 * MINUTE + GAP + 1): 3,
            ("blue", 2 * MINUTE, 5 * MINUTE + GAP + 1): 2,
            ("blue", 11 * MINUTE, 11 * MINUTE + GAP + 1): 1,
        },
        lateness=GAP,
        source=f"{DOCS} Session Windows",
        note="with a lateness: at minute 6 the session of minute 0 would be closed without",
    ),
]
