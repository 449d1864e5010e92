"""Whether a view holds, row by row, what DuckDB computes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import psycopg
from psycopg import sql

from bench.nexmark.queries import Query


class Wrong(Exception):
    """The view does not hold the rows it must; says how many differ, and shows one."""


def check(database: duckdb.DuckDBPyConnection, postgres_url: str, query: Query) -> int:
    """Compares the view of ``query`` with its equivalent, as multisets of rows.

    Returns:
        How many rows were compared.

    Raises:
        Wrong: they differ.
    """
    database.execute(f"CREATE OR REPLACE TEMP TABLE expected AS {query.sql}")
    described = database.execute("DESCRIBE expected").fetchall()
    types = {str(row[0]): str(row[1]) for row in described}
    with tempfile.TemporaryDirectory() as directory:
        rows = Path(directory) / "rows.csv"
        _copy(postgres_url, query.name, types, rows)
        database.execute(
            f"CREATE OR REPLACE TEMP TABLE found AS SELECT * FROM read_csv('{rows}',"
            f" columns={types}, header=false, nullstr='\\N', auto_detect=false)"
        )
    missing = _difference(database, "expected", "found")
    extra = _difference(database, "found", "expected")
    if missing or extra:
        raise Wrong(f"{query.name}: missing {missing or 'nothing'}, too many {extra or 'none'}")
    (count,) = database.execute("SELECT count(*) FROM found").fetchall()[0]
    return int(count)


def _copy(postgres_url: str, view: str, types: dict[str, str], file: Path) -> None:
    """Writes these columns of the view, times as UTC."""
    columns = [
        sql.SQL("{} AT TIME ZONE 'UTC'" if kind == "TIMESTAMP" else "{}").format(
            sql.Identifier(name)
        )
        for name, kind in types.items()
    ]
    select = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv, NULL '\\N')").format(
        sql.SQL(", ").join(columns), sql.Identifier(view)
    )
    with (
        psycopg.connect(postgres_url) as connection,
        connection.cursor().copy(select) as copy,
        file.open("wb") as out,
    ):
        for block in copy:
            out.write(block)


def _difference(database: duckdb.DuckDBPyConnection, left: str, right: str) -> str:
    """How many rows ``left`` has beyond those of ``right``, with an example; else nothing."""
    database.execute(f"CREATE OR REPLACE TEMP TABLE rest AS FROM {left} EXCEPT ALL FROM {right}")
    ((count,),) = database.execute("SELECT count(*) FROM rest").fetchall()
    if not count:
        return ""
    return f"{count:,} rows, for example {database.execute('FROM rest LIMIT 1').fetchall()[0]}"
