"""Layouts, versions and rows the tests of tables and promotes are about."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Engine, text

from kappa.tables import build, progress, sink
from kappa.tables.finalize import FixedPoint, Mean, Plain, WindowEnd
from kappa.tables.layout import (
    LATEST_OFFSET_COLUMN,
    OFFSET_COLUMN,
    PARTITION_COLUMN,
    Column,
    Kind,
    Layout,
    ViewColumn,
)
from kappa.tables.merge import MergeRule
from kappa.tables.progress import NewPartition
from kappa.tables.sqltypes import BIGINT, NUMERIC, TEXT, TIMESTAMPTZ
from kappa.versions import manifest, records
from kappa.versions.promote import promote

TOPIC_ID = "4nUuh0n0QFWoEvwzVaSsjA"


def revenue(name: str, version: int = 1, *, null_keys: bool = False) -> Layout:
    """Orders and revenue by product and minute."""
    return Layout(
        processor=name,
        version=version,
        kind=Kind.AGGREGATE,
        columns=(
            Column("product", TEXT, MergeRule.KEY, nullable=null_keys),
            Column("window_start", TIMESTAMPTZ, MergeRule.KEY, nullable=False),
            Column("orders", BIGINT, MergeRule.SUM),
            Column("revenue__units", NUMERIC, MergeRule.SUM),
            Column("first_customer", TEXT, MergeRule.MIN),
            Column("last_customer", TEXT, MergeRule.MAX),
        ),
        key=("product", "window_start"),
        view=(
            ViewColumn("product", Plain("product")),
            ViewColumn("window_start", Plain("window_start")),
            ViewColumn("window_end", WindowEnd("window_start", 60_000)),
            ViewColumn("orders", Plain("orders")),
            ViewColumn("revenue", FixedPoint("revenue__units")),
            ViewColumn("mean", Mean(FixedPoint("revenue__units"), "orders")),
        ),
        late=(
            PARTITION_COLUMN,
            OFFSET_COLUMN,
            Column("product", TEXT, MergeRule.FIXED),
        ),
    )


REVENUE_SCHEMA = pl.Schema(
    {
        "product": pl.String(),
        "window_start": pl.Datetime("ms", "UTC"),
        "orders": pl.Int64(),
        "revenue__units": pl.Int128(),
        "first_customer": pl.String(),
        "last_customer": pl.String(),
    }
)


def revenue_rows(rows: Iterable[Sequence[object]]) -> pl.DataFrame:
    """Parts of `revenue`: product, window start in ms, orders, units, first and last customer."""
    frame = pl.DataFrame(list(rows), schema=list(REVENUE_SCHEMA), orient="row")
    start = pl.col("window_start").cast(pl.Int64).cast(pl.Datetime("ms", "UTC"))
    return frame.with_columns(start).cast(REVENUE_SCHEMA)


def customers(name: str, version: int = 1) -> Layout:
    """The latest name and credit of each customer."""
    return Layout(
        processor=name,
        version=version,
        kind=Kind.LATEST,
        columns=(
            Column("customer", TEXT, MergeRule.KEY, nullable=False),
            Column("name", TEXT, MergeRule.LATEST, nullable=False),
            Column("credit", BIGINT, MergeRule.LATEST),
            LATEST_OFFSET_COLUMN,
        ),
        key=("customer",),
        view=(ViewColumn("customer", Plain("customer")), ViewColumn("name", Plain("name"))),
    )


CUSTOMERS_SCHEMA = pl.Schema(
    {
        "customer": pl.String(),
        "name": pl.String(),
        "credit": pl.Int64(),
        "_offset": pl.Int64(),
        "_deleted": pl.Boolean(),
    }
)


def customer_rows(rows: Iterable[Sequence[object]]) -> pl.DataFrame:
    """Rows of `customers`: customer, name, credit, offset, whether it is a deletion."""
    return pl.DataFrame(list(rows), schema=CUSTOMERS_SCHEMA, orient="row")


def items(name: str, version: int = 1, columns: Sequence[str] = ("id", "amount")) -> Layout:
    """An append-only table of integers and its view."""
    plain = tuple(Column(column, BIGINT, MergeRule.FIXED) for column in columns)
    return Layout(
        processor=name,
        version=version,
        kind=Kind.APPEND,
        columns=(*plain, PARTITION_COLUMN, OFFSET_COLUMN),
        key=("_partition", "_offset"),
        view=tuple(ViewColumn(column, Plain(column)) for column in columns),
    )


def item_rows(layout: Layout, count: int, partition: int = 0) -> pl.DataFrame:
    """Rows with the offsets 0 … count-1 whose values say which version wrote them."""
    plain = [column.name for column in layout.columns if not column.name.startswith("_")]
    return pl.DataFrame({"_offset": range(count)}, schema={"_offset": pl.Int64}).with_columns(
        pl.lit(partition, pl.Int32).alias("_partition"),
        *(pl.lit(layout.version, pl.Int64).alias(name) for name in plain),
    )


def declare(conn: Connection, layout: Layout, fingerprint: str = "f") -> None:
    """Records the version and creates its tables."""
    records.create(
        conn,
        layout.processor,
        layout.version,
        fingerprint=fingerprint,
        declared_in="plugin:it",
        layout=layout,
    )
    build.create(conn, layout)


def register(conn: Connection, layout: Layout, offsets: Sequence[int], topic: str = "t") -> None:
    """Registers partitions 0 … that have been read up to ``offsets``."""
    new = [NewPartition(topic, number, TOPIC_ID, 0) for number in range(len(offsets))]
    progress.register(conn, layout.processor, layout.version, new)
    for number, offset in enumerate(offsets):
        conn.execute(
            text(
                "UPDATE kappa_offset SET next_offset = :o"
                " WHERE processor = :p AND version = :v AND topic = :t AND partition = :k"
            ),
            {
                "o": offset,
                "p": layout.processor,
                "v": layout.version,
                "t": topic,
                "k": number,
            },
        )


def ready(engine: Engine, layout: Layout, offsets: Sequence[int]) -> Layout:
    """A version that is built, as far as ``offsets``, one per partition."""
    with engine.begin() as conn:
        declare(conn, layout)
        register(conn, layout, offsets)
        build.finish(conn, layout)
        manifest.make_ready(
            conn,
            layout.processor,
            layout.version,
            rows=0,
            run=manifest.Run(records=0, seconds=0.1, workers=1, batch_size=1),
            partitions=progress.read(conn, layout.processor, layout.version),
        )
    return layout


def move_to(engine: Engine, layout: Layout, offsets: Sequence[int]) -> None:
    """As if a worker had brought the version's partitions to ``offsets``."""
    with engine.begin() as conn:
        register(conn, layout, offsets)


