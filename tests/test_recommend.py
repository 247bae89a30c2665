"""`recommend`: the fastest right implementation, what cannot be told from it, where that comes from, and code that runs."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from backends import reference
from benchmarks import recommendation
from benchmarks.cases import case
from benchmarks.cli.options import Format
from benchmarks.cli.recommend_command import RecommendRequest, recommend_for
from benchmarks.errors import UsageError
from benchmarks.harness.environment import fingerprint
from benchmarks.harness.steering import worker_variables
from benchmarks.plan import Plan
from benchmarks.records import Record, Status, describe, to_csv
from tests.processes import attnbench

CASE = case("b1-t4-s4-n2-k2-h8-v8-float32", "--shape", T=4, N=2, H=8, causal="top_left")
IDS = ("numpy/naive", "numpy/blocked")
PLAN = Plan(suite="shape", cases=(CASE,), implementations=IDS)


def row(implementation="numpy/naive", median_s=1e-3, spread=0.01, **changes):
    """A cell of the case; ok unless told otherwise."""
    timed = {"median_s": median_s, "status": Status.OK, "blocks": 16, "processes": 2}
    if median_s is not None:
        timed |= {"ci_low_s": median_s * (1 - spread), "ci_high_s": median_s * (1 + spread), "error_over_bound": 0.1}
    names = {"run_id": "r", "suite": "s", "framework": implementation.partition("/")[0], "device": "cpu"}
    return Record(**{**describe(CASE), **names, "implementation": implementation, **timed, **changes})


def stored(folder, rows, **environment):
    """A run folder of this machine with these rows."""
    folder.mkdir(parents=True)
    (folder / "summary.csv").write_text(to_csv(rows))
    versions = {"numpy": {"status": "ok", "version": f"numpy {np.__version__}, openblas 1", "settings": {}}}
    now = fingerprint(variables=worker_variables(neutral=False, variables=()))
    told = {**now, "frameworks": versions, "cpus": [], **environment}
    (folder / "environment.json").write_text(json.dumps(told))
    return folder


def request(**changes):
    """What a user asks, of NumPy's two implementations."""
    usual = {
        "case": CASE, "pass_": None, "implementations": ["numpy/*"], "frameworks": [], "device": "cpu", "plugins": None,
        "runs": None, "anew": False, "cpus": None, "processes": 1, "blocks": 1, "out": None, "format": Format.JSON,
        "quiet": True,
    }  # fmt: skip
    return RecommendRequest(**{**usual, **changes})


BOTH = [row("numpy/naive", 1e-3), row("numpy/blocked", 2e-3)]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """The only folder in which stored runs are looked for."""
    monkeypatch.setattr(recommendation, "DEFAULT_PARENT", tmp_path / "runs")
    monkeypatch.setattr(recommendation, "ROOT", tmp_path)
    return tmp_path / "runs"


def test_a_stored_run_of_this_machine_answers(runs):
    """By its problem, whatever its name there; the fastest first, with the ratio of the others."""
    stored(runs / "a", [dataclasses.replace(r, case="another-name") for r in BOTH])
    found = recommendation.find(PLAN, None)
    assert [c.record.implementation for c in found.ranked] == list(IDS)
    assert found.ranked[1].ratio == pytest.approx(2)
    assert (found.source.run_id, found.source.notes) == ("r", ())


@pytest.mark.parametrize(
    "rows",
    [
        BOTH[:1],
        [BOTH[0], row("numpy/blocked", None, status=Status.CRASHED, reason="crashed")],
        [dataclasses.replace(r, causal="") for r in BOTH],
        [dataclasses.replace(r, T=5) for r in BOTH],
        [dataclasses.replace(r, pass_="forward_backward") for r in BOTH],
        [dataclasses.replace(r, device="cuda") for r in BOTH],
    ],
    ids=["one missing", "one crashed", "other semantics", "other shape", "other pass", "other device"],
)
def test_a_run_that_does_not_cover_it_exactly_is_no_answer(runs, rows):
    """Then it is measured."""
    stored(runs / "a", rows)
    assert recommendation.find(PLAN, None) is None


@pytest.mark.parametrize(
    "environment",
    [{"machine": {"cpu": "another"}}, {"cpus": [0]}, {"variables": {"OMP_NUM_THREADS": "1"}}, {"python": "2.7.0"}],
)
def test_a_run_of_another_machine_or_setting_is_no_answer(runs, environment):
    """Unless it is named: then it answers, and what differs is told."""
    folder = stored(runs / "a", BOTH, **environment)
    assert recommendation.find(PLAN, None) is None
    assert recommendation.find(PLAN, [folder]).source.notes[0].startswith("measured elsewhere: ")


