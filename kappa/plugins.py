"""Finding processors through the entry-point group ``kappa.processors``.

An entry point is called ``NAME.vNUMBER`` and names the declared object::

    [project.entry-points."kappa.processors"]
    "revenue.v2" = "example_processors.revenue.v2:revenue"

Listing reads the installed distributions' metadata and runs no plugin code; only the
processor asked for is loaded.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from kappa.errors import DeclarationError, PluginLoadError, UnknownProcessor
from kappa.processing.keyed.declaration import KeyedProcessor
from kappa.processing.projection import Projection
from kappa.processing.windowed.declaration import WindowedAggregate

GROUP = "kappa.processors"

Declaration = WindowedAggregate | Projection | KeyedProcessor

_NAME = re.compile(r"(?P<name>.+)\.v(?P<version>[1-9][0-9]*)")


@dataclass(frozen=True)
class Plugin:
    """A processor version as its distribution announces it, not loaded.

    Attributes:
        object_path: the module and attribute that hold the declaration.
        problem: why it cannot be used, as far as that shows without loading; else empty.
    """

    name: str
    version: int
    object_path: str
    distribution: str
    distribution_version: str
    problem: str = ""


@dataclass(frozen=True)
class Loaded:
    """A loaded declaration and where it came from."""

    plugin: Plugin
    declaration: Declaration


def installed() -> list[Plugin]:
    """Every announced processor version, by name and version."""
    plugins = [_plugin(entry) for entry in entry_points(group=GROUP)]
    counted = [(plugin.name, plugin.version) for plugin in plugins]
    twice = {key for key in counted if counted.count(key) > 1}
    marked = [
        Plugin(**{**vars(p), "problem": "announced more than once"})
        if (p.name, p.version) in twice
        else p
        for p in plugins
    ]
    return sorted(marked, key=lambda p: (p.name, p.version, p.distribution))


def find(name: str, version: int | None = None, plugins: Sequence[Plugin] | None = None) -> Plugin:
    """The announced version ``version`` of ``name``, the highest where it is None.

    Raises:
        UnknownProcessor: nothing of that name or version is installed.
        PluginLoadError: what is announced cannot be used.
    """
    known = installed() if plugins is None else plugins
    versions = [plugin for plugin in known if plugin.name == name]
    if not versions:
        names = sorted({plugin.name for plugin in known})
        raise UnknownProcessor(
            f"no installed processor is called {name!r}",
            hint=f"installed: {', '.join(names) or 'none'}; see 'kappa processors list'",
        )
    chosen = [plugin for plugin in versions if version in (None, plugin.version)]
    if not chosen:
        has = ", ".join(str(plugin.version) for plugin in versions)
        raise UnknownProcessor(
            f"processor {name!r} has no version {version}", hint=f"its versions are {has}"
        )
    plugin = chosen[-1]
    if plugin.problem:
        raise PluginLoadError(
            f"processor {name!r} version {plugin.version} cannot be used: {plugin.problem}",
            distribution=plugin.distribution,
        )
    return plugin


def load(plugin: Plugin) -> Loaded:
    """Imports the plugin's module and takes its declaration.

    Raises:
        PluginLoadError: the import failed; the plugin's own exception is the cause.
        DeclarationError: the object is no declaration, or of another name or version, or a field
            is missing or of a wrong type.
    """
    entry = EntryPoint(f"{plugin.name}.v{plugin.version}", plugin.object_path, GROUP)
    try:
        declaration = entry.load()
        if isinstance(declaration, type) and issubclass(declaration, KeyedProcessor):
            declaration = declaration()
    except DeclarationError as error:
        place = {
            "distribution": plugin.distribution,
            "declared_at": _declared_at(error) or plugin.object_path,
        }
        raise DeclarationError(
            f"processor {plugin.name!r} version {plugin.version} cannot be loaded: {error.message}",
            hint=error.hint,
            **(error.detail | place),
        ) from error
    except Exception as error:  # a plugin may raise anything while it is imported
        raise PluginLoadError(
            f"processor {plugin.name!r} version {plugin.version} cannot be loaded:"
            f" {type(error).__name__}: {error}",
            distribution=f"{plugin.distribution} {plugin.distribution_version}",
            module=plugin.object_path,
            hint="repair or uninstall that distribution; other processors are not affected",
        ) from error
    if not isinstance(declaration, Declaration):
        raise DeclarationError(
            f"{plugin.object_path} is a {type(declaration).__name__}, not a processor",
            hint="the entry point names a Projection, a WindowedAggregate or a KeyedProcessor",
        )
    if (declaration.name, declaration.version) != (plugin.name, plugin.version):
        raise DeclarationError(
            f"the entry point {plugin.name}.v{plugin.version} holds"
            f" {declaration.name} version {declaration.version}",
            distribution=plugin.distribution,
            hint="make the entry point's name and the declaration agree",
        )
    declaration.check_declared()
    return Loaded(plugin, declaration)


def _declared_at(error: DeclarationError) -> str | None:
    """The file and line of the plugin's own code that declared what was refused."""
    at = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__")).partition(".")[0]
        if module not in ("kappa", "importlib", "_frozen_importlib", "_frozen_importlib_external"):
            at = f"{frame.f_code.co_filename}:{line}"
    return at


def _plugin(entry: EntryPoint) -> Plugin:
    distribution = entry.dist
    match = _NAME.fullmatch(entry.name)
    return Plugin(
        name=match["name"] if match else entry.name,
        version=int(match["version"]) if match else 0,
        object_path=entry.value,
        distribution=distribution.name if distribution else "",
        distribution_version=distribution.version if distribution else "",
        problem="" if match else "the entry point's name is not NAME.vNUMBER",
    )
