"""By which command line each server is known: its own and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from kappa.dev.kafka import Kafka
from kappa.dev.postgres import Postgres

HOME = Path("/project/.kappa/kafka")
MARK = f"-Dkappa.home={HOME}"


@pytest.mark.parametrize(
    ("line", "owned"),
    [
        (["java", MARK, "-cp", "x", "kafka.Kafka", "server.properties"], True),
        (["java", "-Dkappa.home=/other/.kappa/kafka", "kafka.Kafka", "server.properties"], False),
        (["java", f"{MARK}2", "kafka.Kafka", "server.properties"], False),
        (["java", MARK, "kafka.tools.StorageTool", "format"], False),
        (["vi", f"{HOME}/server.properties"], False),
        ([], False),
    ],
)
def test_kafka(line: list[str], owned: bool) -> None:
    assert Kafka(HOME).owns(line) == owned


@pytest.mark.parametrize(
    ("line", "owned"),
    [
        (["/programs/postgres", "-D", "/project/.kappa/postgres/data", "-p", "1"], True),
        (["/programs/postgres", "-D", "/other/.kappa/postgres/data", "-p", "1"], False),
        (["/programs/initdb", "-D", "/project/.kappa/postgres/data"], False),
        (["tail", "-f", "/project/.kappa/postgres/data"], False),
        (["postgres: checkpointer "], False),
        ([], False),
    ],
)
def test_postgres(line: list[str], owned: bool) -> None:
    assert Postgres(Path("/project/.kappa/postgres")).owns(line) == owned
