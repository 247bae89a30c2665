"""Readers, as functions of bytes. An exception that leaves one of them is a fault of the program."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import importlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from backends.plugins import PluginError, installed_plugins
from backends.problem import InvalidProblem
from benchmarks.audit.trials import TRIALS, read_trials
from benchmarks.audit.truth import identical
from benchmarks.cases import parse_shape
from benchmarks.cli.options import own_case, resolve_environment
from benchmarks.comparison.comparability import differences
from benchmarks.comparison.noise import Noise, read_noise
from benchmarks.comparison.pairs import pair_up
from benchmarks.comparison.readers import read_machines, read_side
from benchmarks.comparison.side import Side
from benchmarks.comparison.stored import compare_sides
from benchmarks.comparison.thresholds import Thresholds, parse_percent, parse_seconds, read_overrides
from benchmarks.conformance.check import Matrix
from benchmarks.conformance.probing import Answer, Verdict
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.frames import frame_of, load_samples
from benchmarks.harness.session import Greeting
from benchmarks.merging import merge, read_part
from benchmarks.merging import write as write_merged
from benchmarks.plan import Plan, select_cases
from benchmarks.records import Status, read
from benchmarks.rehearsal import rehearse
from benchmarks.reports.conformance import COLUMNS, changes_since
from benchmarks.reports.formats import FORMATS
from benchmarks.reports.verdict_formats import VERDICT_FORMATS
from benchmarks.reports.verdicts import verdict_table
from benchmarks.run_folder import RunFolder
from benchmarks.selection import ordered
from benchmarks.stored_run import cases_of, read_stored
from tests.planted import ENVIRONMENT, edited, pytest_benchmark, usual, write_run

SEEDS = Path(__file__).parent / "seeds"
EXPECTED = (UnreadableResults, UsageError)
"""What a reader may raise: one line, exit status 2."""


MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
"""A folder in memory, where the system has one."""


@functools.cache
def scratch() -> Path:
    """A folder for the files; gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="attnbench-fuzz-", dir=None if "TMPDIR" in os.environ else MEMORY))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _good(name: str) -> Path:
    """A run folder that nobody has tampered with."""
    return write_run(scratch() / name, cells=3, processes=2, blocks=2)


@functools.cache
def _good_side() -> Side:
    return read_side(_good("good"))


def _put(folder: Path, name: str, data: bytes) -> Path:
    """The folder, with this file in it."""
    (folder / name).write_bytes(data)
    return folder


def _compare(a: Side, b: Side, noise: Noise | None = None, thresholds: Thresholds | None = None) -> None:
    """Hold one against the other, whatever differs, and print it in every form."""
    notes = differences(a, b).check(force=True)
    found = compare_sides(a, b, thresholds or usual(), 0.01, noise)
    out = io.StringIO()
    Console(file=out, width=100, highlight=False, markup=False, emoji=False).print(verdict_table(found))
    texts = [out.getvalue(), *(form(found) for form in VERDICT_FORMATS.values())]
    assert "\x1b" not in "".join(texts), "an escape has got through"
    "".join(texts).encode("utf-8")
    assert isinstance(notes, tuple)


def summary(data: bytes) -> None:
    """summary.csv, alone and with what lies beside it."""
    folder = _put(_good("summary"), "summary.csv", data)
    read(folder)
    _compare(_good_side(), read_side(folder))


def lone_summary(data: bytes) -> None:
    """A summary.csv without samples."""
    found = read_side(_put(scratch(), "mine.csv", data) / "mine.csv")
    _compare(_good_side(), found)
    _compare(found, found)


def samples(data: bytes) -> None:
    """samples.csv."""
    _compare(_good_side(), read_side(_put(_good("samples"), "samples.csv", data)))


def environment(data: bytes) -> None:
    """environment.json."""
    found = read_side(_put(_good("environment"), "environment.json", data))
    _compare(_good_side(), found)
    _compare(found, _good_side())


