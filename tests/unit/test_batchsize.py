"""How many rows that change leave at once, when nobody knows beforehand what they weigh."""

from __future__ import annotations

from kappa.runtime.relay.batchsize import BatchSize
from kappa.tables.outbox import BATCH_BYTES


def test_batches_begin_with_one_row_and_double() -> None:
    size = BatchSize(6)
    taken = []
    for _ in range(5):
        taken.append(size.rows)
        size.sent(size.rows, 100)
    assert taken == [1, 2, 4, 6, 6]


def test_a_batch_that_was_not_full_proves_nothing_for_a_larger_one() -> None:
    size = BatchSize(100)
    size.sent(1, 100)
    size.sent(1, 100)
    assert size.rows == 2


def test_heavy_rows_leave_fewer_at_once() -> None:
    size = BatchSize(100)
    for _ in range(3):
        size.sent(size.rows, 100)
    assert size.rows == 8
    size.sent(8, BATCH_BYTES)  # twice as many would be too much
    assert size.rows == 8
    size.sent(8, BATCH_BYTES + 1)
    assert size.rows == 4
    size.sent(1, 10 * BATCH_BYTES)
    assert size.rows == 1
