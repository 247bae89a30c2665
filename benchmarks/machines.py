"""environment.json of runs that are of several machines, or were made in several parts on one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.comparison.comparability import environment_differences
from benchmarks.comparison.plain_json import finite

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SUMS = ("wall_s", "timed_s")
_RATES = ("stream_gb_per_s", "call_overhead_s")
_ALIKE = ("schema_version", "python", "variables", "revision", "cpus")
"""What a file of several machines says at its top where all of them say the same."""


def why_not_one(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """Why two parts that were made on one machine are no one run: the first difference that `compare` or `run --resume`
    would refuse. None where there is none, or where a part has no environment to tell.
    """
    if not a or not b:
        return None
    used = dict.fromkeys([*a.get("frameworks", {}), *b.get("frameworks", {})], True)
    for forbids, difference in environment_differences(a, b, used):
        if forbids or difference.field.endswith(".version"):
            return str(difference)
    return None


def joined(environments: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One environment of parts that were made on one machine: the first's, with what the others know besides.

    Rates are the best that any part has seen, times are added, and a framework counts as there where it once started.
    """
    first, *others = [dict(environment) for environment in environments]
    for other in others:
        for name, told in other.get("frameworks", {}).items():
            known = first.setdefault("frameworks", {}).get(name)
            if known is None or (known.get("status") != "ok" and told.get("status") == "ok"):
                first["frameworks"] = {**first["frameworks"], name: told}
        for dtype, rates in other.get("matmul_gflops", {}).items():
            known = first.get("matmul_gflops", {})
            first["matmul_gflops"] = {**known, dtype: _better(known.get(dtype, {}), rates)}
        for name in _RATES:
            if isinstance(other.get(name), dict):
                first[name] = _better(first.get(name) or {}, other[name], least=name == "call_overhead_s")
        for name in _SUMS:
            if finite(other.get(name)) is not None:
                first[name] = round((finite(first.get(name)) or 0.0) + other[name], 3)
        _join_threads(first, other)
        handicaps = first.get("handicaps")
        if isinstance(other.get("handicaps"), list):
            known = handicaps if isinstance(handicaps, list) else []
            seen = [(h.get("framework"), h.get("variable")) for h in known if isinstance(h, dict)]
            new = [h for h in other["handicaps"] if isinstance(h, dict)]
            first["handicaps"] = [*known, *(h for h in new if (h.get("framework"), h.get("variable")) not in seen)]
    return first


def _join_threads(first: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Of each framework what is known first; every note once."""
    if isinstance(other.get("threads"), dict):
        first["threads"] = {**other["threads"], **(first.get("threads") or {})}
    if isinstance(other.get("notes"), list):
        first["notes"] = list(dict.fromkeys([*(first.get("notes") or []), *other["notes"]]))


def _better(a: Mapping[str, Any], b: Mapping[str, Any], *, least: bool = False) -> dict[str, Any]:
    best = min if least else max
    return {
        **a,
        **{k: best(a[k], v) if finite(a.get(k)) is not None else v for k, v in b.items() if finite(v) is not None},
    }


def of_machines(environments: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What stands in environment.json: one machine's own as it is; of several, each under its name, what is alike above."""
    if len(environments) == 1:
        return dict(next(iter(environments.values())))
    first = next(iter(environments.values()), {})
    alike = {n: first[n] for n in _ALIKE if n in first and all(e.get(n) == first[n] for e in environments.values())}
    return {"schema_version": 1, **alike, "machines": dict(environments)}
