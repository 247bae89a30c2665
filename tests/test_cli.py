"""The command line, run as a process: exit statuses, one-line errors, nothing half-written, no framework in the parent."""

from __future__ import annotations

import csv
import json
from xml.etree import ElementTree as ET

import pytest

import backends
from benchmarks.cli.options import in_dtype
from benchmarks.plan import select_cases
from tests.processes import ROOT, attnbench, python

QUICK = (
    "--suite",
    "smoke",
    "--case",
    "tiny-self",
    "--framework",
    "numpy",
    "--processes",
    "1",
    "--blocks",
    "2",
    "--quiet",
)
FRAMEWORKS = ("tensorflow", "keras", "jax", "jaxlib", "torch", "onnxruntime")


def fails(result, *words):
    """Exit status 2, one line on stderr that holds the words, nothing on stdout, no traceback."""
    __tracebackhide__ = True
    assert result.returncode == 2, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_help_lists_the_commands():
    """--help names every command of the contract that exists."""
    result = attnbench("--help")
    assert result.returncode == 0
    for command in ("list", "check", "run", "env"):
        assert command in result.stdout


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["list", "suites"], ["list", "implementations"], ["list"]]
)
def test_the_users_process_imports_no_framework(words):
    """Neither --help nor list loads a framework into the process that the user started."""
    code = f"""
import sys
sys.argv = ["attnbench", *{words!r}]
from benchmarks.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
loaded = sorted(set({FRAMEWORKS!r}) & set(sys.modules))
assert not loaded, loaded
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


def test_help_imports_little():
    """--help needs neither NumPy nor pandas nor rich: that is why it is instant."""
    code = """
import sys
sys.argv = ["attnbench", "--help"]
from benchmarks.cli import main
try:
    main()
except SystemExit:
    pass
loaded = sorted({"numpy", "pandas", "scipy", "rich.table"} & set(sys.modules))
assert not loaded, loaded
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


def test_benchmarks_is_this_checkout():
    """A stray `benchmarks` in site-packages does not win over the checkout."""
    result = python("import benchmarks; print(benchmarks.__file__)")
    assert result.stdout.strip() == str(ROOT / "benchmarks" / "__init__.py")


