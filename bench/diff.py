"""``python -m bench diff``: comparing two versions, beside a plain EXCEPT, one way and both."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from statistics import median

import psycopg
from psycopg import sql
from sqlalchemy import Engine

from bench import servers
from bench.built import ready
from kappa.tables import migrate
from kappa.tables.engine import connect, driver
from kappa.tables.finalize import FixedPoint, Plain
from kappa.tables.layout import Column, Kind, Layout, ViewColumn
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import BIGINT, NUMERIC, TEXT, TIMESTAMPTZ
from kappa.versions.comparisons import Allowance, Comparison, compare

ROWS = 1_000_000
ONE_IN = 10_000
ROUNDS = 3
MOST_TIMES = 1.0
"""Of a diff's seconds to those of EXCEPT in both directions, which is what finds as much."""
_NAME = "compared"


class Wrong(Exception):
    """A difference was not found, or something else was found to be one."""


@dataclass(frozen=True)
class Report:
    """All in one run; seconds are medians.

    Attributes:
        load: processes that wanted to run, on average, in the minute before.
        differing: rows that differ, all of which both ways have found.
        one_way_s: of EXCEPT in one direction, which does not find what only the second has.
        except_s: of EXCEPT in both.
    """

    load: float
    rows: int
    differing: int
    diff_s: float
    one_way_s: float
    except_s: float

    @property
    def ratio(self) -> float:
        """Of the seconds of a diff to those of EXCEPT in both directions."""
        return self.diff_s / self.except_s


def measure(rows: int) -> Report:
    """Makes two versions, compares them in turn both ways, and checks what each found.

    Raises:
        Wrong: see there.
    """
    load = os.getloadavg()[0]
    with (
        servers.running() as (_, server_url),
        servers.fresh_database(server_url, "kappa_bench_diff") as url,
    ):
        _make(url, rows)
        seconds = [(_timed_diff(url, rows), *_timed_except(url, rows)) for _ in range(ROUNDS)]
    diffs, one_way, both = map(median, zip(*seconds, strict=True))
    return Report(load, rows, rows // ONE_IN, diffs, one_way, both)


def missed(report: Report) -> list[str]:
    """What is beyond what is wanted."""
    if report.ratio <= MOST_TIMES:
        return []
    return [f"kappa diff takes {report.ratio:.2f} times what EXCEPT both ways does"]


def render(report: Report) -> str:
    """The report for people."""
    return "\n".join(
        [
            f"{report.differing:,} of {report.rows:,} rows differ, and each was found",
            f"{'':16}{'seconds':>9}",
            f"{'kappa diff':16}{report.diff_s:9.2f}",
            f"{'EXCEPT one way':16}{report.one_way_s:9.2f}",
            f"{'EXCEPT both':16}{report.except_s:9.2f}",
            f"{'ratio to both':16}{report.ratio:9.2f}",
            f"load before: {report.load:.2f}",
        ]
    )


def _layout(version: int) -> Layout:
    """Revenue by customer and hour, as a windowed aggregate stores it."""
    return Layout(
        processor=_NAME,
        version=version,
        kind=Kind.AGGREGATE,
        columns=(
            Column("customer", TEXT, MergeRule.KEY, nullable=False),
            Column("window_start", TIMESTAMPTZ, MergeRule.KEY, nullable=False),
            Column("orders", BIGINT, MergeRule.SUM),
            Column("revenue__units", NUMERIC, MergeRule.SUM),
            Column("last_product", TEXT, MergeRule.MAX),
        ),
        key=("customer", "window_start"),
        view=(
            ViewColumn("customer", Plain("customer")),
            ViewColumn("window_start", Plain("window_start")),
            ViewColumn("orders", Plain("orders")),
            ViewColumn("revenue", FixedPoint("revenue__units")),
            ViewColumn("last_product", Plain("last_product")),
        ),
    )


def _make(url: str, rows: int) -> None:
    """Two versions of so many rows; one in ONE_IN has another number of orders in the second."""
    engine = connect(url)
    try:
        migrate.upgrade(engine)
        for version in (1, 2):
            _made(engine, version, rows)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
    finally:
        engine.dispose()


def _made(engine: Engine, version: int, rows: int) -> None:
    layout = _layout(version)
    fill = _FILL.format(table=sql.Identifier(layout.table))
    values = {"rows": rows, "one_in": ONE_IN, "version": version}
    ready(engine, layout, fill=lambda conn: driver(conn).execute(fill, values))


_FILL = sql.SQL("""
INSERT INTO {table} (customer, window_start, orders, revenue__units, last_product)
SELECT 'customer-' || n %% 50000, timestamptz '2024-01-01 00:00Z' + n / 50000 * interval '1 hour',
    n %% 97 + CASE WHEN %(version)s = 2 AND n %% %(one_in)s = 7 THEN 1 ELSE 0 END,
    (n %% 99991) * 4294967296::numeric + n, 'product-' || n %% 1000
FROM generate_series(0, %(rows)s - 1) AS n
""")


def _timed_diff(url: str, rows: int) -> float:
    engine = connect(url)
    try:
        began = time.perf_counter()
        found = compare(
            engine,
            _NAME,
            1,
            2,
            who="bench",
            allowance=Allowance(),
            most_samples=rows,
            timeout_s=10,
        )
        seconds = time.perf_counter() - began
    finally:
        engine.dispose()
    _check(found, rows)
    return seconds


def _check(found: Comparison, rows: int) -> None:
    (main,) = found.outputs
    wanted = {f"customer-{n % 50000}/{n // 50000}" for n in range(7, rows, ONE_IN)}
    named = {
        f"{sample.key['customer']}/{_hours(sample.key['window_start'])}" for sample in main.samples
    }
    if named != wanted or (main.changed, main.only_before, main.only_after) != (len(wanted), 0, 0):
        raise Wrong(f"{len(named ^ wanted)} of {len(wanted)} differences are not as they were made")


def _hours(moment: str | None) -> int:
    day, clock = (moment or "").split(" ")
    return (int(day[-2:]) - 1) * 24 + int(clock[:2])


_SELECTS = [
    "SELECT customer, window_start, orders,"
    " CAST(revenue__units * 0.00000000023283064365386962890625 AS double precision),"
    f" last_product FROM {_NAME}__v{version}"
    for version in (1, 2)
]


def _timed_except(url: str, rows: int) -> tuple[float, float]:
    """Seconds of one direction, and of both."""
    one, two = _SELECTS
    with psycopg.connect(url) as connection:
        began = time.perf_counter()
        gone = connection.execute(f"({one}) EXCEPT ({two})").fetchall()
        one_way = time.perf_counter() - began
        new = connection.execute(f"({two}) EXCEPT ({one})").fetchall()
        seconds = time.perf_counter() - began
    if not len(gone) == len(new) == rows // ONE_IN:
        raise Wrong(f"EXCEPT finds {len(gone)} and {len(new)} rows")
    return one_way, seconds
