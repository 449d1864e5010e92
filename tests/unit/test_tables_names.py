"""Names that PostgreSQL would cut, or that could meet another's, are refused."""

from __future__ import annotations

import pytest

from kappa.errors import InvalidName
from kappa.tables import names


@pytest.mark.parametrize("name", ["a", "revenue", "a1", "a_b", "a_1", "x" * names.MAX_NAME_BYTES])
def test_good_names(name: str) -> None:
    assert names.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1a",
        "_a",
        "a_",
        "a__b",
        "A",
        "é",
        "a-b",
        "a.b",
        'a"b',
        "a b",
        "a\n",
        "kappa_x",
        "pg_x",
        "x" * (names.MAX_NAME_BYTES + 1),
    ],
)
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidName):
        names.check_name(name)


def test_the_longest_name_fits_with_every_suffix() -> None:
    name, version = "x" * names.MAX_NAME_BYTES, names.MAX_VERSION
    longest = [
        names.view_name(name),
        names.key_name(names.table_name(name, version)),
        names.key_name(names.late_name(name, version)),
    ]
    assert max(len(found) for found in longest) == names.MAX_BYTES


def test_no_two_processors_meet() -> None:
    assert names.table_name("a", 1) == "a__v1"
    assert names.late_name("a", 12) == "a__v12__late"
    with pytest.raises(InvalidName):
        names.table_name("a__v1", 2)


@pytest.mark.parametrize("version", [0, -1, names.MAX_VERSION + 1])
def test_versions_out_of_range(version: int) -> None:
    with pytest.raises(InvalidName):
        names.table_name("a", version)


@pytest.mark.parametrize("name", ["id", "placedAt", "_offset", "a__units", "x" * 63])
def test_good_columns(name: str) -> None:
    assert names.check_column(name) == name


@pytest.mark.parametrize("name", ["", "a%", 'a"', "a b", "é", "ctid", "xmin", "x" * 64, "1"])
def test_bad_columns(name: str) -> None:
    with pytest.raises(InvalidName):
        names.check_column(name)
