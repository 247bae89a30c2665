"""The pools of threads that BLAS and OpenMP libraries have in this process."""

from __future__ import annotations


def thread_pools() -> dict[str, int]:
    """Library -> the threads of its largest pool, as threadpoolctl finds them; empty where that is not installed."""
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:  # another interpreter, in `ab`, needs NumPy alone
        return {}
    found: dict[str, int] = {}
    for pool in threadpool_info():
        name, threads = str(pool["internal_api"]), int(pool["num_threads"] or 0)
        found[name] = max(threads, found.get(name, 0))
    return found
