"""Reading batches together gives what aiokafka gives of each record, or the same error."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.errors import LogError
from kappa.log import taken
from kappa.log.batches import StoredBatch, scan
from kappa.log.copies import HEADER
from kappa.log.records import TopicPartition
from kappa.log.taken import Columns, take_apart
from kappa.log.uniform import MOST_HEADERS, Payload, form_of, records
from tests.unit.record_batches import sealed

AT = TopicPartition("orders", 0)
_HEADER = 61

Header = tuple[str, bytes | None]
Row = tuple[int, int, bytes | None, bytes | None]

texts = st.none() | st.binary(max_size=3) | st.binary(min_size=60, max_size=140)
headers = st.lists(st.tuples(st.text(max_size=4), texts), max_size=2)
relaxed = settings(max_examples=200)


@pytest.fixture(autouse=True, params=[0, 5, taken.FEW], ids=["together", "either", "alone"])
def few(request: pytest.FixtureRequest) -> Iterator[int]:
    """So many records are read one by one. Not monkeypatch: hypothesis wants no such fixture."""
    before, taken.FEW = taken.FEW, request.param
    yield taken.FEW
    taken.FEW = before


def written(
    base: int,
    rows: list[tuple[int, bytes | None, bytes | None, list[Header]]],
    *,
    gap: int = 1,
    append_time: int | None = None,
    codec: int = 0,
) -> bytes:
    """A batch of (timestamp, key, value, headers), ``gap`` offsets apart."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 30)
    for number, (stamp, key, value, extra) in enumerate(rows):
        builder.append(number * gap, stamp, key, value, extra)
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, base)
    if append_time is not None:
        raw[22] |= 0x08
        struct.pack_into(">q", raw, 35, append_time)
    return sealed(raw)


def stored(*raw: bytes) -> list[StoredBatch]:
    return list(scan(b"".join(raw), AT, 0, None, []).batches)


def taken_apart(batches: list[StoredBatch]) -> list[Row]:
    return [row for part in take_apart(batches, AT) for row in rows_of(part)]


def rows_of(part: Columns) -> list[Row]:
    columns = (part.offsets, part.timestamps, part.keys, part.values)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def read_by_aiokafka(batches: list[StoredBatch]) -> list[Row]:
    return [
        (record.offset, record.timestamp, record.key, record.value)
        for batch in batches
        for record in DefaultRecordBatch(batch.data)
    ]


@given(st.data())
@relaxed
def test_any_records_in_any_batches(data: st.DataObject) -> None:
    keyed, valued = data.draw(st.booleans()), data.draw(st.booleans())
    mixed = data.draw(st.booleans())
    extra = data.draw(st.sampled_from([[], [("h", b"v")], [("h", None), ("né", b"")]]))
    raw, base = [], 0
    for _ in range(data.draw(st.integers(1, 4))):
        count = data.draw(st.integers(1, 90))
        rng = data.draw(st.randoms(use_true_random=False))
        start = data.draw(st.sampled_from([0, 1_700_000_000_000]))

        def text(there: bool, rng: random.Random = rng) -> bytes | None:
            return rng.randbytes(rng.choice([0, 1, 63, 64, 70])) if there else None

        rows = [
            (
                start + rng.choice([0, -1, number, number * 1000, 10**10]),
                text(keyed != (mixed and rng.random() < 0.02)),
                text(valued != (mixed and rng.random() < 0.02)),
                extra,
            )
            for number in range(count)
        ]
        gap = data.draw(st.sampled_from([1, 1, 3]))
        append_time = data.draw(st.sampled_from([None, 5000]))
        raw.append(written(base, rows, gap=gap, append_time=append_time))
        base += count * gap
    batches = stored(*raw)
    assert taken_apart(batches) == read_by_aiokafka(batches)


@given(
    st.lists(st.tuples(st.just(0), texts, texts, headers), min_size=1, max_size=6),
    st.sampled_from([0, 1, 2, 3, 4]),
)
@relaxed
def test_records_of_several_forms(
    rows: list[tuple[int, bytes | None, bytes | None, list[Header]]], codec: int
) -> None:
    batches = stored(written(0, rows, codec=codec), written(len(rows), rows[:1]))
    assert taken_apart(batches) == read_by_aiokafka(batches)


@pytest.mark.parametrize("extra", [[], [("h", b"v")], [("h", None)], [("h", b"v")] * MOST_HEADERS])
@pytest.mark.parametrize("key", [b"k", None])
@pytest.mark.parametrize("value", [b"v" * 100, None])
def test_batches_of_one_form_are_read_together(
    monkeypatch: pytest.MonkeyPatch, extra: list[Header], key: bytes | None, value: bytes | None
) -> None:
    batches = stored(*(written(at, [(at, key, value, extra)] * 50) for at in (0, 50, 100)))
    expected = read_by_aiokafka(batches)
    monkeypatch.setattr(taken, "FEW", 0)
    monkeypatch.setattr(taken._OneByOne, "read", None)
    (part,) = take_apart(batches, AT)
    assert rows_of(part) == expected


