"""The topic records go to: its schema, its key, and records as its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter, itemgetter

import polars as pl

from kappa.avro.columns import polars_schema
from kappa.avro.encode import BatchEncoder
from kappa.avro.keys import key_bytes
from kappa.avro.nodes import Field
from kappa.publishing.chunks import BadLine, Chunk, Raw, Tombstone
from kappa.publishing.columns import convert
from kappa.registry.topic import Registered, TopicRegistry, value_subject


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records ready to be sent; a tombstone's value is None.

    ``lines``, ``values`` and ``keys`` run in parallel and in input order, as does ``bad``.
    ``consumed`` is that of the chunk they came from.
    """

    lines: Sequence[int]
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] | None
    bad: Sequence[BadLine]
    consumed: int

    @property
    def size_bytes(self) -> int:
        """Bytes of all values and keys."""
        return sum(len(part) for part in (*self.values, *(self.keys or ())) if part)

    def before(self, line: int) -> Batch:
        """What comes before a line, its bad lines left out."""
        end = sum(1 for own in self.lines if own < line)
        keys = None if self.keys is None else self.keys[:end]
        return Batch(self.lines[:end], self.values[:end], keys, (), self.consumed)


class Target:
    """One topic with the schema its values have now and its key column, which is never null.

    Raises:
        UnknownSchema: no schema is registered for the topic's values.
        RegistryUnavailable, UnknownTopic, BrokerUnavailable: as the registry does.
    """

    def __init__(self, registry: TopicRegistry, topic: str) -> None:
        registered: Registered = registry.latest(value_subject(topic))
        self.topic = topic
        self.schema_id = registered.schema_id
        self.key = registry.topic_key(topic)
        self.fields: tuple[Field, ...] = registered.schema.record.fields
        self._types = polars_schema(registered.schema)
        self._encoder = BatchEncoder(registered.schema, registered.schema_id)

    def encode(self, chunk: Chunk) -> Batch:
        """The lines that fit as the topic's bytes, and those that do not."""
        typed = self._typed(chunk)
        values: Sequence[bytes | None] = self._encoder.encode(typed.frame)
        keys = None if self.key is None else key_bytes(typed.frame[self.key]).to_list()
        records = Batch(typed.lines, values, keys, typed.bad, chunk.consumed)
        return _woven(records, typed.tombstones) if typed.tombstones else records

    def _typed(self, chunk: Chunk) -> _Typed:
        bad = {fault.line: fault for fault in chunk.bad}
        columns = [
            self._column(field, chunk.columns[field.name], chunk.lines, bad)
            for field in self.fields
        ]
        frame, lines = pl.DataFrame(columns), chunk.lines
        if bad:
            good = [at for at, line in enumerate(lines) if line not in bad]
            frame, lines = frame[good], [lines[at] for at in good]
        tombstones = self._tombstones(chunk.tombstones, bad) if chunk.tombstones else {}
        return _Typed(lines, frame, tombstones, sorted(bad.values(), key=attrgetter("line")))

    def _column(
        self, field: Field, raw: Raw, lines: Sequence[int], bad: dict[int, BadLine]
    ) -> pl.Series:
        """The column in its type. Lines where it does not fit go to ``bad``, once each."""
        found = convert(raw, field.node, self._types[field.name])
        for at, fault in found.faults.items():
            bad.setdefault(lines[at], BadLine(lines[at], field.name + fault.path, fault.reason))
        return found.series.alias(field.name)

    def _tombstones(
        self, tombstones: Sequence[Tombstone], bad: dict[int, BadLine]
    ) -> dict[int, bytes]:
        """Line to record key of those whose key fits the key column."""
        field = next(field for field in self.fields if field.name == self.key)
        lines = [tombstone.line for tombstone in tombstones]
        column = self._column(field, [tombstone.key for tombstone in tombstones], lines, bad)
        keys = zip(lines, key_bytes(column).to_list(), strict=True)
        return {line: key for line, key in keys if line not in bad}


@dataclass(frozen=True, slots=True)
class _Typed:
    lines: Sequence[int]
    frame: pl.DataFrame
    tombstones: dict[int, bytes]
    bad: list[BadLine]


def _woven(records: Batch, tombstones: dict[int, bytes]) -> Batch:
    """Records and tombstones in the order of their lines."""
    assert records.keys is not None
    merged = [
        *zip(records.lines, records.values, records.keys, strict=True),
        *((line, None, key) for line, key in tombstones.items()),
    ]
    merged.sort(key=itemgetter(0))
    lines, values, keys = zip(*merged, strict=True)
    return replace(records, lines=lines, values=values, keys=keys)
