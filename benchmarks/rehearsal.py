"""Before a run is gone on with: the results that follow from its journal are made once, and read again.

A journal may be anybody's. What it says and cannot be is told in one line before anything is measured, not after hours of it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.comparison.readers import parse_environments
from benchmarks.comparison.summaries import parse_summary
from benchmarks.errors import UnreadableResults
from benchmarks.journal import JOURNAL
from benchmarks.records import to_csv
from benchmarks.run_folder import samples_csv

if TYPE_CHECKING:
    from benchmarks.harness.state import State
    from benchmarks.plan import Plan
    from benchmarks.records import Record
    from benchmarks.run_folder import RunFolder

_WRONG = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What numbers, texts and tables lead to where others belong."""


def rehearse(plan: Plan, folder: RunFolder, state: State) -> None:
    """Write nothing. UnreadableResults where no results follow, or none that `show` and `compare` would read."""
    where = str(folder.path / JOURNAL)
    try:
        _check_conditions(state)
        records, environment = _results(plan, folder, state)
        parse_environments(json.dumps(environment), where)
        parse_summary(to_csv(records), where)
        samples_csv(state, {record.case: record.pass_ for record in records})
    except UnreadableResults as error:
        raise UnreadableResults(f"no results follow from {where}: {str(error)[:300]}") from None
    except _WRONG as error:
        told = f"{type(error).__name__}: {str(error)[:200]}"
        raise UnreadableResults(f"no results follow from {where}: {told}") from None


def _check_conditions(state: State) -> None:
    """Of the machines of a cluster: new workers are held against them."""
    for machine, told in state.conditions.items():
        for name in ("frameworks", "variables", "fingerprint"):
            if not isinstance(told[name], dict):
                raise UnreadableResults(
                    f"{name} of machine {machine!s:.80} is {type(told[name]).__name__}, expected an object"
                )
        if not isinstance(told["python"], str):
            raise UnreadableResults(
                f"python of machine {machine!s:.80} is {type(told['python']).__name__}, expected a text"
            )


def _results(plan: Plan, folder: RunFolder, state: State) -> tuple[list[Record], dict[str, Any]]:
    if plan.cluster:
        from benchmarks.cluster.measure import results

        return results(plan, folder, state)
    from benchmarks.measure import results as here

    return here(plan, folder, state)
