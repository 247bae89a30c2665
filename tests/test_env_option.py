"""--env: what workers get, that what they got is what is recorded, and that a run goes on in what it began with."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import suites
from benchmarks.cli.options import resolve_environment
from benchmarks.errors import UsageError
from benchmarks.harness import steering
from benchmarks.harness.session import Session, usual_workers
from benchmarks.live.plan import Side
from benchmarks.plan import Plan
from tests.processes import TINY, attnbench

PROBE = """
import os
from backends import Unsupported, implementation

NAMES = ("OPENBLAS_NUM_THREADS", "XLA_FLAGS", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "ATTNBENCH_MINE", "ATTNBENCH_SET")

@implementation("numpy/probe")
def attention(query, key, value, **semantics):
    \"\"\"Tells the environment that it runs in.\"\"\"
    raise Unsupported(" ".join(f"{name}={os.environ[name]}" for name in NAMES if name in os.environ))
"""
USERS = {
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--none",
    "OMP_NUM_THREADS": "2",
    "CUDA_VISIBLE_DEVICES": "7",
    "ATTNBENCH_MINE": "yes",
}
NEUTRAL = ("--env", "neutral", "--env", "OMP_NUM_THREADS=1", "--env", "ATTNBENCH_SET=a=b c")


# --- words into what was asked for ---


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (None, (False, ())),
        (["inherit"], (False, ())),
        (["neutral", "neutral"], (True, ())),
        (["OMP_NUM_THREADS=1", "neutral"], (True, (("OMP_NUM_THREADS", "1"),))),
        (["inherit", "XLA_FLAGS=--a=b --c", "EMPTY="], (False, (("XLA_FLAGS", "--a=b --c"), ("EMPTY", "")))),
        (["A=1", "A=1"], (False, (("A", "1"),))),
        (["neutral=1"], (False, (("neutral", "1"),))),
    ],
)
def test_words(words, found):
    """Neutral or not, and what is set; the first equals sign ends the name."""
    assert resolve_environment(words) == found


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["clean"], "--env 'clean', expected inherit, neutral or NAME=VALUE"),
        ([""], "--env '', expected"),
        (["=1"], "--env '=1', expected"),
        ([" A=1"], "--env ' A=1', expected"),
        (["1A=1"], "--env '1A=1', expected"),
        (["A-B=1"], "--env 'A-B=1', expected"),
        (["É=1"], "expected inherit, neutral or NAME=VALUE"),
        (["A=1", "A=2"], "--env sets A to '1' and to '2': set it once"),
        (["A=1", "A="], "--env sets A to '1' and to ''"),
        (["neutral", "inherit"], "--env inherit and --env neutral contradict each other"),
        (["inherit", "A=1", "neutral"], "contradict each other"),
    ],
)
def test_words_that_say_nothing(words, says):
    """One line: what was got, what was expected."""
    with pytest.raises(UsageError, match=r"^[^\n]+$") as caught:
        resolve_environment(words)
    assert says in str(caught.value)


# --- what workers get ---


STEER = {
    "ATEN_": "ATEN_CPU_CAPABILITY", "BLIS_": "BLIS_NUM_THREADS", "CUBLASLT_": "CUBLASLT_WORKSPACE_SIZE",
    "CUBLAS_": "CUBLAS_WORKSPACE_CONFIG", "CUDA_": "CUDA_LAUNCH_BLOCKING", "CUDNN_": "CUDNN_LOGLEVEL_DBG",
    "DNNL_": "DNNL_MAX_CPU_ISA", "GLIBC_TUNABLES": "GLIBC_TUNABLES", "GOMP_": "GOMP_SPINCOUNT",
    "GOTO_": "GOTO_NUM_THREADS", "JAX_": "JAX_DEFAULT_MATMUL_PRECISION", "KERAS_": "KERAS_BACKEND", "KMP_": "KMP_BLOCKTIME",
    "LD_LIBRARY_PATH": "LD_LIBRARY_PATH", "LD_PRELOAD": "LD_PRELOAD", "MALLOC_": "MALLOC_ARENA_MAX",
    "MKL_": "MKL_ENABLE_INSTRUCTIONS", "NPROC": "NPROC", "NPY_": "NPY_DISABLE_CPU_FEATURES", "NUMBA_": "NUMBA_NUM_THREADS",
    "NVIDIA_": "NVIDIA_TF32_OVERRIDE", "OMP_": "OMP_PROC_BIND", "ONEDNN_": "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_": "OPENBLAS_CORETYPE", "ORT_": "ORT_NUM_THREADS", "PJRT_": "PJRT_NPROC", "PYTHONMALLOC": "PYTHONMALLOC",
    "PYTORCH_": "PYTORCH_CUDA_ALLOC_CONF", "TBB_": "TBB_MALLOC_USE_HUGE_PAGES", "TF_": "TF_ENABLE_ONEDNN_OPTS",
    "THP_": "THP_MEM_ALLOC_ENABLE",
    "TORCH": "TORCHINDUCTOR_MAX_AUTOTUNE", "TRITON_": "TRITON_INTERPRET", "VECLIB_": "VECLIB_MAXIMUM_THREADS",
    "XLA_": "XLA_FLAGS",
}  # fmt: skip
"""Prefix -> a variable that only it covers."""


@pytest.mark.parametrize(("prefix", "name"), STEER.items())
def test_what_steers(prefix, name, monkeypatch):
    """One variable of each library: recorded, and cleared by neutral where it is no place; without its prefix it is neither."""
    monkeypatch.setattr(os, "environ", {name: "1", "HOME": "/"})
    assert steering.steering_variables() == {name: "1"}
    assert steering.neutral_clears() == (() if name in steering.KEPT else (name,))
    monkeypatch.setattr(steering, "STEERING", tuple(other for other in steering.STEERING if other != prefix))
    assert steering.steering_variables() == {}


def test_each_prefix_has_its_variable():
    """Those above are all; and what is named alike does not steer, nor what is the user's own."""
    assert set(STEER) == set(steering.STEERING)
    assert not any(map(steering.steers, ("PATH", "HOME", "LANG", "TF_CLI_CONFIG_FILE", "MY_OMP_NUM_THREADS")))


