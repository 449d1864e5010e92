"""Whether a table holds what the orders say it must."""

from __future__ import annotations

import polars as pl
import psycopg

from bench import orders

_CENT = 0.005


class Wrong(Exception):
    """The table does not hold the windows of the orders; says how they differ."""


def check(postgres_url: str, query: str, count: int) -> int:
    """Compares ``product, window_start, orders, revenue`` of a query with the expected windows.

    Returns:
        How many windows were compared.

    Raises:
        Wrong: they differ.
    """
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute(query.encode()).fetchall()
    found = pl.DataFrame(
        rows,
        schema={
            "product": pl.String,
            "window_start": pl.Datetime("ms", "UTC"),
            "found_orders": pl.Int64,
            "found_revenue": pl.Float64,
        },
        orient="row",
    ).with_columns(pl.col("window_start").dt.epoch("ms"))
    expected = orders.expected(count)
    both = expected.join(found, on=["product", "window_start"], how="full")
    missing, extra = both["found_orders"].null_count(), both["orders"].null_count()
    wrong = both.filter(
        (pl.col("orders") != pl.col("found_orders"))
        | ((pl.col("cents") / 100 - pl.col("found_revenue")).abs() > _CENT)
    )
    if missing or extra or len(wrong):
        example = f", for example {wrong.row(0)}" if len(wrong) else ""
        raise Wrong(
            f"{missing:,} windows missing, {extra:,} too many, {len(wrong):,} wrong{example}"
        )
    return len(found)
