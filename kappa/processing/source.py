"""Where a processor reads from, and how that topic's event time behaves."""

from __future__ import annotations

from dataclasses import dataclass, field

from kappa.errors import DeclarationError
from kappa.eventtime.durations import Duration, milliseconds


@dataclass(frozen=True)
class Source:
    """A topic and its event time.

    Attributes:
        topic: the Kafka topic.
        event_time: the column that says when the event happened: an Avro timestamp, or a
            long of milliseconds since the epoch. None: the processor has no event time.
        out_of_orderness: how far records of one partition may come out of order. The
            watermark is the greatest event time so far minus this.
        max_ahead: how far an event time may lie ahead of the record's own timestamp. Beyond
            it the record is a dead letter, so that one wrong clock cannot make the rest late.
    """

    topic: str
    event_time: str | None = None
    out_of_orderness: Duration = "0s"
    max_ahead: Duration = "1d"
    out_of_orderness_ms: int = field(init=False, repr=False)
    max_ahead_ms: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.topic, str) or not self.topic:
            raise DeclarationError(
                f"the topic of a source is {self.topic!r}", hint='name it: Source("orders")'
            )
        if not isinstance(self.event_time, str | None):
            raise DeclarationError(
                f"the event time of {self.topic!r} is {self.event_time!r}",
                hint='name a column of the topic: event_time="placed_at"',
            )
        disorder = milliseconds(self.out_of_orderness, "out_of_orderness")
        object.__setattr__(self, "out_of_orderness_ms", disorder)
        object.__setattr__(self, "max_ahead_ms", milliseconds(self.max_ahead, "max_ahead"))
