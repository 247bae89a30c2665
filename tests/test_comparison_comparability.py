"""Which differences forbid a comparison, which are only told, and that each is named."""

from __future__ import annotations

import pytest

from benchmarks.comparison.comparability import NotComparable, differences
from tests.planted import ENVIRONMENT, edited, record, side

SETTINGS = "frameworks__numpy__settings"


def found(environment=None, **changes):
    """Differences of the usual side to one with another environment or other records."""
    b = side(record(**changes), environment=ENVIRONMENT if environment is None else environment)
    return differences(side(record(), environment=ENVIRONMENT), b)


def fields(differences):
    """Their names."""
    return [difference.field for difference in differences]


def test_alike():
    """Nothing to tell."""
    assert found().check(force=False) == ()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"machine__cpu": "Intel Xeon"}, "machine.cpu"),
        ({"machine__cpu_kind": "family 26 model 2 avx512f"}, "machine.cpu_kind"),
        ({"machine__architecture": "arm64"}, "machine.architecture"),
        ({"machine__cores_allowed": 1}, "machine.cores_allowed"),
        ({"machine__cores_physical": 64}, "machine.cores_physical"),
        ({"machine__cpu_quota": 1.5}, "machine.cpu_quota"),
        ({"machine__memory_bytes": 2**33}, "machine.memory_bytes"),
        ({"machine__system": "Darwin"}, "machine.system"),
        ({"python": "3.12.1"}, "python"),
        ({"variables": {"OMP_NUM_THREADS": "1"}}, "variables.OMP_NUM_THREADS"),
        ({"frameworks__numpy__variables": {"OMP_NUM_THREADS": "1"}}, "frameworks.numpy.variables.OMP_NUM_THREADS"),
        ({"cpus": [1]}, "cpus"),
        ({f"{SETTINGS}__threads": "1"}, "frameworks.numpy.threads"),
        ({f"{SETTINGS}__blas": "openblas 0.3.31 Haswell"}, "frameworks.numpy.blas"),
    ],
)
def test_what_a_run_ran_on_may_not_differ(change, field):
    """Refused, with the field and both values; forced, it is a note."""
    result = found(edited(ENVIRONMENT, **change))
    assert fields(result.refused) == [field]
    with pytest.raises(NotComparable, match="--force") as caught:
        result.check(force=False)
    assert field in str(caught.value)
    (note,) = result.check(force=True)
    assert note.startswith("forced although")
    assert field in note


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"machine__kernel": "6.19.0"}, "machine.kernel"),
        ({"machine__memory_bytes": 25276514304 + 2**20}, None),
        ({"python": "3.11.9"}, "python"),
        ({"revision__commit": "def"}, "revision.commit"),
        ({"revision__modified": True}, "revision.modified"),
        ({"frameworks__numpy__version": "numpy 2.5.0"}, "frameworks.numpy.version"),
        ({f"{SETTINGS}__blas": "openblas 0.3.32 SkylakeX"}, "frameworks.numpy.blas"),
        ({f"{SETTINGS}__new": "1"}, "frameworks.numpy.new"),
        (
            {"frameworks__numpy__own_variables": {"KMP_INIT_AT_FORK": "0"}},
            "frameworks.numpy.own_variables.KMP_INIT_AT_FORK",
        ),
        ({"variables": {"TORCH_HOME": "/a"}}, "variables.TORCH_HOME"),
        ({"variables": {"LD_LIBRARY_PATH": "/a"}}, "variables.LD_LIBRARY_PATH"),
        (
            {"frameworks__numpy__variables": {"JAX_COMPILATION_CACHE_DIR": "/a"}},
            "frameworks.numpy.variables.JAX_COMPILATION_CACHE_DIR",
        ),
        ({"frameworks__torch": {"status": "ok", "settings": {"threads": "9"}}}, None),
        ({"time": "later", "load_average": [9, 9, 9]}, None),
    ],
)
def test_what_is_compared_may_differ(change, field):
    """Versions, the revision and small things are told at most: that is what a comparison is for."""
    result = found(edited(ENVIRONMENT, **change))
    assert result.refused == ()
    assert fields(result.told) == ([field] if field else [])
    assert all(field in note for note in result.check(force=False))


