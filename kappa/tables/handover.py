"""What waits to leave, and what is final, when another version begins to serve: part of a promote's
transaction.

The former version's rows still leave: they are of records before the place where it stopped. The
new version's rows leave from that place on; what it has of earlier records is dropped. So every
record is told of once, by whichever version served when it was read.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy import Connection

from kappa.tables import dirty_keys, finality, news, outbox
from kappa.tables.bookkeeping import dirty_key
from kappa.tables.bookkeeping import outbox as outbox_rows
from kappa.tables.layout import Layout
from kappa.tables.publication import Carries, Publication
from kappa.tables.sqltypes import SqlType


def hand_over(
    conn: Connection,
    former: Layout | None,
    layout: Layout,
    recreated: Collection[str] = (),
    *,
    is_new_source: bool = False,
) -> None:
    """Makes what waits the new version's to send, before it is the one that serves.

    ``former`` is the layout of the version that has served; None where there was none, and then
    outputs begin with what is read from now on. The offset rows of both are locked. Of topics that
    were ``recreated`` since the former version read them only rows that were set aside are left,
    and stay with it: at the same places the new version may have rows of its own.

    Windows that readers have seen as final stay so, unless what the former version read is given up
    for a new source.
    """
    name = layout.processor
    if former is not None:
        goes_on = former.hides and layout.hides and not is_new_source
        prune(conn, layout)
        for sent in former.publishes:
            _pass_on(conn, former, layout, sent, recreated)
        for sent in layout.publishes:
            if sent.carries is Carries.FINAL and former.publication(sent.output) is not None:
                _catch_up(conn, former, layout, sent.output, goes_on=goes_on)
        if goes_on:
            finality.carry_on(conn, name, former.version, layout.version)
    news.tell(conn, name)


def prune(conn: Connection, layout: Layout) -> None:
    """Drops what a version that does not serve has of records the serving one has come to."""
    outputs = [sent.output for sent in layout.publishes]
    outbox.prune(conn, layout.processor, layout.version, outputs)
    for sent in layout.publishes:
        if sent.carries is not Carries.RECORDS:
            dirty_keys.prune(conn, layout, sent.output)


def _pass_on(
    conn: Connection,
    former: Layout,
    layout: Layout,
    sent: Publication,
    recreated: Collection[str],
) -> None:
    """Gives one output's rows to the new version; drops them where it cannot send them."""
    now = layout.publication(sent.output)
    same = (
        now is not None
        and now.carries is sent.carries
        and type(now.target) is type(sent.target)
        and (sent.carries is Carries.RECORDS or _key_types(former) == _key_types(layout))
    )
    for table in (outbox_rows, dirty_key):
        theirs = sa.and_(
            table.c.processor == former.processor,
            table.c.version == former.version,
            table.c.output == sent.output,
        )
        if table is outbox_rows:
            theirs = sa.and_(theirs, sa.not_(_stay(recreated, aside_only=not same)))
        if same:
            conn.execute(sa.update(table).where(theirs).values(version=layout.version))
        else:
            conn.execute(sa.delete(table).where(theirs))


def _stay(recreated: Collection[str], *, aside_only: bool) -> sa.ColumnElement[bool]:
    """Rows of the former topics that stay: of what nobody can send, those that were set aside."""
    of_former = outbox_rows.c.topic.in_(recreated)
    return sa.and_(of_former, outbox_rows.c.failed_at.is_not(None)) if aside_only else of_former


def _key_types(layout: Layout) -> dict[str, SqlType]:
    """What a key of this version's rows is made of; a waiting key is read as that."""
    return {column.name: column.type for column in layout.columns if column.name in layout.key}


def _catch_up(
    conn: Connection, former: Layout, layout: Layout, output: str, *, goes_on: bool
) -> None:
    """Windows that are final by what the new version has read, and not by what the former had.

    Or, where what was final goes on, by what the former had and not by what the new version has
    read: that may have taken more for them. None where rows of the former never were final: then
    such windows begin with this version.
    """
    if former.finality is None:
        return
    before = finality.read(conn, former.processor, former.version).through
    now = finality.read(conn, layout.processor, layout.version).through
    if now is not None and (before is None or before < now):
        dirty_keys.mark_final(conn, layout, output, before, now, {})
    elif goes_on and before is not None and (now is None or now < before):
        dirty_keys.mark_final(conn, layout, output, now, before, {})
