"""The pinned jars: what the list says, and that no other file passes for one of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kappa.dev import jars


def test_every_pin_is_a_hash_and_a_path_in_a_maven_repository() -> None:
    pinned = jars.pinned()
    assert len({jar.name for jar in pinned}) == len(pinned) > 0
    for jar in pinned:
        assert re.fullmatch("[0-9a-f]{64}", jar.sha256)
        group, artifact, version = jar.coordinate.split(":")
        assert jar.path == f"{group.replace('.', '/')}/{artifact}/{version}/{jar.name}"
        assert jar.name == f"{artifact}-{version}.jar"


def test_the_pins_are_of_the_kafka_that_is_named() -> None:
    coordinates = {jar.coordinate for jar in jars.pinned()}
    assert f"org.apache.kafka:kafka_2.13:{jars.KAFKA_VERSION}" in coordinates


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, tuple[jars.Jar, ...]]:
    """A directory with two jars and the pins that fit it."""
    directory = tmp_path / "jars"
    directory.mkdir()
    (directory / "a-1.jar").write_bytes(b"a")
    (directory / "b-2.jar").write_bytes(b"b")
    return directory, (
        jars.Jar(
            "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb", "g/a/1/a-1.jar"
        ),
        jars.Jar(
            "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d", "g/b/2/b-2.jar"
        ),
    )


def test_the_pinned_files_pass(two: tuple[Path, tuple[jars.Jar, ...]]) -> None:
    assert jars.differences(*two) == []


def test_a_changed_file_does_not_pass(two: tuple[Path, tuple[jars.Jar, ...]]) -> None:
    (two[0] / "b-2.jar").write_bytes(b"B")
    assert jars.differences(*two) == ["b-2.jar has another hash"]


def test_a_missing_file_does_not_pass(two: tuple[Path, tuple[jars.Jar, ...]]) -> None:
    (two[0] / "a-1.jar").unlink()
    assert jars.differences(*two) == ["a-1.jar is missing"]


def test_a_foreign_file_does_not_pass(two: tuple[Path, tuple[jars.Jar, ...]]) -> None:
    (two[0] / "c-3.jar").write_bytes(b"c")
    assert jars.differences(*two) == ["c-3.jar is not pinned"]


def test_no_directory_is_no_jars(tmp_path: Path) -> None:
    assert len(jars.differences(tmp_path / "gone", jars.pinned())) == len(jars.pinned())
