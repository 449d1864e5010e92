"""The views readers use: what they select, whether their columns may change, and moving them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy import Connection

from kappa.errors import NameTaken, RecreateNeeded, ViewIncompatible
from kappa.tables import catalog, finality, names
from kappa.tables.catalog import Relation, RelationColumn, RelationKind
from kappa.tables.engine import driver, translating
from kappa.tables.layout import Layout, Side
from kappa.tables.recreation import (
    check_droppable,
    check_recreatable,
    drop,
    drop_statement,
    recreated,
    with_options,
)
from kappa.tables.relations import rows_table, side_rows


def select_view(layout: Layout) -> sa.Select[Any]:
    """What the view selects when this version serves: explicit columns of its table.

    Of windows that are shown only when they are final, those that are.
    """
    shown = _shown(layout)
    selected = select_rows(layout)
    if not layout.hides:
        return selected
    final_through = finality.through(layout.processor, layout.version)
    return selected.where(shown["window_end"] <= final_through)


def select_rows(layout: Layout) -> sa.Select[Any]:
    """What the view would select if all rows were final."""
    return sa.select(*(expression.label(name) for name, expression in _shown(layout).items()))


def select_side(layout: Layout, side: Side) -> sa.Select[Any]:
    """What the view of a side output selects."""
    rows = side_rows(layout, side)
    return sa.select(*(rows.c[column.name] for column in side.shown))


def _shown(layout: Layout) -> dict[str, sa.ColumnElement[Any]]:
    table = rows_table(layout)
    return {column.name: column.finalize.expression(table) for column in layout.view}


def check_view(
    conn: Connection, layout: Layout, serving: Layout | None = None, *, recreate: bool = False
) -> None:
    """Whether the views could be moved to this version's tables, without moving them.

    ``serving`` is the layout of the version they show now, None where there is none. With
    ``recreate`` they may be dropped and made anew, or for good where an output is gone.

    Raises:
        NameTaken: a name belongs to a relation that is not this processor's view.
        RecreateNeeded: a column would change its name, place or type, or a side output that readers
            know would be gone.
        ViewIncompatible: a view is not kappa's to replace or to make anew, or its owner could not
            read the table.
    """
    _without_output(conn, layout, serving, recreate=recreate)
    for view in _views(layout):
        _movable(conn, view, recreate=recreate)


def move_views(
    conn: Connection,
    moves: Iterable[tuple[Layout, Layout | None]],
    *,
    recreate: bool = False,
    backwards: bool = False,
) -> None:
    """Creates the views of all these layouts, or moves them; in the order of their names.

    A query that reads two of them takes their locks in its own order, and one that takes them in
    the other way round would hold up this transaction, and be held up by it: so a caller tries
    ``backwards`` in turn.

    Each layout comes with that of the version its views show now, None where there is none. The
    views' options are kept. With ``recreate`` a view whose columns would change is dropped and
    made anew, with what belongs to it and what depends on it, and the view of a side output that
    the new version lacks is dropped, unless something depends on it.

    Raises what `check_view` raises.
    """
    planned: list[tuple[str, sql.Composed | None, bool]] = []
    for layout, serving in moves:
        gone = _without_output(conn, layout, serving, recreate=recreate)
        planned.extend((name, None, False) for name in gone)
        for view in _views(layout):
            existing, change = _movable(conn, view, recreate=recreate)
            planned.append((view.name, _creation(conn, view, existing), change is not None))
    # Before the first of these readers are not concerned; after it they wait.
    for name, create, anew in sorted(planned, key=lambda each: each[0], reverse=backwards):
        if create is None:
            drop(conn, name)
            continue
        with recreated(conn, name) if anew else nullcontext(), translating():
            driver(conn).execute(create)


def statements(conn: Connection, layout: Layout, serving: Layout | None = None) -> tuple[str, ...]:
    """The statements that would move this layout's views, for people to look at.

    ``serving`` is the layout of the version they show now, None where there is none. Where a view
    must be made anew, a comment says so: with it go the views over it, which are made again as they
    are.
    """
    gone = _without_output(conn, layout, serving, recreate=True)
    shown = [drop_statement(name).as_string(driver(conn)) for name in gone]
    for view in _views(layout):
        existing, change = _movable(conn, view, recreate=True)
        if change is not None:
            over = catalog.dependents(conn, view.name)
            shown.append(f"-- made anew, with {', '.join(over) or 'no view'} over it")
        shown.append(_creation(conn, view, existing).as_string(driver(conn)))
    return tuple(shown)


def view_names(layout: Layout) -> tuple[str, ...]:
    """The views of this layout."""
    return tuple(view.name for view in _views(layout))


@dataclass(frozen=True, slots=True)
class _View:
    """A view as this version would have it."""

    name: str
    processor: str
    table: str
    select: sa.Select[Any]
    is_final: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The relations it selects from."""
        return (self.table, finality.TABLE) if self.is_final else (self.table,)


def _views(layout: Layout) -> list[_View]:
    """The view of the rows and one for each side output, in the order of their names."""
    rows = select_view(layout)
    views = [_View(layout.view_name, layout.processor, layout.table, rows, layout.hides)]
    for side in layout.sides:
        name, table = layout.side_view_name(side), layout.side_table(side)
        views.append(_View(name, layout.processor, table, select_side(layout, side)))
    return sorted(views, key=lambda view: view.name)


