"""The variables that steer speed or numerics: which they are, and what environment a worker gets of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STEERING = (
    "ATEN_", "BLIS_", "CUDA_", "CUBLAS_", "CUBLASLT_", "CUDNN_", "GLIBC_TUNABLES", "GOMP_", "GOTO_", "JAX_", "KERAS_", "KMP_",
    "MKL_", "NPROC", "NPY_", "NUMBA_", "NVIDIA_", "OMP_", "ONEDNN_", "DNNL_", "OPENBLAS_", "ORT_", "PJRT_", "PYTORCH_", "TBB_",
    "TF_", "THP_", "TORCH", "TRITON_", "VECLIB_", "XLA_", "MALLOC_", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONMALLOC",
)  # fmt: skip
"""Prefixes of the variables that steer speed or numerics. Recorded, and part of what makes two runs comparable."""

_IRRELEVANT = frozenset({
    "TF_CLI_CONFIG_FILE",  # Terraform's, not TensorFlow's
    "NVIDIA_REQUIRE_CUDA", "NVIDIA_PRODUCT_NAME",  # what a container image says of itself, in pages
})  # fmt: skip

NVIDIA = Path("/proc/driver/nvidia/gpus")
"""There where the kernel's driver has found a device."""
_OF_SHARED_DEVICES = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Set where nobody else has: JAX would take three quarters of a device's memory, which the workers of a run share."""

KEPT = frozenset({
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "JAX_PLATFORMS",
    "JAX_PLATFORM_NAME", "CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "KERAS_HOME", "TORCH_HOME",
    "LD_LIBRARY_PATH",  # without it a framework may not load at all
})  # fmt: skip
"""Those that say which device, or where files are: recorded like the others, but no handicap, and never cleared."""
PLACES = frozenset({
    "CUDA_CACHE_PATH", "JAX_COMPILATION_CACHE_DIR", "KERAS_HOME", "LD_LIBRARY_PATH", "NUMBA_CACHE_DIR",
    "PYTORCH_KERNEL_CACHE_PATH", "TORCH_EXTENSIONS_DIR", "TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR",
    "TRITON_HOME",
})  # fmt: skip
"""Those that only name folders, of caches and of libraries, where two runs on one machine may well differ: recorded and told,
but no other machine. Which libraries were found there, a framework's version and settings say.
"""


THREADS = (
    "OMP_NUM_THREADS",  # torch, ONNX Runtime as we start it, and others on OpenMP
    "OPENBLAS_NUM_THREADS",  # NumPy
    "MKL_NUM_THREADS",  # torch's products
    "PJRT_NPROC",  # JAX on the CPU
    "TF_NUM_INTRAOP_THREADS",  # TensorFlow
    "TF_NUM_INTEROP_THREADS",
)
"""Those by which the frameworks size their pools of threads when they are imported."""


def thread_variables(threads: int | None) -> tuple[tuple[str, str], ...]:
    """What tells every framework to use so many threads; nothing for None."""
    return () if threads is None else tuple((name, str(threads)) for name in THREADS)


def steers(name: str) -> bool:
    """Whether a variable of this name is taken to steer speed or numerics."""
    return name.startswith(STEERING) and name not in _IRRELEVANT


def steering_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Those of an environment, of this process's where none is given, in alphabetical order."""
    known = os.environ if environment is None else environment
    return {name: value for name, value in sorted(known.items()) if steers(name)}


def neutral_clears(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The names that `--env neutral` takes out of an environment, of this process's where none is given."""
    return tuple(name for name in steering_variables(environment) if name not in KEPT)


def worker_environment(cleared: Iterable[str], variables: Iterable[tuple[str, str]]) -> dict[str, str]:
    """This process's environment without what is cleared, and with what was set: setting wins.

    A safe path would hide the checkout that a worker starts in.
    """
    gone = {"PYTHONSAFEPATH", *cleared}
    shared = _OF_SHARED_DEVICES if NVIDIA.exists() else {}
    return shared | {name: value for name, value in os.environ.items() if name not in gone} | dict(variables)


def worker_variables(neutral: bool, variables: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What is recorded of the environment that workers get: what steers, and whatever was set by name."""
    wished = dict(variables)
    found = worker_environment(neutral_clears() if neutral else (), wished.items())
    return dict(sorted((steering_variables(found) | wished).items()))
