"""Scanning responses, drawn: digits are offsets, A and B transactional producers, . is plain."""

from __future__ import annotations

import pytest

from kappa.errors import CorruptBatch
from kappa.log.batches import Scan, scan
from kappa.log.records import TopicPartition
from tests.unit.record_batches import ABORT, COMMIT, batch, marker, sealed

AT = TopicPartition("orders", 0)
A, B = 11, 12


def data(base: int, count: int, producer: int = -1) -> bytes:
    values = [b"%d" % (base + n) for n in range(count)]
    return batch(base, values, producer=producer, transactional=producer >= 0)


def bases(scanned: Scan) -> list[int]:
    return [stored.base_offset for stored in scanned.batches]


def test_responses_one_after_the_other_say_what_one_would_have_said() -> None:
    first, second = data(0, 2) + data(2, 3), data(5, 1) + marker(6, A, ABORT)
    joined = scan(first, AT, 1, None, []).followed_by(scan(second, AT, 5, None, []))
    assert joined == scan(first + second, AT, 1, None, [])


def test_a_producer_is_dropped_from_its_first_aborted_offset_to_its_marker() -> None:
    # A A A | B B | . | A-abort | A A | B-commit
    # 0 1 2   3 4   5      6      7 8       9
    response = (
        data(0, 3, A)
        + data(3, 2, B)
        + data(5, 1)
        + marker(6, A, ABORT)
        + data(7, 2, A)
        + marker(9, B, COMMIT)
    )
    scanned = scan(response, AT, 0, None, [(A, 0)])
    assert bases(scanned) == [3, 5, 7]
    assert scanned.next_offset == 10


def test_two_aborted_transactions_of_one_producer_around_a_committed_one() -> None:
    # A A-abort A A-commit A A-abort
    # 0    1    2    3     4    5
    response = b"".join(
        [
            data(0, 1, A),
            marker(1, A, ABORT),
            data(2, 1, A),
            marker(3, A, COMMIT),
            data(4, 1, A),
            marker(5, A, ABORT),
        ]
    )
    scanned = scan(response, AT, 0, None, [(A, 4), (A, 0)])  # in any order
    assert bases(scanned) == [2]


def test_a_transaction_that_began_before_the_fetch() -> None:
    # [0..4 fetched before] A A-abort A
    #                       5    6    7
    response = data(5, 1, A) + marker(6, A, ABORT) + data(7, 1, A)
    scanned = scan(response, AT, 5, None, [(A, 0)])
    assert bases(scanned) == [7]


def test_a_commit_marker_lets_nobody_back_in() -> None:
    response = marker(0, A, COMMIT) + data(1, 1, A) + marker(2, A, ABORT)
    assert bases(scan(response, AT, 0, None, [(A, 1)])) == []


def test_only_aborted_records_and_markers_still_move_the_position() -> None:
    response = data(0, 3, A) + marker(3, A, ABORT)
    scanned = scan(response, AT, 0, 4, [(A, 0)])
    assert (bases(scanned), scanned.next_offset) == ([], 4)


def test_the_first_batch_may_begin_before_the_position() -> None:
    scanned = scan(data(0, 10) + data(10, 5), AT, 4, None, [])
    assert (scanned.start_offset, bases(scanned), scanned.next_offset) == (4, [0, 10], 15)


def test_a_batch_that_lies_wholly_before_the_position_delivers_nothing() -> None:
    scanned = scan(data(0, 4) + data(4, 2), AT, 4, None, [])
    assert (bases(scanned), scanned.next_offset) == ([4], 6)


@pytest.mark.parametrize(("end", "kept"), [(3, [0]), (5, [0]), (6, [0, 5]), (12, [0, 5, 10])])
def test_nothing_at_or_past_the_end(end: int, kept: list[int]) -> None:
    scanned = scan(data(0, 5) + data(5, 5) + data(10, 5), AT, 0, end, [])
    assert (bases(scanned), scanned.next_offset) == (kept, end)


def test_a_gap_up_to_the_end_is_covered() -> None:
    # offsets 3..19 were compacted away; the range ends at 10
    scanned = scan(data(0, 3) + data(20, 2), AT, 0, 10, [])
    assert (bases(scanned), scanned.next_offset) == ([0], 10)


def test_the_last_offset_counts_even_if_its_record_is_gone() -> None:
    compacted = batch(0, [b"a", b"b"], deltas=[0, 4])
    scanned = scan(compacted, AT, 0, None, [])
    (stored,) = scanned.batches
    assert scanned.next_offset == 5
    assert not stored.dense


def test_a_batch_cut_off_by_the_size_limit_waits_for_the_next_response() -> None:
    response = data(0, 3) + data(3, 3)[:-1]
    scanned = scan(response, AT, 0, None, [])
    assert (bases(scanned), scanned.next_offset) == ([0], 3)


@pytest.mark.parametrize("response", [b"", b"\0" * 30])
def test_a_response_without_a_whole_batch_moves_nothing(response: bytes) -> None:
    assert scan(response, AT, 7, None, []).next_offset == 7


def test_one_flipped_bit_is_told_with_its_place() -> None:
    damaged = bytearray(data(0, 2) + data(2, 2))
    damaged[-1] ^= 1
    with pytest.raises(CorruptBatch) as caught:
        scan(bytes(damaged), AT, 0, None, [])
    assert caught.value.detail == {"topic": "orders", "partition": 0, "offset": 2}


def test_a_damaged_batch_of_an_aborted_transaction_is_not_passed_over() -> None:
    damaged = bytearray(data(0, 2, A))
    damaged[-1] ^= 1
    with pytest.raises(CorruptBatch):
        scan(bytes(damaged), AT, 0, None, [(A, 0)])


def test_an_older_message_format_is_refused() -> None:
    old = bytearray(data(0, 1))
    old[16] = 1
    with pytest.raises(CorruptBatch, match="message format 1"):
        scan(sealed(old), AT, 0, None, [])


def test_a_length_shorter_than_the_header_is_refused() -> None:
    short = bytearray(data(0, 1))
    short[8:12] = (20).to_bytes(4, "big")
    with pytest.raises(CorruptBatch, match="shorter than its header"):
        scan(bytes(short) + b"\0" * 80, AT, 0, None, [])


def test_append_time_is_the_batch_s_and_create_time_each_record_s() -> None:
    scanned = scan(batch(0, [b"x"], append_time=777) + data(1, 1), AT, 0, None, [])
    assert [stored.append_time for stored in scanned.batches] == [777, None]
