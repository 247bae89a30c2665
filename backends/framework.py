"""What a framework must offer to host implementations of attention, and what it may offer besides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from backends.interface import Prepared


class Framework(Protocol):
    """What each `*_backend.py` module offers. Importing the module imports no framework; `load()` does."""

    def load(self) -> None:
        """Import the framework; ModuleNotFoundError where it is not installed."""

    def version(self) -> str:
        """Version of the framework, and of what it stands on where that matters ("keras 3.15.1, tensorflow 2.21.0")."""

    def devices(self) -> tuple[str, ...]:
        """Devices that are there: "cpu", "cuda"."""

    def to_native(self, array: np.ndarray, dtype: str, device: str) -> Any:
        """A native array in `dtype` ("bool" and "int32" too) from a NumPy array that holds such numbers, contiguous."""

    def to_numpy(self, array: Any) -> np.ndarray:
        """A NumPy array from a native one; bfloat16 is held in float32."""

    def dtype_of(self, array: Any) -> str:
        """The dtype of a native array by its NumPy name ("float32", "bfloat16")."""

    def barrier(self, output: Any) -> None:
        """Return once `output` has been computed."""

    def compile(self, function: Callable[..., Any], mode: str) -> Callable[..., Any]:
        """`function` compiled in one of the framework's modes ("jit", "function", "xla", "compile")."""

    def differentiate(
        self, function: Callable[..., Any], mode: str | None, sources: tuple[str, ...]
    ) -> Callable[..., Any]:
        """f(query, key, value, upstream, **arrays) -> (output, its pull-back to each of `sources`), compiled in `mode`.

        sources: "query", "key", "value", and "bias" where its gradient is wanted. Raises Unsupported where the framework
        differentiates nothing.
        """

    def pull_back(self, call: Callable[[], Any], sources: tuple[Any, ...], upstream: Any) -> tuple[Any, ...]:
        """(output, its pull-back to each of the sources) of a call that uses them. Raises Unsupported."""

    def settings(self) -> dict[str, str]:
        """What steers speed or numerics in this process: threads, matmul precision, flags."""

    def matmul(self, size: int, dtype: str, device: str) -> Callable[[], Any]:
        """A call that multiplies two (size,size) matrices: the framework's own limit. Raises Unsupported."""

    def stream(self, rows: int, width: int, device: str) -> Callable[[], Any]:
        """A call that multiplies a (rows,width) float32 matrix and a vector: it reads the matrix once, as decoding reads keys
        and values, and does two operations for each number read. Raises Unsupported.
        """


class Watching(Protocol):
    """What a `*_backend.py` module offers besides where its allocator tells what the system cannot see."""

    def watch(self, device: str) -> Callable[[], int | None] | None:
        """Begin to watch memory on a device: a function that says by how many bytes its peak has risen since.

        None, of either: the allocator does not tell.
        """


class Holding(Protocol):
    """What a `*_backend.py` module offers besides where it can tell how full a device is."""

    def free_bytes(self, device: str) -> int | None:
        """Bytes that this process can still have on a device; None where that cannot be said, as on the CPU."""


class Planning(Protocol):
    """What a `*_backend.py` module offers besides where a compiler knows what its program takes."""

    def planned_bytes(self, prepared: Prepared) -> int | None:
        """Bytes of device memory that a call takes beyond its inputs and what it returns; None where it is not compiled whole.

        Asked in place of `watch` on other devices than the CPU, after a first call.
        """


class Caching(Protocol):
    """What a `*_backend.py` module offers besides where its framework keeps compiled code on the disk."""

    def taken_from_disk(self) -> int:
        """How often this process has found there what it would have had to compile; it only grows."""


class Keeping(Protocol):
    """What a `*_backend.py` module offers besides where its framework can be told to keep compiled code on the disk."""

    def keep_compiled(self, folder: str) -> None:
        """Keep there what is compiled from now on, and look there first. What the user has set up himself stays."""


class Clocked(Protocol):
    """What a `*_backend.py` module offers besides where its device has a clock of its own."""

    def device_times(
        self, call: Callable[[], Any], calls: int, device: str, *, is_cold: bool
    ) -> tuple[str, list[float]] | None:
        """What told them, and the seconds for which the device worked, of each of so many calls; see backends.device_clocks.

        None: nobody can tell on this device.
        """
