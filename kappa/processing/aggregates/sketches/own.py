"""The user's own aggregate: three functions, whatever they keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from functools import reduce
from typing import Any

import polars as pl

from kappa.errors import AggregateFailed, DeclarationError, KappaError
from kappa.processing.aggregates.partials import Refusal
from kappa.processing.aggregates.sketches.packed import Format, Packing, binary
from kappa.processing.aggregates.worker_merged import RANK, Merger
from kappa.processing.expressions import Column, first_line, named


@dataclass(frozen=True, eq=False)
class Merged:
    """An aggregate of one's own.

    Attributes:
        columns: its inputs, by name or as expressions with an alias.
        partial: what is kept of some of a group's records: it takes them as a frame of the
            inputs plus ``@rank`` (Int128: event time, then partition, then offset), in any
            order, and gives an object of plain Python types.
        merge: the partial of the records of two partials. Whatever order and grouping they
            are merged in, the result must be the same to the bit: sum floats as integers.
        finalize: what is shown of a partial; None for null.
        result: the type of what is shown.
        keeps: the type of partials, if MessagePack cannot tell: in it tuples and sets come
            back as lists, dates as text. Anything that msgspec decodes, dataclasses included.
        where: which records count. A record does not if all its inputs are null.

    An exception in any of the functions stops the processor, as no single record is to blame.
    """

    columns: Column | Sequence[Column]
    _: KW_ONLY
    partial: Callable[[pl.DataFrame], Any]
    merge: Callable[[Any, Any], Any]
    finalize: Callable[[Any], Any]
    result: pl.DataType | type[pl.DataType] = pl.Float64
    keeps: Any = Any
    where: pl.Expr | None = None
    ranked = True

    def reads(self) -> list[pl.Expr]:
        return list(self.inputs().values())

    def refusals(self, types: Sequence[pl.DataType]) -> list[Refusal]:
        return []

    def merger(self, name: str, types: Sequence[pl.DataType]) -> Merger:
        if not types:
            raise DeclarationError(
                f"Merged {name!r} has no columns", hint="name at least one input in columns="
            )
        result = self.result if isinstance(self.result, pl.DataType) else self.result()
        try:
            packing: Packing[Any] = Packing(Format.OWN, self.keeps)
        except (TypeError, NotImplementedError) as error:
            raise DeclarationError(
                f"Merged {name!r} cannot keep {self.keeps!r}: {error}",
                hint="keeps= takes a type that msgspec decodes, for example dict[str, int]",
            ) from error
        return OwnMerger(self, name, result, packing)

    def inputs(self) -> dict[str, pl.Expr]:
        """Its inputs by the name they have in the frame that ``partial`` takes."""
        columns = self.columns
        several = [columns] if isinstance(columns, str | pl.Expr) else columns
        return named(several, where="Merged, columns")


@dataclass(frozen=True)
class OwnMerger:
    """Calls the user's functions, group by group."""

    declared: Merged
    name: str
    result: pl.DataType
    packing: Packing[Any]

    def prepared(self, inputs: Sequence[pl.Expr], rank: pl.Expr) -> pl.Expr:
        named_inputs = zip(inputs, self.declared.inputs(), strict=True)
        columns = [read.alias(name) for read, name in named_inputs]
        counts = pl.any_horizontal(read.is_not_null() for read in inputs)
        return pl.when(counts).then(pl.struct(*columns, rank.alias(RANK)))

    def gathered(self, prepared: pl.Expr) -> pl.Expr:
        return prepared

    def partials(self, gathered: pl.Series) -> pl.Series:
        records = gathered.explode(empty_as_null=False).struct.unnest()
        partials: list[bytes | None] = []
        begin = 0
        for size in gathered.list.len().to_list():
            rows = records[begin : begin + size]
            partials.append(self._packed("partial", rows) if size else None)
            begin += size
        return binary(partials)

    def merge(self, partials: Sequence[bytes]) -> bytes:
        return reduce(self._merged, partials)

    def shown(self, partials: pl.Series) -> pl.Series:
        with self._blamed("finalize"):
            finalize, unpack = self.declared.finalize, self.packing.unpack
            shown = [None if p is None else finalize(unpack(p)) for p in partials]
            return pl.Series(shown, dtype=self.result, strict=True)

    def _merged(self, left: bytes, right: bytes) -> bytes:
        unpack = self.packing.unpack
        return self._packed("merge", unpack(left), unpack(right))

    def _packed(self, function: str, *arguments: Any) -> bytes:
        with self._blamed(function):
            return self.packing.pack(getattr(self.declared, function)(*arguments))

    @contextmanager
    def _blamed(self, function: str) -> Iterator[None]:
        try:
            yield
        except (KappaError, MemoryError):
            raise
        except Exception as error:
            raise AggregateFailed(
                f"{function} of the aggregate {self.name!r} failed: {first_line(error)}",
                error=type(error).__name__,
                hint="mend it in a new version of the processor",
            ) from error
