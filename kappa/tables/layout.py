"""What a version's tables look like: their columns, how rows of one key merge, and the view."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kappa.errors import DeclarationError
from kappa.tables import names
from kappa.tables.finality import Finality
from kappa.tables.finalize import Finalize
from kappa.tables.merge import MergeRule
from kappa.tables.publication import Publication
from kappa.tables.sqltypes import BIGINT, INTEGER, SqlType

PARTITION = "_partition"
OFFSET = "_offset"
INDEX = "_index"
DELETED = "_deleted"
"""System columns of tables. A user's column cannot begin with an underscore."""


class Kind(Enum):
    """How rows of one key become one row."""

    APPEND = "append"
    """They do not: the key is the record's own place, ``(_partition, _offset)``; where a record
    may make several rows, ``_index`` numbers them and is part of the key."""

    AGGREGATE = "aggregate"
    """Partial aggregates: each column merges by its rule, in any order."""

    LATEST = "latest"
    """The row with the greatest ``_offset`` wins whole. Incoming frames carry a Boolean
    ``_deleted``: such a row removes its key."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; incoming frames have a column of the same name.

    A key column is ``nullable=False`` wherever it can be: only then the key is a PRIMARY KEY.
    ``order`` names the columns that MergeRule.FIRST and LAST go by.
    """

    name: str
    type: SqlType
    merge: MergeRule
    nullable: bool = True
    order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """One column of the view, computed from the table's columns."""

    name: str
    finalize: Finalize


