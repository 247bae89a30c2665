"""Which frameworks there are, and how to load one. Listing imports none: a broken framework never breaks another.

Adding a framework is one module and one line here; `docs/architecture.md` walks through it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from backends.interface import Framework, Implementation, registered, restore

ENTRY_POINTS = "attnbench.backends"
"""Entry-point group through which an installed package offers plug-ins: each names a module that registers on import."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the registry."""

    module: str
    """Imports nothing heavy until its load() is called."""
    packages: tuple[str, ...]
    """What `import` needs; the first is the distribution whose version is shown without importing it."""
    extra: str
    """The extra of this project that installs it; empty for the core."""


FRAMEWORKS: Mapping[str, Entry] = {
    "numpy": Entry("backends.numpy_backend", ("numpy",), ""),
    "tf_keras": Entry("backends.tf_keras_backend", ("tensorflow", "keras"), "tf_keras"),
    "jax": Entry("backends.jax_backend", ("jax", "jaxlib"), "jax"),
    "torch": Entry("backends.torch_backend", ("torch",), "torch"),
}


class MissingFramework(ImportError):
    """A framework that was asked for is not installed; the message says how to install it."""


class BrokenFramework(ImportError):
    """A framework that was asked for is installed but does not import; the message holds its own error."""


class PluginError(ImportError):
    """A plug-in file is missing, does not import, or registers nothing."""


def names() -> tuple[str, ...]:
    """The frameworks of the registry, installed or not."""
    return tuple(FRAMEWORKS)


def entry(framework: str) -> Entry:
    """The registry's line for a framework; KeyError-free: an unknown name is told with the known ones."""
    if framework not in FRAMEWORKS:
        raise MissingFramework(f"unknown framework {framework!r}, expected one of {', '.join(FRAMEWORKS)}")
    return FRAMEWORKS[framework]


def install_command(framework: str) -> str:
    """What to type to get a framework."""
    return f'pip install -e ".[{entry(framework).extra}]" -c constraints.txt'


def installed_version(framework: str) -> str | None:
    """Version of the framework's first package from its metadata, without importing it; None where it is not installed."""
    try:
        return importlib.metadata.version(entry(framework).packages[0])
    except importlib.metadata.PackageNotFoundError:
        return None


def module(framework: str) -> Framework:
    """The framework's module, which has registered its implementations; the framework itself is not imported."""
    return cast("Framework", importlib.import_module(entry(framework).module))


def load(framework: str) -> Framework:
    """Import a framework and return its module.

    Raises MissingFramework where it is not installed and BrokenFramework where its import fails, with cause and remedy.
    """
    known = entry(framework)
    backend = module(framework)
    try:
        backend.load()
    except ModuleNotFoundError as error:
        if error.name in known.packages:
            remedy = install_command(framework)
            raise MissingFramework(
                f"{framework} is not installed (no module {error.name}); install it: {remedy}"
            ) from error
        raise BrokenFramework(f"{framework} is installed but does not import: {_told(error)}") from error
    except Exception as error:
        # Whatever a framework raises while it is imported is that framework's failure, never ours: told with its cause.
        raise BrokenFramework(f"{framework} is installed but does not import: {_told(error)}") from error
    return backend


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def implementations(framework: str | None = None) -> dict[str, Implementation]:
    """Ids -> implementations, of one framework or of all, in registry order. Imports no framework."""
    for name in names() if framework is None else (framework,):
        module(name)
    order = {name: place for place, name in enumerate(names())}
    found = [i for i in registered().values() if framework in (None, i.framework)]
    return {i.id: i for i in sorted(found, key=lambda i: order.get(i.framework, len(order)))}


def load_plugin(path: str | Path) -> tuple[str, ...]:
    """Import a plug-in file and return the ids that it registered. It is the user's code and runs as such.

    Raises PluginError, with what is wrong in one line.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise PluginError(f"plug-in {str(path)!r} is not a file")
    implementations()  # so that a plug-in cannot take an id of ours
    before = dict(registered())
    name = f"attnbench_plugin_{abs(hash(str(file)))}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"plug-in {str(path)!r} is not a Python file (expected a name that ends in .py)")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    try:
        spec.loader.exec_module(loaded)
        return _new_ids(before, str(path))
    except PluginError:
        _forget(name, before)
        raise
    except (Exception, SystemExit) as error:
        _forget(name, before)
        raise PluginError(f"plug-in {str(path)!r} does not import: {_told(error)}") from error


def _new_ids(before: Mapping[str, Implementation], path: str) -> tuple[str, ...]:
    """What a plug-in has registered; PluginError where that is nothing, or for a framework that is not there."""
    new = tuple(id for id, found in registered().items() if before.get(id) is not found)
    if not new:
        raise PluginError(f"plug-in {path!r} defines no implementation (decorate one with @backends.implementation)")
    unknown = sorted({id for id in new if id.partition("/")[0] not in FRAMEWORKS})
    if unknown:
        raise PluginError(
            f"plug-in {path!r} defines {unknown[0]!r}, expected a framework among {', '.join(FRAMEWORKS)}"
        )
    return new


def _forget(module_name: str, before: Mapping[str, Implementation]) -> None:
    """A plug-in that is refused leaves nothing behind."""
    del sys.modules[module_name]
    restore(before)
