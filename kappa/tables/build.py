"""A version's tables from their creation to the moment they can serve.

While it is built a table has no index: rows, and parts of rows, are appended by COPY. At the
end parts are merged and the key is made. All functions run in the caller's transaction, which
is all that crash safety needs: a step is done or not begun.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from psycopg import sql
from psycopg.errors import DependentObjectsStillExist
from sqlalchemy import Connection
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable, DropTable

from kappa.errors import DataRefused, IllegalTransition, NameTaken
from kappa.failpoints import reach
from kappa.tables import catalog, finality, names, parts, state
from kappa.tables.catalog import Relation, RelationColumn, RelationKind
from kappa.tables.engine import driver, translating
from kappa.tables.layout import DELETED, Column, Kind, Layout
from kappa.tables.publication import Carries
from kappa.tables.relations import (
    building_columns,
    is_absent_when_deleted,
    key_constraint,
    relation,
    rows_table,
)
from kappa.tables.remerge import Remerge, is_merged_by_worker, put_back, take_out
from kappa.tables.split import find_split

_REWRITE_ABOVE = 0.12
"""The share of rows written in parts above which writing the whole table anew is faster."""


def create(conn: Connection, layout: Layout) -> None:
    """Creates the version's tables without keys; does nothing where they exist.

    Where the view already exists and has another owner, that role may read the table.

    Raises:
        NameTaken: a relation of that name exists and is not this table.
    """
    lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(layout.table, 0))
    conn.execute(sa.select(lock))
    columns = layout.columns if is_finished(conn, layout) else building_columns(layout)
    _create(conn, layout.table, columns)
    _describe(conn, layout)
    if layout.late is not None and layout.late_table is not None:
        _create(conn, layout.late_table, layout.late)
    for side in layout.sides:
        _create(conn, layout.side_table(side), side.columns)
        _grant(conn, layout.side_table(side), layout.side_view_name(side))
    if layout.state_table is not None and _create(conn, layout.state_table, state.COLUMNS):
        state.add_keys(conn, layout)


def check_names(conn: Connection, layout: Layout) -> None:
    """Passes if `create` would find its names free, or its own tables.

    Raises:
        NameTaken: a relation that is not kappa's has a table's name.
    """
    _is_there(conn, layout.table, building_columns(layout))
    if layout.late is not None and layout.late_table is not None:
        _is_there(conn, layout.late_table, layout.late)
    for side in layout.sides:
        _is_there(conn, layout.side_table(side), side.columns)


def finish(conn: Connection, layout: Layout, remerge: Remerge | None = None) -> int:
    """Merges parts, makes the keys, updates statistics; returns the number of rows.

    Does nothing but count once it has been done. ``remerge`` is needed where the layout has
    columns with MergeRule.REPLACED.
    """
    if not is_finished(conn, layout):
        # What sorting and hashing may take of memory; both end with the transaction.
        conn.execute(sa.text("SET LOCAL maintenance_work_mem = '256MB'"))
        conn.execute(sa.text("SET LOCAL work_mem = '128MB'"))
        _make_rows(conn, layout, remerge)
        reach("finish_merged")
        _index_ends(conn, layout)
        if layout.late is not None and layout.late_table is not None:
            _add_key(conn, layout.late_table, layout.late)
        for side in layout.sides:
            _add_key(conn, layout.side_table(side), side.columns)
    return conn.scalar(sa.select(sa.func.count()).select_from(rows_table(layout))) or 0


def is_finished(conn: Connection, layout: Layout) -> bool:
    """Whether the table has its key, so that `sink.upsert` works."""
    return catalog.has_constraint(conn, layout.table, names.key_name(layout.table))


def drop(
    conn: Connection, processor: str, version: int, outputs: Collection[str] = ()
) -> tuple[str, ...]:
    """Drops a version's tables, if they exist, and never what depends on them.

    ``outputs`` names its side outputs. Returns the tables there were.

    Raises:
        IllegalTransition: views, or something else, still need a table; they are named.
    """
    tables = [
        *(names.side_name(processor, version, output) for output in outputs),
        names.state_name(processor, version),
        names.late_name(processor, version),
        names.table_name(processor, version),
    ]
    found = tuple(name for name in tables if catalog.find(conn, name) is not None)
    for name in found:
        views = catalog.dependents(conn, name)
        if views:
            raise IllegalTransition(
                f"{name!r} is still in use", views=", ".join(views), hint="drop them first"
            )
        _drop(conn, name)
    return found


def _drop(conn: Connection, name: str) -> None:
    with translating():
        try:
            driver(conn).execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        except DependentObjectsStillExist as error:
            needed = error.diag.message_detail or ""
            raise IllegalTransition(
                f"{name!r} is still in use",
                dependents="; ".join(needed.splitlines()),
                hint="drop them first",
            ) from error


def _create(conn: Connection, name: str, columns: tuple[Column, ...]) -> bool:
    """Creates the table if there is none; returns whether there was none."""
    there = _is_there(conn, name, columns)
    if not there:
        conn.execute(CreateTable(relation(name, columns)))
    return not there


def _is_there(conn: Connection, name: str, columns: tuple[Column, ...]) -> bool:
    """Whether there is such a table.

    Raises:
        NameTaken: something else has its name.
    """
    found = catalog.find(conn, name)
    if found is None:
        return False
    if found.kind is not RelationKind.TABLE or not _has_shape(found, columns):
        raise NameTaken(
            f"a relation {name!r} exists and is not the table kappa would make",
            hint="rename it, or drop it if nothing needs it",
        )
    return True


def _has_shape(found: Relation, columns: tuple[Column, ...]) -> bool:
    wanted = [RelationColumn(column.name, column.type.name) for column in columns]
    return list(found.columns) == wanted


def _describe(conn: Connection, layout: Layout) -> None:
    """What a new table of rows needs besides its columns: a comment, and the view's right."""
    table = sql.Identifier(layout.table)
    text = f"kappa: rows of {layout.processor} version {layout.version}"
    _run(conn, sql.SQL("COMMENT ON TABLE {} IS {}").format(table, text))
    _grant(conn, layout.table, layout.view_name)
    if layout.hides:
        _grant(conn, finality.TABLE, layout.view_name)


