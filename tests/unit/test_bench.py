"""The bench measures what it says: each job has one result, whoever works it out."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace as changed
from datetime import UTC, datetime
from importlib.metadata import distributions
from typing import Any

import duckdb
import polars as pl
import pytest
from confluent_kafka import Message

from bench import catch_up, orders, pinned, replay, state, ticks, transactions, verify, visits
from bench.jobs import JOBS
from bench.jobs.job import Arrived, Job
from bench.nexmark import measure as nexmark
from bench.orders import ORDERS
from bench.pinned import PLUGINS, Pinned
from bench.stream import Stream
from bench.transactions import TRANSACTIONS
from bench.visits import VISITS
from kappa import KeyedProcessor
from kappa.plugins import Plugin, load
from kappa.testing import Driver

COUNT = 250_000
STREAMS = [ORDERS, TRANSACTIONS, VISITS]

each_job = pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
each_stream = pytest.mark.parametrize("stream", STREAMS, ids=[s.name for s in STREAMS])


def whole(stream: Stream, count: int) -> pl.DataFrame:
    return pl.concat(list(stream.chunks(count)))


@each_stream
def test_records_are_the_same_every_time(stream: Stream) -> None:
    assert whole(stream, COUNT).equals(whole(stream, COUNT))


@pytest.mark.parametrize(("stream", "size"), [(ORDERS, orders.CHUNK), (TRANSACTIONS, 200_000)])
def test_more_records_begin_with_the_same(stream: Stream, size: int) -> None:
    assert whole(stream, COUNT).head(size).equals(whole(stream, size))


@pytest.mark.parametrize(
    ("times", "bound"),
    [
        (lambda: whole(ORDERS, COUNT)["placed_at"], orders.OUT_OF_ORDERNESS_MS),
        (lambda: whole(TRANSACTIONS, COUNT)["at"], transactions.OUT_OF_ORDERNESS_MS),
    ],
)
def test_records_are_out_of_order_but_never_late(
    times: Callable[[], pl.Series], bound: int
) -> None:
    time = times().dt.epoch("ms")
    behind = (time.cum_max() - time).to_list()
    assert 0 < max(behind) < bound
    assert {job.processor.source.out_of_orderness_ms for job in JOBS.values()} == {bound}


def test_windows_are_as_many_as_results_of_a_real_job() -> None:
    """One order in six opens a window: results are as much work as input."""
    minutes = orders.COUNT * orders.SPACING_MS / 60_000
    assert minutes * orders.PRODUCTS > 600_000


def test_sessions_have_several_orders() -> None:
    with verify.recorded(ORDERS, COUNT) as database:
        counts = rows(database, f"SELECT orders FROM ({JOBS['sessions'].expected})")
    assert sum(count for (count,) in counts) == COUNT
    assert 2 < COUNT / len(counts) < 20


def test_transactions_are_small_and_large_as_often_as_they_should_be() -> None:
    amounts = whole(TRANSACTIONS, COUNT)["amount"]
    assert (amounts < 1).mean() == pytest.approx(0.01, rel=0.1)
    assert (amounts > 500).mean() == pytest.approx(0.02, rel=0.1)


def test_every_visitor_comes_once() -> None:
    for count in (1_000, COUNT):
        assert whole(VISITS, count)["visitor"].n_unique() == count
    numbers = whole(VISITS, COUNT)["visitor"].str.strip_prefix("visitor-").cast(pl.Int64)
    assert numbers.max() == COUNT - 1
    assert not numbers.is_sorted()


@each_job
def test_the_loop_by_hand_computes_what_duckdb_does(job: Job) -> None:
    with verify.recorded(job.stream, COUNT) as database:
        lines = [as_row(line) for line in job.by_hand(arrived(database))]
        assert len(lines) > 20
        assert sorted(lines) == rows(database, job.expected)


@each_job
def test_the_processor_computes_what_duckdb_does(job: Job) -> None:
    """Over fewer keys and a longer time, so that few records make many sessions and alerts."""
    stream = sparser(job.stream, apart_ms=20 if job.stream is TRANSACTIONS else 12_000)
    schema = whole(stream, 1).schema
    driver = Driver(job.processor, schema=schema, record_key=stream.key)
    with verify.recorded(stream, 12_000) as database:
        cursor = database.execute("FROM records ORDER BY line // 500, partition, line")
        names = [column[0] for column in cursor.description or []]
        records = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for partition, batch in itertools.groupby(records, lambda r: r["partition"]):
            driver.send(*(sent(record, schema) for record in batch), partition=partition)
        expected = rows(database, job.expected)
        columns = [c[0] for c in database.execute(job.expected).description or []]
    assert len(expected) > 20
    found = [tuple(normal(row[name]) for name in columns) for row in driver.rows]
    assert sorted(found) == expected
    assert not driver.dead_letters
    if not isinstance(job.processor, KeyedProcessor):
        assert not driver.late


def test_a_wrong_row_is_told() -> None:
    with verify.recorded(ORDERS, 100) as database:
        database.execute("CREATE TABLE expected AS SELECT line FROM records")
        database.execute("CREATE TABLE found AS SELECT line FROM records WHERE line <> 7")
        assert verify.difference(database, "found", "expected") == ""
        assert verify.difference(database, "expected", "found") == "1 rows, for example (7,)"


def test_the_processors_are_announced_where_the_children_look() -> None:
    (found,) = distributions(path=[str(PLUGINS)])
    loaded = set()
    for entry in found.entry_points:
        assert entry.group == "kappa.processors"
        name, _, version = entry.name.rpartition(".v")
        load(Plugin(name, int(version), entry.value, "kappa-bench", "0"))
        loaded.add(name)
    scaled = [each for job in catch_up.SCALED for each in job.by.values()]
    others = [visits.Returns, ticks.latest, catch_up.followed, *scaled]
    assert loaded == {each.name for each in [*JOBS.values(), *others]}


def test_a_topic_with_fewer_records_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ORDERS.topic(orders.COUNT) == ORDERS.topic_here == "bench_orders"
    monkeypatch.setenv("KAPPA_BENCH_RECORDS", "200000")
    assert ORDERS.topic_here == ORDERS.topic(200_000) == "bench_orders_200000"


def test_a_process_is_pinned_and_its_memory_is_its_own(tmp_path: Any) -> None:
    """Not that of its parent, which the system counts in where it forks."""
    ballast = bytearray(400 * 2**20)
    (tmp_path / "measured.py").write_text(
        "import json, os, time\n"
        "held = bytearray(50 * 2**20)\n"
        "time.sleep(0.2)\n"
        "print(json.dumps({'records': len(os.sched_getaffinity(0)), 'seconds': 2}))\n"
    )
    measured = pinned.run("measured", core=0, environment={"PYTHONPATH": str(tmp_path)})
    assert (measured.records, measured.rows, measured.rate) == (1, None, 0.5)
    assert 50 * 2**20 < measured.peak_bytes < 150 * 2**20 < len(ballast)
    assert measured.wall > 0.2


def test_a_failed_process_is_an_error(tmp_path: Any) -> None:
    (tmp_path / "failing.py").write_text("raise SystemExit(3)")
    process = Pinned("failing", core=0, environment={"PYTHONPATH": str(tmp_path)})
    with pytest.raises(subprocess.CalledProcessError, match="3"):
        process.result()
    assert not process.running


@pytest.mark.parametrize("arguments", [["replay", "--jobs", "tumbling,none"], ["replays"]])
def test_the_command_line_refuses_what_there_is_not(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(command, cwd=pinned.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "tumbling" in done.stderr or "replay" in done.stderr


def test_reports_can_be_read() -> None:
    measured = pinned.Measured(1_000, None, 2.0, 3.0, 2.5, 2**20)
    twice = pinned.Measured(1_000, 7, 1.0, 3.0, 2.5, 2**20)
    job = replay.Done("tumbling", "windows", 1_200_000, by_hand=measured, kappa=twice, rows=7)
    report = replay.Report(0, 0.1, (replay.Stage("fetch only", measured),), (job,))
    *_, found = (line for line in replay.render(report).splitlines() if "windows" in line)
    assert found.split() == ["tumbling", "windows", "1,000", "1,200,000", "500", "2.0"]
    query = nexmark.Result("q1", "currency", changed(twice, records=920, seconds=0.5))
    shown = nexmark.render(nexmark.Report(0, 0.1, 1_000, (query,), ()))
    assert shown.splitlines()[1].split()[2:] == ["920", "7", "0.50", "1,840", "2,000", "2.50"]
    kept = state.Report(0, 0.1, 1_000, measured, measured, 1.25)
    assert "1.25 s" in state.render(kept)


def arrived(database: duckdb.DuckDBPyConnection) -> Arrived:
    """The records as a consumer of all partitions gets them: some of each, one after another."""
    cursor = database.execute("FROM records ORDER BY line // 30000, partition, line")
    names = [column[0] for column in cursor.description or []]
    for row in cursor.fetchall():
        record = {
            name: in_ms(value) if isinstance(value, datetime) else value
            for name, value in zip(names, row, strict=True)
        }
        stamp = next((v for v in record.values() if isinstance(v, int) and v > 10**12), 0)
        yield Message(partition=record["partition"], timestamp=(1, stamp)), record


def sparser(stream: Stream, apart_ms: int) -> Stream:
    """The stream over a thousandth of the keys, each record so much later than the one before.

    They are no more out of order.
    """
    schema = whole(stream, 1).schema
    later = pl.int_range(pl.len()) * pl.duration(milliseconds=apart_ms)

    def chunks(count: int) -> Iterator[pl.DataFrame]:
        times = (pl.col(name) + later for name, dtype in schema.items() if dtype.is_temporal())
        moved = whole(stream, count).with_columns(pl.col(stream.key).str.head(-3), *times)
        yield moved.cast(dict(schema))

    return changed(stream, chunks=chunks)


def sent(record: dict[str, Any], schema: pl.Schema) -> dict[str, Any]:
    return {
        name: record[name].replace(tzinfo=UTC) if dtype.is_temporal() else record[name]
        for name, dtype in schema.items()
    }


def rows(database: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return sorted(
        tuple(normal(value) for value in row) for row in database.execute(query).fetchall()
    )


def as_row(line: str) -> tuple[Any, ...]:
    """A line of COPY as ``rows`` has it."""
    return tuple(normal(_value(text)) for text in line.rstrip("\n").split("\t"))


def _value(text: str) -> Any:
    for kind in (int, float, datetime.fromisoformat):
        try:
            return kind(text)  # type: ignore[operator]
        except ValueError:
            continue
    return text


def normal(value: Any) -> Any:
    """Times as ms, numbers to the cent."""
    if isinstance(value, datetime):
        return in_ms(value)
    return value if isinstance(value, str | int) else round(float(value), 2)


def in_ms(value: datetime) -> int:
    return round(value.replace(tzinfo=UTC).timestamp() * 1000)
