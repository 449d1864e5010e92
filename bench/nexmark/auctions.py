"""What is put up for sale, and until when (AuctionGenerator of Flink and Beam)."""

from __future__ import annotations

import numpy as np
import polars as pl

from bench.nexmark.config import (
    AUCTION_BYTES,
    AUCTIONS,
    AUCTIONS_IN_FLIGHT,
    CATEGORIES,
    EPOCH,
    FIRST_AUCTION_ID,
    FIRST_CATEGORY_ID,
    HOT_SELLERS,
    Config,
    Whole,
)
from bench.nexmark.draws import Draws
from bench.nexmark.ids import newest_auction, person_ids
from bench.nexmark.schemas import INSTANT
from bench.nexmark.texts import fillers, length, words

_NUMBERS_BYTES = 6 * 8


def auctions(events: Whole, draws: Draws, config: Config) -> pl.DataFrame:
    """The auctions that these events open, in the events' order."""
    size = len(events)
    opened = config.event_time(events)
    name, description = words(draws, size, 20), words(draws, size, 100)
    initial = draws.prices(size)
    used = _NUMBERS_BYTES + length(name) + length(description)
    return pl.DataFrame(
        {
            "id": newest_auction(events) + FIRST_AUCTION_ID,
            "itemName": name,
            "description": description,
            "initialBid": initial,
            "reserve": initial + draws.prices(size),
            "dateTime": opened,
            "expires": opened + _durations(events, opened, draws, config),
            "seller": person_ids(events, draws, HOT_SELLERS, hot_place=0),
            "category": FIRST_CATEGORY_ID + draws.below(CATEGORIES, size),
            "extra": fillers(draws, config.seed, used, AUCTION_BYTES),
        }
    ).with_columns(pl.col("dateTime", "expires").cast(INSTANT))


def _durations(events: Whole, opened: Whole, draws: Draws, config: Config) -> Whole:
    """How long each is open, ms: on average until as many more as are in flight are opened."""
    ahead = AUCTIONS_IN_FLIGHT * EPOCH // AUCTIONS
    horizon = config.event_time(events + ahead) - opened
    return 1 + draws.below(np.maximum(2 * horizon, 1), len(events))
