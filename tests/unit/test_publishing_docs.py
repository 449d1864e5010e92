"""docs/publishing.md names the formats, the suffixes and the limits there are."""

from __future__ import annotations

from pathlib import Path

from kappa.operations.produce import LISTED, Format
from kappa.publishing.files import SUFFIXES
from kappa.publishing.jsonl import TOMBSTONE
from kappa.publishing.lines import MAX_LINE_BYTES

TEXT = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text()


def test_it_names_what_there_is() -> None:
    assert f"--format {'|'.join(Format)}" in TEXT
    assert ", ".join(f"`{suffix}`" for suffix in SUFFIXES) in TEXT
    assert f'"{TOMBSTONE}": true' in TEXT
    assert f"up to {MAX_LINE_BYTES >> 20} MiB" in TEXT
    assert {10: "first ten listed"}[LISTED] in TEXT
