"""What a worker's answer has to hold. Foreign code lives in its process: whatever it says there is held to this first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.harness.protocol import Garbled, Message
from benchmarks.records import Status


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_time(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_time_or_none(value: Any) -> bool:
    return value is None or _is_time(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_settings(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_size(value: Any) -> bool:
    return value is None or (isinstance(value, int) and value >= 0)


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(n, int) and not isinstance(n, bool) for n in value.values())


_FRAMEWORK = {"version": _is_text, "devices": _are_texts, "settings": _is_settings, "pools": _are_counts}
_FIELDS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "hello": {"import_s": _is_number, "plugins": _are_texts},
    "oracle": {
        "naive_error": lambda value: isinstance(value, int | float),
        "flops": _is_size,
        "flops_conventional": _is_size,
        "bytes": _is_size,
        "heads": _is_size,
        "of_heads": _is_size,
    },
    "prepare": {
        "first_call_s": _is_time,
        "first_call_cache": _is_text,
        "per_call_s": _is_time,
        "lowered": _are_texts,
        "kernel": _is_text,
        "layout": _is_text,
        "jit": _is_text,
        "peak_memory_bytes": _is_size,
        "device_s": _is_time_or_none,
        "device_cold_s": _is_time_or_none,
        "device_clock": _is_text,
        "max_abs_error": _is_number,
        "error_over_bound": _is_number,
    },
    "estimate": {"per_call_s": _is_time},
    "block": {"seconds": _is_time, "canary_s": _is_time, "per_call_s": _is_time},
    "matmul": {"gflops": _is_time, "threads_busy": _is_time_or_none},
    "stream": {"gb_per_s": _is_time},
    "overhead": {"call_s": _is_number},
    "conformance": {"results": lambda value: isinstance(value, list) and bool(value)},
}


def check(message: Message, op: str, *, framework: bool, ours: bool) -> None:
    """Garbled, with what is wrong, for what is no answer to a request of this kind.

    `ours`: the worker runs this version. Another, in `ab`, may not know a field; what it does tell has to be right.
    """
    status, reason = message.get("status"), message.get("reason")
    if status not in set(Status) or not isinstance(reason, str):
        raise Garbled(f"status {str(status)[:40]!r}, not a message")
    if status != Status.OK:
        return
    wanted = dict(_FIELDS.get(op, {}))
    if op == "hello" and framework:
        wanted |= _FRAMEWORK
    if op == "oracle" and "flops" not in message:  # only the expected output was asked for
        return
    for name, is_right in wanted.items():
        if name not in message:
            if ours:
                raise Garbled(f"without {name}, to {op!r}")
        elif not is_right(message[name]):
            raise Garbled(f"{name}={str(message[name])[:40]}, to {op!r}")
