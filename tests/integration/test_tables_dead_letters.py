"""Dead letters keep the record as it was, and its reason."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from sqlalchemy import Engine, text

from kappa.tables import dead_letters
from tests.integration.tables_scenes import declare, items

Unique = Callable[[str], str]


def letters(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dead_letters.FRAME_SCHEMA, orient="row")


def test_a_letter_is_kept_byte_for_byte(engine: Engine, unique: Unique) -> None:
    layout = items(unique("dead"))
    rows = [
        (
            "t",
            0,
            5,
            0,
            1_700_000_000_000,
            b"k\x00",
            b"\x00\xff\\.",
            "BadMagic",
            "no\0pe",
            None,
            None,
            None,
        ),
        ("t", 1, 0, 0, 0, None, None, "Null", "", "line\nline", None, None),
        ("t", 1, 0, 1, 0, None, None, "ValueError", "x", "line", "timer clear of key 'a' at 5", 3),
    ]
    with engine.begin() as conn:
        declare(conn, layout)
        dead_letters.insert(conn, layout.processor, 1, letters(rows))
        found = conn.execute(
            text(
                'SELECT topic, partition, "offset", index, timestamp, key, value, error_class,'
                " message, stack, timer, retry_of FROM kappa_dead_letter WHERE processor = :p"
                " ORDER BY partition, index"
            ),
            {"p": layout.processor},
        ).all()
    assert tuple(found[0]) == (*rows[0][:8], "no\ufffdpe", None, None, None)
    assert [tuple(row) for row in found[1:]] == rows[1:]


def test_the_same_record_twice_is_one_letter(engine: Engine, unique: Unique) -> None:
    layout = items(unique("dead"))
    with engine.begin() as conn:
        declare(conn, layout)
        for reason in ("first", "second"):
            row = ("t", 0, 5, 0, 0, None, b"v", "Error", reason, None, None, None)
            dead_letters.insert(conn, layout.processor, 1, letters([row]))
        dead_letters.insert(conn, layout.processor, 1, letters([]))
        query = text("SELECT message FROM kappa_dead_letter WHERE processor = :p")
        assert conn.scalars(query, {"p": layout.processor}).all() == ["first"]
