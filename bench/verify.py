"""Whether a table holds, row by row, what DuckDB computes from the records themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import psycopg
from polars import selectors
from psycopg import sql

from bench.nexmark.placement import partitions
from bench.stream import PARTITIONS, Stream


class Wrong(Exception):
    """The table does not hold the rows it must; says how many differ, and shows one."""


@contextmanager
def recorded(stream: Stream, count: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database whose table ``records`` has the first ``count`` records, see Job.expected."""
    with duckdb.connect() as database:
        line = 0
        for frame in stream.chunks(count):
            chunk = frame.with_columns(
                selectors.datetime().dt.replace_time_zone(None).dt.cast_time_unit("us"),
                partitions(frame[stream.key], PARTITIONS).alias("partition"),
                pl.int_range(line, line + pl.len()).alias("line"),
            )
            line += len(chunk)
            database.register("chunk", chunk.to_arrow())
            database.execute("CREATE TABLE IF NOT EXISTS records AS FROM chunk LIMIT 0")
            database.execute("INSERT INTO records FROM chunk")
        database.unregister("chunk")
        yield database


def check(database: duckdb.DuckDBPyConnection, postgres_url: str, table: str, query: str) -> int:
    """Compares a table or view with ``query``, as multisets of rows.

    A number that ``query`` has in decimals is rounded to them.

    Returns:
        How many rows were compared.

    Raises:
        Wrong: they differ.
    """
    database.execute(f"CREATE OR REPLACE TEMP TABLE expected AS {query}")
    described = database.execute("DESCRIBE expected").fetchall()
    types = {str(row[0]): str(row[1]) for row in described}
    with tempfile.TemporaryDirectory() as directory:
        rows = Path(directory) / "rows.csv"
        _copy(postgres_url, table, types, rows)
        database.execute(
            f"CREATE OR REPLACE TEMP TABLE found AS SELECT * FROM read_csv('{rows}',"
            f" columns={types}, header=false, nullstr='\\N', auto_detect=false)"
        )
    missing = difference(database, "expected", "found")
    extra = difference(database, "found", "expected")
    if missing or extra:
        raise Wrong(f"{table}: missing {missing or 'nothing'}, too many {extra or 'none'}")
    ((count,),) = database.execute("SELECT count(*) FROM found").fetchall()
    return int(count)


def _copy(postgres_url: str, table: str, types: dict[str, str], file: Path) -> None:
    """Writes these columns of the table, times as UTC."""
    columns = [
        sql.SQL("{} AT TIME ZONE 'UTC'" if kind == "TIMESTAMP" else "{}").format(
            sql.Identifier(name)
        )
        for name, kind in types.items()
    ]
    select = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv, NULL '\\N')").format(
        sql.SQL(", ").join(columns), sql.Identifier(table)
    )
    with (
        psycopg.connect(postgres_url) as connection,
        connection.cursor().copy(select) as copy,
        file.open("wb") as out,
    ):
        for block in copy:
            out.write(block)


def difference(database: duckdb.DuckDBPyConnection, left: str, right: str) -> str:
    """How many rows ``left`` has beyond those of ``right``, with an example; else nothing."""
    database.execute(f"CREATE OR REPLACE TEMP TABLE rest AS FROM {left} EXCEPT ALL FROM {right}")
    ((count,),) = database.execute("SELECT count(*) FROM rest").fetchall()
    if not count:
        return ""
    return f"{count:,} rows, for example {database.execute('FROM rest LIMIT 1').fetchall()[0]}"
