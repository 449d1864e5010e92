"""Digests of all that a version's tables hold for readers, whatever order and way it came in.

They are of what the views show, not of what is stored: hidden columns may say how a row came
about, such as how many records corrected it. Rows count even before they are final, which may
depend on the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.tables import views
from kappa.tables.bookkeeping import dead_letter
from kappa.tables.digest import digest
from kappa.tables.layout import Layout, key_of
from kappa.tables.publication import LATE, MAIN
from kappa.tables.relations import relation, rows_table, side_rows

DEAD_LETTERS = "dead_letters"


def rows_digest(conn: Connection, layout: Layout) -> str:
    """The digest of the version's rows, with their key."""
    select = views.select_rows(layout)
    return digest(conn, _with_key(select, rows_table(layout), layout.key))


def digests(conn: Connection, layout: Layout) -> dict[str, str]:
    """By output: the rows, the side outputs, late records, and the places of dead letters."""
    found = {MAIN: rows_digest(conn, layout)}
    found |= {name: digest(conn, select) for name, select in _others(layout)}
    return found


def _others(layout: Layout) -> Iterator[tuple[str, sa.Select[Any]]]:
    for side in layout.sides:
        select = views.select_side(layout, side)
        yield side.name, _with_key(select, side_rows(layout, side), key_of(side.columns))
    if layout.late is not None and layout.late_table is not None:
        yield LATE, sa.select(*relation(layout.late_table, layout.late).c)
    letter = dead_letter.c
    yield (
        DEAD_LETTERS,
        sa.select(letter.topic, letter.partition, letter.offset, letter.index).where(
            letter.processor == layout.processor, letter.version == layout.version
        ),
    )


def _with_key(select: sa.Select[Any], table: sa.Table, key: tuple[str, ...]) -> sa.Select[Any]:
    return select.add_columns(*(table.c[name].label(f"key {name}") for name in key))