NAMES = st.sampled_from(
    [*sorted(steering.KEPT | steering.PLACES), "OMP_NUM_THREADS", "XLA_FLAGS", "LD_PRELOAD", "HOME", "PATH", "MINE"]
)
VARIABLES = st.dictionaries(NAMES, st.sampled_from(["", "1", "2"]))


@given(users=VARIABLES, wished=VARIABLES, neutral=st.booleans())
def test_a_workers_environment(users, wished, neutral):
    """What was set by name is there; of the rest, neutral takes away what steers and says neither device nor place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", {**users, "PYTHONSAFEPATH": "1"})
        cleared = steering.neutral_clears() if neutral else ()
        got = steering.worker_environment(cleared, wished.items())
        recorded = steering.worker_variables(neutral, wished.items())
    gone = {"OMP_NUM_THREADS", "XLA_FLAGS", "LD_PRELOAD"} | (steering.PLACES - steering.KEPT) if neutral else set()
    assert got == {k: v for k, v in users.items() if k not in gone} | wished
    assert recorded == {k: v for k, v in got.items() if k in wished or k not in ("HOME", "PATH", "MINE")}


def test_a_worker_tells_what_it_was_started_with_and_what_it_set(tmp_path, monkeypatch):
    """The plug-in sets one while it is imported: that is told apart. Each worker speaks for itself."""
    monkeypatch.setenv("XLA_FLAGS", "--none")
    plugin = tmp_path / "p.py"
    plugin.write_text(f"{PROBE}\nos.environ['ONEDNN_VERBOSE'] = '0'\n")
    workers = usual_workers(["numpy"], {"numpy": (str(plugin),)}, neutral=True, variables=(("OMP_NUM_THREADS", "1"),))
    with Session(workers) as session:
        session.launch()
        greeting = session.greetings()["numpy"]
    assert greeting.reason == ""
    expected = {k: v for k, v in steering.steering_variables().items() if k in steering.KEPT} | {"OMP_NUM_THREADS": "1"}
    assert dict(greeting.variables) == expected
    assert dict(greeting.own_variables)["ONEDNN_VERBOSE"] == "0"
    assert "OMP_NUM_THREADS" not in dict(greeting.own_variables)


def test_a_side_of_ab_can_be_neutral(monkeypatch):
    """Its workers lack what the other side's have."""
    monkeypatch.setenv("XLA_FLAGS", "--none")
    a, b = (Side(name=name, label=name, neutral=name == "A").worker("numpy", ()) for name in "AB")
    assert "XLA_FLAGS" in a.cleared
    assert b.cleared == ()


