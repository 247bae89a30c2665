"""Variables that hold NumPy's BLAS back, proven by measuring with and without them in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from benchmarks.harness.environment import steering_variables

_BLAS = ("OPENBLAS_", "GOTO_", "OMP_", "MKL_", "BLIS_")
_TOLD_FROM = 0.85
"""A factor below which a handicap is told: matmul's best of several varies by less than this from process to process."""
_PROGRAM = """
import numpy, time
a = numpy.ones((1024, 1024), "float32")
best = 9e9
for _ in range(12):
    start = time.perf_counter(); a @ a; best = min(best, time.perf_counter() - start)
print(2 * 1024**3 / best / 1e9)
"""


def find_handicaps() -> list[dict[str, Any]]:
    """Each variable of this environment that steers BLAS, if NumPy's matmul is clearly faster without it."""
    found = []
    here: float | None = None
    for name, value in steering_variables().items():
        if not name.startswith(_BLAS):
            continue
        here = here or _matmul_gflops(dict(os.environ))
        without = _matmul_gflops({k: v for k, v in os.environ.items() if k != name})
        if here and without and here / without < _TOLD_FROM:
            found.append({"variable": f"{name}={value}", "gflops": here, "gflops_without": without})
    return found


def _matmul_gflops(environment: dict[str, str]) -> float | None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    return float(done.stdout) if done.returncode == 0 else None