def _without_output(
    conn: Connection, layout: Layout, serving: Layout | None, *, recreate: bool
) -> list[str]:
    """The views of side outputs that this version lacks, and that go with them."""
    kept = {side.name for side in layout.sides}
    sides = () if serving is None else serving.sides
    dropped = []
    for output in sorted({side.name for side in sides} - kept):
        view = names.side_view_name(layout.processor, output)
        if not recreate:
            raise RecreateNeeded(
                f"the side output {output!r} would be gone, and view {view!r} with it",
                processor=layout.processor,
                version=layout.version,
                hint="keep declaring it, even if nothing is emitted to it, use another name, or"
                " drop its view with --recreate",
            )
        if _find(conn, view, layout.processor) is not None:
            check_droppable(conn, view)
            dropped.append(view)
    return dropped


def _movable(
    conn: Connection, view: _View, *, recreate: bool
) -> tuple[Relation | None, RecreateNeeded | None]:
    """The view as it is now, None where there is none yet; and why it must be made anew."""
    existing = _find(conn, view.name, view.processor)
    if existing is None:
        return None, None
    change = _incompatible(conn, view, existing)
    if change is not None and not recreate:
        raise change
    if change is not None:
        check_recreatable(conn, view.name)
    _check_rights(conn, view, existing)
    return existing, change


_TRUE = ("true", "on", "yes", "1")


def _check_rights(conn: Connection, view: _View, existing: Relation) -> None:
    """Passes if all that the view selects from may be read: by its owner, or by its readers."""
    roles = [existing.owner]
    if dict(existing.options).get("security_invoker", "").lower() in _TRUE:
        roles = list(catalog.readers(conn, view.name))
    for relation_name in view.reads:
        for role in roles:
            if not catalog.can_select(conn, role, relation_name):
                whose = "owner" if role == existing.owner else "reader"
                raise ViewIncompatible(
                    f"the {whose} of view {view.name!r} may not read {relation_name!r}",
                    owner=existing.owner,
                    role=role,
                    hint=f'GRANT SELECT ON "{relation_name}" TO "{role}"',
                )


def _find(conn: Connection, name: str, processor: str) -> Relation | None:
    """The view of this name as it is now, None where there is none.

    kappa's views read the tables of one processor, and perhaps when they are final.
    """
    existing = catalog.find(conn, name)
    if existing is None:
        return None
    own = [source for source in catalog.sources(conn, name) if source != finality.TABLE]
    is_ours = bool(own) and all(source.startswith(f"{processor}__v") for source in own)
    if existing.kind is not RelationKind.VIEW or not is_ours:
        raise NameTaken(
            f"a relation {name!r} exists and is not this processor's view",
            hint="rename it, or give the processor another name",
        )
    if not catalog.may_replace(conn, name):
        raise ViewIncompatible(
            f"view {name!r} is not kappa's to replace",
            owner=existing.owner,
            hint="make kappa's role its owner, or a member of the role that is",
        )
    return existing


def selected_columns(conn: Connection, select: sa.Select[Any]) -> tuple[RelationColumn, ...]:
    """The columns a view of ``select`` would have, as PostgreSQL sees them."""
    with translating(), driver(conn).cursor() as cursor:
        cursor.execute(sql.SQL("{} LIMIT 0").format(rendered(conn, select)))
        assert cursor.pgresult is not None
        assert cursor.description is not None
        names = [column.name for column in cursor.description]
        oids = [column.type_code for column in cursor.description]
        modifiers = [cursor.pgresult.fmod(place) for place in range(len(names))]
    types = conn.scalars(_TYPES, {"oids": oids, "modifiers": modifiers})
    return tuple(RelationColumn(name, kind) for name, kind in zip(names, types, strict=True))


def _incompatible(conn: Connection, view: _View, existing: Relation) -> RecreateNeeded | None:
    """Readers may gain columns at the end, and nothing else."""
    new = selected_columns(conn, view.select)
    for place, column in enumerate(existing.columns, start=1):
        now = new[place - 1] if place <= len(new) else None
        if now is not None and now == column:
            continue
        return RecreateNeeded(
            _difference(column, now, [other.name for other in new]),
            view=view.name,
            column=column.name,
            place=place,
            hint="keep the columns readers know and add new ones at the end, use another name, or"
            " make the view anew with --recreate",
        )
    return None


def _creation(conn: Connection, view: _View, existing: Relation | None) -> sql.Composed:
    options = existing.options if existing is not None else ()
    return sql.SQL("CREATE OR REPLACE VIEW {} {} AS {}").format(
        sql.Identifier(view.name), with_options(options), rendered(conn, view.select)
    )


def _difference(old: RelationColumn, now: RelationColumn | None, names: list[str]) -> str:
    if now is not None and now.name == old.name:
        return f"column {old.name!r} would change its type from {old.type} to {now.type}"
    if old.name in names:
        return f"column {old.name!r} would change its place"
    return f"column {old.name!r} would be removed"


def rendered(conn: Connection, select: sa.Select[Any]) -> sql.SQL:
    """The statement with its values in it: a definition takes no parameters."""
    compiled = select.compile(dialect=conn.dialect, compile_kwargs={"literal_binds": True})
    return sql.SQL(str(compiled))


_TYPES = sa.text(
    "SELECT format_type(type, modifier) FROM"
    " unnest(CAST(:oids AS oid[]), CAST(:modifiers AS int[])) WITH ORDINALITY"
    " AS shown (type, modifier, place) ORDER BY place"
)
