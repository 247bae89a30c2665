"""Problems to test with, and ways to run them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from backends import backward, execution, registry
from backends.accuracy import ILL_CONDITIONED, expect, judge, judge_all, round_to
from backends.interface import Implementation, Unsupported
from backends.problem import Inputs, Semantics

ROOT = Path(__file__).parent.parent
HEADS = ((1, 1), (2, 2), (3, 3), (2, 1), (4, 2), (6, 2))
HEAD_SIZES = (4, 8, 16, 33)


@dataclass(frozen=True)
class Problem:
    """Arrays and semantics; repr and failures show the words it was made from."""

    inputs: Inputs
    semantics: Semantics
    made_from: str = ""

    def __repr__(self) -> str:
        return f"Problem({self.made_from})"

    def arguments(self) -> dict[str, Any]:
        """What backends.attention and the oracle take."""
        i = self.inputs
        arrays = {"query": i.query, "key": i.key, "value": i.value}
        return {**arrays, **i.extras(), **self.semantics.as_arguments()}


def make_problem(
    seed: int = 0,
    *,
    B: int = 2,
    T: int = 12,
    S: int = 20,
    N: int = 4,
    K: int = 2,
    H: int = 16,
    V: int | None = None,
    dtype: str = "float64",
    mask: tuple[int, ...] | None = None,
    hidden: float = 0.4,
    bias: tuple[int, ...] | None = None,
    kv_lengths: tuple[int, ...] | None = None,
    **semantics: Any,
) -> Problem:
    """Numbers from N(0,1), rounded to `dtype`; `mask` and `bias` are shapes, `hidden` is the part that the mask hides."""
    words = {"seed": seed, "B": B, "T": T, "S": S, "N": N, "K": K, "H": H, "V": V, "dtype": dtype, "mask": mask}
    words |= {"hidden": hidden, "bias": bias, "kv_lengths": kv_lengths, **semantics}
    rng = np.random.default_rng(seed)
    wide = np.float64 if dtype == "float64" else np.float32

    def normal(*size: int) -> np.ndarray:
        return round_to(rng.standard_normal(size).astype(wide), dtype).reshape(size)

    inputs = Inputs(normal(B, T, N, H), normal(B, S, K, H), normal(B, S, K, V or H), dtype)
    if mask is not None:
        inputs.mask = np.asarray(rng.random(mask) >= hidden)
    if bias is not None:
        inputs.bias = normal(*bias)
    if kv_lengths is not None:
        inputs.kv_lengths = np.array(kv_lengths, np.int32)
    return Problem(inputs, Semantics(**semantics), ", ".join(f"{k}={v!r}" for k, v in words.items() if v is not None))


@st.composite
def problems(draw: st.DrawFn, dtypes: tuple[str, ...] = ("float64",), longest: int = 40) -> Problem:
    """Any problem of the standard, small. What is drawn first is the simplest: hypothesis shrinks towards it."""

    def sometimes(strategy: st.SearchStrategy[Any]) -> Any:
        return draw(st.one_of(st.none(), st.none(), strategy))

    B, (N, K) = draw(st.integers(1, 2)), draw(st.sampled_from(HEADS))
    T, S = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    S = T if draw(st.booleans()) else S
    size = st.sampled_from(HEAD_SIZES)
    part = st.tuples(*(st.sampled_from((1, full)) for full in (B, N, T, S)))
    cut = st.builds(lambda shape, rank: shape[4 - rank :], part, st.integers(0, 4))  # a shape of any rank
    side = st.none() | st.integers(0, 8)
    return make_problem(
        draw(st.integers(0, 2**16)),
        B=B,
        T=T,
        S=S,
        N=N,
        K=K,
        H=draw(size),
        V=sometimes(size),
        dtype=draw(st.sampled_from(dtypes)),
        mask=sometimes(cut),
        hidden=draw(st.sampled_from((0.0, 0.1, 0.6))),
        bias=sometimes(cut),
        kv_lengths=sometimes(st.tuples(*[st.integers(0, S)] * B)),
        causal=sometimes(st.sampled_from(("top_left", "bottom_right"))),
        window=sometimes(st.tuples(side, side)),
        softcap=sometimes(st.sampled_from((1.5, 20.0))),
        scale=sometimes(st.sampled_from((0.25, 0.01, -0.2))),
    )


def prepare(id: str, problem: Problem) -> tuple[Any, Any, execution.Prepared]:
    """The implementation, its framework, and a call that is ready. Unsupported as it comes."""
    chosen = implementation(id)
    framework = registry.load(chosen.framework)
    return chosen, framework, execution.prepare(chosen, framework, problem.inputs, problem.semantics)


def run(id: str, problem: Problem) -> tuple[np.ndarray, str]:
    """The output in NumPy and the dtype that the framework gave it."""
    chosen, framework, prepared = prepare(id, problem)
    return execution.run(chosen, framework, prepared, problem.inputs)["output"]


def implementation(id: str) -> Implementation:
    """An implementation by its id."""
    return registry.implementations()[id]


def hold(id: str, problem: Problem) -> str:
    """Run the problem and hold the result to the oracle; "accepted", or why there was nothing to hold."""
    inputs, semantics = problem.inputs, problem.semantics
    arrays = {"query": inputs.query, "key": inputs.key, "value": inputs.value, **inputs.extras()}
    copies = {name: array.copy() for name, array in arrays.items()}
    try:
        out, dtype = run(id, problem)
    except Unsupported as refusal:
        return "refused" if str(refusal).strip() else "refused without a reason"
    finally:
        for name, array in arrays.items():
            assert np.array_equal(array, copies[name]), f"{name} was modified"
    shape = inputs.shape
    assert out.shape == (shape.B, shape.T, shape.N, shape.V)
    assert dtype == inputs.dtype
    expected, claims = expect(inputs, semantics), implementation(id).roundoffs(inputs.dtype)
    if expected.score_error(claims) > ILL_CONDITIONED:
        return "ill-conditioned"
    verdict = judge(out, dtype, expected, claims)
    assert verdict.correct, verdict.reason
    if id.startswith("numpy/") and dtype == "float64":
        assert verdict.max_abs_error <= 1e-12
    return "accepted"


def with_upstream(problem: Problem, seed: int = 7) -> Problem:
    """The same problem with a gradient from N(0,1) that arrives at the output."""
    inputs, shape = problem.inputs, problem.inputs.shape
    rng = np.random.default_rng(seed)
    wide = np.float64 if inputs.dtype == "float64" else np.float32
    upstream = rng.standard_normal((shape.B, shape.T, shape.N, shape.V)).astype(wide)
    given = dataclasses.replace(inputs, upstream=round_to(upstream, inputs.dtype))
    return Problem(given, problem.semantics, problem.made_from)


def hold_gradients(id: str, problem: Problem) -> str:
    """Run forward and backward and hold all of it to the oracle; "accepted", or why there was nothing to hold."""
    chosen, inputs = implementation(id), problem.inputs
    framework = registry.load(chosen.framework)
    arrays = {name: getattr(inputs, name) for name in ("query", "key", "value", "upstream", *inputs.extras())}
    copies = {name: array.copy() for name, array in arrays.items()}
    try:
        prepared = execution.prepare(chosen, framework, inputs, problem.semantics)
        found = execution.run(chosen, framework, prepared, inputs)
    except Unsupported as refusal:
        return "refused" if str(refusal).strip() else "refused without a reason"
    finally:
        for name, array in arrays.items():
            assert np.array_equal(array, copies[name]), f"{name} was modified"
    expected, claims = backward.expect_all(inputs, problem.semantics), chosen.roundoffs(inputs.dtype)
    if expected["output"].score_error(claims) > ILL_CONDITIONED:
        return "ill-conditioned"
    verdict = judge_all(found, inputs.dtype, expected, claims)
    assert verdict.correct, verdict.reason
    return "accepted"


def fresh(code: str, *arguments: str, flags: tuple[str, ...] = ("-W", "error"), path: Path | None = None) -> str:
    """What `code` prints in a new process that starts at the checkout; `path` is searched for modules before it."""
    start = "" if path is None else f"import sys; sys.path.insert(0, {str(path)!r})\n"
    done = subprocess.run(
        [sys.executable, *flags, "-c", start + code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