def test_a_variable_that_was_set_only_before():
    """Either way round."""
    a = side(record(), environment=edited(ENVIRONMENT, variables={"XLA_FLAGS": "--x"}))
    result = differences(a, side(record(), environment=ENVIRONMENT))
    assert str(result.refused[0]) == "variables.XLA_FLAGS (--x / not set)"


def test_what_all_workers_have_is_named_once():
    """A variable of the whole run is not told again for each framework; older runs recorded no more than that."""
    x = {"variables": {"XLA_FLAGS": "--x"}, "frameworks__numpy__variables": {"XLA_FLAGS": "--x"}}
    for environment in (edited(ENVIRONMENT, **x), edited(ENVIRONMENT, variables={"XLA_FLAGS": "--x"})):
        assert fields(found(environment).refused) == ["variables.XLA_FLAGS"]
    del environment["frameworks"]["numpy"]["variables"]
    assert fields(found(environment).refused) == ["variables.XLA_FLAGS"]


def test_the_variables_of_a_framework_that_no_shared_cell_uses_say_nothing():
    """Nor those of one that did not start: it could not tell."""
    other = {"status": "ok", "settings": {}, "variables": {"OMP_NUM_THREADS": "1"}}
    assert found(edited(ENVIRONMENT, frameworks__torch=other)).refused == ()
    broken = {"status": "error", "variables": {"OMP_NUM_THREADS": "1"}}
    assert found(edited(ENVIRONMENT, frameworks__numpy=broken)).refused == ()


@pytest.mark.parametrize(
    ("column", "value"), [("threads", "4"), ("matmul_precision", "tf32"), ("layout", "BNTH"), ("jit", "jit")]
)
def test_each_cell_says_how_it_ran(column, value):
    """Threads, precision, layout and compile mode are part of a cell; empty says nothing."""
    result = found(**{column: value})
    assert fields(result.refused) == [f"{column} of case-0 numpy/naive"]
    assert found(**{column: ""}).refused == ()


@pytest.mark.parametrize(
    ("column", "value"), [("T", 8), ("dtype", "float16"), ("causal", "top_left"), ("softcap", 2.0)]
)
def test_a_cell_is_the_same_problem(column, value):
    """A case that has another shape or other semantics under the same name is another case."""
    assert fields(found(**{column: value}).refused) == [f"{column} of case-0 numpy/naive"]


def test_equal_differences_are_one_line():
    """A hundred cells on 4 instead of 2 threads are one difference."""
    a, b = (side(*(record(f"case-{n}", threads=t) for n in range(100)), environment=ENVIRONMENT) for t in "24")
    (difference,) = differences(a, b).refused
    assert str(difference) == "threads of case-0 numpy/naive and 99 more (2 / 4)"


def test_another_kernel_is_told():
    """It explains a change; but its version alone is no news."""
    assert fields(found(kernel="flash").told) == []
    a = side(record(kernel="gemm on openblas 0.3.31"), environment=ENVIRONMENT)
    for kernel, told in (("gemm on openblas 0.3.32", []), ("gemm on mkl", ["kernel of case-0 numpy/naive"])):
        assert fields(differences(a, side(record(kernel=kernel), environment=ENVIRONMENT)).told) == told


def test_where_no_environment_is_known():
    """A lone summary cannot be refused for its machine; that it is taken on trust is told."""
    (note,) = differences(side(record(), environment=ENVIRONMENT), side(record())).check(force=False)
    assert "environment (recorded / not recorded)" in note


def test_cells_that_only_one_side_has_say_nothing():
    """Suites may differ as far as cells do."""
    a = side(record("case-0"), record("case-1", threads="9"), environment=ENVIRONMENT)
    assert differences(a, side(record("case-0", suite="other"), environment=ENVIRONMENT)).refused == ()


def test_devices_count_where_they_are_used():
    """Another GPU matters to the cells that ran on one."""
    other = edited(ENVIRONMENT, frameworks__numpy__devices=["cpu", "cuda"])
    assert found(other).refused == ()
    a, b = (side(record(device="cuda"), environment=e) for e in (ENVIRONMENT, other))
    assert fields(differences(a, b).refused) == ["frameworks.numpy.devices"]
