"""Which people and auctions exist when an event happens, and which of them it is about.

The published generator keeps no state: the ids follow from the event's own number alone.
"""

from __future__ import annotations

import numpy as np

from bench.nexmark.config import (
    ACTIVE_PEOPLE,
    AUCTIONS,
    AUCTIONS_IN_FLIGHT,
    EPOCH,
    FIRST_AUCTION_ID,
    FIRST_PERSON_ID,
    HOT_EVERY,
    ID_LEAD,
    PEOPLE,
    Whole,
)
from bench.nexmark.draws import Draws


def newest_person(events: Whole) -> Whole:
    """The last person up to each event, counted from 0 (lastBase0PersonId)."""
    return events // EPOCH * PEOPLE + np.minimum(events % EPOCH, PEOPLE - 1)


def newest_auction(events: Whole) -> Whole:
    """The last auction up to each event, counted from 0; -1 before the first."""
    in_epoch = np.clip(events % EPOCH - PEOPLE, -1, AUCTIONS - 1)
    return events // EPOCH * AUCTIONS + in_epoch


def person_ids(events: Whole, draws: Draws, hot_ratio: int, hot_place: int) -> Whole:
    """Who sells or bids: mostly the hot person, else any active one.

    Args:
        hot_ratio: one in so many is any active person.
        hot_place: which of the newest hundred is hot: 0 sells, 1 bids, so that they differ.
    """
    newest = newest_person(events)
    anyone = draws.one_in(hot_ratio, len(events))
    active = np.minimum(newest + 1, ACTIVE_PEOPLE)
    other = newest + 1 - active + draws.below(active + ID_LEAD, len(events))
    hot = newest // HOT_EVERY * HOT_EVERY + hot_place
    return np.where(anyone, other, hot) + FIRST_PERSON_ID


def auction_ids(events: Whole, draws: Draws, hot_ratio: int) -> Whole:
    """What is bid for: mostly the hot auction, else any that may be in flight."""
    newest = newest_auction(events)
    anything = draws.one_in(hot_ratio, len(events))
    oldest = np.maximum(newest - AUCTIONS_IN_FLIGHT, 0)
    other = oldest + draws.below(newest - oldest + 1 + ID_LEAD, len(events))
    hot = newest // HOT_EVERY * HOT_EVERY
    return np.where(anything, other, hot) + FIRST_AUCTION_ID
