"""A digest of a relation that no order of rows changes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

_SEED = 0


def digest(conn: Connection, relation: str | sa.Select[Any]) -> str:
    """Row count and checksum as text (``"12-00ab…"``): equal for equal sets of rows.

    ``relation`` is the name of a table or view, or a SELECT such as `views.select_view`. Each
    row is hashed as text to 64 bits, and the hashes are added modulo 2⁶⁴; the session settings
    of `engine.connect` fix that text.
    """
    if isinstance(relation, str):
        rows: sa.FromClause = sa.table(relation).alias("r")
    else:
        rows = relation.subquery("r")
    # Not "r::text": that would be a column of this name, where there is one.
    whole_row = sa.literal_column("(r.*)::text", sa.Text())
    hashed = sa.func.hashtextextended(whole_row, _SEED)
    counted = sa.select(sa.func.count(), sa.func.sum(hashed)).select_from(rows)
    count, total = conn.execute(counted).one()
    return f"{count}-{int(total or 0) % 2**64:016x}"
