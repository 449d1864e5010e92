"""One Kafka node, broker and controller in one, on loopback."""

from __future__ import annotations

import base64
import os
import signal
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from kappa.dev import files, jars, java
from kappa.dev.instance import Installed, Instance
from kappa.dev.ports import LOOPBACK, accepts
from kappa.dev.processes import Launch
from kappa.dev.task import Task

CLIENT, CONTROLLER = "client", "controller"

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # History is what kappa rebuilds tables from: nothing is deleted unless a topic asks for it.
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    "auto.create.topics.enable": "false",
    # There is one node to replicate to, and few partitions of Kafka's own open up faster.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # A broker that was killed may come back once its old session has lapsed: soon.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    # What a person at a keyboard or a test would otherwise wait for.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "1000",
    "log.segment.delete.delay.ms": "1000",
    "log.cleaner.backoff.ms": "250",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # of a heap of 512 MB
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}

_LOGGING = """\
status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd HH:mm:ss.SSS} %p %m (%c{1})%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""

_PROBE_S = 2.0


@dataclass(frozen=True)
class Kafka:
    """The Kafka that lives in the directory ``home``."""

    home: Path

    name = "kafka"
    port_names = (CLIENT, CONTROLLER)
    stop_signal = signal.SIGTERM

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def _mark(self) -> str:
        return f"-Dkappa.home={self.home}"

    def owns(self, command_line: Sequence[str]) -> bool:
        """Whether a process with this command line is the server of this directory."""
        return self._mark in command_line and "kafka.Kafka" in command_line

    def install(self, task: Task) -> Installed:
        """Provides Java, the jars and a formatted data directory.

        Raises:
            DevError: no Java, no jars, or the data directory cannot be formatted.
        """
        runtime = java.find(os.environ)
        libraries = jars.provide(runtime, task)
        files.write_atomically(self.home / "log4j2.properties", _LOGGING)
        if not self.data.exists():
            self._format(runtime, libraries, task)

        def launch(ports: Mapping[str, int]) -> Launch:
            self._write_settings("server.properties", self.data, ports)
            options = ["-Xmx512m", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]
            command = self._command(runtime, libraries, [self._mark, *options])
            server = (*command, "kafka.Kafka", "server.properties")
            return Launch(server, self.home, _environment())

        return Installed(jars.KAFKA_VERSION, launch)

    def endpoint(self, ports: Mapping[str, int]) -> str:
        """The bootstrap address."""
        return f"{LOOPBACK}:{ports[CLIENT]}"

    def answers(self, instance: Instance) -> bool:
        """Whether this very cluster answers and every partition has its leader."""
        if not accepts(instance.ports[CLIENT]):
            return False
        client = AdminClient(
            {
                "bootstrap.servers": self.endpoint(instance.ports),
                "log_level": 0,  # a refused connection is no news while a server starts
                "socket.timeout.ms": int(_PROBE_S * 1000),
            }
        )
        try:
            cluster = client.list_topics(timeout=_PROBE_S)
        except KafkaException:
            return False
        return (
            cluster.cluster_id == self._cluster_id()
            and len(cluster.brokers) > 0
            and all(p.leader >= 0 for t in cluster.topics.values() for p in t.partitions.values())
        )

    def _format(self, runtime: java.Java, libraries: Path, task: Task) -> None:
        task.report("kafka: formatting the data directory")
        fresh = files.unfinished(self.home)
        tool = ("kafka.tools.StorageTool", "format", "-t", _new_cluster_id())
        # In there, because a tool whose parent was killed may be about to read its own.
        settings = f"{fresh.name}/format.properties"
        self._write_settings(settings, fresh, dict.fromkeys(self.port_names, 0))
        task.run(
            [*self._command(runtime, libraries), *tool, "-c", settings],
            cwd=self.home,
            environment=_environment(),
        )
        files.remove(self.home / settings)
        fresh.rename(self.data)

    def _command(
        self, runtime: java.Java, libraries: Path, options: Sequence[str] = ()
    ) -> tuple[str, ...]:
        logging = "-Dlog4j2.configurationFile=log4j2.properties"
        return (str(runtime.executable), logging, *options, "-cp", f"{libraries}/*")

    def _write_settings(self, name: str, data: Path, ports: Mapping[str, int]) -> None:
        client = f"PLAINTEXT://{LOOPBACK}:{ports[CLIENT]}"
        settings = {
            **_SETTINGS,
            "listeners": f"{client},CONTROLLER://{LOOPBACK}:{ports[CONTROLLER]}",
            "advertised.listeners": client,
            "controller.quorum.voters": f"1@{LOOPBACK}:{ports[CONTROLLER]}",
            # Relative to the working directory: a path with a comma would be read as two.
            "log.dirs": data.name,
        }
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        files.write_atomically(self.home / name, lines)

    def _cluster_id(self) -> str:
        lines = (self.data / "meta.properties").read_text().splitlines()
        return dict(line.partition("=")[::2] for line in lines)["cluster.id"]


def _new_cluster_id() -> str:
    """A random id in Kafka's form; one that begins with a hyphen would pass for an option."""
    while True:
        drawn = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not drawn.startswith("-"):
            return drawn


def _environment() -> dict[str, str]:
    # Under LC_ALL=C Java cannot open paths with letters beyond ASCII.
    return {**os.environ, "LC_ALL": "C.UTF-8"}
