"""Implementations that are not ours: files given by the user, and modules that installed packages offer.

A plug-in runs code by design. It is imported only where somebody asked for that: by `--plugin` and load_plugin, or by
installing a package with an entry point in the group `attnbench.backends`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from backends.interface import Implementation, registered, restore
from backends.registry import FRAMEWORKS, implementations, told

ENTRY_POINTS = "attnbench.backends"
_MODULE = "module:"


class PluginError(ImportError):
    """A plug-in is missing, does not import, or registers nothing."""


def installed_plugins(is_wanted: Callable[[str], bool] = lambda framework: True) -> tuple[str, ...]:
    """What installed packages offer, as words for load_plugin: "module:NAME". Nothing is imported.

    An entry point whose name begins with a framework, such as `torch/mine`, is left out where that one is not wanted; one
    that says nothing of the kind is always among them. PluginError names a package whose metadata cannot be read.
    """
    found = set()
    for package in importlib.metadata.distributions():
        try:
            if ENTRY_POINTS not in (package.read_text("entry_points.txt") or ""):
                continue
        except UnicodeDecodeError:
            continue  # a broken package of somebody else's
        try:
            points = [
                (point.name.partition("/")[0], point.module)
                for point in package.entry_points.select(group=ENTRY_POINTS)
            ]
        except (TypeError, ValueError, AttributeError) as error:
            told = str(package.metadata["Name"])[:80]
            raise PluginError(f"the entry points of the installed package {told!r} cannot be read: {error}") from None
        found |= {
            _MODULE + module for framework, module in points if framework not in FRAMEWORKS or is_wanted(framework)
        }
    return tuple(sorted(found))


def load_plugin(plugin: str | Path) -> tuple[str, ...]:
    """Import a plug-in, a Python file or "module:NAME", and return the ids that it registered.

    Raises PluginError, with what is wrong in one line; a plug-in that is refused leaves nothing behind.
    """
    importer = _importer(plugin)
    implementations()  # so that a plug-in cannot take an id of ours
    before = dict(registered())
    try:
        importer()
        return _new_ids(before, str(plugin))
    except PluginError:
        restore(before)
        raise
    except (Exception, SystemExit) as error:
        restore(before)
        raise PluginError(f"plug-in {str(plugin)!r} does not import: {told(error)}") from error


def _importer(plugin: str | Path) -> Callable[[], object]:
    """What imports a plug-in. PluginError where there is no such file."""
    text = str(plugin)
    if text.startswith(_MODULE):
        return lambda: importlib.import_module(text.removeprefix(_MODULE))
    file = Path(plugin).resolve()
    if not file.is_file():
        raise PluginError(f"plug-in {text!r} is not a file")
    # The same in every process: what a compiler keeps on the disk (Numba's cache, a pickle) names its module.
    name = f"attnbench_plugin_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"plug-in {text!r} is not a Python file (expected a name that ends in .py)")
    loader = spec.loader
    loaded = importlib.util.module_from_spec(spec)

    def run() -> None:
        sys.modules[name] = loaded
        try:
            loader.exec_module(loaded)
        except BaseException:  # whatever it was, a half-imported module must not stay; then it goes on its way
            del sys.modules[name]
            raise

    return run


def _new_ids(before: Mapping[str, Implementation], plugin: str) -> tuple[str, ...]:
    """What a plug-in has registered; PluginError where that is nothing, or for a framework that is not there."""
    new = tuple(id for id, found in registered().items() if before.get(id) is not found)
    if not new:
        raise PluginError(f"plug-in {plugin!r} defines no implementation (decorate one with @backends.implementation)")
    unknown = sorted({id for id in new if id.partition("/")[0] not in FRAMEWORKS})
    if unknown:
        raise PluginError(
            f"plug-in {plugin!r} defines {unknown[0]!r}, expected a framework among {', '.join(FRAMEWORKS)}"
        )
    return new
