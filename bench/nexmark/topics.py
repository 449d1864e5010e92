"""What the topics are called; processors import this, so it imports nothing of the bench."""

from __future__ import annotations

import os

PREFIX = os.environ.get("KAPPA_NEXMARK_PREFIX", "nexmark")
"""Another one for a measurement with fewer events."""

BID_TOPIC = f"{PREFIX}_bid"

OUT_OF_ORDERNESS = "4s"
"""The published tables' watermark: ``dateTime - INTERVAL '4' SECOND``."""
