"""Keyed processors: handlers in Python, one event at a time, with state and timers per key."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import polars as pl

from kappa.errors import DeclarationError, InvalidValue
from kappa.processing.admission import Storable, event_time
from kappa.processing.dead_letter_limit import USUAL, DeadLetterLimit
from kappa.processing.destinations import MAIN, Destination, check_publish
from kappa.processing.expressions import Column
from kappa.processing.fields import called, check_fields
from kappa.processing.keyed.checks import (
    FIELDS,
    OutputColumns,
    declared_states,
    key_type,
    output_types,
    seen_columns,
    value_of,
)
from kappa.processing.keyed.context import Context
from kappa.processing.keyed.fold import KeyedFold
from kappa.processing.keyed.handlers import Handlers
from kappa.processing.keyed.key_codec import KeyCodec, state_text
from kappa.processing.keyed.key_memory import KeyMemory
from kappa.processing.keyed.outputs import Output
from kappa.processing.keyed.reach import names_used
from kappa.processing.keyed.records import RecordReader
from kappa.processing.keyed.state import State
from kappa.processing.keyed.turn import Turn
from kappa.processing.source import Source
from kappa.processing.store import Store

MOST_KEYS = 200_000
"""Keys held in memory by one worker."""


class KeyedProcessor:
    """Handlers that are called for one event of one key at a time.

    Declare a subclass; its states are attributes of the class::

        class FraudDetector(KeyedProcessor):
            name, version = "fraud_alerts", 1
            source = Source("transactions", event_time="at")
            key = "account_id"
            output = pl.Schema({"account": pl.String(), "amount": pl.Float64()})
            small_seen = ValueState(bool)

            def on_event(self, event, ctx): ...

    Handlers must depend on nothing but the event, the context and their states: no clock, no
    randomness, nothing read from outside. Then a replay does again what was done before.

    What a handler raises makes its record (or timer) a dead letter, and takes back what the
    handler did before it raised; the record still counts for the watermark. Only a
    DeclarationError stops the processor: no record is to blame for what is not declared.

    Attributes:
        name, version: the processor and its version; a change of logic is a new version.
        source: the topic; its event time may be None, but then there are no event-time timers.
        key: the column that is the topic's record key.
        columns: what handlers see of an event, by name or as expressions with an alias; None:
            all columns of the topic. The fewer, the faster; moments are slow.
        output: the table's columns.
        outputs: the columns of side outputs by their names, each with a table and a view of its
            own.
        max_dead_letters: how many records and timers may fail before it stops.
        publish: where outputs are sent on to by their names: ``main`` for the table's rows, or
            a side output; nowhere if left out.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 0
    source: ClassVar[Source]
    key: ClassVar[str]
    columns: ClassVar[Sequence[Column] | Mapping[str, Column] | None] = None
    output: ClassVar[OutputColumns]
    outputs: ClassVar[Mapping[str, OutputColumns]] = {}
    max_dead_letters: ClassVar[DeadLetterLimit] = USUAL
    publish: ClassVar[Mapping[str, Destination]] = {}

    def on_event(self, event: Any, ctx: Context) -> None:
        """Called for each record, in offset order; ``event`` has an attribute per column."""
        raise NotImplementedError

    def on_timer(self, at: int, ctx: Context) -> None:
        """Called when a timer is due; ``at`` is the time it was set for, ms."""
        raise NotImplementedError

    def __setattr__(self, name: str, value: object) -> None:
        if _AT_WORK in vars(self):
            raise InvalidValue(
                f"a handler of {self.name} set self.{name}, which a restart would lose",
                hint="declare a ValueState and use its set()",
            )
        super().__setattr__(name, value)

    def bind(
        self, schema: pl.Schema, required: Collection[str] = (), record_key: str | None = None
    ) -> BoundKeyedProcessor:
        """The declaration against the source's columns.

        ``record_key`` is the column the topic is keyed by, None where that is not known.

        Raises:
            DeclarationError: something declared is missing or does not fit.
        """
        self.check_declared()
        where = called(self)
        if record_key not in (None, self.key):
            raise DeclarationError(
                f"{where} keeps state by {self.key!r}, but the record key of"
                f" {self.source.topic!r} is {record_key!r}",
                hint=f"use key = {record_key!r}",
            )
        timed = self.source.event_time is not None
        states = declared_states(self, where=where)
        return BoundKeyedProcessor(
            declaration=self,
            time=event_time(self.source, schema, where=where) if timed else None,
            key_type=key_type(self.key, schema, where=where),
            columns=seen_columns(self.columns, schema, where=where),
            output=output_types(self.output, where=f"{where}, output"),
            outputs={
                name: output_types(columns, where=f"{where}, output {name!r}")
                for name, columns in self.outputs.items()
            },
            states=states,
            state_schema=state_text(states, where=where),
        )

    def check_declared(self) -> None:
        """Whether all is declared that must be, as far as that shows without the source's columns.

        Raises:
            DeclarationError: something is missing, of another type, or contradicts the rest.
        """
        check_fields(self, FIELDS, place=" in the class")
        where = called(self)
        check_publish(
            self.publish,
            source=self.source.topic,
            per_record=[MAIN, *self.outputs],
            where=where,
        )
        if not _overrides(self, "on_event"):
            raise DeclarationError(
                f"{where} has no on_event", hint="define on_event(self, event, ctx)"
            )
        for handler in (self.on_event, self.on_timer):
            if inspect.iscoroutinefunction(handler) or inspect.isgeneratorfunction(handler):
                raise DeclarationError(
                    f"{where}: {handler.__name__} would not run when it is called",
                    hint="make it a plain function: no async, no yield",
                )
        _check_timers(self, where)


