"""Totals per product in windows of five minutes.

Copy this for any "how many, how much, per what, every so often". Then change

- ``source``: the topic, its event time, and how far records of a partition come out of order;
- ``key``: what to group by; it need not be the topic's record key;
- ``window`` and ``allowed_lateness``: how long a window lasts, and how long after its end it
  still takes records. Later ones are rows of the table ``order_totals__v1__late``.
"""

from kappa import Count, Mean, Source, Sum, Tumbling, WindowedAggregate

order_totals = WindowedAggregate(
    name="order_totals",
    version=1,
    source=Source("shop.orders", event_time="placed_at", out_of_orderness="30s"),
    key=["product"],
    window=Tumbling("5m"),
    allowed_lateness="1m",
    aggregates={
        "orders": Count(),
        "quantity": Sum("quantity"),
        "revenue": Sum("amount"),
        "mean_quantity": Mean("quantity"),
    },
)
