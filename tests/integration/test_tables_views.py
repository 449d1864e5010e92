"""Readers of a view keep its columns; they may gain some at the end, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, text

from kappa.errors import NameTaken, TableError, ViewIncompatible
from kappa.tables import build, sink, views
from kappa.tables.finality import Finality
from kappa.tables.finalize import Plain, ScaledDecimal, WindowEnd
from kappa.tables.layout import Column, Kind, Layout, ViewColumn
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import BIGINT, TEXT, numeric
from tests.integration.tables_scenes import item_rows, items, revenue, revenue_rows

Unique = Callable[[str], str]


def move(conn: Connection, layout: Layout) -> None:
    build.create(conn, layout)
    views.move_views(conn, [(layout, None)])


def columns(conn: Connection, view: str) -> list[tuple[str, str]]:
    found = conn.execute(
        text(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = CAST(:v AS regclass) AND attnum > 0 ORDER BY attnum"
        ),
        {"v": view},
    )
    return [(row[0], row[1]) for row in found]


def test_the_view_shows_finalized_columns(engine: Engine, unique: Unique) -> None:
    layout = revenue(unique("shown"))
    with engine.begin() as conn:
        build.create(conn, layout)
        sink.append(conn, layout, revenue_rows([("a", 60_000, 2, 2**33, "c", "c")]))
        views.move_views(conn, [(layout, None)])
        row = conn.execute(text(f"SELECT * FROM {layout.view_name}")).one()
        assert columns(conn, layout.view_name) == [
            ("product", "text"),
            ("window_start", "timestamp with time zone"),
            ("window_end", "timestamp with time zone"),
            ("orders", "bigint"),
            ("revenue", "double precision"),
            ("mean", "double precision"),
        ]
    assert (row.orders, row.revenue, row.mean) == (2, 2.0, 1.0)
    assert (row.window_end - row.window_start).total_seconds() == 60


def test_a_window_is_as_long_in_every_time_zone(engine: Engine, unique: Unique) -> None:
    """A day of 24 hours, also over the night when clocks change."""
    layout = revenue(unique("zone"))
    end = ViewColumn("window_end", WindowEnd("window_start", 86_400_001))
    layout = replace(layout, view=(layout.view[1], end))
    with engine.begin() as conn:
        build.create(conn, layout)
        sink.append(conn, layout, revenue_rows([("a", 1_711_753_200_000, 1, 1, "c", "c")]))
        views.move_views(conn, [(layout, None)])
        conn.execute(text("SET LOCAL TimeZone = 'Europe/Berlin'"))
        query = text(
            f"SELECT extract(epoch FROM window_end - window_start) FROM {layout.view_name}"
        )
        assert float(conn.scalar(query) or 0) == 86_400.001


def test_decimals_are_shown_exactly(engine: Engine, unique: Unique) -> None:
    layout = Layout(
        processor=unique("cents"),
        version=1,
        kind=Kind.AGGREGATE,
        columns=(
            Column("k", BIGINT, MergeRule.KEY, nullable=False),
            Column("total__units", BIGINT, MergeRule.SUM),
        ),
        key=("k",),
        view=(ViewColumn("total", ScaledDecimal("total__units", 2)),),
    )
    with engine.begin() as conn:
        move(conn, layout)
        conn.execute(text(f"INSERT INTO {layout.table} VALUES (1, -12345)"))
        assert str(conn.scalar(text(f"SELECT total FROM {layout.view_name}"))) == "-123.45"


def test_the_view_moves_and_may_gain_columns_at_its_end(engine: Engine, unique: Unique) -> None:
    one, two = items(name := unique("gain")), items(name, 2, ["id", "amount", "extra"])
    with engine.begin() as conn:
        for layout in (one, two):
            move(conn, layout)
            sink.append(conn, layout, item_rows(layout, 1))
            assert conn.scalar(text(f"SELECT amount FROM {name}")) == layout.version
        assert [column for column, _ in columns(conn, name)] == ["id", "amount", "extra"]


@pytest.mark.parametrize(
    ("shown", "column", "said"),
    [
        (["id"], "amount", "removed"),
        (["amount", "id"], "id", "place"),
        (["id", "total"], "amount", "removed"),
        (["extra", "id", "amount"], "id", "place"),
    ],
)
def test_columns_keep_name_and_place(
    engine: Engine, unique: Unique, shown: list[str], column: str, said: str
) -> None:
    name = unique("columns")
    with engine.begin() as conn:
        move(conn, items(name))
    with pytest.raises(ViewIncompatible, match=said) as caught, engine.begin() as conn:
        move(conn, items(name, 2, shown))
    assert caught.value.detail["column"] == column


@pytest.mark.parametrize("kind", [TEXT, numeric(12, 2)])
def test_columns_keep_their_type(engine: Engine, unique: Unique, kind: object) -> None:
    """Even numeric(10,2) and numeric(12,2) are not the same to PostgreSQL's views."""
    one = items(unique("types"))
    narrow = replace(one.columns[1], type=numeric(10, 2))
    one = replace(one, columns=(one.columns[0], narrow, *one.columns[2:]))
    two = replace(
        one, version=2, columns=(one.columns[0], replace(narrow, type=kind), *one.columns[2:])
    )
    with engine.begin() as conn:
        move(conn, one)
    with (
        pytest.raises(ViewIncompatible, match=r"from numeric\(10,2\) to") as caught,
        engine.begin() as conn,
    ):
        move(conn, two)
    assert caught.value.detail["column"] == "amount"


