"""What PostgreSQL's catalog says of a relation in the schema kappa works in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, text


class RelationKind(Enum):
    """``pg_class.relkind``, as far as kappa tells them apart."""

    TABLE = "r"
    VIEW = "v"
    OTHER = ""

    @classmethod
    def _missing_(cls, value: object) -> RelationKind:
        return cls.OTHER


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A column as the catalog knows it; ``type`` is what ``format_type`` shows."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation found under a name. ``options`` are its ``reloptions``, in order."""

    name: str
    kind: RelationKind
    owner: str
    columns: tuple[RelationColumn, ...]
    options: tuple[tuple[str, str], ...]


def find(conn: Connection, name: str) -> Relation | None:
    """The relation called ``name`` in the current schema."""
    row = conn.execute(_RELATION, {"name": name}).one_or_none()
    if row is None:
        return None
    columns = conn.execute(_COLUMNS, {"oid": row.oid})
    options = [str(option).partition("=") for option in row.reloptions or ()]
    return Relation(
        name=name,
        kind=RelationKind(row.relkind),
        owner=row.owner,
        columns=tuple(RelationColumn(column.attname, column.type) for column in columns),
        options=tuple((option, value) for option, _, value in options),
    )


def has_constraint(conn: Connection, table: str, constraint: str) -> bool:
    """Whether ``table`` in the current schema has a constraint of this name."""
    return conn.execute(_CONSTRAINT, {"table": table, "constraint": constraint}).first() is not None


def dependents(conn: Connection, relation: str) -> tuple[str, ...]:
    """The views and materialized views that select from ``relation``, by name."""
    return tuple(conn.scalars(_DEPENDENTS, {"name": relation}))


def bound(conn: Connection, view: int) -> tuple[str, ...]:
    """What depends on the view of this oid, or on its row type, and is no view: as the server
    describes it, a function for instance. It keeps the view from being dropped.
    """
    return tuple(conn.scalars(_BOUND, {"oid": view}))


def sources(conn: Connection, view: str) -> tuple[str, ...]:
    """The relations ``view`` selects from, by name."""
    return tuple(conn.scalars(_SOURCES, {"name": view}))


def readers(conn: Connection, view: str) -> tuple[str, ...]:
    """The roles that were granted to read ``view``, its owner included; ``public`` for all."""
    return tuple(conn.scalars(_READERS, {"name": view}))


def can_select(conn: Connection, role: str, relation: str) -> bool:
    """Whether ``role`` may read ``relation``."""
    return bool(conn.scalar(_CAN_SELECT, {"role": role, "name": relation}))


def may_replace(conn: Connection, relation: str) -> bool:
    """Whether this session's role owns ``relation``, by itself or as a member of its owner."""
    return bool(conn.scalar(_MAY_REPLACE, {"name": relation}))


_HERE = "relnamespace = current_schema()::regnamespace AND relname = :name"

_RELATION = text(
    f"SELECT oid, relkind::text, reloptions, pg_get_userbyid(relowner) AS owner"
    f" FROM pg_class WHERE {_HERE}"
)

_COLUMNS = text(
    "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
    " WHERE attrelid = :oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)

_CONSTRAINT = text(
    "SELECT 1 FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid"
    " WHERE relnamespace = current_schema()::regnamespace"
    " AND relname = :table AND conname = :constraint"
)

_DEPENDENTS = text(
    "SELECT DISTINCT view.oid::regclass::text AS name FROM pg_depend"
    " JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid"
    " JOIN pg_class AS view ON view.oid = pg_rewrite.ev_class"
    " WHERE pg_depend.classid = 'pg_rewrite'::regclass"
    " AND pg_depend.refclassid = 'pg_class'::regclass"
    f" AND pg_depend.refobjid = (SELECT oid FROM pg_class WHERE {_HERE})"
    " AND view.oid <> pg_depend.refobjid ORDER BY name"
)

_BOUND = text(
    "SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0) AS it"
    " FROM pg_class AS c JOIN pg_type AS t ON t.oid = c.reltype"
    " JOIN pg_depend AS d ON d.deptype = 'n' AND d.classid <> 'pg_rewrite'::regclass"
    "  AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid"
    "   OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray))"
    " WHERE c.oid = :oid ORDER BY it"
)

_SOURCES = text(
    "SELECT DISTINCT source.relname AS name FROM pg_depend"
    " JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid"
    " JOIN pg_class AS source ON source.oid = pg_depend.refobjid"
    " WHERE pg_depend.classid = 'pg_rewrite'::regclass"
    " AND pg_depend.refclassid = 'pg_class'::regclass"
    f" AND pg_rewrite.ev_class = (SELECT oid FROM pg_class WHERE {_HERE})"
    " AND source.oid <> pg_rewrite.ev_class ORDER BY name"
)

_READERS = text(
    "SELECT DISTINCT CASE WHEN acl.grantee = 0 THEN 'public'"
    " ELSE pg_get_userbyid(acl.grantee) END AS role FROM pg_class,"
    " aclexplode(coalesce(relacl, acldefault('r', relowner))) AS acl"
    f" WHERE {_HERE} AND acl.privilege_type = 'SELECT' ORDER BY role"
)

_MAY_REPLACE = text(f"SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE {_HERE}")

_CAN_SELECT = text(
    "SELECT has_table_privilege(CAST(:role AS name), pg_class.oid, 'SELECT')"
    f" FROM pg_class WHERE {_HERE}"
)
