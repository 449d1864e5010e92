"""The latest record of each customer, as a table.

Copy this for master data: what is known of a thing now, keyed by the thing. Then change

- ``latest_by``: the column that is the topic's record key; a record without a value deletes the
  row, and a compacted topic is enough;
- ``columns``: what the table holds, by name or as Polars expressions over the record.
"""

import polars as pl

from kappa import Projection, Source

customers = Projection(
    name="customers",
    version=1,
    source=Source("shop.customers"),
    columns=[
        "customer",
        "name",
        pl.col("city").str.strip_chars().str.to_titlecase().alias("city"),
    ],
    latest_by="customer",
)