def _grant(conn: Connection, table: str, view_name: str) -> None:
    """Lets the owner of the view read the table, where the view exists."""
    view = catalog.find(conn, view_name)
    if view is None or view.kind is not RelationKind.VIEW:
        return
    if not catalog.can_select(conn, view.owner, table):
        grant = sql.SQL("GRANT SELECT ON {} TO {}")
        _run(conn, grant.format(sql.Identifier(table), sql.Identifier(view.owner)))


def _make_rows(conn: Connection, layout: Layout, remerge: Remerge | None) -> None:
    """One row per key, and the key. First in the quick way, which trusts checkpoints."""
    if layout.kind is Kind.APPEND:
        _add_key(conn, layout.table, layout.columns)
        return
    try:
        with conn.begin_nested():
            _merge_parts(conn, layout, remerge, everywhere=False)
            _add_key(conn, layout.table, layout.columns)
    except DataRefused:
        # Some transaction wrote a key twice after all, for example a table restored from a dump.
        _merge_parts(conn, layout, remerge, everywhere=True)
        _add_key(conn, layout.table, layout.columns)


def _merge_parts(
    conn: Connection, layout: Layout, remerge: Remerge | None, *, everywhere: bool
) -> None:
    """Leaves one row per key and no deletions, by whichever way moves fewer rows."""
    written = relation(layout.table, building_columns(layout))
    split = find_split(conn, layout, written, everywhere=everywhere)
    rewrite = split.pieces > _REWRITE_ABOVE * split.total
    if is_merged_by_worker(layout):
        if split.pieces:
            _remerge_split(conn, layout, written, split.keys, remerge, rewrite=rewrite)
    elif rewrite:
        _rewrite(conn, layout, written)
    else:
        if split.pieces:
            _replace_split(conn, layout, written, split.keys)
        _drop_deletions(conn, layout)
    conn.execute(DropTable(split.keys))


