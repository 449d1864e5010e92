"""The bounds that values are held to, whichever decoder reads them."""

from __future__ import annotations

INT = 1 << 31
"""An int is from -INT to below INT."""

DAY = {"time-millis": 86_400_000, "time-micros": 86_400_000_000}
"""A time of day is below this, in its own unit."""
