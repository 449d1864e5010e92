"""The events in blocks: the same for the same configuration, on any machine, bit by bit.

What is drawn, and how, follows Flink's NexmarkGenerator; the random numbers are our own. One
difference: that BidGenerator adds the first person's id to a bidder twice, which makes bidders
who are no people. Beam's adds it once, and so does this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from bench.nexmark.auctions import auctions
from bench.nexmark.bids import bids
from bench.nexmark.config import AUCTIONS, EPOCH, PEOPLE, Config
from bench.nexmark.draws import Draws
from bench.nexmark.people import people
from bench.nexmark.schemas import AUCTION, BID, PERSON, Kind

BLOCK = 100_000
"""Events that are drawn at once; part of what decides the bits."""

_FIRST_SEQUENCE = 2
"""Sequences 0 and 1 of a seed make what all events share."""


@dataclass(frozen=True)
class Events:
    """One block, a frame for each kind, in the order of the stream."""

    person: pl.DataFrame
    auction: pl.DataFrame
    bid: pl.DataFrame

    def of(self, kind: Kind) -> pl.DataFrame:
        """The events of one kind."""
        return {PERSON: self.person, AUCTION: self.auction, BID: self.bid}[kind]


def blocks(count: int, config: Config | None = None) -> Iterator[Events]:
    """The first ``count`` events of the stream."""
    chosen = config or Config()
    for number, first in enumerate(range(0, count, BLOCK)):
        yield _block(number, min(BLOCK, count - first), chosen)


def _block(number: int, count: int, config: Config) -> Events:
    """The first ``count`` events of a block, drawn whole: more events begin with the same."""
    ids = config.event_ids(np.arange(number * BLOCK, (number + 1) * BLOCK))
    place = ids % EPOCH
    kinds = [
        (people, place < PEOPLE),
        (auctions, (place >= PEOPLE) & (place < PEOPLE + AUCTIONS)),
        (bids, place >= PEOPLE + AUCTIONS),
    ]
    frames = [
        make(ids[chosen], Draws(config.seed, _FIRST_SEQUENCE + kind, number), config).head(
            int(np.count_nonzero(chosen[:count]))
        )
        for kind, (make, chosen) in enumerate(kinds)
    ]
    return Events(*frames)
