"""Bids, and the pages they come from (BidGenerator of Flink, channels and addresses included)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl

from bench.nexmark.config import BID_BYTES, HOT_AUCTIONS, HOT_BIDDERS, Config, Whole
from bench.nexmark.draws import Draws
from bench.nexmark.ids import auction_ids, person_ids
from bench.nexmark.schemas import INSTANT
from bench.nexmark.texts import fillers, words

HOT_CHANNELS = ["Google", "Facebook", "Baidu", "Apple"]
OTHER_CHANNELS = 10_000
_OTHER_CHANNEL_IN = 2
_NO_CHANNEL_ID_IN = 10
_NUMBERS_BYTES = 4 * 8
_PAGES = 1
"""Names the sequence of random numbers that makes the addresses."""


def bids(events: Whole, draws: Draws, config: Config) -> pl.DataFrame:
    """The bids that these events are, in the events' order."""
    size = len(events)
    used = np.full(size, _NUMBERS_BYTES)
    hot = draws.below(len(HOT_CHANNELS), size)
    other = len(HOT_CHANNELS) + draws.below(OTHER_CHANNELS, size)
    page = np.where(draws.one_in(_OTHER_CHANNEL_IN, size), other, hot)
    channels, urls = pages(config.seed)
    return pl.DataFrame(
        {
            "auction": auction_ids(events, draws, HOT_AUCTIONS),
            "bidder": person_ids(events, draws, HOT_BIDDERS, hot_place=1),
            "price": draws.prices(size),
            "channel": channels.gather(page),
            "url": urls.gather(page),
            "dateTime": config.event_time(events),
            "extra": fillers(draws, config.seed, used, BID_BYTES),
        }
    ).with_columns(pl.col("dateTime").cast(INSTANT))


@lru_cache(maxsize=4)
def pages(seed: int) -> tuple[pl.Series, pl.Series]:
    """Channels and their addresses, the hot ones first.

    Nine in ten of the others have a channel id in the address.
    """
    size = len(HOT_CHANNELS) + OTHER_CHANNELS
    draws = Draws(seed, _PAGES)
    first, second, third = (words(draws, size, 5, special="_") for _ in range(3))
    base = "https://www.nexmark.com/" + first + "/" + second + "/" + third + "/item.htm?query=1"
    has_id = ~draws.one_in(_NO_CHANNEL_ID_IN, size)
    numbers = [None] * len(HOT_CHANNELS) + [channel_id(n) for n in range(OTHER_CHANNELS)]
    channels = HOT_CHANNELS + [f"channel-{n}" for n in range(OTHER_CHANNELS)]
    suffix = "&channel_id=" + pl.Series(numbers, dtype=pl.Int64).cast(pl.String)
    with_id = pl.Series(has_id) & suffix.is_not_null()
    return pl.Series(channels), base + suffix.zip_with(with_id, pl.Series([""]))


def channel_id(number: int) -> int:
    """Java's ``Math.abs(Integer.reverse(number))``, which for 1 is negative."""
    backwards = int(f"{number:032b}"[::-1], 2)
    signed = backwards - (1 << 32) if backwards >> 31 else backwards
    return signed if signed == -(1 << 31) else abs(signed)
