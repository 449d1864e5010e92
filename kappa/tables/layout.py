"""What a version's tables look like: their columns, how rows of one key merge, and the view."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kappa.errors import DeclarationError
from kappa.tables import names
from kappa.tables.finalize import Finalize
from kappa.tables.merge import MergeRule
from kappa.tables.sqltypes import BIGINT, INTEGER, SqlType

PARTITION = "_partition"
OFFSET = "_offset"
DELETED = "_deleted"
"""System columns of tables. A user's column cannot begin with an underscore."""


class Kind(Enum):
    """How rows of one key become one row."""

    APPEND = "append"
    """They do not: the key is the record's own place, ``(_partition, _offset)``."""

    AGGREGATE = "aggregate"
    """Partial aggregates: each column merges by its rule, in any order."""

    LATEST = "latest"
    """The row with the greatest ``_offset`` wins whole. Incoming frames carry a Boolean
    ``_deleted``: such a row removes its key."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; incoming frames have a column of the same name.

    A key column is ``nullable=False`` wherever it can be: only then the key is a PRIMARY KEY.
    """

    name: str
    type: SqlType
    merge: MergeRule
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """One column of the view, computed from the table's columns."""

    name: str
    finalize: Finalize


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables and the view of one version of a processor.

    ``columns`` are all columns of the table in order, system columns included: an APPEND table
    has ``PARTITION_COLUMN`` and ``OFFSET_COLUMN`` as its key, a LATEST table has
    ``LATEST_OFFSET_COLUMN``. ``late`` are those of the table of late records, whose key are
    the columns with MergeRule.KEY; None when there is no such table.
    """

    processor: str
    version: int
    kind: Kind
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    view: tuple[ViewColumn, ...]
    late: tuple[Column, ...] | None = None

    def __post_init__(self) -> None:
        names.check_name(self.processor)
        names.check_version(self.version)
        _check_columns(self.columns)
        _check_columns(self.late or ())
        _check_names([column.name for column in self.view])
        _check_key(self)
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
    def late_table(self) -> str | None:
        return None if self.late is None else names.late_name(self.processor, self.version)

    @property
    def view_name(self) -> str:
        return names.view_name(self.processor)


PARTITION_COLUMN = Column(PARTITION, INTEGER, MergeRule.KEY, nullable=False)
OFFSET_COLUMN = Column(OFFSET, BIGINT, MergeRule.KEY, nullable=False)
"""The key of APPEND tables and of tables of late records."""

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


def _check_key(layout: Layout) -> None:
    if set(layout.key) != set(key_of(layout.columns)) or not layout.key:
        raise DeclarationError(
            f"the key {layout.key} is not the columns that merge as KEY",
            processor=layout.processor,
        )
    rules = {column.merge for column in layout.columns} - {MergeRule.KEY}
    if layout.kind is Kind.APPEND and set(layout.key) != {PARTITION, OFFSET}:
        raise DeclarationError("the key of an append-only table is its partition and offset")
    nullable = {column.name for column in layout.columns if column.nullable}
    if layout.kind is not Kind.AGGREGATE and nullable & set(layout.key):
        raise DeclarationError("only the key of an aggregate may be NULL")
    if layout.kind is Kind.LATEST and LATEST_OFFSET_COLUMN not in layout.columns:
        raise DeclarationError(f"a latest-by-key table needs a column {OFFSET!r}")
    if layout.kind is Kind.LATEST and rules != {MergeRule.LATEST}:
        raise DeclarationError("every column of a latest-by-key table merges as LATEST")
    if layout.kind is Kind.AGGREGATE and MergeRule.LATEST in rules:
        raise DeclarationError("an aggregate's columns merge each by itself, not as LATEST")