def test_options_grants_and_dependents_are_kept(engine: Engine, unique: Unique) -> None:
    one, two = items(name := unique("kept")), items(name, 2)
    role = unique("reader")
    with engine.begin() as conn:
        move(conn, one)
        conn.execute(text(f"ALTER VIEW {name} SET (security_barrier = true, check_option = local)"))
        conn.execute(text(f"CREATE ROLE {role}; GRANT SELECT ON {name} TO {role}"))
        conn.execute(text(f"CREATE VIEW {name}_report AS SELECT amount FROM {name}"))
        move(conn, two)
        sink.append(conn, two, item_rows(two, 1))
        options = conn.scalar(
            text("SELECT reloptions FROM pg_class WHERE relname = :n"), {"n": name}
        )
        assert options == ["security_barrier=true", "check_option=local"]
        conn.execute(text(f"SET LOCAL ROLE {role}"))
        assert conn.scalar(text(f"SELECT amount FROM {name}")) == 2
        conn.execute(text("RESET ROLE"))
        assert conn.scalar(text(f"SELECT amount FROM {name}_report")) == 2
        conn.execute(text(f"DROP OWNED BY {role}; DROP ROLE {role}"))


@pytest.mark.parametrize(
    "foreign",
    [
        "CREATE TABLE {} (id bigint, amount bigint)",
        "CREATE VIEW {} AS SELECT 1::bigint AS id, 2::bigint AS amount",
        "CREATE MATERIALIZED VIEW {} AS SELECT 1 AS id",
        "CREATE VIEW {} AS SELECT 1::bigint AS id, count(*) AS amount FROM kappa_offset",
    ],
)
def test_a_foreign_relation_is_not_replaced(engine: Engine, unique: Unique, foreign: str) -> None:
    layout = items(unique("foreign"))
    with engine.begin() as conn:
        conn.execute(text(foreign.format(layout.view_name)))
    with pytest.raises(NameTaken, match=layout.view_name), engine.begin() as conn:
        move(conn, layout)


