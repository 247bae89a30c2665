"""ONNX graphs in the making, and sessions of ONNX Runtime on the CPU that run them on arrays bound beforehand."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

OrtValue = Any
OPSET = 24
"""The newest whose Attention has a kernel of its own on the CPU (onnxruntime 1.32): that of opset 25, which adds windows, is
expanded into its definition, some fifty nodes."""
PROVIDERS = ("CPUExecutionProvider",)
_ERRORS = 3  # the severity from which on ONNX Runtime writes to stderr


@functools.cache
def share_memory() -> None:
    """One arena for all sessions made here: an arena of its own would keep each session's scores for as long as it lives."""
    import onnxruntime

    kind, place = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, place)
    # No limit; it grows by what is asked for instead of by powers of two; the rest as by default.
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(0, 1, -1, -1))


def tensor(array: np.ndarray, dtype: str) -> OrtValue:
    """A copy in memory of ONNX Runtime's own, which is aligned to 64 bytes."""
    import onnxruntime

    native = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, np.dtype(dtype).type)
    native.update_inplace(np.ascontiguousarray(array, dtype=dtype))
    return native


def dtype_of(array: OrtValue) -> str:
    """Name of the dtype."""
    import onnx

    return str(onnx.helper.tensor_dtype_to_np_dtype(array.element_type()).name)


def threads() -> int:
    """OMP_NUM_THREADS, which other frameworks heed too, else the CPUs that this process may run on.

    ONNX Runtime itself reads no variable; left alone it counts the machine's cores, whichever of them it may use.
    """
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if told.isdecimal() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def options() -> Any:
    """What each session is made with: by default but for threads, warnings and the shared arena."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level = _ERRORS
    chosen.intra_op_num_threads = threads()
    chosen.add_session_config_entry("session.use_env_allocators", "1")
    return chosen


@dataclass(slots=True)
class BoundSession:
    """A session with its inputs and its output bound."""

    model: bytes
    inputs: Mapping[str, OrtValue]
    output: OrtValue
    run: Callable[[], None]

    def __call__(self) -> OrtValue:
        """Run once; the output is in the same memory each time."""
        self.run()
        return self.output

    def ran(self) -> Counter[str]:
        """The operators whose kernels one run calls, by ONNX Runtime's own profile of a second session of the same model."""
        with tempfile.TemporaryDirectory() as folder:
            profiled = options()
            profiled.enable_profiling = True
            profiled.profile_file_prefix = str(Path(folder) / "profile")
            session, run = _bind(self.model, self.inputs, self.output, profiled)
            run()
            events = json.loads(Path(session.end_profiling()).read_text())
        return Counter(event["args"]["op_name"] for event in events if event["cat"] == "Node")


def _bind(
    model: bytes, inputs: Mapping[str, OrtValue], output: OrtValue, options: Any
) -> tuple[Any, Callable[[], None]]:
    """A session, and what runs it on these arrays."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, options, providers=list(PROVIDERS))
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, array)
    binding.bind_ortvalue_output(session.get_outputs()[0].name, output)
    return session, functools.partial(session.run_with_iobinding, binding)


class Graph:
    """A graph in the making, on these arrays; what its last node gives is what it returns."""

    def __init__(self, arrays: Mapping[str, OrtValue | None]) -> None:
        import onnx

        self._onnx: Any = onnx
        self._inputs = {name: array for name, array in arrays.items() if array is not None}
        self._absent = set(arrays) - set(self._inputs)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node: the name of what it gives. Arrays that are None are left out of its inputs."""
        given = ["" if name in self._absent else name for name in inputs]
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, given, [name], **attributes))
        return name

    def constant(self, value: Any, dtype: str) -> str:
        """The name of a constant."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def reshape(self, name: str, *shape: int) -> str:
        """The name of the same numbers in another shape."""
        return self.node("Reshape", name, self.constant(shape, "int64"))

    def cast(self, name: str, dtype: str) -> str:
        """The name of the same numbers in another dtype."""
        return self.node("Cast", name, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def session(self, shape: tuple[int, ...], dtype: str) -> BoundSession:
        """The session of this graph, whose output has this shape and dtype."""
        output, helper = tensor(np.zeros(shape), dtype), self._onnx.helper
        told, last = helper.make_tensor_value_info, self._nodes[-1].output[0]
        inputs = [told(name, array.element_type(), array.shape()) for name, array in self._inputs.items()]
        outputs = [told(last, output.element_type(), shape)]
        graph = helper.make_graph(self._nodes, "attention", inputs, outputs, self._constants)
        # In the oldest file format that holds this opset: onnx's newest may be too new for ONNX Runtime.
        made = helper.make_model_gen_version(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model = made.SerializeToString()
        return BoundSession(model, self._inputs, output, _bind(model, self._inputs, output, options())[1])
