"""A version's tables are made, finished and dropped, and every step can be taken again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Thread

import polars as pl
import pytest
from sqlalchemy import Connection, Engine, text

from kappa.errors import IllegalTransition, NameTaken, TableError
from kappa.tables import build, catalog, sink
from kappa.tables.layout import Layout
from tests.integration.tables_scenes import (
    customer_rows,
    customers,
    item_rows,
    items,
    ready,
    revenue,
    revenue_rows,
    stored,
)

Unique = Callable[[str], str]


def keys(conn: Connection, table: str) -> list[str]:
    found = conn.scalars(
        text(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = CAST(:t AS regclass) AND contype IN ('p', 'u')"
        ),
        {"t": table},
    )
    return list(found)


def test_creating_twice_keeps_the_rows(engine: Engine, unique: Unique) -> None:
    layout = revenue(unique("again"))
    with engine.begin() as conn:
        build.create(conn, layout)
        sink.append(conn, layout, revenue_rows([("a", 0, 1, 1, "c", "c")]))
    with engine.begin() as conn:
        build.create(conn, layout)
        assert len(stored(conn, layout)) == 1


def test_creating_a_finished_table_does_nothing(engine: Engine, unique: Unique) -> None:
    layout = customers(unique("done"))
    with engine.begin() as conn:
        build.create(conn, layout)
        build.finish(conn, layout)
        build.create(conn, layout)
        assert build.is_finished(conn, layout)


def test_many_creating_at_once(engine: Engine, unique: Unique) -> None:
    layout = revenue(unique("crowd"))
    failures: list[BaseException] = []

    def create() -> None:
        try:
            with engine.begin() as conn:
                build.create(conn, layout)
        except BaseException as error:  # noqa: BLE001 - reported by the test
            failures.append(error)

    threads = [Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize(
    "foreign",
    [
        "CREATE TABLE {} (other int)",
        "CREATE VIEW {} AS SELECT 1 AS one",
        "CREATE SEQUENCE {}",
        "CREATE TABLE {} (product int, window_start timestamptz)",
    ],
)
def test_a_foreign_relation_of_the_name_is_left_alone(
    engine: Engine, unique: Unique, foreign: str
) -> None:
    layout = revenue(unique("taken"))
    with engine.begin() as conn:
        conn.execute(text(foreign.format(layout.table)))
    with pytest.raises(NameTaken, match=layout.table), engine.begin() as conn:
        build.create(conn, layout)


def test_finishing_twice(engine: Engine, unique: Unique) -> None:
    layout = revenue(unique("twice"))
    with engine.begin() as conn:
        build.create(conn, layout)
        sink.append(conn, layout, revenue_rows([("a", 0, 1, 1, "c", "c")] * 2))
    for _ in range(2):
        with engine.begin() as conn:
            assert build.finish(conn, layout) == 1


def test_a_finish_that_was_cut_off_can_be_done_again(engine: Engine, unique: Unique) -> None:
    layout = customers(unique("cut"))
    rows = [("a", "x", 1, 0, False), ("b", "y", 1, 1, False), ("b", None, None, 2, True)]
    with engine.begin() as conn:
        build.create(conn, layout)
        sink.append(conn, layout, customer_rows(rows))
    with engine.connect() as conn:
        build.finish(conn, layout)  # never committed
    with engine.begin() as conn:
        assert not build.is_finished(conn, layout)
        assert build.finish(conn, layout) == 1
        assert stored(conn, layout)["customer"].to_list() == ["a"]


@pytest.mark.parametrize("null_keys", [False, True])
def test_the_key_is_primary_where_it_cannot_be_null(
    engine: Engine, unique: Unique, null_keys: bool
) -> None:
    layout = revenue(unique("keys"), null_keys=null_keys)
    with engine.begin() as conn:
        build.create(conn, layout)
        build.finish(conn, layout)
        kind = "UNIQUE NULLS NOT DISTINCT" if null_keys else "PRIMARY KEY"
        assert keys(conn, layout.table) == [f"{kind} (product, window_start)"]
        assert layout.late_table is not None
        assert keys(conn, layout.late_table) == ["PRIMARY KEY (_partition, _offset)"]


def test_a_finished_table_of_latest_rows_shows_nothing_of_the_build(
    engine: Engine, unique: Unique
) -> None:
    """Whether it was written anew or only changed: same columns, same NOT NULL."""
    shapes = []
    for copies in (1, 3):
        layout = customers(unique("shape"))
        with engine.begin() as conn:
            build.create(conn, layout)
            for offset in range(copies):
                sink.append(conn, layout, customer_rows([("a", "x", None, offset, False)]))
            build.finish(conn, layout)
            shapes.append(
                conn.execute(
                    text(
                        "SELECT attname, attnotnull FROM pg_attribute WHERE attnum > 0"
                        " AND NOT attisdropped AND attrelid = CAST(:t AS regclass)"
                        " ORDER BY attnum"
                    ),
                    {"t": layout.table},
                ).all()
            )
    wanted = [("customer", True), ("name", True), ("credit", False), ("_offset", True)]
    assert [tuple(row) for row in shapes[0]] == wanted
    assert shapes[0] == shapes[1]


def test_statistics_are_there_for_the_first_reader(engine: Engine, unique: Unique) -> None:
    layout = items(unique("stats"))
    with engine.begin() as conn:
        build.create(conn, layout)
        sink.append(conn, layout, item_rows(layout, 500))
        build.finish(conn, layout)
        rows = text("SELECT reltuples FROM pg_class WHERE oid = CAST(:t AS regclass)")
        assert conn.scalar(rows, {"t": layout.table}) == 500


def test_upserting_before_the_end_of_the_build_says_so(engine: Engine, unique: Unique) -> None:
    layout = revenue(unique("early"))
    with engine.begin() as conn:
        build.create(conn, layout)
    with pytest.raises(TableError, match=f"{layout.table}__key"), engine.begin() as conn:
        sink.upsert(conn, layout, revenue_rows([("a", 0, 1, 1, "c", "c")]))


def test_dropping_and_dropping_again(engine: Engine, unique: Unique) -> None:
    layout = revenue(unique("gone"))
    with engine.begin() as conn:
        build.create(conn, layout)
        for _ in range(2):
            build.drop(conn, layout.processor, layout.version)
        assert catalog.find(conn, layout.table) is None
        assert catalog.find(conn, f"{layout.table}__late") is None


def test_a_dependent_view_keeps_the_table(engine: Engine, unique: Unique) -> None:
    layout = ready(engine, items(unique("kept")), [0])
    report = f"{layout.processor}_report"
    with engine.begin() as conn:
        conn.execute(text(f"CREATE VIEW {report} AS SELECT id FROM {layout.table}"))
    with pytest.raises(IllegalTransition) as caught, engine.begin() as conn:
        build.drop(conn, layout.processor, layout.version)
    assert caught.value.detail["views"] == report
    with engine.begin() as conn:
        assert catalog.find(conn, layout.table) is not None


def test_the_owner_of_the_view_may_read_a_new_table(engine: Engine, unique: Unique) -> None:
    layout = customers(unique("owned"))
    role = unique("reader")
    with engine.begin() as conn:
        conn.execute(text(f"CREATE ROLE {role}"))
        conn.execute(text(f"CREATE VIEW {layout.view_name} AS SELECT 1 AS id"))
        conn.execute(text(f"ALTER VIEW {layout.view_name} OWNER TO {role}"))
        build.create(conn, layout)
        assert catalog.can_select(conn, role, layout.table)
        for offset in range(2):  # in a finish that writes the table anew, too
            sink.append(conn, layout, customer_rows([("a", "x", 1, offset, False)]))
        build.finish(conn, layout)
        assert catalog.can_select(conn, role, layout.table)
        conn.execute(text(f"DROP OWNED BY {role}; DROP ROLE {role}"))


def test_late_records_are_kept_apart(engine: Engine, unique: Unique) -> None:
    layout = revenue(unique("late"))
    late = pl.DataFrame({"_partition": [0, 0], "_offset": [4, 9], "product": ["a", None]})
    with engine.begin() as conn:
        build.create(conn, layout)
        sink.write_late(conn, layout, late)
        build.finish(conn, layout)
        sink.write_late(conn, layout, late.with_columns(_partition=pl.lit(1)))
        found = conn.execute(text(f"SELECT * FROM {layout.late_table} ORDER BY 1, 2")).all()
    assert [tuple(row) for row in found] == [(0, 4, "a"), (0, 9, None), (1, 4, "a"), (1, 9, None)]


def test_a_version_without_late_records_takes_none(engine: Engine, unique: Unique) -> None:
    layout: Layout = replace(revenue(unique("none")), late=None)
    with engine.begin() as conn:
        build.create(conn, layout)
        assert build.finish(conn, layout) == 0
        assert catalog.find(conn, f"{layout.table}__late") is None
