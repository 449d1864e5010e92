"""Dead letters keep the record as it was, and its reason."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from sqlalchemy import Engine, text

from kappa.tables import dead_letters
from kappa.tables import letters as tables_letters
from kappa.tables.letters import Choice
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


def test_letters_come_in_pages_and_no_transaction_is_open_meanwhile(
    engine: Engine, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of three letters or of a hundred bytes; one letter is larger than that by itself."""
    monkeypatch.setattr(tables_letters, "_PAGE_LETTERS", 3)
    monkeypatch.setattr(tables_letters, "_PAGE_BYTES", 100)
    layout = items(unique("dead"))
    sizes = [10, 95, 300, 0, 50, 50, 1, 99, 2, 40]
    rows: list[tuple[object, ...]] = [
        ("t", at % 2, at, 0, 0, None, bytes(size), "Error", "x", None, None, None)
        for at, size in enumerate(sizes)
    ]
    rows.append(("t", 0, 4, 1, 0, b"k" * 60, None, "Error", "x", None, "timer", None))
    with engine.begin() as conn:
        declare(conn, layout)
        dead_letters.insert(conn, layout.processor, 1, letters(rows))
    found = []
    with engine.connect() as conn:
        for letter in tables_letters.each(conn, layout.processor, 1, Choice()):
            assert not conn.in_transaction()
            found.append((letter.partition, letter.offset, letter.index, letter.value))
    assert found == sorted((row[1], row[2], row[3], row[6]) for row in rows)
    few = Choice(places=(("t", 1, 3), ("t", 0, 8)))
    with engine.connect() as conn:
        named = tables_letters.each(conn, layout.processor, 1, few)
        assert [letter.offset for letter in named] == [8, 3]
