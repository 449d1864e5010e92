"""kappa: keep history in Kafka, rebuild any table by replay, switch versions atomically."""

from kappa.eventtime.sessions import Session
from kappa.eventtime.windows import Hopping, Sliding, Tumbling
from kappa.processing.aggregates import Count, Max, Min
from kappa.processing.context import Context
from kappa.processing.keyed import KeyedProcessor
from kappa.processing.picks import ArgMax, ArgMin, First, Last
from kappa.processing.projection import Projection
from kappa.processing.sketches.chosen import Collect, TopK
from kappa.processing.sketches.distinct import CountDistinct
from kappa.processing.sketches.own import Merged
from kappa.processing.sketches.quantiles import Quantiles
from kappa.processing.source import Source
from kappa.processing.state import ListState, MapState, ValueState
from kappa.processing.sums import Mean, Stddev, Sum, Variance
from kappa.processing.windowed import WindowedAggregate

__all__ = [
    "ArgMax",
    "ArgMin",
    "Collect",
    "Context",
    "Count",
    "CountDistinct",
    "First",
    "Hopping",
    "KeyedProcessor",
    "Last",
    "ListState",
    "MapState",
    "Max",
    "Mean",
    "Merged",
    "Min",
    "Projection",
    "Quantiles",
    "Session",
    "Sliding",
    "Source",
    "Stddev",
    "Sum",
    "TopK",
    "Tumbling",
    "ValueState",
    "Variance",
    "WindowedAggregate",
]