def test_list_everything_as_json():
    """list prints frameworks with their status, implementations, devices, suites and cases."""
    result = attnbench("list", "--format", "json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [f["framework"] for f in found["frameworks"]] == list(backends.names())
    assert {"numpy/naive", "jax/nn", "torch/sdpa-flash"} <= {i["implementation"] for i in found["implementations"]}
    assert found["devices"][0]["device"] == "cpu"
    assert "default" in {s["suite"] for s in found["suites"]}
    assert "self-2048" in {c["case"] for c in found["cases"]}


def test_env_tells_the_machine_and_the_variables():
    """env prints the fingerprint, with the variables that steer speed."""
    result = attnbench("env", environment={"OPENBLAS_CORETYPE": "Haswell"})
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["variables"]["OPENBLAS_CORETYPE"] == "Haswell"
    assert found["machine"]["cores_logical"] >= 1
    assert found["frameworks"]["numpy"]["version"].startswith("numpy ")


def test_a_run_writes_its_folder_and_prints_its_table(tmp_path):
    """A small run: the table with a marked winner, three lines, and the files of the contract."""
    result = attnbench("run", *QUICK, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 100 or str(tmp_path) in result.stdout.splitlines()[-1]
    lines = result.stdout.splitlines()
    assert sum(line.startswith("*") for line in lines) == 1
    for word in ("Fastest overall: numpy/", "Avoid: numpy/", "Surprising:"):
        assert any(line.startswith(word) for line in lines)
    with (tmp_path / "run" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["implementation"] for row in rows] == ["numpy/naive", "numpy/blocked"]
    for row in rows:
        assert row["status"] == "ok"
        assert 0 < float(row["error_over_bound"]) <= 1
        assert float(row["ci_low_s"]) <= float(row["median_s"]) <= float(row["ci_high_s"])
        assert row["kernel"].startswith("numpy.matmul")
    with (tmp_path / "run" / "samples.csv").open() as file:
        samples = list(csv.DictReader(file))
    assert len(samples) == 4
    assert sorted(int(s["order"]) for s in samples) == [0, 1, 2, 3]
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    roof = environment["matmul_gflops"]["float32"]["numpy"], environment["stream_gb_per_s"]["numpy"]
    for row in rows:
        attainable = min(roof[0], int(row["flops"]) / int(row["moved_bytes"]) * roof[1])
        assert float(row["peak_fraction"]) == pytest.approx(float(row["gflops"]) / attainable, rel=1e-6)
    assert sum(line.startswith("limits, measured") for line in lines) == 1


def test_a_finished_run_resumes_to_itself(tmp_path):
    """--resume of a complete run measures nothing more and keeps the rows."""
    first = attnbench("run", *QUICK, "--out", tmp_path / "run", "--format", "csv")
    again = attnbench("run", "--resume", tmp_path / "run", "--format", "csv", "--quiet")
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout


def test_an_interrupted_run_goes_on(tmp_path):
    """A run whose journal ends early is completed by --resume: the same set of cells, all of them measured."""
    attnbench("run", *QUICK, "--out", tmp_path / "run", "--quiet")
    journal = tmp_path / "run" / "journal.jsonl"
    kept = [line for line in journal.read_text().splitlines() if '"event": "case"' not in line]
    journal.write_text("\n".join(kept[:-2]) + "\n")
    again = attnbench("run", "--resume", tmp_path / "run", "--format", "json", "--quiet")
    assert again.returncode == 0, again.stderr
    assert [(r["status"], r["blocks"]) for r in json.loads(again.stdout)] == [("ok", 2), ("ok", 2)]


@pytest.mark.parametrize("format", ["markdown", "csv", "json", "github", "junit"])
def test_formats(tmp_path, format):
    """Every format holds both cells, or, as annotations, none because none failed."""
    result = attnbench("run", *QUICK, "--out", tmp_path / "run", "--format", format)
    assert result.returncode == 0, result.stderr
    if format == "github":
        assert result.stdout == ""
        return
    assert result.stdout.count("numpy/blocked") == 1
    if format == "json":
        assert json.loads(result.stdout)[0]["pass"] == "forward"
    if format == "junit":
        assert ET.fromstring(result.stdout).get("tests") == "2"


def test_an_own_shape_is_timed(tmp_path):
    """run --shape times any problem that a user types."""
    shape = ("--shape", "b=1 t=20 s=48 n=8 k=2 h=16 v=8", "--dtype", "float64", "--causal", "bottom_right")
    words = ("--framework", "numpy", "--processes", "1", "--blocks", "1", "--quiet", "--format", "json")
    result = attnbench("run", *shape, *words, "--window", "9:0", "--mask", "random", "--out", tmp_path / "r")
    assert result.returncode == 0, result.stderr
    row = json.loads(result.stdout)[0]
    assert (row["T"], row["S"], row["K"], row["V"], row["dtype"]) == (20, 48, 2, 8, "float64")
    assert (row["causal"], row["window"], row["mask"], row["status"]) == ("bottom_right", "9:0", "random", "ok")


def test_a_suite_is_asked_in_another_dtype():
    """--dtype renames and recasts the cases of a suite; twins that differed in nothing else become one."""
    cases = in_dtype(select_cases("flash", ["flash-512-h64-*"]), "float16")
    assert [case.name for case in cases] == ["flash-512-h64-full-float16", "flash-512-h64-causal-float16"]
    (one,) = in_dtype(select_cases("decode", ["decode-length-1024"]), "bfloat16")
    assert (one.name, one.dtype) == ("decode-length-1024-bfloat16", "bfloat16")
    assert in_dtype((one,), None) == (one,)


def test_a_suite_is_timed_in_another_dtype(tmp_path):
    """The whole way: asked, measured, in the row."""
    words = ("run", "--suite", "smoke", "--case", "tiny-self", "--dtype", "float64", "--implementation", "numpy/naive")
    result = attnbench(*words, "--blocks", "1", "--quiet", "--format", "json", "--out", tmp_path / "r")
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)
    assert (row["case"], row["dtype"], row["status"]) == ("tiny-self-float64", "float64", "ok")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--suite", "nope"], ["unknown suite 'nope'", "smoke"]),
        (["--case", "nope"], ["no case", "'nope'", "self-128"]),
        (["--implementation", "nope/*"], ["no implementation matches 'nope/*'", "numpy/naive"]),
        (["--framework", "nope"], ["unknown framework 'nope'", "numpy"]),
        (["--device", "tpu"], ["unknown device 'tpu'", "cpu, cuda"]),
        (["--framework", "numpy", "--device", "cuda"], ["runs on cuda"]),
        (["--pass", "sideways"], ["unknown pass 'sideways'"]),
        (["--shape", "t=8 n=6 k=4 h=8"], ["N=6", "K=4", "multiple"]),
        (["--shape", "t=8 n=4"], ["lacks h="]),
        (["--shape", "t=0 n=4 h=8"], ["t=0", "expected 1 or more"]),
        (["--shape", "t=-3 n=4 h=8"], ["t=-3"]),
        (["--shape", "t=8 n=4 h=8", "--dtype", "int8"], ["dtype='int8'", "float32"]),
        (["--shape", "t=8 n=4 h=8", "--causal", "yes"], ["causal='yes'", "top_left"]),
        (["--shape", "t=8 n=4 h=8", "--mask", "half"], ["mask='half'", "random"]),
        (["--shape", "t=8 n=4 h=8", "--bias", "half"], ["bias='half'"]),
        (["--shape", "t=8 n=4 h=8", "--kv-lengths", "1,2"], ["2 kv_lengths"]),
        (["--shape", "t=8 n=4 h=8", "--kv-lengths", "many"], ["--kv-lengths 'many'"]),
        (["--shape", "t=8 n=4 h=8", "--window", "3"], ["--window '3'", "LEFT:RIGHT"]),
        (["--dtype", "half"], ["dtype='half'", "expected one of float64"]),
        (["--mask", "random"], ["--mask", "needs --shape"]),
        (["--plugin", "nowhere.py"], ["nowhere.py", "is not a file"]),
        (["--resume", "nowhere"], ["holds no run to resume"]),
        (["--blocks", "0"], ["--blocks"]),
        (["--format", "pdf"], ["pdf"]),
    ],
)
def test_bad_input_ends_with_one_line(tmp_path, words, says):
    """Usage errors: exit 2, what was got and what was expected, and nothing written."""
    fails(attnbench("run", *words, "--out", tmp_path / "run"), *says)
    assert list(tmp_path.iterdir()) == []