@functools.cache
def _merged(name: str) -> Path:
    """A run of two machines that nobody has tampered with. Its files are seeds too."""
    there = edited(ENVIRONMENT, machine__cpu="another")
    a, b = _good("here"), write_run(scratch() / "there", cells=3, processes=2, blocks=2, environment=there)
    write_merged(merge([read_part(a), read_part(b)]), scratch() / name)
    return scratch() / name


def _show(folder: Path) -> None:
    """As `show`, `merge` and `benchmarks.load` read and print it; CSV is data, and goes on as it came."""
    stored = read_stored(folder)
    records = ordered(stored.records, "case", reverse=False)
    text = "".join(form(records) for name, form in FORMATS.items() if name != "csv")
    assert "\x1b" not in text, "an escape has got through"
    text.encode("utf-8")
    cases_of(records)
    frame_of(records)
    third = write_run(scratch() / "third", environment=edited(ENVIRONMENT, machine__cpu="a third"))
    out = scratch() / "out"
    shutil.rmtree(out, ignore_errors=True)
    write_merged(merge([read_part(folder), read_part(third)]), out)
    load_samples(folder)


def merged_summary(data: bytes) -> None:
    """summary.csv of a run of two machines."""
    _show(_put(_merged("merged_summary"), "summary.csv", data))


def merged_samples(data: bytes) -> None:
    """samples.csv of a run of two machines."""
    folder = _put(_merged("merged_samples"), "samples.csv", data)
    read_machines(folder)
    _show(folder)


def merged_environment(data: bytes) -> None:
    """environment.json of a run of two machines."""
    folder = _put(_merged("merged_environment"), "environment.json", data)
    for pair in pair_up(read_machines(folder), {"": _good_side()} | read_machines(folder)):
        _compare(pair.a, pair.b)
    _show(folder)


def pytest_json(data: bytes) -> None:
    """What pytest-benchmark writes."""
    found = read_side(_put(scratch(), "out.json", data) / "out.json")
    _compare(found, _good_side())
    _compare(found, found)


def noise(data: bytes) -> None:
    """noise.json."""
    found = read_noise(_put(scratch(), "noise.json", data) / "noise.json")
    _compare(_good_side(), _good_side(), found)


def thresholds(data: bytes) -> None:
    """The TOML of --thresholds."""
    overrides = read_overrides(_put(scratch(), "thresholds.toml", data) / "thresholds.toml")
    _compare(_good_side(), _good_side(), thresholds=usual(overrides=overrides))


def plan(data: bytes) -> None:
    """plan.json, as --resume reads it."""
    folder = scratch() / "plan"
    folder.mkdir(exist_ok=True)
    (folder / "journal.jsonl").touch()
    RunFolder(_put(folder, "plan.json", data)).load()


def journal(data: bytes) -> None:
    """journal.jsonl, as --resume reads it."""
    _resumed("journal", _plan(), data)


def cluster_journal(data: bytes) -> None:
    """The same of a run on a cluster: what machines have brought home, and what they said of themselves."""
    _resumed("cluster_journal", dataclasses.replace(_plan(), cluster=True), data)


def _resumed(name: str, plan: Plan, data: bytes) -> None:
    path = scratch() / name
    if not path.exists():
        path.mkdir()
        (path / "plan.json").write_text(json.dumps(plan.to_dict()))
    folder = RunFolder(_put(path, "journal.jsonl", data))
    plan, state = folder.load()
    rehearse(plan, folder, state)


def _plan() -> Plan:
    return Plan(suite="smoke", cases=select_cases("smoke", ["tiny-self"]), implementations=("numpy/naive",))


def trials(data: bytes) -> None:
    """trials.jsonl of an audit."""
    folder = scratch() / "audit"
    folder.mkdir(exist_ok=True)
    identical(read_trials(_put(folder, TRIALS, data)))


