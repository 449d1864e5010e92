"""How much disk the tables of a version take."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.tables.names import table_name

_SIZES = sa.text("""
SELECT relname, pg_total_relation_size(oid)
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
  AND (relname = :table OR starts_with(relname, :prefix))
""")


def table_sizes(conn: Connection, processor: str, version: int) -> dict[str, int]:
    """Bytes by table, indexes and TOAST included."""
    table = table_name(processor, version)
    rows = conn.execute(_SIZES, {"table": table, "prefix": f"{table}__"})
    return {row[0]: row[1] for row in rows}
