"""``kappa diff`` and ``kappa verify`` as processes: what they print, store, and exit with."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kappa.config import Settings
from kappa.operations.promote import promote
from kappa.operations.replay import replay
from kappa.tables.engine import connect
from kappa.versions import comparisons
from kappa.versions.comparisons import StoredComparison
from tests.conftest import Finished
from tests.orders import EXTENDED, Shop, open_shop, orders

Kappa = Callable[..., Finished]

CODE = EXTENDED.replace('"30s"', '"5m"')
"""No order is too late for version 2."""


@pytest.fixture
def shop(
    settings: Settings,
    plugin: Callable[[str, str], None],
    unique: Callable[[str], str],
    tmp_path: Path,
) -> Shop:
    """Version 1 serves; version 2, with a column more and other lateness, is built."""
    made = orders(400, seed=3)
    shop = open_shop(settings, plugin, unique, tmp_path, records=made, code=CODE)
    for version in (1, 2):
        replay(
            settings,
            shop.processor,
            version,
            workers=1,
            batch_size=50,
            allow_truncated=False,
            on_plan=lambda planned: None,
            on_progress=lambda offsets: None,
        )
    promote(settings, {shop.processor: 1})
    return shop


def stored(settings: Settings, shop: Shop) -> StoredComparison | None:
    engine = connect(settings.postgres.url.get_secret_value())
    try:
        with engine.connect() as connection:
            return comparisons.latest(connection, shop.processor, 1, 2)
    finally:
        engine.dispose()


def test_more_than_is_allowed_is_shown_in_full_and_ends_with_one(
    kappa: Kappa, settings: Settings, shop: Shop
) -> None:
    refused = kappa("diff", shop.processor, "--samples", "2")
    assert refused.code == 1
    assert "differs from version 1 in" in refused.err
    assert "--expect-diff" in refused.err
    assert f"{shop.processor}: version 1 and version 2 at the same offsets" in refused.out
    assert "main: columns added: dearest" in refused.out
    assert re.search(r"^main +\d+ +\d+ +\d+ +\d+ +\d+ +\d+\.\d+% *$", refused.out, re.MULTILINE)
    assert re.search(r"^orders +\d+ +\d+\.\d+% *$", refused.out, re.MULTILINE)
    assert re.search(r"^late +\d+ +\d+ *$", refused.out, re.MULTILINE)
    samples = re.findall(r"^changed +window_start=\S+ \S+ product=p\d", refused.out, re.MULTILINE)
    assert len(samples) == 2
    assert "accepted" not in refused.out
    assert "\x1b" not in refused.out
    result = stored(settings, shop)
    assert result is not None
    assert not result.accepted


def test_what_is_expected_or_allowed_is_accepted(
    kappa: Kappa, settings: Settings, shop: Shop
) -> None:
    expected = kappa("diff", shop.processor, "--expect-diff", "--json")
    assert expected.code == 0
    document = expected.json
    result = stored(settings, shop)
    assert result is not None
    assert (str(result.id), result.accepted) == (document["id"], True)
    assert result.fingerprints[0] != result.fingerprints[1]
    (main,) = document["outputs"]
    assert main["added"] == ["dearest"]
    assert 0 < main["rate"] < 1
    assert document["counts_before"]["late"] > document["counts_after"]["late"]
    half = kappa("diff", shop.processor, "--max-diff", "100%")
    assert half.code == 0, half.err
    assert "accepted" in half.out
    back = kappa("diff", shop.processor, "--from", "2", "--to", "1", "--max-diff", "100%")
    assert back.code == 1
    assert "column 'dearest' of main" in back.err
    assert "--expect-diff" in back.err


def test_what_cannot_be_compared(kappa: Kappa, shop: Shop) -> None:
    for args, code, word in (
        (("--max-diff", "much"), 2, "is no share"),
        (("--timeout", "soon"), 2, "is not a duration"),
        (("--from", "1", "--to", "1"), 2, "cannot be compared with itself"),
        (("--to", "7"), 3, "has no version 7"),
    ):
        refused = kappa("diff", shop.processor, *args)
        assert refused.code == code
        assert word in refused.err


def test_verify_says_whether_history_gives_the_same_rows(
    kappa: Kappa, settings: Settings, shop: Shop
) -> None:
    same = kappa("verify", shop.processor, "--workers", "1")
    assert same.code == 0, same.err
    assert "as its build left it: yes" in same.out
    assert re.search(r"^main +(\d+) +\1 +yes *$", same.out, re.MULTILINE)
    engine = connect(settings.postgres.url.get_secret_value())
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {shop.processor}__v1 SET orders = orders + 1")
    engine.dispose()
    other = kappa("verify", shop.processor, "--version", "1", "--workers", "1", "--json")
    assert other.code == 1
    assert "NotRepeated" in other.err
    assert other.json["as_built"] is False
    assert [part["output"] for part in other.json["parts"] if not part["equal"]] == ["main"]
