"""Which frameworks there are, and how to load one. Listing imports none: a broken framework never breaks another.

Adding a framework is one module and one line here; `docs/architecture.md` walks through it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from backends.framework import Framework
from backends.interface import Implementation, registered


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the registry."""

    module: str
    """Imports nothing heavy until its load() is called."""
    packages: tuple[str, ...]
    """What `import` needs; the first is the distribution whose version is shown without importing it."""
    extra: str
    """The extra of this project that installs it; empty for the core."""
    more: tuple[str, ...] = ()
    """Modules with further implementations of the same framework, each too long for the first."""


FRAMEWORKS: Mapping[str, Entry] = {
    "numpy": Entry("backends.numpy_backend", ("numpy",), ""),
    "tf_keras": Entry("backends.tf_keras_backend", ("tensorflow", "keras"), "tf_keras", more=("backends.tf_chunked",)),
    "jax": Entry(
        "backends.jax_backend", ("jax", "jaxlib"), "jax", more=("backends.jax_chunked", "backends.jax_pallas")
    ),
    "torch": Entry("backends.torch_backend", ("torch",), "torch", more=("backends.torch_flex",)),
    "onnxruntime": Entry("backends.onnxruntime_backend", ("onnxruntime", "onnx"), "onnxruntime"),
    "keras_jax": Entry("backends.keras_jax_backend", ("keras", "jax", "jaxlib"), "keras_jax"),
    "keras_torch": Entry("backends.keras_torch_backend", ("keras", "torch"), "keras_torch"),
}


class MissingFramework(ImportError):
    """A framework that was asked for is not installed; the message says how to install it."""


class BrokenFramework(ImportError):
    """A framework that was asked for is installed but does not import; the message holds its own error."""


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
    """Version of the framework's first package from its metadata, without importing it; None where one is not installed."""
    try:
        first, *_ = [importlib.metadata.version(package) for package in entry(framework).packages]
    except importlib.metadata.PackageNotFoundError:
        return None
    return first


def module(framework: str) -> Framework:
    """The framework's module; all its implementations are registered then, and the framework itself is not imported."""
    known = entry(framework)
    found = importlib.import_module(known.module)
    for name in known.more:
        importlib.import_module(name)
    return cast("Framework", found)


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
        raise BrokenFramework(f"{framework} is installed but does not import: {told(error)}") from error
    except Exception as error:
        # Whatever a framework raises while it is imported is that framework's failure, never ours: told with its cause.
        raise BrokenFramework(f"{framework} is installed but does not import: {told(error)}") from error
    return backend


def told(error: BaseException) -> str:
    """An exception in one line, with its type."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def implementations(framework: str | None = None) -> dict[str, Implementation]:
    """Ids -> implementations, of one framework or of all, in registry order. Imports no framework."""
    for name in names() if framework is None else (framework,):
        module(name)
    order = {name: place for place, name in enumerate(names())}
    found = [i for i in registered().values() if framework in (None, i.framework)]
    return {i.id: i for i in sorted(found, key=lambda i: order.get(i.framework, len(order)))}