def test_a_batch_of_another_form_spoils_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[int] = []
    read = taken._OneByOne.read

    def noted(self: Any, batches: Sequence[StoredBatch], data: Sequence[bytes]) -> Columns:
        alone.extend(batch.base_offset for batch in batches)
        return read(self, batches, data)

    monkeypatch.setattr(taken, "FEW", 0)
    monkeypatch.setattr(taken._OneByOne, "read", noted)
    plain = [(0, b"k", b"v", [])] * 10
    tombstone = [(0, b"k", None, [])]
    raw = [plain, plain[:5] + tombstone + plain[:4], tombstone * 10, plain]
    batches = stored(*(written(10 * at, rows) for at, rows in enumerate(raw)))  # type: ignore[arg-type]
    assert taken_apart(batches) == read_by_aiokafka(batches)
    assert alone == [10]


@given(st.data(), st.randoms(use_true_random=False))
@relaxed
def test_damaged_records_are_taken_only_if_aiokafka_takes_them(
    data: st.DataObject, rng: random.Random
) -> None:
    """The checksum fits, so that nothing but the records themselves tells."""
    extra = data.draw(st.sampled_from([[], [("h", b"v")]]))
    rows = [(at, b"key", rng.randbytes(rng.randrange(70)), extra) for at in range(5)]
    raw = bytearray(written(0, rows))
    at = rng.randrange(_HEADER, len(raw))
    match rng.randrange(4):
        case 0:
            raw[at] = rng.choice([0, 1, 2, 127, 128, 255, rng.randrange(256)])
        case 1:
            raw[at:at] = rng.choice([b"\x80", b"\x80\0", b"\0", b"\xff" * 9 + b"\x01"])
        case 2:
            del raw[at]
        case _:
            del raw[at:]
    struct.pack_into(">i", raw, 8, len(raw) - 12)
    batches = stored(sealed(raw))
    try:
        expected = read_by_aiokafka(batches)
    except Exception:  # noqa: BLE001 - whatever it says
        with pytest.raises(LogError):
            taken_apart(batches)
        return
    assert [row[1:] for row in taken_apart(batches)] == [row[1:] for row in expected]


def test_what_one_record_lacks_another_may_not_have_too_much() -> None:
    """The lengths of two records are moved against each other: both end in the wrong place."""
    good = bytearray(written(0, [(0, b"k", b"aaaa", []), (0, b"k", b"bbbb", [])]))
    first = _HEADER
    second = first + 1 + good[first] // 2
    good[first] += 2
    good[second] -= 2
    payload = Payload(memoryview(good)[_HEADER:], 2)
    form = form_of(payload)
    assert form is not None
    assert records([payload], form) is None
    with pytest.raises(LogError):
        taken_apart(stored(sealed(good)))


def test_offsets_that_do_not_count_up_in_a_dense_batch_are_those_of_its_header() -> None:
    raw = bytearray(written(0, [(0, b"k", b"v", [])] * 3))
    second = _HEADER + 1 + raw[_HEADER] // 2
    assert raw[second + 3] == 2  # the offset delta 1
    raw[second + 3] = 4
    assert [row[0] for row in taken_apart(stored(sealed(raw)))] == [0, 1, 2]


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80" * 50])
def test_what_is_no_record_has_no_form(data: bytes) -> None:
    assert form_of(Payload(memoryview(data), 1)) is None


def test_nulls_have_the_type_of_bytes() -> None:
    (part,) = take_apart(stored(written(0, [(0, None, b"v", [])])), AT)
    assert part.keys.type == part.values.type == pa.binary()


def copies_of(batches: list[StoredBatch]) -> dict[int, bytes | None]:
    return {at: said for part in take_apart(batches, AT) for at, said in part.copies.items()}


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("with_keys", [True, False])
def test_copies_are_found_among_whatever_headers(codec: int, with_keys: bool) -> None:
    other: list[Header] = [("h", HEADER.encode())]
    rows = [
        (0, b"k", HEADER.encode(), other),
        (0, b"k", b"v", [*other, (HEADER, b"id/0/1"), ("z", None)]),
        (0, None, b"v", [(HEADER, b"first"), (HEADER, b"last")]),
        (0, b"k", None, [(HEADER, None)]),
        (0, b"k", b"v", [("kappa-retry", b"-of"), ("-of", b"")]),
        (0, b"k", b"v", []),
    ]
    batches = stored(written(0, rows, codec=codec), written(10, rows[1:2], codec=codec, gap=3))
    expected = {1: b"id/0/1", 2: b"last", 3: None, 10: b"id/0/1"}
    parts = list(take_apart(batches, AT, with_keys=with_keys))
    found: dict[int, bytes | None] = {}
    for part in parts:
        found |= part.copies
    assert found == expected
    (between,) = [part.between(2, 10).copies for part in parts if 2 in part.offsets]
    assert between == {2: b"last", 3: None}


@pytest.mark.parametrize("name", [HEADER, f"x{HEADER}", HEADER[:-1]])
def test_copies_of_one_form_are_found(name: str) -> None:
    rows: list[tuple[int, bytes | None, bytes | None, list[Header]]] = [
        (0, b"k", b"v%d" % at, [("h", b""), (name, b"id/0/%d" % at)]) for at in range(40)
    ]
    expected = {at: b"id/0/%d" % at for at in range(40)} if name == HEADER else {}
    batches = stored(written(0, rows))
    assert copies_of(batches) == expected
    assert taken_apart(batches) == read_by_aiokafka(batches)


def test_records_without_headers_are_read_together_whatever_is_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches = stored(written(0, [(0, HEADER.encode(), HEADER.encode(), [])] * 50))
    monkeypatch.setattr(taken, "FEW", 0)
    monkeypatch.setattr(taken._OneByOne, "read", None)
    assert copies_of(batches) == {}
