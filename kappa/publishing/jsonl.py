"""JSON lines: one object a line, its members the fields of the schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BufferedIOBase
from operator import itemgetter
from typing import TypeAlias

import orjson

from kappa.avro.nodes import Field
from kappa.publishing.chunks import BadLine, Chunk, Raw, Tombstone
from kappa.publishing.digits import with_digits
from kappa.publishing.lines import Block, blocks
from kappa.publishing.values import default_of, has_decimal

TOMBSTONE = "@tombstone"
"""The member that makes a line a deletion; no Avro field can have this name."""

_LOSSLESS = (str, int, type(None))
"""A whole number beyond 64 bits comes as a float."""

_Row: TypeAlias = dict[str, object]
_Members: TypeAlias = tuple[str, ...]


def read(stream: BufferedIOBase, fields: Sequence[Field], key: str | None) -> Iterator[Chunk]:
    """The records of the stream. Empty lines are passed over.

    Args:
        key: the topic's key column, which a tombstone must name.
    """
    reader = _Reader(fields, key)
    for block in blocks(stream):
        yield reader.chunk(block)


class _Reader:
    def __init__(self, fields: Sequence[Field], key: str | None) -> None:
        self._fields = fields
        self._names = frozenset(field.name for field in fields)
        self._defaults = {field.name: default_of(field) for field in fields if field.has_default}
        self._exact = [field.name for field in fields if has_decimal(field.node)]
        self._key = key

    def chunk(self, block: Block) -> Chunk:
        lines, rows, bad = _parse(block)
        for line, row in zip(lines, rows, strict=True) if self._exact else ():
            self._take_digits(block.lines[line - block.first_line], row)
        tombstones: list[Tombstone] = []
        members = set(map(tuple, rows))
        if any(set(some) != self._names for some in members):
            faults = {some: self._fault(some) for some in members}
            kept = []
            for line, row in zip(lines, rows, strict=True):
                fault = faults[tuple(row)]
                if TOMBSTONE in row and not fault:
                    fault = "" if row[TOMBSTONE] is True else f"{TOMBSTONE} can only be true"
                    if not fault and self._key is not None:
                        tombstones.append(Tombstone(line, row[self._key]))
                        continue
                if fault:
                    bad.append(BadLine(line, *_split(fault)))
                else:
                    kept.append((line, {**self._defaults, **row}))
            lines, rows = [line for line, _ in kept], [row for _, row in kept]
        columns: Mapping[str, Raw] = {
            field.name: list(map(itemgetter(field.name), rows)) for field in self._fields
        }
        return Chunk(lines, columns, block.consumed, tombstones, bad)

    def _take_digits(self, text: bytes, row: _Row) -> None:
        """Gives decimals all the digits they are written with."""
        if all(isinstance(row.get(name), _LOSSLESS) for name in self._exact):
            return
        written = with_digits(text.decode(), row)
        row.update({name: written[name] for name in self._exact if name in row})

    def _fault(self, members: _Members) -> str:
        """What is wrong with a line of these members: ``column: reason``, or nothing."""
        if TOMBSTONE in members:
            if self._key is None:
                return f"{TOMBSTONE}: the topic has no key column"
            if set(members) != {TOMBSTONE, self._key}:
                return f"{TOMBSTONE}: a tombstone has the key column {self._key} beside it alone"
            return ""
        for name in members:
            if name not in self._names:
                return f"{name}: the schema has no such field"
        for field in self._fields:
            if field.name not in members and field.name not in self._defaults:
                return f"{field.name}: the field is missing and has no default"
        return ""


def _split(fault: str) -> tuple[str, str]:
    column, _, reason = fault.partition(": ")
    return (column, reason) if reason else ("", fault)


def _parse(block: Block) -> tuple[list[int], list[_Row], list[BadLine]]:
    """The lines that are JSON objects; all at once, line by line only if one is not."""
    try:
        rows = list(map(orjson.loads, block.lines))
    except orjson.JSONDecodeError:
        rows = []
    if rows and set(map(type, rows)) == {dict}:
        return list(range(block.first_line, block.first_line + len(rows))), rows, []
    lines: list[int] = []
    good: list[_Row] = []
    bad: list[BadLine] = []
    for line, text in block.numbered():
        if not text.strip():
            continue
        try:
            row = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            bad.append(BadLine(line, "", f"not JSON: {error.msg} at column {error.colno}"))
            continue
        if isinstance(row, dict):
            lines.append(line)
            good.append(row)
        else:
            bad.append(BadLine(line, "", "not a JSON object"))
    return lines, good, bad
