"""What pyperf is given to time, as `python -m benchmarks.audit.rival_pyperf`; `benchmarks.audit.rivals` runs it."""

from __future__ import annotations

import pyperf

from benchmarks.audit.rival_work import timed_call

NAME = "cell"


def main() -> None:
    """The managing process only starts workers: it prepares nothing, so that no idle framework runs beside them."""
    runner = pyperf.Runner(program_args=("-m", "benchmarks.audit.rival_pyperf"))
    if not runner.parse_args().worker:
        runner.bench_func(NAME, lambda: None)
        return
    with timed_call() as call:
        runner.bench_func(NAME, call)


if __name__ == "__main__":
    main()