def test_the_view_must_be_able_to_read_the_new_table(engine: Engine, unique: Unique) -> None:
    """The swap would succeed, and every reader fail."""
    one, two = items(name := unique("right")), items(name, 2)
    role = unique("owner")
    with engine.begin() as conn:
        move(conn, one)
        build.create(conn, two)
        conn.execute(text(f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}"))
        conn.execute(text(f"ALTER VIEW {name} OWNER TO {role}"))
        with pytest.raises(ViewIncompatible) as caught:
            views.check_view(conn, two)
        assert caught.value.detail["owner"] == role
        conn.execute(text(f'GRANT SELECT ON "{two.table}" TO {role}'))
        views.check_view(conn, two)
        conn.execute(text(f"DROP OWNED BY {role}; DROP ROLE {role}"))


def test_a_view_that_asks_its_readers_rights_needs_theirs(engine: Engine, unique: Unique) -> None:
    one, two = items(name := unique("invoker")), items(name, 2)
    role = unique("reader")
    with engine.begin() as conn:
        move(conn, one)
        build.create(conn, two)
        conn.execute(text(f"CREATE ROLE {role}"))
        conn.execute(text(f"GRANT SELECT ON {name} TO {role}"))
        views.check_view(conn, two)
        conn.execute(text(f"ALTER VIEW {name} SET (security_invoker = on)"))
        with pytest.raises(ViewIncompatible) as caught:
            views.check_view(conn, two)
        assert caught.value.detail["role"] == role
        conn.execute(text(f'GRANT SELECT ON "{two.table}" TO {role}'))
        views.check_view(conn, two)
        conn.execute(text(f"DROP OWNED BY {role}; DROP ROLE {role}"))


def test_a_view_is_only_moved_by_who_may_replace_it(engine: Engine, unique: Unique) -> None:
    one, two = items(name := unique("whose")), items(name, 2)
    owner, mine = unique("owner"), unique("mine")
    with engine.begin() as conn:
        move(conn, one)
        build.create(conn, two)
        conn.execute(text(f"CREATE ROLE {owner}; CREATE ROLE {mine}"))
        conn.execute(text(f"GRANT CREATE ON SCHEMA public TO {owner}"))
        conn.execute(text(f"ALTER VIEW {name} OWNER TO {owner}"))
        conn.execute(text(f'GRANT SELECT ON "{two.table}" TO {owner}, {mine}'))
        conn.execute(text(f"SET LOCAL ROLE {mine}"))
        with pytest.raises(ViewIncompatible, match="not kappa's to replace") as caught:
            views.check_view(conn, two)
        assert caught.value.detail["owner"] == owner
        conn.execute(text("RESET ROLE"))
        conn.execute(text(f"GRANT {owner} TO {mine}"))
        conn.execute(text(f"SET LOCAL ROLE {mine}"))
        views.check_view(conn, two)
        conn.execute(text("RESET ROLE"))
        for role in (mine, owner):
            conn.execute(text(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}"))


def test_the_owner_of_a_view_of_final_rows_may_read_what_is_final(
    engine: Engine, unique: Unique
) -> None:
    """A build grants it: the view of the version before does not read that."""
    one = revenue(name := unique("finals"))
    two = replace(revenue(name, 2), finality=Finality(0, hides=True))
    role = unique("owner")
    with engine.begin() as conn:
        move(conn, one)
        conn.execute(text(f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}"))
        conn.execute(text(f"ALTER VIEW {name} OWNER TO {role}"))
        build.create(conn, two)
        views.check_view(conn, two)
        conn.execute(text(f"REVOKE SELECT ON kappa_finality FROM {role}"))
        with pytest.raises(ViewIncompatible, match="kappa_finality"):
            views.check_view(conn, two)
        conn.execute(text(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}"))


def test_a_prepared_select_survives_a_move(engine: Engine, unique: Unique) -> None:
    one, two = items(name := unique("prepared")), items(name, 2)
    with engine.begin() as conn:
        move(conn, one)
        build.create(conn, two)
        sink.append(conn, two, item_rows(two, 1))
    with engine.connect() as reader:
        reader.execute(text(f"PREPARE q AS SELECT * FROM {name}"))
        assert reader.execute(text("EXECUTE q")).all() == []
        reader.commit()
        with engine.begin() as conn:
            views.move_views(conn, [(two, None)])
        assert [tuple(row) for row in reader.execute(text("EXECUTE q"))] == [(2, 2)]
        reader.execute(text("DEALLOCATE q"))


def test_a_prepared_select_of_all_columns_fails_once_one_was_added(
    engine: Engine, unique: Unique
) -> None:
    """PostgreSQL's own rule; who names the columns goes on."""
    one, two = items(name := unique("wider")), items(name, 2, ["id", "amount", "more"])
    with engine.begin() as conn:
        move(conn, one)
        build.create(conn, two)
        sink.append(conn, two, item_rows(two, 1))
    with engine.connect() as reader:
        reader.execute(text(f"PREPARE everything AS SELECT * FROM {name}"))
        reader.execute(text(f"PREPARE named AS SELECT id, amount FROM {name}"))
        for query in ("everything", "named"):
            assert reader.execute(text(f"EXECUTE {query}")).all() == []
        reader.commit()
        with engine.begin() as conn:
            views.move_views(conn, [(two, None)])
        assert [tuple(row) for row in reader.execute(text("EXECUTE named"))] == [(2, 2)]
        with pytest.raises(TableError, match="cached plan must not change result type"):
            reader.execute(text("EXECUTE everything"))
        reader.rollback()
        reader.execute(text("DEALLOCATE ALL"))


def test_plain_columns_of_the_view_name_their_table_column() -> None:
    assert Plain("a").columns == ("a",)
    assert WindowEnd("b", 1).columns == ("b",)
