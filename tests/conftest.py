"""What every test may ask for: a real Kafka, a real PostgreSQL, the command as a process."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from pydantic import SecretStr

from kappa.config import KafkaSettings, PostgresSettings, RegistrySettings, Settings

# A commit is judged by the same examples on every machine, however slow it is. Others are drawn by
# `make fuzz`.
_ANY_TIME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("drawn", _ANY_TIME)
settings.register_profile("fixed", _ANY_TIME, derandomize=True)
settings.load_profile("drawn" if "KAPPA_EXAMPLES" in os.environ else "fixed")

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


@contextmanager
def server_home() -> Iterator[Path]:
    """A temporary directory for servers, outside of pytest's own.

    Each pytest session of root closes pytest's directories to other accounts, those of other
    sessions too; and root's PostgreSQL runs as another account.
    """
    with tempfile.TemporaryDirectory(prefix="kappa-test-") as name:
        yield Path(name)


@contextmanager
def started() -> Iterator[Stack]:
    """A development stack of our own, gone afterwards."""
    command = [sys.executable, "-m", "kappa", "dev"]
    with server_home() as home:
        up = subprocess.run([*command, "up", "--json"], cwd=home, capture_output=True, text=True)
        assert up.returncode == 0, up.stderr
        try:
            endpoints = json.loads((home / ".kappa" / "endpoints.json").read_text())
            yield Stack(endpoints["bootstrap_servers"], endpoints["postgres_url"])
        finally:
            subprocess.run([*command, "reset", "--yes"], cwd=home, capture_output=True)


def pytest_configure(config: pytest.Config) -> None:
    """Several test processes share one stack, which the process that starts them starts too."""
    if not getattr(config.option, "numprocesses", None) or "KAPPA_TEST_KAFKA" in os.environ:
        return
    servers = ExitStack()
    stack = servers.enter_context(started())
    os.environ["KAPPA_TEST_KAFKA"] = stack.bootstrap_servers
    os.environ["KAPPA_TEST_POSTGRES"] = stack.postgres_url
    config.add_cleanup(servers.close)


@contextmanager
def servers_for_tests() -> Iterator[Stack]:
    """Running servers: those of the environment, else a development stack of our own."""
    if "KAPPA_TEST_KAFKA" in os.environ:
        yield Stack(os.environ["KAPPA_TEST_KAFKA"], os.environ["KAPPA_TEST_POSTGRES"])
        return
    with started() as own:
        yield own


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Running servers, see servers_for_tests."""
    with servers_for_tests() as servers:
        yield servers


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
    yield urlsplit(stack.postgres_url)._replace(path=f"/{name}").geturl()
    with psycopg.connect(stack.postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def environment(
    stack: Stack, database: str, tmp_path: Path, unique: Callable[[str], str]
) -> dict[str, str]:
    """What a kappa process of this test sees: the servers, a registry and plugins of its own."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {
        **inherited,  # every process would compile all that it imports
        "KAPPA_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "KAPPA_POSTGRES__URL": database,
        "KAPPA_REGISTRY__TOPIC": f"_schemas_{unique('r')}",
        "PYTHONPATH": str(tmp_path / "plugins"),
    }


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """The settings of this test's kappa processes, for calls within this process."""
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=environment["KAPPA_KAFKA__BOOTSTRAP_SERVERS"]),
        postgres=PostgresSettings(url=SecretStr(environment["KAPPA_POSTGRES__URL"])),
        registry=RegistrySettings(topic=environment["KAPPA_REGISTRY__TOPIC"]),
    )


@pytest.fixture
def kappa(environment: dict[str, str], tmp_path: Path) -> Callable[..., Finished]:
    """Runs ``kappa ARGS…`` as a process in the test's directory."""

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


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Installs a module of processors for this process and this test's kappa processes.

    Its processors are announced by the names the module gives them: every line
    ``x = Projection(``, ``x = WindowedAggregate(`` or ``class X(KeyedProcessor):`` is followed
    by a name and a version.
    """
    directory = tmp_path / "plugins"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))

    def install(module: str, code: str) -> None:
        info = directory / f"{module}-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (directory / f"{module}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        found = [*_DECLARED.findall(code), *_CLASSES.findall(code)]
        entries = [f"{name}.v{version} = {module}:{var}" for var, name, version in found]
        (info / "entry_points.txt").write_text("\n".join(["[kappa.processors]", *entries]))

    return install


_DECLARED = re.compile(
    r"^(\w+) = (?:Projection|WindowedAggregate)\(\s*name=\"(\w+)\",\s*version=(\d+)", re.MULTILINE
)
_CLASSES = re.compile(
    r"^class (\w+)\(KeyedProcessor\):\s*name, version = \"(\w+)\", (\d+)", re.MULTILINE
)