# --- what is kept ---


def test_a_plan_keeps_the_environment():
    """Through JSON and back; a plan from before there was any is of a run that inherited."""
    usual = Plan(suite="smoke", cases=suites.load("smoke")[:1], implementations=("numpy/naive",))
    plan = Plan(
        suite="smoke", cases=usual.cases, implementations=("numpy/naive",), neutral=True, variables=(("A", "1"),)
    )
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    older = {k: v for k, v in usual.to_dict().items() if k not in ("neutral", "variables")}
    assert Plan.from_dict(json.loads(json.dumps(older))) == usual


# --- the command line ---


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """Two runs of the probe under the user's variables, one neutral, one not; name -> (folder, what its rows say)."""
    folder = tmp_path_factory.mktemp("env")
    plugin = folder / "probe.py"
    plugin.write_text(PROBE)
    words = ("--suite", "smoke", "--case", "tiny-self", "--plugin", plugin, "--implementation", "numpy/probe")
    usual = (*words, "--processes", "1", "--blocks", "1", "--format", "json")
    found = {}
    for name, env in (("neutral", NEUTRAL), ("inherit", ())):
        result = attnbench("run", *usual, *env, "--out", folder / name, environment=USERS)
        assert result.returncode == 1, result.stderr  # nothing was timed
        found[name] = (folder / name, json.loads(result.stdout)[0]["reason"], result.stderr)
    return found


def events(folder, *kinds):
    """Of the journal."""
    lines = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    return [event for event in lines if event["event"] in kinds]


def environment(folder):
    """environment.json."""
    return json.loads((folder / "environment.json").read_text())


def test_neutral_clears_in_the_worker(probed):
    """The worker itself says so: gone is what steers; devices and the user's own stay, and what was set is there."""
    _, reason, _ = probed["neutral"]
    assert reason.endswith("OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=7 ATTNBENCH_MINE=yes ATTNBENCH_SET=a=b c")
    assert "OPENBLAS" not in reason
    assert "XLA_FLAGS" not in reason


def test_what_workers_had_is_recorded(probed):
    """Not what the user has: of all workers, with what was set by name, and as each told it."""
    folder, _, _ = probed["neutral"]
    found = environment(folder)
    had = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "7"}
    assert USERS["XLA_FLAGS"] not in found["variables"].values()
    assert found["variables"] == {**found["variables"], **had, "ATTNBENCH_SET": "a=b c"}
    assert set(found["variables"]) <= {*had, "ATTNBENCH_SET", *steering.KEPT}
    assert found["frameworks"]["numpy"]["variables"] == {
        k: v for k, v in found["variables"].items() if k != "ATTNBENCH_SET"
    }


