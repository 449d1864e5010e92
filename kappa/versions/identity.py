"""What makes a version this version: its number and a fingerprint of what it does."""

from __future__ import annotations

import hashlib

from kappa.errors import PluginLoadError
from kappa.versions.code import code_digest


def fingerprint(name: str, version: int, object_path: str) -> str:
    """A text that differs as soon as the version's code or declaration does.

    ``object_path`` is the module and attribute of the declaration, ``module:attribute``.

    Raises:
        PluginLoadError: the plugin's source cannot be read.
    """
    module = object_path.partition(":")[0]
    try:
        code = code_digest(module)
    except (ImportError, SyntaxError) as error:
        raise PluginLoadError(
            f"the source of {module} cannot be read: {error}",
            processor=name,
            hint="install the plugin with its .py files; they tell one version from another",
        ) from error
    declared = f"{object_path}\n{name}.v{version}\n"
    return hashlib.sha256(f"{declared}{code}".encode()).hexdigest()[:32]