@dataclass(frozen=True, eq=False)
class BoundKeyedProcessor:
    """A keyed processor with the types its columns have.

    Attributes:
        time: the event time as ``@event_time``; None for a source without.
        key_type: of the key column.
        columns: what handlers see of a record.
        output: the table's columns.
        outputs: the columns of each side output.
        states: the declared states by name.
        state_schema: what is stored of a key, as text; stored states can be read where it is
            the same.
    """

    declaration: KeyedProcessor
    time: pl.Expr | None
    key_type: pl.DataType
    columns: dict[str, pl.Expr]
    output: Mapping[str, pl.DataType]
    outputs: Mapping[str, Mapping[str, pl.DataType]]
    states: Mapping[str, State]
    state_schema: str
    keyed: Literal[True] = field(default=True, init=False)
    """It trusts that a key's records lie in one partition."""
    remerge: None = field(default=None, init=False)
    """No two of its rows have one key."""

    def fold(self, storable: Storable, store: Store, most_keys: int = MOST_KEYS) -> KeyedFold:
        """A fold that has seen nothing yet and holds about ``most_keys`` keys in memory."""
        declared, where = self.declaration, self._where
        turn = Turn()
        sent = declared.publish
        main = Output(self.output, where=f"{where}, output", with_keys=MAIN in sent)
        sides = {
            name: Output(columns, where=f"{where}, output {name!r}", with_keys=name in sent)
            for name, columns in self.outputs.items()
        }
        context = Context(
            turn,
            main,
            sides,
            value_of(self.key_type),
            where=where,
            has_time=self.time is not None,
            has_timers=_overrides(declared, "on_timer"),
        )
        worker, places = self._at_work(turn)
        handlers = Handlers(worker.on_event, worker.on_timer, context, turn, places)
        codec = KeyCodec(self.states)
        memory = KeyMemory(codec, len(self.states), store, most_keys)
        reader = RecordReader(declared.source, self.time, declared.key, self.columns, storable)
        return KeyedFold(reader, memory, handlers, main, sides)

    @property
    def _where(self) -> str:
        return f"{self.declaration.name} version {self.declaration.version}"

    def _at_work(self, turn: Turn) -> tuple[KeyedProcessor, dict[str, int]]:
        """A copy of the processor whose states are those of ``turn``, and the states' places."""
        places = {name: place for place, name in enumerate(self.states)}
        worker = copy(self.declaration)
        for name, state in self.states.items():
            handle = state.bound(name, places[name], turn, where=self._where)
            vars(worker)[name] = handle
        vars(worker)[_AT_WORK] = True
        return worker, places


_AT_WORK = "_at_work"
"""The attribute of a processor whose handlers are called: it takes no others any more."""


_SETS_EVENT_TIMER, _SETS_PROCESSING_TIMER = "set_event_timer", "set_processing_timer"


def _check_timers(processor: KeyedProcessor, where: str) -> None:
    """Whether the timers that handlers may set can be set, and be heard.

    Raises:
        DeclarationError: the source has no event time, or the processor no ``on_timer``.
    """
    hears = _overrides(processor, "on_timer")
    used = names_used(type(processor), "on_event", *(["on_timer"] if hears else []))
    if _SETS_EVENT_TIMER in used and processor.source.event_time is None:
        raise DeclarationError(
            f"{where}: a handler sets an event-time timer, and its source has no event time",
            hint='declare it: Source(…, event_time="at"), or use set_processing_timer',
        )
    if not hears and used & {_SETS_EVENT_TIMER, _SETS_PROCESSING_TIMER}:
        raise DeclarationError(
            f"{where} sets a timer and has no on_timer", hint="define on_timer(self, at, ctx)"
        )


def _overrides(processor: KeyedProcessor, handler: str) -> bool:
    return getattr(type(processor), handler) is not getattr(KeyedProcessor, handler)