@functools.cache
def _matrix() -> Matrix:
    answers = {("numpy/naive", "plain"): Answer("numpy/naive", "plain", Verdict.FAIL, "because")}
    return Matrix(("numpy/naive",), ("plain",), answers, {"numpy": Greeting("numpy", Status.OK, "", "1")})


def conformance(data: bytes) -> None:
    """The table of `check --against`."""
    changes_since(_put(scratch(), "conformance.csv", data) / "conformance.csv", _matrix())


def entry_points(data: bytes) -> None:
    """What the metadata of an installed package offers as a plug-in."""
    about = scratch() / "site" / "theirs-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    _put(about, "entry_points.txt", data)
    importlib.invalidate_caches()
    sys.path.insert(0, str(about.parent))
    try:
        installed_plugins()
    except PluginError:
        pass
    finally:
        sys.path.remove(str(about.parent))


def words(data: bytes) -> None:
    """What is typed: shapes, windows, lengths, thresholds, variables. One after the other, so that each is reached."""
    text = data.decode("utf-8", "replace")
    case = functools.partial(
        own_case, dtype=None, causal=None, window=None, softcap=None, scale=None, mask=None, bias=None, kv_lengths=None
    )
    readers: tuple[Callable[[], object], ...] = (
        lambda: parse_shape(text),
        lambda: case(text),
        lambda: case("t=4 n=1 h=4", window=text),
        lambda: case("b=2 t=4 n=1 h=4", kv_lengths=text),
        lambda: parse_percent(text),
        lambda: parse_seconds(text),
        lambda: resolve_environment([text]),
    )
    for reader in readers:
        try:
            reader()
        except (*EXPECTED, InvalidProblem):
            continue


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        summary, lone_summary, samples, environment, merged_summary, merged_samples, merged_environment, pytest_json,
        noise, thresholds, plan, journal, cluster_journal, trials, conformance,
        entry_points, words,
    )
}  # fmt: skip


def give(target: str, data: bytes) -> bool:
    """Whether it was read; False where it was refused in one line. Anything else that happens is a fault, and raised."""
    try:
        TARGETS[target](data)
    except EXPECTED as error:
        line = str(error)
        assert len(line) < 2000, f"a message of {len(line)} characters"
        return False
    return True


def seeds(target: str) -> list[bytes]:
    """A good input of the target, and every one that once broke something."""
    good = scratch() / "seed"
    if not good.exists():
        write_run(good, cells=3, processes=2, blocks=2)
    merged = _merged("merged")
    known: dict[str, Callable[[], bytes]] = {
        "summary": (good / "summary.csv").read_bytes,
        "lone_summary": (good / "summary.csv").read_bytes,
        "samples": (good / "samples.csv").read_bytes,
        "environment": (good / "environment.json").read_bytes,
        "merged_summary": (merged / "summary.csv").read_bytes,
        "merged_samples": (merged / "samples.csv").read_bytes,
        "merged_environment": (merged / "environment.json").read_bytes,
        "pytest_json": lambda: json.dumps(pytest_benchmark({"case-0": [1e-3, 2e-3], "case-1": [1.0]}, T=4)).encode(),
        "noise": lambda: (
            b'{"prior": {"variance": 1e-4, "freedom": 12}, "common": null, "floor": 0.02, "between_runs": 1.5}'
        ),
        "thresholds": lambda: (
            b'[[override]]\ncase = "case-0"\nimplementation = "numpy/*"\nthreshold = "10%"\nfloor = "20us"\n'
        ),
        "plan": lambda: json.dumps(_plan().to_dict()).encode(),
        "journal": lambda: "".join(json.dumps(event) + "\n" for event in _EVENTS).encode(),
        "cluster_journal": lambda: "".join(json.dumps(event) + "\n" for event in _CLUSTER_EVENTS).encode(),
        "trials": lambda: (json.dumps(_TRIAL) + "\n").encode() * 2,
        "conformance": (",".join(COLUMNS) + "\n1,numpy,1,numpy/naive,plain,pass,,,,\n").encode,
        "entry_points": lambda: b"[attnbench.backends]\ntheirs = theirs.module\ntorch/mine = a.b:c [extra]\n",
        "words": lambda: b"b=1 t=2048 s=2048 n=32 k=8 h=128 v=64",
    }
    folder = SEEDS / target
    kept = sorted(folder.iterdir()) if folder.is_dir() else []
    return [known[target](), *(file.read_bytes() for file in kept)]