def _replace_split(conn: Connection, layout: Layout, written: sa.Table, split: sa.Table) -> None:
    """Takes out the rows of these keys, merges them and puts one row per key back."""
    gone = sa.delete(written).where(parts.same_key(layout, written, split))
    taken = gone.returning(*written.c).cte("taken")
    whole = parts.merged(layout, taken)
    if layout.kind is Kind.LATEST:
        whole = whole.add_columns(sa.false())
    back = sa.insert(written).from_select([column.name for column in written.c], whole)
    with _joined_by_hash(conn, split):
        conn.execute(back.add_cte(taken))


def _remerge_split(
    conn: Connection,
    layout: Layout,
    written: sa.Table,
    split: sa.Table,
    remerge: Remerge | None,
    *,
    rewrite: bool,
) -> None:
    """Takes out the rows of these keys, lets the worker merge them and puts the merged back."""
    with _joined_by_hash(conn, split):
        taken = take_out(conn, layout, written, split, delete=not rewrite)
        if rewrite:  # all others move to a new table: deleting so many would leave it full of holes
            same = parts.same_key(layout, written, split)
            others = sa.select(*written.c).where(~sa.exists().where(same))
            _take_place(conn, layout, written, others)
    put_back(conn, layout, taken, remerge)


def _rewrite(conn: Connection, layout: Layout, written: sa.Table) -> None:
    """Writes the merged rows, in the order of their key, to a table that takes this one's place."""
    # One sort serves the grouping, the order of the rows and the key made afterwards.
    with _planner_without(conn, "enable_hashagg"):
        _take_place(conn, layout, written, parts.merged(layout, written))


def _take_place(conn: Connection, layout: Layout, written: sa.Table, rows: sa.Select[Any]) -> None:
    """Puts a new table with these rows in the place of the one that was written."""
    fresh = relation(f"{layout.table}__new", layout.columns)
    conn.execute(CreateTable(fresh))
    conn.execute(sa.insert(fresh).from_select([column.name for column in fresh.c], rows))
    conn.execute(DropTable(written))
    old, new = sql.Identifier(fresh.name), sql.Identifier(layout.table)
    _run(conn, sql.SQL("ALTER TABLE {} RENAME TO {}").format(old, new))
    _describe(conn, layout)


def _drop_deletions(conn: Connection, layout: Layout) -> None:
    """Turns a latest-by-key table that was built into one that serves."""
    if layout.kind is not Kind.LATEST:
        return
    table = sql.SQL("ALTER TABLE {} ").format(sql.Identifier(layout.table))
    _run(conn, table + sql.SQL("DROP COLUMN {}").format(sql.Identifier(DELETED)))
    for column in layout.columns:
        if not column.nullable and is_absent_when_deleted(column):
            name = sql.Identifier(column.name)
            _run(conn, table + sql.SQL("ALTER COLUMN {} SET NOT NULL").format(name))


def _index_ends(conn: Connection, layout: Layout) -> None:
    """Finds the windows that have become final by their stored ends, where they are sent on."""
    final = any(sent.carries is Carries.FINAL for sent in layout.publishes)
    table = relation(layout.table, layout.columns)
    if final and "window_end" in table.c:
        conn.execute(CreateIndex(sa.Index(names.ends_name(layout.table), table.c["window_end"])))


def _add_key(conn: Connection, name: str, columns: tuple[Column, ...]) -> None:
    conn.execute(AddConstraint(key_constraint(relation(name, columns), columns)))
    _run(conn, sql.SQL("ANALYZE {}").format(sql.Identifier(name)))


@contextmanager
def _joined_by_hash(conn: Connection, split: sa.Table) -> Iterator[None]:
    """Joining by a sort of the whole table is what the planner picks, and the slowest way."""
    _run(conn, sql.SQL("ANALYZE {}").format(sql.Identifier(split.name)))
    with _planner_without(conn, "enable_mergejoin"):
        yield


@contextmanager
def _planner_without(conn: Connection, method: str) -> Iterator[None]:
    _run(conn, sql.SQL("SET LOCAL {} = off").format(sql.Identifier(method)))
    yield
    _run(conn, sql.SQL("SET LOCAL {} TO DEFAULT").format(sql.Identifier(method)))


def _run(conn: Connection, statement: sql.Composed) -> None:
    """Runs one statement SQLAlchemy has no form for."""
    with translating():
        driver(conn).execute(statement)