def stored(conn: Connection, layout: Layout) -> pl.DataFrame:
    """The version's table, by key, in Polars."""
    columns = ", ".join(f'"{column.name}"::text' for column in layout.columns)
    order = ", ".join(f'"{name}"' for name in layout.key)
    rows = conn.execute(text(f'SELECT {columns} FROM "{layout.table}" ORDER BY {order}'))
    schema = {column.name: pl.String for column in layout.columns}
    return pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")


def without_view_column(layout: Layout, name: str) -> Layout:
    return replace(layout, view=tuple(c for c in layout.view if c.name != name))


def set_final(engine: Engine, name: str, version: int, through: str | None) -> None:
    """As if the version's windows were final up to then; None: none is yet."""
    if through is not None:
        with engine.begin() as conn:
            conn.execute(
                text("INSERT INTO kappa_finality VALUES (:n, :v, :t)"),
                {"n": name, "v": version, "t": through},
            )


def side_by_side(engine: Engine, name: str) -> str:
    """Version 1 serves, version 2 is as far; each has one row that says which wrote it."""
    for version in (1, 2):
        layout = ready(engine, items(name, version), [10])
        with engine.begin() as conn:
            sink.upsert(conn, layout, item_rows(layout, 1))
    promote(engine, {name: 1}, who="test")
    return name


@contextmanager
def old_snapshot(engine: Engine) -> Iterator[Connection]:
    """A report that has read something, no view, and sees nothing of what is written from now on.

    It is over when the block ends, or its transaction before.
    """
    other = engine.execution_options(isolation_level="REPEATABLE READ")
    with other.connect() as reader:
        reader.execute(text("SET LOCAL application_name = 'a report'"))
        reader.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        reader.execute(text("SELECT 1"))
        with engine.begin() as writer:  # only what comes after a transaction can be younger
            writer.execute(text("SELECT pg_current_xact_id()"))
        yield reader
        reader.rollback()


def exclusive_attempt(engine: Engine) -> datetime | None:
    """When the transaction began that waits to have a table or a view to itself, if one does."""
    waiting = text(
        "SELECT xact_start FROM pg_stat_activity JOIN pg_locks USING (pid)"
        " WHERE mode = 'AccessExclusiveLock' AND NOT granted AND datname = current_database()"
    )
    with engine.begin() as conn:
        found: datetime | None = conn.scalar(waiting)
    return found


def wait_until_blocked(engine: Engine, sessions: int = 1) -> None:
    """Returns once so many sessions of this database wait for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with engine.begin() as conn:
            if (conn.scalar(waiting) or 0) >= sessions:
                return
    raise AssertionError("nobody waits for a lock")
