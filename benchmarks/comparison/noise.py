"""What an audit has learned about a machine's noise, as it is kept: noise.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.comparison.plain_json import finite
from benchmarks.comparison.prior import Prior
from benchmarks.errors import UnreadableResults
from benchmarks.foreign import SMALL_BYTES, parse_json, read_text
from benchmarks.harness.environment import machine_slug
from benchmarks.harness.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOISE = "noise.json"
_MOST = 1e6
"""Of anything: with more, nothing could be computed, and no machine is like that."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Of one machine."""

    prior: Prior | None
    common: Prior | None
    """Of what all cells of a process share."""
    floor: float | None
    """The smallest change that the audit could tell from none: 0.02 is 2 %."""
    between_runs: float = 1.0
    """How many times wider than the errors of their processes two runs of identical code scatter."""


def read_noise(file: Path) -> Noise:
    """UnreadableResults where it is not what `audit` writes: {"prior": {"variance", "freedom"}, "common": .., "floor": ..}."""
    data = parse_json(read_text(file, SMALL_BYTES), str(file))
    if not isinstance(data, dict) or "prior" not in data:
        raise UnreadableResults(f"{file} holds no prior, expected what `audit` writes")
    between = finite(data.get("between_runs", 1.0))
    if between is None or not 1 <= between <= _MOST:
        raise UnreadableResults(
            f"{file}: between_runs {str(data['between_runs'])[:40]}, expected a number of at least 1"
        )
    prior, common = _prior(data["prior"], file), _prior(data.get("common"), file)
    return Noise(prior, common, _floor(data.get("floor"), file), between)


def noise_of_machine(cpus: Sequence[int]) -> Path:
    """Where the latest audit of this machine, on as many CPUs, has left what it learned."""
    count = len(cpus) or "all"
    return ROOT / "results" / "baselines" / machine_slug() / f"noise-{count}-cpu.json"


def noise_beside(baseline: Path) -> Path | None:
    """The noise.json of the folder that the baseline is or lies in."""
    file = (baseline if baseline.is_dir() else baseline.parent) / NOISE
    return file if file.is_file() else None


def _prior(data: object, file: Path) -> Prior | None:
    if data is None:
        return None
    if not isinstance(data, dict):
        raise UnreadableResults(f"{file}: prior is {type(data).__name__}, expected an object")
    variance, freedom = (finite(data.get(name)) for name in ("variance", "freedom"))
    if variance is None or freedom is None or not 0 < variance <= _MOST or not 0 <= freedom <= _MOST:
        raise UnreadableResults(
            f"{file}: prior {str(data)[:60]}, expected a variance above 0 and a freedom of at least 0"
        )
    return Prior(variance, freedom)


def _floor(value: object, file: Path) -> float | None:
    if value is None:
        return None
    floor = finite(value)
    if floor is None or not 0 <= floor <= _MOST:
        raise UnreadableResults(f"{file}: floor {str(value)[:40]}, expected a number of at least 0")
    return floor
