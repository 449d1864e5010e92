"""Whether outputs would leave something out at a promote, because of how they began.

Outputs begin with the first promote of a processor, and anew with one to a version of another
topic: before, no version keeps what is to leave. One that had read further than the promoted one by
then has nothing of the records between:

    v1  ────┤ first promote: outputs begin ──────────●── what is read here leaves
    v2  ───────────────────┤ nothing was kept ┄┄┄┄┄┄┄┄┄┄
            └── gap of v2 ─┘

So it can take over only once the version in service has come to where it stood then. All functions
run in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.errors import OutputsBehind
from kappa.tables.bookkeeping import history, offset
from kappa.tables.layout import Layout
from kappa.versions.caught_up import Position
from kappa.versions.deployment import Move

AHEAD = "ahead"
"""In the details of such a promote: by version, [topic id, partition, offset] where it stood."""


def ahead(conn: Connection, processor: str, begins: Iterable[Position]) -> dict[str, object]:
    """What to keep of a promote with which outputs begin, of a version that stands at ``begins``.

    All offset rows of the processor are locked: a checkpoint under way keeps nothing either.
    """
    reached = {(at.topic_id, at.partition): at.next_offset for at in begins}
    topics = {topic_id for topic_id, _ in reached}
    rows = conn.execute(
        sa.select(offset.c.version, offset.c.topic_id, offset.c.partition, offset.c.next_offset)
        .where(offset.c.processor == processor)
        .order_by(offset.c.version, offset.c.topic, offset.c.partition)
        .with_for_update()
    )
    found: dict[str, list[list[object]]] = {}
    for version, topic_id, partition, stood in rows:
        if topic_id in topics and stood > reached.get((topic_id, partition), 0):
            found.setdefault(str(version), []).append([topic_id, partition, stood])
    return {AHEAD: found} if found else {}


def check_begun(
    conn: Connection,
    move: Move,
    blue: Collection[Position],
    serving: Layout | None,
    layout: Layout,
) -> None:
    """Passes if the version in service, which stands at ``blue``, has come to where the new one
    stood when outputs began, or if not both of them send anything.

    Raises:
        OutputsBehind: it has not; the partition is named.
    """
    if serving is None or not (serving.publishes and layout.publishes):
        return
    begun = sa.select(history.c.detail[AHEAD][str(move.to_version)]).where(
        history.c.processor == move.processor, history.c.detail.has_key(AHEAD)
    )
    stood: dict[tuple[str, int], int] = {}
    for places in conn.scalars(begun):
        for topic_id, partition, at in places or ():
            stood[topic_id, partition] = max(at, stood.get((topic_id, partition), 0))
    reads = {at.topic_id: at.topic for at in blue}
    reached = {(at.topic_id, at.partition): at.next_offset for at in blue}
    for (topic_id, partition), needed in sorted(stood.items()):
        so_far = reached.get((topic_id, partition), 0)  # of one that it does not know yet, nothing
        if topic_id in reads and so_far < needed:
            raise OutputsBehind(
                f"{move.processor} version {move.to_version} has kept nothing to send of what it"
                f" read before outputs began, and version {move.from_version} has not sent it yet",
                topic=reads[topic_id],
                partition=partition,
                offset=so_far,
                needed=needed,
                hint=f"let version {move.from_version} read on to there: kappa replay"
                f" {move.processor} --version {move.from_version}",
            )
