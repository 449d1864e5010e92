"""kappa: keep history in Kafka, rebuild any table by replay, switch versions atomically."""

from kappa.eventtime.windows import Tumbling
from kappa.processing.aggregates import Count, Max, Mean, Min, Sum
from kappa.processing.projection import Projection
from kappa.processing.source import Source
from kappa.processing.windowed import WindowedAggregate

__all__ = [
    "Count",
    "Max",
    "Mean",
    "Min",
    "Projection",
    "Source",
    "Sum",
    "Tumbling",
    "WindowedAggregate",
]
