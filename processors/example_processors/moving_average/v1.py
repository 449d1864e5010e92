"""The mean price of the last ten minutes, once a minute.

Copy this for any moving figure. Then change

- ``Sliding``: how far back a row looks, and how often there is one. A record is part of
  ``size / step`` rows, here ten: a tenth of the step is ten times the rows;
- ``emit``: ``"final"`` shows a row when no record can change it any more. Leave it out to see
  each row from its first record on.
"""

from kappa import Count, Mean, Sliding, Source, WindowedAggregate

moving_average = WindowedAggregate(
    name="moving_average",
    version=1,
    source=Source("shop.prices", event_time="quoted_at", out_of_orderness="10s"),
    key=["product"],
    window=Sliding("10m", "1m"),
    emit="final",
    aggregates={"quotes": Count(), "mean_price": Mean("price")},
)
