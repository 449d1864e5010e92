"""A digest says whether two relations hold the same rows, in whatever order."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine, text

from kappa.tables import build, sink, views
from kappa.tables.digest import digest
from tests.integration.tables_scenes import revenue, revenue_rows

Unique = Callable[[str], str]
ROWS = [("a", 0, 1, 10, "c", "d"), ("b", 0, 2, 20, "é", None), (None, 60_000, 3, None, "", "")]


def digest_of(engine: Engine, name: str, rows: list[tuple[object, ...]]) -> str:
    layout = revenue(name, null_keys=True)
    with engine.begin() as conn:
        build.create(conn, layout)
        sink.append(conn, layout, revenue_rows(rows))
        found = digest(conn, layout.table)
        views.move_views(conn, [(layout, None)])
        assert digest(conn, layout.view_name) == digest(conn, views.select_view(layout))
    return found


def test_a_column_called_like_an_alias_is_one_of_many(engine: Engine) -> None:
    said = "SELECT 1 AS r, {} AS g UNION ALL SELECT NULL, 3"
    with engine.connect() as conn:
        conn.execute(text("CREATE TEMPORARY TABLE colours AS " + said.format(2)))
        before = digest(conn, "colours")
        conn.execute(text("UPDATE colours SET g = 4 WHERE r IS NULL"))
        after = digest(conn, "colours")
        conn.rollback()
    assert before != after


def test_order_does_not_matter_and_every_value_does(engine: Engine, unique: Unique) -> None:
    one = digest_of(engine, unique("d"), ROWS)
    assert one.startswith("3-")
    assert digest_of(engine, unique("d"), ROWS[::-1]) == one
    changed = [
        ROWS[:2],
        [*ROWS, ROWS[0]],
        [("a", 0, 1, 11, "c", "d"), *ROWS[1:]],
        [("a", 0, 1, 10, "cd", ""), *ROWS[1:]],
        [*ROWS[:2], ("", *ROWS[2][1:])],
    ]
    assert len({one, *(digest_of(engine, unique("d"), rows) for rows in changed)}) == 6


def test_a_pair_of_equal_rows_does_not_cancel_out(engine: Engine, unique: Unique) -> None:
    found = {digest_of(engine, unique("d"), [ROWS[0]] * count) for count in (0, 2, 4)}
    assert len(found) == 3


def test_another_session_sees_the_same(engine: Engine, unique: Unique) -> None:
    """Settings of a role or database change how values are written; the session's win."""
    name = unique("d")
    one = digest_of(engine, name, ROWS)
    with engine.begin() as conn:
        database = conn.scalar(text("SELECT current_database()"))
        for setting in (
            "TimeZone = 'Asia/Tokyo'",
            "DateStyle = 'German'",
            "extra_float_digits = 0",
        ):
            conn.execute(text(f'ALTER DATABASE "{database}" SET {setting}'))
    try:
        engine.dispose()
        with engine.begin() as conn:
            assert conn.scalar(text("SHOW TimeZone")) == "UTC"
            assert digest(conn, f"{name}__v1") == one
    finally:
        with engine.begin() as conn:
            conn.execute(text(f'ALTER DATABASE "{database}" RESET ALL'))


def test_nothing_has_a_digest(engine: Engine, unique: Unique) -> None:
    assert digest_of(engine, unique("d"), []) == "0-0000000000000000"
