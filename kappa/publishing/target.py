"""The topic records go to: its schema, its key, and records as its bytes."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import polars as pl

from kappa.avro.columns import polars_schema
from kappa.avro.encode import BatchEncoder
from kappa.avro.keys import key_bytes
from kappa.avro.nodes import Field
from kappa.publishing.chunks import BadLine, Chunk
from kappa.publishing.columns import convert
from kappa.publishing.misfit import Misfit
from kappa.registry.topic import Registered, TopicRegistry


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records ready to be sent; a tombstone's value is None.

    ``lines``, ``values`` and ``keys`` run in parallel and in input order, as does ``bad``.
    """

    lines: Sequence[int]
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] | None
    bad: Sequence[BadLine]

    def before(self, line: int) -> Batch:
        """What comes before a line, its bad lines left out."""
        end = sum(1 for own in self.lines if own < line)
        keys = None if self.keys is None else self.keys[:end]
        return Batch(self.lines[:end], self.values[:end], keys, ())


class Target:
    """One topic with the schema its values have now.

    Raises:
        UnknownSchema: no schema is registered for the topic's values.
        RegistryUnavailable, UnknownTopic, BrokerUnavailable: as the registry does.
    """

    def __init__(self, registry: TopicRegistry, topic: str) -> None:
        registered: Registered = registry.latest(f"{topic}-value")
        self.topic = topic
        self.schema_id = registered.schema_id
        self.key = registry.topic_key(topic)
        self.fields: tuple[Field, ...] = registered.schema.record.fields
        self._types = polars_schema(registered.schema)
        self._encoder = BatchEncoder(registered.schema, registered.schema_id)

    def check(self, chunk: Chunk) -> list[BadLine]:
        """The lines that cannot be published, in order."""
        return self._typed(chunk).bad

    def encode(self, chunk: Chunk) -> Batch:
        """The lines that can, as the topic's bytes."""
        typed = self._typed(chunk)
        values: Sequence[bytes | None] = self._encoder.encode(typed.frame)
        keys = None if self.key is None else key_bytes(typed.frame[self.key]).to_list()
        if not typed.tombstones:
            return Batch(typed.lines, values, keys, typed.bad)
        return _woven(Batch(typed.lines, values, keys, typed.bad), typed.tombstones)

    def _typed(self, chunk: Chunk) -> _Typed:
        bad = {fault.line: fault for fault in chunk.bad}
        columns = []
        for field in self.fields:
            found = convert(chunk.columns[field.name], field.node, self._types[field.name])
            columns.append(found.series.alias(field.name))
            faults = dict(found.faults)
            if field.name == self.key:
                no_key = Misfit("null, where the record key is needed")
                faults = dict.fromkeys(found.series.is_null().arg_true(), no_key) | faults
            for at, misfit in faults.items():
                line = chunk.lines[at]
                bad.setdefault(line, BadLine(line, field.name + misfit.path, misfit.reason))
        frame = pl.DataFrame(columns)
        lines = chunk.lines
        if bad:
            good = [at for at, line in enumerate(lines) if line not in bad]
            frame, lines = frame[good], [lines[at] for at in good]
        tombstones = {}
        for tombstone in chunk.tombstones:
            try:
                tombstones[tombstone.line] = self._key_of(tombstone.key)
            except Misfit as misfit:
                bad[tombstone.line] = BadLine(tombstone.line, self.key or "", misfit.reason)
        return _Typed(lines, frame, tombstones, sorted(bad.values(), key=attrgetter("line")))

    def _key_of(self, value: object) -> bytes:
        node = next(field.node for field in self.fields if field.name == self.key)
        found = convert([value], node, self._types[self.key or ""])
        for misfit in found.faults.values():
            raise misfit
        (key,) = key_bytes(found.series).to_list()
        if key is None:
            raise Misfit("null, where the record key is needed")
        return bytes(key)


@dataclass(frozen=True, slots=True)
class _Typed:
    lines: Sequence[int]
    frame: pl.DataFrame
    tombstones: dict[int, bytes]
    bad: list[BadLine]


def _woven(records: Batch, tombstones: dict[int, bytes]) -> Batch:
    """Records and tombstones in the order of their lines."""
    assert records.keys is not None
    merged = list(zip(records.lines, records.values, records.keys, strict=True))
    for line, key in tombstones.items():
        insort(merged, (line, None, key), key=lambda entry: entry[0])
    lines, values, keys = zip(*merged, strict=True)
    return Batch(lines, values, keys, records.bad)
