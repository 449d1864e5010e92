"""What every test may ask for: a real Kafka, a real PostgreSQL, the command as a process."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kappa.config import KafkaSettings

_NUMBERS = itertools.count(1)
_RUN = uuid.uuid4().hex[:6]


@dataclass(frozen=True)
class Finished:
    """One finished run of the command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Stack:
    """The servers under test: a Kafka bootstrap address and a PostgreSQL URL."""

    bootstrap_servers: str
    postgres_url: str


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Running servers: those of the environment, else a development stack of our own."""
    if "KAPPA_TEST_KAFKA" in os.environ:
        yield Stack(os.environ["KAPPA_TEST_KAFKA"], os.environ["KAPPA_TEST_POSTGRES"])
        return
    home = tmp_path_factory.mktemp("stack")
    command = [sys.executable, "-m", "kappa", "dev"]
    up = subprocess.run([*command, "up", "--json"], cwd=home, capture_output=True, text=True)
    assert up.returncode == 0, up.stderr
    try:
        endpoints = json.loads((home / ".kappa" / "endpoints.json").read_text())
        yield Stack(endpoints["bootstrap_servers"], endpoints["postgres_url"])
    finally:
        subprocess.run([*command, "reset", "--yes"], cwd=home, capture_output=True)


@pytest.fixture(scope="session")
def kafka(stack: Stack) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=stack.bootstrap_servers)


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes a name that no other test of this or an earlier run has: ``orders7x3fa9c1``."""
    return lambda stem: f"{stem}{next(_NUMBERS)}x{_RUN}"


@pytest.fixture
def database(stack: Stack, unique: Callable[[str], str]) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    name = unique("test")
    with psycopg.connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    parts = psycopg.conninfo.conninfo_to_dict(stack.postgres_url)
    host = parts.get("host", "127.0.0.1")
    user = parts.get("user", "postgres")
    port = f"&port={parts['port']}" if "port" in parts else ""
    yield f"postgresql://{user}@/{name}?host={host}{port}"
    with psycopg.connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def kappa(
    stack: Stack, database: str, tmp_path: Path, unique: Callable[[str], str]
) -> Callable[..., Finished]:
    """Runs ``kappa ARGS…`` as a process against the servers, with a registry of its own."""
    environment = {
        **os.environ,
        "KAPPA_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "KAPPA_POSTGRES__URL": database,
        "KAPPA_REGISTRY__TOPIC": f"_schemas_{unique('r')}",
    }

    def run(*args: str, stdin: str | bytes = "", env: dict[str, str] | None = None) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "kappa", *args],
            cwd=tmp_path,
            env={**environment, **(env or {})},
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=240,
        )
        return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run
