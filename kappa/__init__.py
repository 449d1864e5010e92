"""kappa: keep history in Kafka, rebuild any table by replay, switch versions atomically."""

from kappa.eventtime.sessions import Session
from kappa.eventtime.windows import Hopping, Sliding, Tumbling
from kappa.processing.aggregates.declared import Count, Max, Min
from kappa.processing.aggregates.picks import ArgMax, ArgMin, First, Last
from kappa.processing.aggregates.sketches.chosen import Collect, TopK
from kappa.processing.aggregates.sketches.distinct import CountDistinct
from kappa.processing.aggregates.sketches.own import Merged
from kappa.processing.aggregates.sketches.quantiles import Quantiles
from kappa.processing.aggregates.sums import Mean, Stddev, Sum, Variance
from kappa.processing.dead_letter_limit import DeadLetterLimit
from kappa.processing.destinations import ToTopic, ToWebhook
from kappa.processing.keyed.context import Context
from kappa.processing.keyed.declaration import KeyedProcessor
from kappa.processing.keyed.state import ListState, MapState, ValueState
from kappa.processing.projection import Projection
from kappa.processing.source import Source
from kappa.processing.windowed.declaration import WindowedAggregate

__all__ = [
    "ArgMax",
    "ArgMin",
    "Collect",
    "Context",
    "Count",
    "CountDistinct",
    "DeadLetterLimit",
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
    "ToTopic",
    "ToWebhook",
    "TopK",
    "Tumbling",
    "ValueState",
    "Variance",
    "WindowedAggregate",
]
