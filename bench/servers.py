"""The servers a measurement runs against, and a fresh database for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from kappa import config
from kappa.config import KafkaSettings, require_kafka, require_postgres

HOME = Path(__file__).parents[1] / "build" / "bench"
"""Where the development servers of the bench live, when no others are configured."""

REGISTRY_TOPIC = "_schemas_bench"


@contextmanager
def running() -> Iterator[tuple[KafkaSettings, str]]:
    """Kafka's settings and a PostgreSQL URL: those configured, else development servers.

    The development servers are stopped afterwards; their data stays, so that the orders need
    not be published again.
    """
    os.environ["KAPPA_REGISTRY__TOPIC"] = REGISTRY_TOPIC
    settings = config.load()
    if settings.kafka.bootstrap_servers and settings.postgres.url.get_secret_value():
        yield require_kafka(settings), require_postgres(settings)
        return
    HOME.mkdir(parents=True, exist_ok=True)
    os.chdir(HOME)
    kappa("dev", "up")
    try:
        settings = config.load()
        yield require_kafka(settings), require_postgres(settings)
    finally:
        kappa("dev", "down")


@contextmanager
def fresh_database(server_url: str, name: str) -> Iterator[str]:
    """The URL of an empty database beside the configured one, dropped afterwards."""
    identifier = sql.Identifier(name)
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    try:
        yield _renamed(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(drop)


def kappa(*args: str, environment: Mapping[str, str] | None = None) -> None:
    """Runs a kappa command; what it prints goes to stderr."""
    command = [sys.executable, "-m", "kappa", *args]
    subprocess.run(command, stdout=sys.stderr, env=environment, check=True)


def _renamed(url: str, database: str) -> str:
    parts = conninfo_to_dict(url)
    parts.pop("dbname", None)
    user, password = parts.pop("user", ""), parts.pop("password", "")
    login = f"{user}:{password}@" if password else f"{user}@"
    options = "&".join(f"{name}={value}" for name, value in parts.items())
    return f"postgresql://{login}/{database}?{options}"
