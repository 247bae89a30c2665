"""A framework in a few lines: arrays that are computed when somebody waits for them."""

import numpy as np

__version__ = "1.0"


class Array:
    """A promise of a NumPy array."""

    def __init__(self, compute, dtype):
        self._compute, self._value, self.dtype = compute, None, dtype

    def wait(self):
        if self._value is None:
            self._value = self._compute()
        return self._value

    @property
    def shape(self):
        return self.wait().shape


def array(numbers):
    return Array(lambda: numbers, numbers.dtype)


def matmul(a, b):
    return Array(lambda: np.matmul(a.wait(), b.wait()), a.dtype)


def apply(function, *arrays):
    """function(*numpy arrays), some time."""
    return Array(lambda: function(*(a.wait() for a in arrays)), arrays[0].dtype)
