"""From what a processor declares to send on to what its version's layout says of it."""

from __future__ import annotations

from collections.abc import Mapping

from kappa.processing.destinations import Destination, ToTopic
from kappa.tables.publication import MAIN, Carries, Publication, TopicTarget, WebhookTarget


def publications(
    publish: Mapping[str, Destination], main: Carries = Carries.RECORDS
) -> tuple[Publication, ...]:
    """The declared outputs by name; ``main`` is what the output of that name carries."""
    return tuple(
        Publication(
            output=output,
            carries=main if output == MAIN else Carries.RECORDS,
            guarantee=destination.guarantee,
            target=_target(destination),
        )
        for output, destination in sorted(publish.items())
    )


def _target(destination: Destination) -> TopicTarget | WebhookTarget:
    if isinstance(destination, ToTopic):
        return TopicTarget(destination.topic, destination.partitions)
    return WebhookTarget(
        destination.url, destination.retries, destination.timeout_ms, destination.token_variable
    )
