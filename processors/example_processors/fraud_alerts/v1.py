"""Fraud alerts: a tiny transaction, then a large one on the same account within a minute."""

from __future__ import annotations

from typing import Protocol

import polars as pl

from kappa import Context, KeyedProcessor, Source, ValueState

SMALL = 1.00
LARGE = 500.00
MINUTE_MS = 60_000


class Transaction(Protocol):
    """What the handlers see of a transaction."""

    @property
    def amount(self) -> float: ...


class FraudDetector(KeyedProcessor):
    """Thieves try a stolen card with a tiny sum before they take a large one."""

    name, version = "fraud_alerts", 1
    source = Source("transactions", event_time="at", out_of_orderness="5s")
    key = "account_id"
    columns = ("amount",)
    output = pl.Schema(
        {
            "account_id": pl.String(),
            "amount": pl.Float64(),
            "at": pl.Datetime("ms", "UTC"),
        }
    )

    small_seen = ValueState(bool)

    def on_event(self, event: Transaction, ctx: Context) -> None:
        if event.amount > LARGE and self.small_seen.get():
            ctx.emit(account_id=ctx.key, amount=event.amount, at=ctx.event_time)
        if event.amount < SMALL:
            self.small_seen.set(True)
            ctx.set_processing_timer(ctx.processing_time + MINUTE_MS)

    def on_timer(self, at: int, ctx: Context) -> None:
        self.small_seen.clear()
