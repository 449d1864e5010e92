"""What a long step may do: report, wait, run a command, and give up when it is told to."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from kappa.errors import DevError

_POLL_S = 0.05
_GRACE_S = 10.0
_GIST = 600  # characters


class Cancelled(Exception):
    """The step was told to give up. It never leaves this package."""


@dataclass(frozen=True)
class Task:
    """Steps of both servers run in threads; an interrupt sets ``cancelled`` and ends them all."""

    report: Callable[[str], None]
    cancelled: Event

    def pause(self, seconds: float = _POLL_S) -> None:
        """Waits between two looks at a condition.

        Raises:
            Cancelled: at once when the task is cancelled.
        """
        if self.cancelled.wait(seconds):
            raise Cancelled

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        account: str | None = None,
        stdin: str = "",
    ) -> str:
        """Runs a command to its end and returns what it printed.

        Raises:
            DevError: it could not be started, or ended with another status than 0.
            Cancelled: the task was cancelled; the command has been ended.
        """
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as entered:
            entered.write(stdin.encode())
            entered.seek(0)
            try:
                process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=environment,
                    user=account,
                    group=account,
                    extra_groups=None if account is None else [],
                    stdin=entered,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                raise DevError(f"{command[0]} cannot be run: {error.strerror}") from error
            status = self._wait(process)
            output.seek(0)
            printed = output.read().decode(errors="replace").strip()
        if status != 0:
            name = Path(command[0]).name
            raise DevError(f"{name} failed", status=status, output=_gist(printed))
        return printed

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        try:
            while (status := process.poll()) is None:
                self.pause()
            return status
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(_GRACE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _gist(printed: str) -> str:
    """The first line that complains: programs name the cause first and then explain themselves."""
    lines = printed.splitlines()
    complaints = [line for line in lines if "error" in line.lower() or "exception" in line.lower()]
    return complaints[0][:_GIST] if complaints else printed[-_GIST:]
