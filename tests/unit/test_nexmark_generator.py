"""The auction's events: the published distributions, the same bits for the same seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.nexmark import PLUGINS
from bench.nexmark.bids import HOT_CHANNELS, channel_id, pages
from bench.nexmark.config import BASE_TIME_MS, Config
from bench.nexmark.draws import Draws
from bench.nexmark.generator import BLOCK, Events, blocks
from bench.nexmark.placement import murmur2, partitions
from bench.nexmark.queries import BUILT, MISSING
from bench.nexmark.schemas import AUCTION, BID, KINDS, PERSON, Kind
from kappa.avro import schema as avro
from kappa.avro.decode import BatchDecoder
from kappa.avro.encode import BatchEncoder

COUNT = 250_000
SHUFFLED = Config(seed=3, events_per_s=10, out_of_order_group=30)


@cache
def events(count: int = COUNT, config: Config | None = None) -> Events:
    parts = list(blocks(count, config))
    return Events(*(pl.concat([part.of(kind) for part in parts]) for kind in KINDS))


def digest(of: Events) -> str:
    """Of everything that would be published, in Avro."""
    found = hashlib.sha256()
    for kind in KINDS:
        encoder = BatchEncoder(avro.parse(kind.schema), 1)
        for value in encoder.encode(of.of(kind)):
            found.update(value)
    return found.hexdigest()


@dataclass(frozen=True)
class Slow:
    """One event as the published generator knows it before it draws: an obvious reference."""

    number: int

    @property
    def kind(self) -> Kind:
        return (PERSON, *[AUCTION] * 3, *[BID] * 46)[self.number % 50]

    @property
    def people(self) -> int:
        """Ids given to people up to this event; event 0 is the first person."""
        return sum(1 for n in range(self.number + 1) if n % 50 == 0)

    @property
    def auctions(self) -> int:
        return sum(1 for n in range(self.number + 1) if n % 50 in (1, 2, 3))


def test_the_same_seed_gives_the_same_bits_on_every_machine() -> None:
    expected = "0e805bc3d13065a6d77ff61cf9f183b43b568e684c31ac0183dbd75ec9162e1c"
    assert digest(events(120_000, SHUFFLED)) == expected


def test_another_seed_gives_other_events() -> None:
    one, other = events(50_000, Config(seed=1)), events(50_000, Config(seed=2))
    for kind in KINDS:
        assert (one.of(kind)["extra"] != other.of(kind)["extra"]).all()


@pytest.mark.parametrize("count", [1, 49, BLOCK - 7, BLOCK, BLOCK + 31])
def test_more_events_begin_with_the_same(count: int) -> None:
    fewer, more = events(count, SHUFFLED), events(COUNT, SHUFFLED)
    assert sum(len(fewer.of(kind)) for kind in KINDS) == count
    for kind in KINDS:
        assert more.of(kind).head(len(fewer.of(kind))).equals(fewer.of(kind))


def test_events_are_those_of_the_published_generator_in_kind_id_and_time() -> None:
    found = {kind: events(2_000).of(kind).iter_rows(named=True) for kind in KINDS}
    for slow in map(Slow, range(2_000)):
        event = next(found[slow.kind])
        ms = BASE_TIME_MS + slow.number * 100 // 1000  # 100 us apart
        assert event["dateTime"].timestamp() * 1000 == ms
        if slow.kind is PERSON:
            assert event["id"] == 1000 + slow.people - 1
        elif slow.kind is AUCTION:
            assert event["id"] == 1000 + slow.auctions - 1
            check_person(event["seller"], slow, hot=0)
        else:
            check_person(event["bidder"], slow, hot=1)
            check_auction(event["auction"], slow)


def check_person(person: int, slow: Slow, *, hot: int) -> None:
    """Any of the last 1,000 people, ten not born yet, or the hot one of the last hundred."""
    newest = slow.people - 1
    others = range(max(newest - 999, 0), newest + 1 + 10)
    assert person - 1000 in {newest // 100 * 100 + hot, *others}


def check_auction(auction: int, slow: Slow) -> None:
    newest = slow.auctions - 1
    others = range(max(newest - 100, 0), newest + 1 + 10)
    assert auction - 1000 in {newest // 100 * 100, *others}


def test_half_the_bids_are_for_hot_auctions_and_three_quarters_by_hot_people() -> None:
    bid, auction = events().bid, events().auction
    hot = pl.col("auction") % 100 == 0
    by_hot = pl.col("bidder") % 100 == 1
    shares = bid.select(hot.mean(), by_hot.mean()).row(0)
    assert shares[0] == pytest.approx(1 / 2 + 1 / 2 / 100, abs=0.01)
    assert shares[1] == pytest.approx(3 / 4 + 1 / 4 / 100, abs=0.01)
    sold = auction.select((pl.col("seller") % 100 == 0).mean()).item()
    assert sold == pytest.approx(3 / 4 + 1 / 4 / 100, abs=0.01)


def test_prices_are_uniform_in_their_logarithm() -> None:
    price = events().bid["price"]
    assert 100 <= int(str(price.min())) <= int(str(price.max())) <= 100_000_000
    shares = np.histogram(np.log10(price.to_numpy() / 100), bins=60, range=(0, 6))[0] / len(price)
    assert shares == pytest.approx(1 / 60, rel=0.1)


def test_a_price_is_the_power_of_the_number_drawn() -> None:
    """The product of three tables is 10**(6 u) to the last digit that rounding leaves."""
    raw = np.random.PCG64(np.random.SeedSequence([5])).random_raw(10_000)
    u = (raw >> np.uint64(31)).astype(np.float64) / 2**33
    assert np.abs(Draws(5).prices(10_000) - 100 * 10 ** (6 * u)).max() <= 0.5 + 1e-6


def test_auctions_close_after_the_time_of_a_hundred_more_on_average() -> None:
    auction = events().auction.with_columns((pl.col("expires") - pl.col("dateTime")).alias("open"))
    lengths = auction["open"].dt.total_milliseconds()
    horizon_ms = 100 * 50 // 3 / 10  # 1,666 events, ten in a millisecond
    assert 1 <= int(str(lengths.min())) <= int(str(lengths.max())) <= 2 * (horizon_ms + 1)
    assert lengths.mean() == pytest.approx(horizon_ms, rel=0.02)
    assert (auction["reserve"] > auction["initialBid"]).all()
    assert set(auction["category"].unique()) == set(range(10, 15))


def test_channels_and_addresses_are_as_two_queries_need_them() -> None:
    bid = events().bid
    hot = bid["channel"].is_in(HOT_CHANNELS)
    assert hot.mean() == pytest.approx(1 / 2, abs=0.01)
    assert bid["channel"].n_unique() > 9_900
    form = r"^https://www\.nexmark\.com/\w{3,4}/\w{3,4}/\w{3,4}/item\.htm\?query=1"
    assert bid.filter(hot)["url"].str.contains(form + "$").all()
    other = bid.filter(~hot)
    assert other["url"].str.contains(form + r"(&channel_id=-?\d+)?$").all()
    assert other["url"].str.contains("channel_id").mean() == pytest.approx(0.9, abs=0.02)
    assert bid.group_by("channel").agg(pl.col("url").n_unique())["url"].max() == 1


def test_channel_ids_are_numbers_with_their_bits_turned_round() -> None:
    assert [channel_id(n) for n in range(4)] == [0, -(2**31), 2**30, 2**30]
    names, urls = pages(1)
    numbered = pl.DataFrame({"name": names, "url": urls}).select(
        pl.col("name").str.extract(r"-(\d+)").cast(pl.Int64),
        pl.col("url").str.extract(r"channel_id=(-?\d+)").cast(pl.Int64),
    )
    for number, found in numbered.drop_nulls().iter_rows():
        assert found == channel_id(number)


def test_people_are_named_and_live_as_published() -> None:
    person = events().person
    assert person["state"].n_unique() == 6
    assert person["city"].n_unique() == 10
    assert person["name"].n_unique() == 99
    assert person["emailAddress"].str.contains(r"^[a-z ]{0,6}@[a-z ]{0,4}\.com$").all()
    assert person["creditCard"].str.contains(r"^\d{4}( \d{4}){3}$").all()


@pytest.mark.parametrize(
    ("kind", "numbers", "average"), [(PERSON, 1, 200), (AUCTION, 6, 500), (BID, 4, 100)]
)
def test_events_have_their_published_size(kind: Kind, numbers: int, average: int) -> None:
    frame = events().of(kind).drop("channel", "url", strict=False)
    texts = sum(frame[name].str.len_bytes() for name in frame.select(pl.col(pl.String)).columns)
    assert isinstance(texts, pl.Series)
    assert texts.mean() + 8 * numbers == pytest.approx(average, rel=0.01)


def test_events_are_out_of_order_within_their_group_only() -> None:
    parts = [events(3_000, SHUFFLED).of(kind).select("dateTime") for kind in KINDS]
    assert sum(map(len, parts)) == len(pl.concat(parts).unique()) == 3_000
    bid = parts[2]["dateTime"]
    behind = (bid.cum_max() - bid).dt.total_milliseconds()
    assert 0 < int(str(behind.max())) < 30 * 100  # events are 100 ms apart


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_events_fit_their_schema(kind: Kind) -> None:
    frame = events(5_000).of(kind)
    schema = avro.parse(kind.schema)
    values = BatchEncoder(schema, 1).encode(frame)
    assert BatchDecoder(schema, lambda number: schema).decode(values).frame.equals(frame)


def test_partitions_are_those_of_the_java_client() -> None:
    """The examples of Kafka's own UtilsTest.testMurmur2."""
    for key, expected in KAFKAS.items():
        (found,) = murmur2(np.frombuffer(key, dtype=np.uint8).reshape(1, -1)).view(np.int32)
        assert found == expected
    keys = pl.Series([21, 1000, 21, 123456])
    (of_21,) = {p for k, p in zip(keys, partitions(keys, 7), strict=True) if k == 21}
    assert of_21 == (KAFKAS[b"21"] & 0x7FFFFFFF) % 7


KAFKAS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def test_every_query_is_built_or_said_to_be_missing() -> None:
    assert {q.name for q in (*BUILT, *MISSING)} == {f"nexmark_q{n}" for n in range(24)}
    (found,) = distributions(path=[str(PLUGINS)])
    assert {entry.name for entry in found.entry_points} == {f"{q.name}.v1" for q in BUILT}


def test_the_page_lists_the_same_queries() -> None:
    page = (Path(__file__).parents[2] / "docs" / "nexmark.md").read_text()
    for built in BUILT:
        assert f"| {built.name.removeprefix('nexmark_')} | {built.title} |" in page
    for missing in MISSING:
        name = missing.name.removeprefix("nexmark_")
        assert f"| {name} | {missing.title} | {missing.waits_for} |" in page
