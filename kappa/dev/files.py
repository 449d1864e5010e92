"""Files and directories of the stack, written so that no reader sees half of one."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from kappa.errors import DevError

_UNFINISHED = "data.new-"
_DISK_BLOCK = 512  # the unit of st_blocks, whatever the file system's own block size


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replaces the file's content in one step."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def allocated_bytes(directory: Path) -> int:
    """Disk space taken below a directory; what vanishes meanwhile counts as nothing."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * _DISK_BLOCK
            except OSError:  # segments and temporary files come and go under a running server
                continue
    return total


def remove(path: Path) -> None:
    """Removes a file or a whole directory; fine if there is none.

    Raises:
        DevError: part of it belongs to somebody else.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise DevError(
            f"{path} cannot be removed: {error.strerror}", path=error.filename
        ) from error


def unfinished(home: Path) -> Path:
    """A new directory to be renamed when it is complete, so that nothing is ever half made.

    It is of this attempt alone: the program that fills the one of an attempt that was killed may
    still be at work there. What earlier attempts have left goes as far as it can be removed.
    """
    for left in home.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=home))
