"""A database with kappa's own tables, shared by the tests that name their processors apart."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, text

from kappa.tables import migrate
from kappa.tables.engine import connect
from tests.conftest import Stack
from tests.faults import Site, open_site


@pytest.fixture(scope="session")
def engine(stack: Stack) -> Iterator[Engine]:
    """An engine on a migrated database that lives as long as the run."""
    name = f"tables_{uuid4().hex}"
    with psycopg.connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    engine = connect(make_conninfo(stack.postgres_url, dbname=name))
    migrate.upgrade(engine)
    yield engine
    engine.dispose()
    with psycopg.connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def site(stack: Stack, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Where readings with faults are published and replayed; topics and processors get names."""
    plugins = tmp_path_factory.mktemp("plugins")
    with engine.connect() as connection:
        name = connection.scalar(text("SELECT current_database()"))
    url = make_conninfo(stack.postgres_url, dbname=name)
    with open_site(stack.bootstrap_servers, url, engine, plugins) as one:
        yield one