@dataclass(frozen=True, slots=True)
class Side:
    """A side output: rows are appended to a table of its own, and a view of its own shows them.

    ``columns`` are all columns of the table; the key columns are those of a record's place. The
    view shows those that are not system columns.
    """

    name: str
    columns: tuple[Column, ...]

    @property
    def shown(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if not column.name.startswith("_"))


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables and the view of one version of a processor.

    ``columns`` are all columns of the table in order, system columns included: an APPEND table
    has ``PARTITION_COLUMN`` and ``OFFSET_COLUMN`` (perhaps ``INDEX_COLUMN``) as its key, a LATEST
    table has ``LATEST_OFFSET_COLUMN``. ``late`` are those of the table of late records, whose key
    are the columns with MergeRule.KEY; None when there is no such table. ``finality`` says when
    rows are final, by the view's column ``window_end``; None where they never are. ``sides`` are
    the side outputs. ``state`` says what a keyed processor remembers of each key: stored states can
    be read only by a version with the same text; None when there is no table of states.
    ``publishes`` are the outputs that are sent on.
    """

    processor: str
    version: int
    kind: Kind
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    view: tuple[ViewColumn, ...]
    late: tuple[Column, ...] | None = None
    finality: Finality | None = None
    sides: tuple[Side, ...] = ()
    state: str | None = None
    publishes: tuple[Publication, ...] = ()

    def __post_init__(self) -> None:
        names.check_name(self.processor)
        names.check_version(self.version)
        _check_columns(self.columns)
        _check_columns(self.late or ())
        _check_order(self.columns)
        _check_names([column.name for column in self.view])
        _check_key(self)
        _check_sides(self)
        known = {column.name for column in self.columns}
        for shown in self.view:
            for used in shown.finalize.columns:
                if used not in known:
                    raise DeclarationError(
                        f"view column {shown.name!r} uses {used!r}, which the table lacks"
                    )

    @property
    def table(self) -> str:
        return names.table_name(self.processor, self.version)

    @property
    def hides(self) -> bool:
        """Whether readers see a row only once it is final."""
        return self.finality is not None and self.finality.hides

    @property
    def late_table(self) -> str | None:
        return None if self.late is None else names.late_name(self.processor, self.version)

    @property
    def view_name(self) -> str:
        return names.view_name(self.processor)

    @property
    def state_table(self) -> str | None:
        return None if self.state is None else names.state_name(self.processor, self.version)

    def publication(self, output: str) -> Publication | None:
        """How the output of this name is sent on; None where it is not."""
        return next((sent for sent in self.publishes if sent.output == output), None)

    def side_table(self, side: Side) -> str:
        return names.side_name(self.processor, self.version, side.name)

    def side_view_name(self, side: Side) -> str:
        return names.side_view_name(self.processor, side.name)


PARTITION_COLUMN = Column(PARTITION, INTEGER, MergeRule.KEY, nullable=False)
OFFSET_COLUMN = Column(OFFSET, BIGINT, MergeRule.KEY, nullable=False)
"""The key of APPEND tables and of tables of late records."""

INDEX_COLUMN = Column(INDEX, INTEGER, MergeRule.KEY, nullable=False)
"""Numbers the rows of one record from zero; the rest of the key where there may be several."""

LATEST_OFFSET_COLUMN = Column(OFFSET, BIGINT, MergeRule.LATEST, nullable=False)
"""Which row of a LATEST table wins."""


def key_of(columns: tuple[Column, ...]) -> tuple[str, ...]:
    """The names of the key columns among ``columns``, in order."""
    return tuple(column.name for column in columns if column.merge is MergeRule.KEY)


def _check_columns(columns: tuple[Column, ...]) -> None:
    _check_names([column.name for column in columns])
    if any(column.name == DELETED for column in columns):
        raise DeclarationError(f"column {DELETED!r} is kappa's own")


def _check_names(listed: list[str]) -> None:
    for name in listed:
        names.check_column(name)
        if listed.count(name) > 1:
            raise DeclarationError(f"column {name!r} is declared twice")


def _check_order(columns: tuple[Column, ...]) -> None:
    known = {column.name for column in columns}
    for column in columns:
        ordered = column.merge in (MergeRule.FIRST, MergeRule.LAST)
        if ordered != bool(column.order) or not known.issuperset(column.order):
            raise DeclarationError(
                f"column {column.name!r} merges as {column.merge.name} by {column.order}",
                hint="FIRST and LAST go by columns of the table, other rules by none",
            )


def _check_key(layout: Layout) -> None:
    if set(layout.key) != set(key_of(layout.columns)) or not layout.key:
        raise DeclarationError(
            f"the key {layout.key} is not the columns that merge as KEY",
            processor=layout.processor,
        )
    rules = {column.merge for column in layout.columns} - {MergeRule.KEY}
    if layout.kind is Kind.APPEND and not _is_place(layout.columns):
        raise DeclarationError("the key of an append-only table is its partition and offset")
    nullable = {column.name for column in layout.columns if column.nullable}
    if layout.kind is Kind.APPEND and nullable & set(layout.key):
        raise DeclarationError("where a record comes from is never NULL")
    if layout.kind is Kind.LATEST and LATEST_OFFSET_COLUMN not in layout.columns:
        raise DeclarationError(f"a latest-by-key table needs a column {OFFSET!r}")
    if layout.kind is Kind.LATEST and rules != {MergeRule.LATEST}:
        raise DeclarationError("every column of a latest-by-key table merges as LATEST")
    if layout.kind is Kind.AGGREGATE and MergeRule.LATEST in rules:
        raise DeclarationError("an aggregate's columns merge each by itself, not as LATEST")


def _check_sides(layout: Layout) -> None:
    listed = [side.name for side in layout.sides]
    for side in layout.sides:
        names.side_name(layout.processor, layout.version, side.name)
        _check_columns(side.columns)
        if listed.count(side.name) > 1:
            raise DeclarationError(f"the output {side.name!r} is declared twice")
        if not _is_place(side.columns):
            raise DeclarationError(
                f"the key of the output {side.name!r} is not its partition and offset"
            )
    if layout.state is not None:
        names.check_keyed_name(layout.processor)


def _is_place(columns: tuple[Column, ...]) -> bool:
    """Whether the key is where in the topic a row comes from."""
    return set(key_of(columns)) - {INDEX} == {PARTITION, OFFSET}
