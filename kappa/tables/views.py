"""The view readers use: what it selects, whether its columns may change, and moving it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy import Connection

from kappa.errors import NameTaken, ViewIncompatible
from kappa.tables import catalog
from kappa.tables.catalog import Relation, RelationColumn, RelationKind
from kappa.tables.engine import driver, translating
from kappa.tables.layout import Layout
from kappa.tables.relations import rows_table


def select_view(layout: Layout) -> sa.Select[Any]:
    """What the view selects when this version serves: explicit columns of its table."""
    table = rows_table(layout)
    columns = [column.finalize.expression(table).label(column.name) for column in layout.view]
    return sa.select(*columns)


def check_view(conn: Connection, layout: Layout) -> None:
    """Whether the view could be moved to this version's table, without moving it.

    Raises:
        NameTaken: the name belongs to a relation that is not this processor's view.
        ViewIncompatible: a column would change its name, place or type, or the view's owner
            could not read the table.
    """
    _movable(conn, layout)


def move_view(conn: Connection, layout: Layout) -> None:
    """Creates the view or moves it to this version's table; its options are kept.

    Raises what `check_view` raises.
    """
    existing = _movable(conn, layout)
    options = existing.options if existing is not None else ()
    with translating():
        driver(conn).execute(
            sql.SQL("CREATE OR REPLACE VIEW {} {} AS {}").format(
                sql.Identifier(layout.view_name), _with(options), _select(conn, layout)
            )
        )


def _movable(conn: Connection, layout: Layout) -> Relation | None:
    """The view as it is now; None where there is none yet."""
    view = catalog.find(conn, layout.view_name)
    if view is None:
        return None
    if view.kind is not RelationKind.VIEW or not _is_ours(conn, layout):
        raise NameTaken(
            f"a relation {layout.view_name!r} exists and is not this processor's view",
            hint="rename it, or give the processor another name",
        )
    _compare(layout.view_name, view.columns, _selected(conn, layout))
    if not catalog.can_select(conn, view.owner, layout.table):
        raise ViewIncompatible(
            f"the owner of view {layout.view_name!r} may not read {layout.table!r}",
            owner=view.owner,
            hint=f'GRANT SELECT ON "{layout.table}" TO "{view.owner}"',
        )
    return view


def _is_ours(conn: Connection, layout: Layout) -> bool:
    """kappa's views read the tables of one processor and nothing else."""
    prefix = f"{layout.processor}__v"
    sources = catalog.sources(conn, layout.view_name)
    return bool(sources) and all(source.startswith(prefix) for source in sources)


def _selected(conn: Connection, layout: Layout) -> tuple[RelationColumn, ...]:
    """The columns the view would have, as PostgreSQL sees them."""
    with translating(), driver(conn).cursor() as cursor:
        cursor.execute(sql.SQL("{} LIMIT 0").format(_select(conn, layout)))
        assert cursor.pgresult is not None
        assert cursor.description is not None
        names = [column.name for column in cursor.description]
        oids = [column.type_code for column in cursor.description]
        modifiers = [cursor.pgresult.fmod(place) for place in range(len(names))]
    types = conn.scalars(_TYPES, {"oids": oids, "modifiers": modifiers})
    return tuple(RelationColumn(name, kind) for name, kind in zip(names, types, strict=True))


def _compare(view: str, old: tuple[RelationColumn, ...], new: tuple[RelationColumn, ...]) -> None:
    """Readers may gain columns at the end, and nothing else."""
    for place, column in enumerate(old, start=1):
        now = new[place - 1] if place <= len(new) else None
        if now is not None and now == column:
            continue
        raise ViewIncompatible(
            _difference(column, now, [other.name for other in new]),
            view=view,
            column=column.name,
            place=place,
            hint="keep the columns readers know, add new ones at the end, or use another name",
        )


def _difference(old: RelationColumn, now: RelationColumn | None, names: list[str]) -> str:
    if now is not None and now.name == old.name:
        return f"column {old.name!r} would change its type from {old.type} to {now.type}"
    if old.name in names:
        return f"column {old.name!r} would change its place"
    return f"column {old.name!r} would be removed"


def _select(conn: Connection, layout: Layout) -> sql.SQL:
    compiled = select_view(layout).compile(
        dialect=conn.dialect, compile_kwargs={"literal_binds": True}
    )
    return sql.SQL(str(compiled))


def _with(options: tuple[tuple[str, str], ...]) -> sql.Composable:
    if not options:
        return sql.SQL("")
    listed = (
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in options
    )
    return sql.SQL("WITH ({})").format(sql.SQL(", ").join(listed))


_TYPES = sa.text(
    "SELECT format_type(type, modifier) FROM"
    " unnest(CAST(:oids AS oid[]), CAST(:modifiers AS int[])) WITH ORDINALITY"
    " AS shown (type, modifier, place) ORDER BY place"
)