def test_cuda_that_is_not_there_is_told(tmp_path):
    """A device that no framework finds ends the run before anything is measured, and leaves no folder."""
    words = ("--framework", "torch", "--implementation", "torch/naive", "--device", "cuda", "--suite", "smoke")
    result = attnbench("run", *words, "--out", tmp_path / "run", environment={"CUDA_VISIBLE_DEVICES": ""})
    if "not installed" in result.stderr:
        fails(result, "torch")
    else:
        fails(result, "no framework here finds a device 'cuda'")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_told(tmp_path):
    """An output folder that cannot be written is one line, for root too: a file stands where the folder should."""
    (tmp_path / "file").write_text("")
    fails(attnbench("run", *QUICK, "--out", tmp_path / "file" / "run"), f"cannot write to {tmp_path}/file/run")


@pytest.mark.parametrize("command", ["check", "list", "env"])
def test_other_commands_refuse_with_one_line(command):
    """The other commands end the same way."""
    words = {"check": ["--framework", "nope"], "list": ["nope"], "env": ["--format", "junit"]}[command]
    fails(attnbench(command, *words), {"check": "'nope'", "list": "'nope'", "env": "junit"}[command])


def test_check_writes_its_answers(tmp_path):
    """check --matrix --json prints a letter per answer and writes them all; NumPy conforms."""
    result = attnbench("check", "--framework", "numpy", "--matrix", "--json", tmp_path / "answers.json", "--quiet")
    assert result.returncode == 0, result.stdout
    assert "Conforms." in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    answers = json.loads((tmp_path / "answers.json").read_text())["answers"]
    assert {a["verdict"] for a in answers} == {"pass", "refused"}
    assert {a["probe"] for a in answers if a["verdict"] == "refused"} == {"bfloat16", "grad-bfloat16"}
