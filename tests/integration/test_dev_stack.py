"""The development stack on real servers: what survives, what comes back, what is left alone."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import psycopg
import pytest
import sqlalchemy
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from kappa import config
from kappa.dev import account, lifecycle, ports, stack
from kappa.dev.lifecycle import ServerStatus
from kappa.dev.postgres import Postgres
from tests.conftest import server_home

TOPIC, RECORDS = "orders", 1_000


def silent(message: str) -> None:
    """Progress is for people."""


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A running stack, deeper than a Unix socket could be, below names that need quoting."""
    deep = Path("with spaces, a comma & ünïcode", *["x" * 30] * 4)
    with server_home() as home:
        directory = home.resolve() / deep / ".kappa"
        try:
            stack.up(directory, silent)
            _write(directory)
            yield directory
        finally:
            stack.reset(directory, silent)


@pytest.fixture
def running(directory: Path) -> Path:
    """The same, up again if a test has left it down."""
    stack.up(directory, silent)
    return directory


def endpoints(directory: Path) -> dict[str, str]:
    read: dict[str, str] = json.loads((directory / "endpoints.json").read_text())
    return read


def of(directory: Path, name: str) -> ServerStatus:
    return next(server for server in stack.status(directory) if server.name == name)


def kill(directory: Path, *names: str) -> None:
    for name in names:
        process = psutil.Process(of(directory, name).pid)
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def _write(directory: Path) -> None:
    where = endpoints(directory)
    admin = AdminClient({"bootstrap.servers": where["bootstrap_servers"]})
    admin.create_topics([NewTopic(TOPIC, 3, 1)])[TOPIC].result()
    producer = Producer({"bootstrap.servers": where["bootstrap_servers"], "acks": "all"})
    for number in range(RECORDS):
        producer.produce(TOPIC, str(number))
    assert producer.flush(30) == 0
    with psycopg.connect(where["postgres_url"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")


def written(directory: Path) -> tuple[int, int]:
    """How many records and rows are there."""
    where = endpoints(directory)
    consumer = Consumer({"bootstrap.servers": where["bootstrap_servers"], "group.id": "count"})
    ends = [consumer.get_watermark_offsets(TopicPartition(TOPIC, n))[1] for n in range(3)]
    consumer.close()
    with psycopg.connect(where["postgres_url"]) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return sum(ends), row[0]


def test_settings_find_the_stack(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAPPA_KAFKA__BOOTSTRAP_SERVERS", "KAPPA_POSTGRES__URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(running.parent)
    settings = config.load()
    assert settings.kafka.bootstrap_servers == endpoints(running)["bootstrap_servers"]
    assert settings.postgres.url.get_secret_value() == endpoints(running)["postgres_url"]


def test_the_url_is_understood_by_sqlalchemy_and_the_server_is_durable(running: Path) -> None:
    url = sqlalchemy.make_url(endpoints(running)["postgres_url"])
    engine = sqlalchemy.create_engine(url.set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        shown = {
            name: connection.scalar(sqlalchemy.text(f"SHOW {name}"))
            for name in ("fsync", "TimeZone", "server_encoding", "listen_addresses")
        }
    engine.dispose()
    assert shown == {
        "fsync": "on",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "listen_addresses": "127.0.0.1",
    }


def test_the_database_wants_its_password(running: Path) -> None:
    url = endpoints(running)["postgres_url"].partition("?")[0]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"{url}?passfile=/dev/null")


def test_no_topic_comes_into_being_by_itself(running: Path) -> None:
    producer = Producer(
        {
            "bootstrap.servers": endpoints(running)["bootstrap_servers"],
            "message.timeout.ms": 2_000,
            "allow.auto.create.topics": True,
        }
    )
    failed: list[object] = []
    producer.produce("nobody_made_this", b"x", on_delivery=lambda error, _: failed.append(error))
    producer.flush(10)
    assert failed[0] is not None


def test_up_leaves_alone_what_runs(running: Path) -> None:
    before = stack.status(running)
    assert all(server.running and server.answers and server.size_bytes > 0 for server in before)
    assert stack.up(running, silent) == ()
    assert [s.pid for s in stack.status(running)] == [s.pid for s in before]


def test_both_come_back_after_a_kill_with_ports_and_data(running: Path) -> None:
    before = endpoints(running)
    kill(running, "kafka", "postgres")
    assert not any(server.running for server in stack.status(running))
    assert set(stack.up(running, silent)) == {"kafka", "postgres"}
    assert endpoints(running) == before
    assert written(running) == (RECORDS, 1_000)


def test_only_the_dead_one_is_started(running: Path) -> None:
    kafka = of(running, "kafka").pid
    kill(running, "postgres")
    assert stack.up(running, silent) == ("postgres",)
    assert of(running, "kafka").pid == kafka


def test_ports_that_were_taken_while_the_stack_was_down_are_replaced(running: Path) -> None:
    before = endpoints(running)
    assert set(stack.down(running, silent)) == {"kafka", "postgres"}
    assert not (running / "endpoints.json").exists()
    assert stack.down(running, silent) == ()
    with _listening(of(running, "kafka")), _listening(of(running, "postgres")):
        stack.up(running, silent)
    after = endpoints(running)
    assert after["bootstrap_servers"] != before["bootstrap_servers"]
    assert after["postgres_url"] != before["postgres_url"]
    assert written(running) == (RECORDS, 1_000)


def _listening(server: ServerStatus) -> socket.socket:
    address = (server.endpoint or "").partition("@")[2] or server.endpoint or ""
    port = int(address.partition(":")[2].partition("/")[0])
    return socket.create_server((ports.LOOPBACK, port))


@pytest.mark.parametrize("name", ["postgres", "kafka"])
def test_a_port_that_is_stolen_before_the_server_has_it_is_replaced(
    running: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(running, name)
    choose = ports.choose
    with socket.create_server((ports.LOOPBACK, 0)) as thief:
        stolen = thief.getsockname()[1]
        choices = iter([stolen])

        def choose_stolen(names: Sequence[str], previous: Mapping[str, int]) -> dict[str, int]:
            chosen = choose(names, previous)
            return {**chosen, names[0]: next(choices, chosen[names[0]])}

        monkeypatch.setattr(ports, "choose", choose_stolen)
        assert stack.up(running, silent) == (name,)
        assert next(choices, None) is None
    assert str(stolen) not in (of(running, name).endpoint or "")
    assert written(running) == (RECORDS, 1_000)


def test_a_pid_that_was_given_out_again_is_no_obstacle(running: Path) -> None:
    kill(running, "postgres")
    sleep = shutil.which("sleep")
    assert sleep is not None
    stranger = subprocess.Popen([sleep, "600"], user=account.needed())
    try:
        pid_file = running / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        stack.up(running, silent)
        assert of(running, "postgres").answers
        assert lifecycle.stop(Postgres(running / "postgres"))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_hanging_server_is_reported_and_still_goes_down(running: Path) -> None:
    process = psutil.Process(of(running, "postgres").pid)
    process.suspend()
    seen = of(running, "postgres")
    assert seen.running
    assert not seen.answers
    assert lifecycle.stop(Postgres(running / "postgres"))
    assert not process.is_running()


def test_a_server_whose_directory_was_deleted_is_replaced(running: Path) -> None:
    orphan = psutil.Process(of(running, "postgres").pid)
    shutil.rmtree(running / "postgres")
    assert stack.up(running, silent) == ("postgres",)
    assert not orphan.is_running()
    _write_rows(running)


def _write_rows(directory: Path) -> None:
    with psycopg.connect(endpoints(directory)["postgres_url"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")


def test_reset_leaves_no_process_and_no_data(running: Path) -> None:
    pids = [server.pid for server in stack.status(running)]
    assert set(stack.reset(running, silent)) == {"kafka", "postgres"}
    assert not any(psutil.pid_exists(pid) for pid in pids if pid is not None)
    assert [path.name for path in sorted(running.iterdir())] == [".gitignore", "dev.lock"]


def test_without_a_stack_nothing_is_made(tmp_path: Path) -> None:
    directory = tmp_path / ".kappa"
    assert stack.down(directory, silent) == ()
    assert stack.reset(directory, silent) == ()
    assert [server.running for server in stack.status(directory)] == [False, False]
    assert not directory.exists()
