"""What a version sends on to other systems, as its layout keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

EXACTLY_ONCE, AT_LEAST_ONCE, AT_MOST_ONCE = "exactly_once", "at_least_once", "at_most_once"

MAIN, LATE = "main", "late"


class Carries(Enum):
    """What leaves: records once, or rows that change."""

    RECORDS = "records"
    """Rows that come from one record each; they wait in the outbox as they will leave."""

    UPDATES = "updates"
    """Rows that change. The outbox holds keys; what leaves is the row at that moment, or a
    tombstone where there is none."""

    FINAL = "final"
    """Rows of windows that cannot change any more. The outbox holds their keys."""


@dataclass(frozen=True, slots=True)
class TopicTarget:
    """A Kafka topic.

    Attributes:
        partitions: of a topic that is made; None for as many as the source has.
        schema_id: of the values, in the registry; None until the version is created.
    """

    topic: str
    partitions: int | None = None
    schema_id: int | None = None


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """An HTTP server; ``token_variable`` names the environment variable with a bearer token."""

    url: str
    retries: int
    timeout_ms: int
    token_variable: str | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """One output that is sent on: ``main``, ``late`` or a side output."""

    output: str
    carries: Carries
    guarantee: str
    target: TopicTarget | WebhookTarget
