"""A framework for the mutants: NumPy's, and bfloat16, which NumPy lacks, held in float32 arrays that know what they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from backends import numpy_backend

Array = np.ndarray


class BFloat16(np.ndarray):
    """float32 numbers that are bfloat16 numbers."""


def name_of(array: Array) -> str:
    """The dtype that an array stands for."""
    return "bfloat16" if isinstance(array, BFloat16) else array.dtype.name


def of_name(array: Array, dtype: str) -> Array:
    """An array whose numbers are rounded already, as one of that dtype."""
    return array.view(BFloat16) if dtype == "bfloat16" else array.astype(dtype)


class Frame:
    """What backends.framework.Framework asks for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(numpy_backend, name)

    def to_native(self, array: Array, dtype: str, device: str) -> Array:
        """A contiguous array."""
        held = np.ascontiguousarray(array, "float32" if dtype == "bfloat16" else dtype)
        return of_name(held, dtype)

    def to_numpy(self, array: Array) -> Array:
        """The array itself."""
        return array.view(np.ndarray)

    def dtype_of(self, array: Array) -> str:
        """The dtype that it stands for."""
        return name_of(array)