def test_the_versions_of_now_come_before_later_runs(runs):
    """A run with other versions answers where there is no other, and says so."""
    old = {"numpy": {"version": "numpy 1.0, openblas 1", "settings": {}}}
    stored(runs / "a", BOTH, frameworks=old, time="2030-01-01T00:00:00+00:00")
    note = recommendation.find(PLAN, None).source.notes
    assert note == (f"numpy 1.0 then, {np.__version__} now",)
    stored(runs / "b", [dataclasses.replace(r, run_id="now") for r in BOTH], time="2020-01-01T00:00:00+00:00")
    assert recommendation.find(PLAN, None).source.run_id == "now"
    broken = runs / "c"
    broken.mkdir()
    (broken / "summary.csv").write_text("no summary")
    assert recommendation.find(PLAN, None).source.run_id == "now"


def test_what_cannot_be_told_apart_is_said():
    """By the intervals of the medians where there is one process; by the processes where each has several."""
    near, far = row("numpy/blocked", 1.01e-3), row("jax/nn", 1.5e-3)
    first, second, third = recommendation.rank([BOTH[0], near, far], {})
    assert (first.alike, second.alike, third.alike) == (True, True, False)
    assert second.low < 1 < second.high
    logs = {r.key: [math.log(r.median_s) + x for x in (-0.001, 0.001, 0.0)] for r in (BOTH[0], near, far)}
    assert [c.alike for c in recommendation.rank([BOTH[0], near, far], logs)] == [True, False, False]
    noisy = {key: [v + x for v, x in zip(values, (-0.2, 0.0, 0.2), strict=True)] for key, values in logs.items()}
    assert recommendation.rank([BOTH[0], near, far], noisy)[1].alike
    unknown = dataclasses.replace(far, ci_low_s=None, ci_high_s=None)
    assert recommendation.rank([BOTH[0], unknown], {})[1].alike


def test_what_is_wrong_is_never_recommended(runs, capsys):
    """However fast it may be; where nothing is right, exit status 1 says why."""
    wrong = [row(id, None, status=Status.INCORRECT, reason="got 1, expected 2") for id in IDS]
    folder = stored(runs / "a", [wrong[0], BOTH[1]])
    assert recommend_for(request()) == 0
    out = json.loads(capsys.readouterr().out)
    assert (out["recommended"], [o["status"] for o in out["others"]]) == ("numpy/blocked", ["incorrect"])
    shutil.rmtree(folder)
    folder = stored(runs / "b", wrong)
    with pytest.raises(UsageError, match="no run given has timed this problem"):
        recommendation.find(PLAN, [folder])


@pytest.mark.parametrize("format", [Format.TABLE, Format.MARKDOWN, Format.JSON])
def test_the_code_that_is_printed_runs(runs, capsys, format):
    """What stands below the table, cut out of it, computes what was asked for."""
    stored(runs / "a", BOTH)
    assert recommend_for(request(format=format)) == 0
    out = capsys.readouterr().out
    code = json.loads(out)["snippet"] if format is Format.JSON else "import numpy" + out.partition("import numpy")[2]
    namespace = {}
    exec(code.partition("\n```")[0], namespace)
    rng = np.random.default_rng(0)
    query, key, value = (rng.standard_normal((1, 4, 2, 8), dtype=np.float32) for _ in range(3))
    expected = reference.attention(query, key, value, causal="top_left")
    assert np.abs(namespace["attention"](query, key, value) - expected).max() < 1e-5
    if format is not Format.JSON:
        assert "Use numpy/naive: 1.00 ms a call" in out
        assert "The same machine and versions as now." in out


def test_it_is_measured_where_nothing_is_stored_and_found_the_next_time(tmp_path):
    """The ordinary run path, kept; with --from it answers again, from there."""
    shape = ("--shape", "t=4 n=2 h=8", "--implementation", "numpy/*", "--format", "json", "--quiet")
    first = attnbench("recommend", *shape, "--measure", "--blocks", "2", "--out", tmp_path / "run")
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["source"]["measured"]
    again = json.loads(attnbench("recommend", *shape, "--from", tmp_path / "run").stdout)
    assert not again["source"]["measured"]
    assert again["recommended"] == found["recommended"]
    assert again["source"]["notes"] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--shape", "t=4 n=3 k=2 h=8"), "expected N to be a multiple of K"),
        (("--shape", "t=4 n=2 h=8", "--format", "junit"), "recommend prints table, markdown or json"),
        (("--shape", "t=4 n=2 h=8", "--from", "nowhere"), "nowhere"),
        (("--shape", "t=4 n=2 h=8", "--from", "x", "--measure"), "use one of them"),
    ],
)
def test_mistakes_are_told(words, told):
    """One line, exit status 2."""
    done = attnbench("recommend", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert told in done.stderr
