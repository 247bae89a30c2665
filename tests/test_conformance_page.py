"""The page and the table of the conformance matrix: what they say, what changed since, and foreign text made harmless."""

from __future__ import annotations

import csv
import io

import pytest

import backends
from backends.interface import Deviation
from benchmarks.conformance.check import Matrix
from benchmarks.conformance.probes import PROBES as PROBES_OF_CHECK
from benchmarks.conformance.probing import Answer, Verdict
from benchmarks.errors import UnreadableResults
from benchmarks.harness.session import Greeting
from benchmarks.records import Status
from benchmarks.reports.conformance import COLUMNS, changes_since, conformance_csv, conformance_page
from tests.helpers import ROOT

IDS = ("torch/sdpa-math", "torch/mine")
PROBES = ("plain", "nan-in-key", "bfloat16")


def matrix(**verdicts: Verdict) -> Matrix:
    """Two implementations, three probes; all right but what is told as "id probe"=verdict."""
    answers = {}
    for id in IDS:
        for probe in PROBES:
            verdict = verdicts.get(f"{id} {probe}", Verdict.PASS)
            reason = "" if verdict is Verdict.PASS else "=cmd|'/c calc' <script>@all | [x](y)"
            answers[id, probe] = Answer(id, probe, verdict, reason, 0.5, 1e-3, 0.9)
    greeting = Greeting("torch", Status.OK, "", "torch 2.13.0", ("cpu",), {}, 1.0)
    return Matrix(IDS, PROBES, answers, {"torch": greeting})


def test_the_page_says_what_is_right_what_differs_and_what_is_refused() -> None:
    """One table per framework, each deviation with source and reproduction, each refusal with its reason."""
    found = matrix(**{"torch/sdpa-math nan-in-key": Verdict.DEVIATES, "torch/mine bfloat16": Verdict.REFUSED})
    page = conformance_page(found, {IDS[0]: (Deviation("hidden_nan_key", "NaN", "pytorch/pytorch#101967"),)})
    assert "| torch | torch 2.13.0 |" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| **nan-in-key**")]
    assert row.endswith("| ≠ | ✓ |")
    (row,) = [line for line in page.splitlines() if line.startswith("| **bfloat16**")]
    assert row.endswith("| ✓ | · |")
    assert "**torch/sdpa-math**: the standard says" in page
    assert "Upstream: pytorch/pytorch#101967." in page
    assert "scaled_dot_product_attention(q, k, q, attn_mask=sees)" in page
    assert "| torch/sdpa-math | bfloat16 | 0.5 | 0.001 | 0.9 |" in page


def test_foreign_text_stays_text() -> None:
    """Reasons come from frameworks and plug-ins: no formula in the table, no markup in the page."""
    found = matrix(**{"torch/mine bfloat16": Verdict.REFUSED})
    assert "<script>" not in conformance_page(found, {})
    reasons = [row["reason"] for row in csv.DictReader(io.StringIO(conformance_csv(found))) if row["reason"]]
    assert reasons
    assert all(reason.startswith("'=") for reason in reasons)


def test_a_verdict_that_changed_is_told(tmp_path) -> None:
    """With both versions; what is new or the same is no change."""
    file = tmp_path / "conformance.csv"
    file.write_text(conformance_csv(matrix()))
    assert changes_since(file, matrix()) == []
    (line,) = changes_since(file, matrix(**{"torch/mine plain": Verdict.FAIL}))
    assert line.startswith("torch/mine plain: pass with torch 2.13.0, now fail with torch 2.13.0: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty, expected a conformance.csv"),
        ("a,b\n", "holds no conformance matrix"),
        ("a,b\n1,2\n", "expected the columns"),
        (f"{','.join(COLUMNS)}\n9{',x' * (len(COLUMNS) - 1)}\n", "schema_version '9', expected 1"),
    ],
)
def test_another_table_is_refused(tmp_path, text, told) -> None:
    """Empty, foreign or of the future: one line."""
    file = tmp_path / "conformance.csv"
    file.write_text(text)
    with pytest.raises(UnreadableResults, match=told):
        changes_since(file, matrix())
    with pytest.raises(UnreadableResults, match="cannot be read"):
        changes_since(tmp_path / "none.csv", matrix())


def test_the_published_table_has_every_implementation_and_every_question() -> None:
    """A new implementation or question is published with the next `nox -s conformance`, which this asks for."""
    with (ROOT / "results" / "conformance.csv").open(encoding="utf-8") as file:
        published = {(row["implementation"], row["probe"]) for row in csv.DictReader(file)}
    able = [id for id, chosen in backends.implementations().items() if "cpu" in chosen.devices]
    assert published == {(id, probe.name) for id in able for probe in PROBES_OF_CHECK}
