"""Evaluating declared expressions so that one bad record never spoils its batch."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from kappa.processing.events import NO_DEAD
from kappa.processing.expressions import first_line

# What an expression may raise on a value. ``PanicException`` is no Exception: Polars panics
# where its Rust code meets a value that it did not expect.
_VALUE_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


def evaluate(
    frame: pl.DataFrame, expressions: Sequence[pl.Expr]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The expressions over ``frame``, and a dead letter for each record they fail on.

    The whole frame is tried first; only a frame that fails is halved, so that a clean batch
    costs nothing and k bad records of n cost about k log n evaluations.

    Returns:
        the columns of the good records in order, and the bad ones as DEAD_SCHEMA.
    """
    try:
        return frame.lazy().select(expressions).collect(), NO_DEAD
    except _VALUE_ERRORS as error:
        if len(frame) <= 1:
            letter = frame.select(
                "@offset",
                pl.lit(type(error).__name__).alias("error_class"),
                pl.lit(first_line(error)).alias("message"),
                pl.lit(None, pl.String).alias("stack"),
                pl.lit(None, pl.String).alias("timer"),
            )
            return frame.clear().select(expressions), letter
    middle = len(frame) // 2
    left, left_dead = evaluate(frame[:middle], expressions)
    right, right_dead = evaluate(frame[middle:], expressions)
    return pl.concat([left, right]), pl.concat([left_dead, right_dead])
