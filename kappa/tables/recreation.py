"""Dropping a view and making it anew without losing what belongs to it or depends on it.

PostgreSQL replaces a view only if its columns keep their names, places and types. Where they do
not, the view and the views over it are dropped and made again in one transaction, with owner,
grants, options, comments and defaults as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors, sql
from sqlalchemy import Connection, text

from kappa.errors import ViewIncompatible
from kappa.tables import catalog
from kappa.tables.engine import driver, translating


@dataclass(frozen=True, slots=True)
class _Grant:
    """A privilege, on the whole view or on a column; ``grantee`` None is PUBLIC."""

    grantee: str | None
    privilege: str
    grantable: bool
    column: str | None


@dataclass(frozen=True, slots=True)
class _Kept:
    """A view as it was."""

    schema: str
    shown: str
    owner: str
    definition: str
    options: tuple[tuple[str, str], ...]
    has_acl: bool
    grants: tuple[_Grant, ...]
    comment: str | None
    column_comments: tuple[tuple[str, str], ...]
    defaults: tuple[tuple[str, str], ...]

    @property
    def name(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.shown)


def check_recreatable(conn: Connection, view: str) -> None:
    """Passes if the view and what depends on it can be dropped and made anew.

    Raises:
        ViewIncompatible: it, or a view over it, has a trigger or a rule, is materialized, or
            something depends on it that is no view.
    """
    for oid in _family(conn, view):
        row = conn.execute(_OBSTACLES, {"oid": oid}).one()
        bound = catalog.bound(conn, oid)
        obstacle = row.obstacle or (f"{', '.join(bound)} depends on it" if bound else None)
        if obstacle is not None:
            raise ViewIncompatible(
                f"view {row.name} cannot be made anew: {obstacle}",
                view=view,
                hint="drop it and make it again yourself, or keep the columns as they are",
            )


def check_droppable(conn: Connection, view: str) -> None:
    """Passes if nothing depends on this view.

    Raises:
        ViewIncompatible: something does.
    """
    bound = catalog.bound(conn, _family(conn, view)[0])
    needed = (*catalog.dependents(conn, view), *bound)
    if needed:
        raise _still_needed(view, f"{', '.join(needed)} depends on it")


def drop_statement(view: str) -> sql.Composed:
    """What drops a view for good, unless something depends on it."""
    return sql.SQL("DROP VIEW {} RESTRICT").format(sql.Identifier(view))


def drop(conn: Connection, view: str) -> None:
    """Drops a view for good.

    Raises:
        ViewIncompatible: something depends on it.
    """
    with translating():
        try:
            driver(conn).execute(drop_statement(view))
        except errors.DependentObjectsStillExist as error:
            raise _still_needed(view, error.diag.message_detail or "") from error


@contextmanager
def recreated(conn: Connection, view: str) -> Iterator[None]:
    """Drops the view and the views over it; the block creates the view, the rest is restored.

    Raises:
        ViewIncompatible: something else depends on them, or a view over it needs what is gone.
    """
    check_recreatable(conn, view)
    kept = [_read(conn, oid) for oid in _family(conn, view)]
    for one in reversed(kept):
        _run(conn, one, sql.SQL("DROP VIEW {}").format(one.name))
    yield
    first, *dependents = kept
    _restore(conn, first)
    for one in dependents:
        _run(conn, one, _creation(one))
        _restore(conn, one)


def _family(conn: Connection, view: str) -> list[int]:
    """The view and all views over it, each after those it selects from."""
    return list(conn.scalars(_FAMILY, {"name": view}))


def _read(conn: Connection, oid: int) -> _Kept:
    row: Any = conn.execute(_VIEW, {"oid": oid}).one()
    options = [str(option).partition("=") for option in row.reloptions or ()]
    columns = conn.execute(_COLUMNS, {"oid": oid}).all()
    return _Kept(
        schema=row.schema,
        shown=row.relname,
        owner=row.owner,
        definition=row.definition.strip().rstrip(";"),
        options=tuple((name, value) for name, _, value in options),
        has_acl=row.has_acl,
        grants=tuple(_Grant(*grant) for grant in conn.execute(_GRANTS, {"oid": oid})),
        comment=row.comment,
        column_comments=tuple((c.attname, c.comment) for c in columns if c.comment is not None),
        defaults=tuple((c.attname, c.preset) for c in columns if c.preset is not None),
    )


def _creation(view: _Kept) -> sql.Composed:
    return sql.SQL("CREATE VIEW {} {} AS {}").format(
        view.name, with_options(view.options), sql.SQL(view.definition)
    )


def _restore(conn: Connection, view: _Kept) -> None:
    """Owner, grants, comments and defaults, as far as there are still columns for them."""
    oid = conn.execute(_OID, {"schema": view.schema, "name": view.shown}).scalar_one()
    columns = {row.attname for row in conn.execute(_COLUMNS, {"oid": oid})}
    statements: list[sql.Composed] = [
        sql.SQL("ALTER VIEW {} OWNER TO {}").format(view.name, sql.Identifier(view.owner))
    ]
    if view.comment is not None:
        statements.append(
            sql.SQL("COMMENT ON VIEW {} IS {}").format(view.name, sql.Literal(view.comment))
        )
    for column, comment in view.column_comments:
        if column in columns:
            named = sql.SQL(".").join([view.name, sql.Identifier(column)])
            statements.append(
                sql.SQL("COMMENT ON COLUMN {} IS {}").format(named, sql.Literal(comment))
            )
    for column, preset in view.defaults:
        if column in columns:
            statements.append(
                sql.SQL("ALTER VIEW {} ALTER COLUMN {} SET DEFAULT {}").format(
                    view.name, sql.Identifier(column), sql.SQL(preset)
                )
            )
    for statement in [*statements, *_granting(conn, view, oid, columns)]:
        _run(conn, view, statement)


def _granting(conn: Connection, view: _Kept, oid: int, columns: set[str]) -> Iterator[sql.Composed]:
    """What makes the privileges those of before, whatever defaults there are for new views."""
    for grantee in conn.scalars(_GRANTEES, {"oid": oid}).all():
        if view.has_acl or grantee != view.owner:
            yield sql.SQL("REVOKE ALL ON {} FROM {}").format(view.name, _role(grantee))
    if view.has_acl:
        yield sql.SQL("REVOKE ALL ON {} FROM {}").format(view.name, _role(view.owner))
    for grant in view.grants:
        if grant.column is not None and grant.column not in columns:
            continue
        of: sql.Composable = sql.SQL("")
        if grant.column is not None:
            of = sql.SQL("({})").format(sql.Identifier(grant.column))
        yield sql.SQL("GRANT {}{} ON {} TO {}{}").format(
            sql.SQL(grant.privilege),
            of,
            view.name,
            _role(grant.grantee),
            sql.SQL(" WITH GRANT OPTION" if grant.grantable else ""),
        )


def _role(name: str | None) -> sql.Composable:
    return sql.SQL("PUBLIC") if name is None else sql.Identifier(name)


def with_options(options: tuple[tuple[str, str], ...]) -> sql.Composable:
    """The WITH clause of a view with these options; empty where it has none."""
    if not options:
        return sql.SQL("")
    listed = (
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in options
    )
    return sql.SQL("WITH ({})").format(sql.SQL(", ").join(listed))


def _run(conn: Connection, view: _Kept, statement: sql.Composed) -> None:
    with translating():
        try:
            driver(conn).execute(statement)
        except _REFUSED as error:
            raise _refusal(view, error) from error


_REFUSED = (
    errors.DependentObjectsStillExist,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.DatatypeMismatch,
    errors.InsufficientPrivilege,
)


def _still_needed(view: str, why: str) -> ViewIncompatible:
    return ViewIncompatible(
        f"view {view!r} cannot be dropped: {why}",
        view=view,
        hint="change or drop what depends on it first, or keep declaring the output it shows",
    )


def _refusal(view: _Kept, error: psycopg.Error) -> ViewIncompatible:
    return ViewIncompatible(
        f"view {view.shown!r} cannot be made anew: {error.diag.message_primary}",
        detail=error.diag.message_detail,
        hint="change or drop what depends on it first, or keep the columns as they are",
    )


_HERE = "relnamespace = current_schema()::regnamespace AND relname = :name"

_FAMILY = text(
    "WITH RECURSIVE family (oid, depth) AS ("
    f" SELECT oid, 0 FROM pg_class WHERE {_HERE}"
    " UNION SELECT view.oid, family.depth + 1 FROM family"
    " JOIN pg_depend ON pg_depend.refobjid = family.oid"
    "  AND pg_depend.refclassid = 'pg_class'::regclass"
    "  AND pg_depend.classid = 'pg_rewrite'::regclass"
    " JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid"
    " JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class AND view.oid <> family.oid)"
    " SELECT oid FROM family GROUP BY oid ORDER BY max(depth), oid"
)

_OID = text(
    "SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = :schema AND c.relname = :name"
)

_OBSTACLES = text(
    "SELECT c.oid::regclass::text AS name, CASE"
    " WHEN c.relkind = 'm' THEN 'it is materialized'"
    " WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)"
    "  THEN 'it has a trigger'"
    " WHEN EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid AND rulename <> '_RETURN')"
    "  THEN 'it has a rule'"
    " END AS obstacle FROM pg_class AS c WHERE c.oid = :oid"
)

_VIEW = text(
    "SELECT n.nspname AS schema, c.relname, pg_get_userbyid(c.relowner) AS owner, c.reloptions,"
    " pg_get_viewdef(c.oid) AS definition, c.relacl IS NOT NULL AS has_acl,"
    " obj_description(c.oid, 'pg_class') AS comment"
    " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = :oid"
)

_COLUMNS = text(
    "SELECT a.attname, col_description(a.attrelid, a.attnum) AS comment,"
    " pg_get_expr(d.adbin, d.adrelid) AS preset FROM pg_attribute AS a"
    " LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
    " WHERE a.attrelid = :oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
)

_GRANTS = text(
    "SELECT CASE WHEN g.grantee = 0 THEN NULL ELSE pg_get_userbyid(g.grantee) END,"
    " g.privilege_type, g.is_grantable, g.attname FROM ("
    " SELECT e.grantee, e.privilege_type, e.is_grantable, NULL::name AS attname"
    " FROM pg_class AS c, aclexplode(c.relacl) AS e WHERE c.oid = :oid"
    " UNION ALL SELECT e.grantee, e.privilege_type, e.is_grantable, a.attname"
    " FROM pg_attribute AS a, aclexplode(a.attacl) AS e WHERE a.attrelid = :oid) AS g"
)

_GRANTEES = text(
    "SELECT DISTINCT CASE WHEN e.grantee = 0 THEN NULL ELSE pg_get_userbyid(e.grantee) END"
    " FROM pg_class AS c, aclexplode(c.relacl) AS e WHERE c.oid = :oid"
)
