"""One attention interface, one implementation module per framework, one oracle. Importing this imports no framework.

backends.names()                          the frameworks
backends.load("torch")                    one of them; MissingFramework or BrokenFramework with cause and remedy
backends.implementations(framework=None)  ids -> implementation, with capabilities and declared deviations
backends.attention(query, key, value, implementation="jax/nn", ...)   NumPy arrays in, NumPy array out
backends.gradients(query, key, value, upstream, ...)   the output, and the gradients of query, key, value and bias
backends.log_sum_exp(query, key, value, ...)           of the scores, where an implementation gives it away
backends.reference.attention(...)         the oracle, float64
backends.select(query, keys, values)      the database select that attention softens
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backends import reference
    from backends.accuracy import Roundoffs
    from backends.api import Gradients, attention, gradients, log_sum_exp
    from backends.interface import Deviation, Implementation, Unsupported, implementation
    from backends.plugins import PluginError, load_plugin
    from backends.problem import InvalidProblem, Semantics
    from backends.registry import (
        BrokenFramework,
        MissingFramework,
        implementations,
        load,
        names,
    )
    from backends.select_rows import select

_HOME = {
    "attention": "api",
    "gradients": "api",
    "Gradients": "api",
    "log_sum_exp": "api",
    "implementation": "interface",
    "Implementation": "interface",
    "Unsupported": "interface",
    "Deviation": "interface",
    "Roundoffs": "accuracy",
    "Semantics": "problem",
    "InvalidProblem": "problem",
    "names": "registry",
    "load": "registry",
    "load_plugin": "plugins",
    "implementations": "registry",
    "MissingFramework": "registry",
    "BrokenFramework": "registry",
    "PluginError": "plugins",
    "select": "select_rows",
}

__all__ = [
    "BrokenFramework",
    "Deviation",
    "Gradients",
    "Implementation",
    "InvalidProblem",
    "MissingFramework",
    "PluginError",
    "Roundoffs",
    "Semantics",
    "Unsupported",
    "attention",
    "gradients",
    "implementation",
    "implementations",
    "load",
    "load_plugin",
    "log_sum_exp",
    "names",
    "reference",
    "select",
]


def __getattr__(name: str) -> Any:
    # Lazily, so that `import backends` costs microseconds: even NumPy is loaded with the first name that needs it.
    if name == "reference":
        return importlib.import_module("backends.reference")
    if name not in _HOME:
        raise AttributeError(f"module 'backends' has no attribute {name!r}")
    return getattr(importlib.import_module(f"backends.{_HOME[name]}"), name)
