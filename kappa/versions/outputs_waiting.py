"""Outputs of a topic that was deleted and created again under its name, before another version
takes over.

What waits to leave is known by its topic's name, partition and offset, and the same place in the
new topic is another record. So all that can leave of the old one leaves first. The functions run
in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from kappa.errors import OutputsBehind
from kappa.tables import outbox
from kappa.tables.layout import Layout
from kappa.versions.deployment import Move


def check_left(
    conn: Connection, move: Move, serving: Layout | None, layout: Layout, topics: Collection[str]
) -> None:
    """Passes if nothing made of records of these topics waits to leave that the new version would
    have to send.

    Raises:
        OutputsBehind: something does; the output is named.
    """
    if serving is None or not topics:
        return
    for sent in serving.publishes:
        if layout.publication(sent.output) is None:
            continue
        topic = outbox.first_topic(conn, move.processor, serving.version, sent.output, topics)
        if topic is not None:
            raise OutputsBehind(
                f"{move.processor} version {serving.version} has rows to send of the former topic"
                f" {topic!r}",
                topic=topic,
                output=sent.output,
                hint=f"let them leave first: kappa run {move.processor}",
            )