def test_inherit_is_what_the_user_has(probed):
    """And what of it BLAS may heed is tried, told, and no handicap unless it was measured."""
    folder, reason, stderr = probed["inherit"]
    assert reason.endswith(" ".join(f"{name}={value}" for name, value in USERS.items()))
    found = environment(folder)
    for name in ("OPENBLAS_NUM_THREADS", "XLA_FLAGS", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        assert found["variables"][name] == found["frameworks"]["numpy"]["variables"][name] == USERS[name]
    assert "ATTNBENCH_MINE" not in found["variables"]
    tried = events(folder, "trying", "tried")
    assert [(e["event"], e["framework"]) for e in tried] == [("trying", "numpy"), ("tried", "numpy")]
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"} <= set(tried[0]["variables"])
    assert "XLA_FLAGS" not in tried[0]["variables"]
    assert "trying numpy's matmul with and without" in stderr
    assert len(found["handicaps"]) == stderr.count("handicap: ")
    assert all(h["gflops"] < h["gflops_without"] for h in found["handicaps"])


def test_neutral_tries_nothing(probed):
    """There is nothing to try, and what was set was wished."""
    folder, _, stderr = probed["neutral"]
    assert events(folder, "trying", "tried", "handicap") == []
    assert environment(folder)["handicaps"] == []
    assert "matmul with" not in stderr


def _probe(folder):
    """The plug-in of that run, typed again: --resume starts no code that only its folder names."""
    return "--plugin", folder.parent / "probe.py"


def test_a_neutral_run_goes_on_whatever_the_user_has(probed):
    """The plan holds its environment: other variables now are no other conditions."""
    folder, reason, _ = probed["neutral"]
    result = attnbench(
        "run", "--resume", folder, *_probe(folder), "--format", "json", environment={**USERS, "XLA_FLAGS": "--other"}
    )
    assert json.loads(result.stdout)[0]["reason"] == reason
    assert environment(folder)["variables"]["ATTNBENCH_SET"] == "a=b c"
    assert "XLA_FLAGS" not in environment(folder)["variables"]


def test_a_run_that_inherits_goes_on_in_what_it_began_with(probed):
    """Other variables are told in one line, and so is an --env that would change them."""
    folder, _, _ = probed["inherit"]
    result = attnbench("run", "--resume", folder, *_probe(folder), environment={**USERS, "XLA_FLAGS": "--other"})
    assert result.returncode == 2
    assert "began with other variables: XLA_FLAGS (--none then, --other now); start anew" in result.stderr
    result = attnbench("run", "--resume", folder, *_probe(folder), "--env", "neutral", environment=USERS)
    assert result.returncode == 2
    assert "--env belongs to the run's beginning" in result.stderr
    assert result.stderr.count("\n") == 1


def test_runs_in_other_environments_are_not_comparable(probed):
    """Each variable is named, and that neutral is no difference by itself: CUDA_VISIBLE_DEVICES is not among them."""
    result = attnbench("compare", probed["neutral"][0], probed["inherit"][0])
    assert result.returncode == 3
    for words in ("OMP_NUM_THREADS (1 / 2)", "OPENBLAS_NUM_THREADS (not set / 1)", "ATTNBENCH_SET (a=b c / not set)"):
        assert f"variables.{words}" in result.stderr
    assert "CUDA_VISIBLE_DEVICES" not in result.stderr
    assert "frameworks.numpy.variables" not in result.stderr
    assert "OMP_NUM_THREADS" in attnbench("compare", *(probed[n][0] for n in ("neutral", "inherit")), "--force").stdout


@pytest.mark.parametrize("command", ["run", "check", "audit"])
def test_bad_words_end_with_one_line(tmp_path, command):
    """Exit 2 before anything is started or written."""
    out = () if command == "check" else ("--out", tmp_path / "run")
    result = attnbench(command, "--framework", "numpy", *out, "--env", "clean")
    assert result.returncode == 2
    assert result.stderr == "attnbench: --env 'clean', expected inherit, neutral or NAME=VALUE\n"
    assert list(tmp_path.iterdir()) == []


def test_a_check_can_be_neutral(tmp_path):
    """The probe refuses all questions; the answers' file says what its worker had."""
    plugin, file = tmp_path / "probe.py", tmp_path / "answers.json"
    plugin.write_text(PROBE)
    words = ("--plugin", plugin, "--implementation", "numpy/probe", "--json", file, "--quiet")
    attnbench("check", *words, *NEUTRAL, environment=USERS)
    found = json.loads(file.read_text())
    assert found["variables"]["numpy"].items() >= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "7"}.items()
    assert not {"OPENBLAS_NUM_THREADS", "XLA_FLAGS"} & found["variables"]["numpy"].keys()
    reasons = {a["reason"] for a in found["answers"] if a["verdict"] == "refused"}
    assert any("OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=7" in reason for reason in reasons)
    assert not any("XLA_FLAGS" in reason for reason in reasons)


def test_sides_of_ab_that_get_the_same_are_the_same():
    """Setting what is set already makes no other side."""
    words = (
        *TINY,
        "--a-env",
        "OMP_NUM_THREADS=2",
    )
    result = attnbench("ab", *words, environment=USERS)
    assert result.returncode == 2
    assert "A and B are the same" in result.stderr


def test_env_tells_what_neutral_would_clear():
    """The names, and not those that say which device."""
    result = attnbench("env", environment=USERS)
    assert result.returncode == 0, result.stderr
    clears = json.loads(result.stdout)["neutral_clears"]
    assert {"OPENBLAS_NUM_THREADS", "XLA_FLAGS", "OMP_NUM_THREADS"} <= set(clears)
    assert not {"CUDA_VISIBLE_DEVICES", "ATTNBENCH_MINE", "PATH", "HOME"} & set(clears)
