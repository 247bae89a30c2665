"""What `run --resume` may start: a folder is data, and what it says would run code has to be named by whoever types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backends.plugins import PluginError, installed_plugins
from benchmarks.cli.options import resolve_environment
from benchmarks.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.plan import Plan

_LOADERS = ("LD_", "DYLD_", "PYTHON")
"""How variables begin by which the system's loader or Python itself load code."""


def check_named(folder: Path, plan: Plan, plugins: Sequence[Path], env: Sequence[str]) -> None:
    """UsageError where the plan in a folder names a plug-in, or a variable that may load or write files, that was not typed;
    and for one that was typed and is not in the plan: it belongs to a run's beginning.
    """
    typed = {str(path.resolve()) for path in plugins}
    for plugin in typed - {plugin for _, plugin in plan.plugins}:
        raise UsageError(
            f"--plugin {plugin} belongs to the run's beginning, and {folder} has none of that name; start anew"
        )
    for plugin in _plugins_to_be_named(plan):
        if plugin not in typed:
            raise UsageError(
                f"{folder} goes on with code in {plugin}; name it, if it is yours: --resume {folder} --plugin {plugin}"
            )
    neutral, variables = resolve_environment(env)
    if not set(variables) <= set(plan.variables) or (neutral and not plan.neutral):
        raise UsageError("--env belongs to the run's beginning; --resume goes on in the same environment, leave it out")
    for name, value in _variables_to_be_named(plan):
        if (name, value) not in variables:
            raise UsageError(
                f"{folder} goes on with {name}={value}, which may load or write files; name it, if it is yours: "
                f"--resume {folder} --env {name}={value}"
            )


def to_be_named(plan: Plan) -> list[str]:
    """What has to be typed beside --resume, word by word, for check_named to agree."""
    plugins = (("--plugin", plugin) for plugin in _plugins_to_be_named(plan))
    variables = (("--env", f"{name}={value}") for name, value in _variables_to_be_named(plan))
    return [word for pair in (*plugins, *variables) for word in pair]


def _plugins_to_be_named(plan: Plan) -> list[str]:
    planned = list(dict.fromkeys(plugin for _, plugin in plan.plugins))
    known = _installed() if planned else ()
    return [plugin for plugin in planned if plugin not in known]


def _variables_to_be_named(plan: Plan) -> list[tuple[str, str]]:
    return [(name, value) for name, value in plan.variables if name.startswith(_LOADERS) or "/" in value]


def _installed() -> tuple[str, ...]:
    try:
        return installed_plugins()
    except PluginError as error:
        raise UsageError(str(error)) from None