_CELL = {"case": "tiny-self", "implementation": "numpy/naive", "device": "cpu"}
_EVENTS = (
    {
        "event": "greeting",
        "framework": "numpy",
        "status": "ok",
        "reason": "",
        "version": "1",
        "devices": ["cpu"],
        "import_s": 0.1,
        "settings": {"threads": "1"},
    },
    {"event": "matmul", "framework": "numpy", "dtype": "float32", "gflops": 99.5, "threads_busy": 1.9, "t_s": 0.1},
    {"event": "note", "text": "quota: 1 CPU of time, 2 may be run on: 1 thread each", "t_s": 0.1},
    {"event": "threads", "framework": "numpy", "asked": 1, "found": "2", "t_s": 0.1},
    {"event": "stream", "framework": "numpy", "gb_per_s": 10.5},
    {"event": "overhead", "framework": "numpy", "call_s": 1e-7},
    {"event": "oracle", "case": "tiny-self", "naive_error": 1e-7, "flops": 100, "flops_conventional": 200, "bytes": 10},
    {"event": "prepared", **_CELL, "facts": {"first_call_s": 0.1, "max_abs_error": 1e-7, "error_over_bound": 0.1}},
    {
        "event": "block",
        **_CELL,
        "process": 0,
        "block": 0,
        "order": 0,
        "calls": 9,
        "seconds": 0.03,
        "canary_s": 1e-6,
        "per_call_s": 0.003,
    },
    {"event": "failed", **_CELL, "status": "timeout", "reason": "too slow"},
    {"event": "case", "case": "tiny-self", "process": 0},
    {"event": "end", "wall_s": 1.5},
)
_CONDITIONS = {
    "fingerprint": {"cpu": "a", "logical_cpus": 2},
    "python": "3.12.1",
    "sources": "abc",
    "frameworks": {"numpy": "2"},
    "variables": {"OMP_NUM_THREADS": "1"},
}
_CLUSTER_EVENTS = (
    {"event": "machine", "machine": "m-1", "worker": "w", "conditions": {"machine": "m-1", **_CONDITIONS}},
    {"event": "machine", "machine": "m-2", "worker": "v", "conditions": {"machine": "m-2", **_CONDITIONS}},
    {
        "event": "part",
        "machine": "m-1",
        "worker": "w",
        "cases": ["tiny-self"],
        "events": list(_EVENTS),
        "environment": edited(
            ENVIRONMENT, cpus=[0], handicaps=[{"framework": "numpy", "variable": "A", "factor": 0.5}]
        ),
    },
    {"event": "part", "machine": "m-1", "worker": "w", "cases": [], "events": [], "environment": edited(ENVIRONMENT)},
    {"event": "part", "machine": "m-2", "worker": "v", "cases": [], "events": [], "environment": {}},
    {"event": "end", "wall_s": 1.5, "t_s": 2.0},
)
_TRIAL = {
    "path": "ab", "slowdown": 0.0, "live": True, "measured_s": 1.0, "wall_s": 2.0, "folder": "ab-0-0001",
    "cells": [{"case": "tiny-self", "implementation": "numpy/naive", "verdict": "same", "ratio": 1.0, "low": 0.9,
               "high": 1.1, "visible": 0.05, "logs": [0.01, -0.01]}],
}  # fmt: skip
