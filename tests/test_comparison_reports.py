"""A comparison in every form: parsed back, in order, within 100 columns, and hostile names stay text."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from benchmarks.comparison.verdicts import CellComparison, Change, Comparison, Complaint, Gate, Verdict
from benchmarks.reports import verdict_words as words
from benchmarks.reports.verdict_formats import VERDICT_FORMATS
from benchmarks.reports.verdicts import verdict_table

HOSTILE = (
    "a|b",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "`code` *bold* _it_",
    "@everyone #1",
    "\x1b[31mred\x1b[0m",
    "line\nbreak\r\n::error::forged",
    "a::b,c%0A::error::x",
    "\u202egnp.exe",
    "[bold red]markup[/] :smile:",
    "]]>&amp;\"'",
    "\x00\x07\ufffe\ud800",
    "=1+1",
    "back\\|slash",
)


def cell(name="case", verdict=Verdict.SAME, ratio=1.0, **changes):
    """One cell with a verdict."""
    change = Change(ratio=ratio, low=ratio * 0.99, high=ratio * 1.01, p=0.5, smallest_visible=0.03, units=6)
    row = {
        "case": name, "implementation": "numpy/naive", "device": "cpu", "pass_": "forward", "a_s": 1e-3, "b_s": 1e-3 * ratio,
        "change": change, "verdict": verdict,
    }  # fmt: skip
    return CellComparison(**{**row, **changes})


def unjudged(name="gone", **changes):
    """One without a time."""
    row = {
        "case": name,
        "implementation": "numpy/naive",
        "device": "cpu",
        "pass_": "forward",
        "note": "unsupported on both",
    }
    return CellComparison(**{**row, **changes})


def comparison(*cells, notes=()):
    """Of these cells."""
    return Comparison(a="runs/a", b="runs/b", threshold=0.05, alpha=0.01, cells=cells, notes=notes)


MIXED = comparison(
    *(cell(f"same-{n}", ratio=1 + n / 1000) for n in range(20)),
    cell("slow", Verdict.SLOWER, 1.2),
    cell("slowest", Verdict.SLOWER, 2.5),
    cell("fast", Verdict.FASTER, 0.7),
    cell("open", Verdict.INCONCLUSIVE, 1.1),
    cell("inexact", complaints=(Complaint(Gate.ACCURACY, "error over bound grew from 0.1 to 0.9"),)),
    unjudged("lost", complaints=(Complaint(Gate.MISSING, "in the baseline, not in the candidate"),)),
    unjudged(),
    notes=("the machine itself: matmul x1.04 of the baseline's time",),
)


def terminal(found, *, everything=False):
    """The table as plain text."""
    out = io.StringIO()
    console = Console(file=out, width=100, highlight=False, markup=False, emoji=False)
    console.print(verdict_table(found, everything=everything))
    return out.getvalue()


def printed(found, format):
    """In one of the other forms."""
    return VERDICT_FORMATS[format](found)


def test_the_table_begins_with_what_is_worse():
    """Slowest first, then what is worse otherwise, then faster; uneventful cells in one line per verdict."""
    text = terminal(MIXED)
    rows = [
        line.split()[:2] for line in text.splitlines() if "numpy/naive" in line and line.split()[0] in list(Verdict)
    ]
    assert rows == [["slower", "slowest"], ["slower", "slow"], ["same", "inexact"], ["faster", "fast"]]
    assert "2 slower, 1 faster, 21 same, 1 inconclusive; 2 complaints besides time; threshold 5.0%, alpha 0.01" in text
    assert "20 same: ratios 1.000 to 1.019; a slowdown of 3.0% to 3.0% would have been seen" in text
    assert "accuracy: inexact numpy/naive: error over bound grew from 0.1 to 0.9" in text
    assert "missing: lost numpy/naive: in the baseline, not in the candidate" in text
    assert "matmul x1.04" in text
    assert "1 without a time on both sides" in text
    assert text.splitlines()[-1] == "worse: 4 of 27 cells"


def test_the_table_shows_all_when_asked():
    """--all names every cell."""
    text = terminal(MIXED, everything=True)
    assert all(cell.case in text for cell in MIXED.cells)
    assert "unsupported on both" in text


def test_a_few_uneventful_cells_are_shown():
    """Up to a dozen, without asking."""
    text = terminal(comparison(*(cell(f"same-{n}") for n in range(words.FEW))))
    assert all(f"same-{n} " in text for n in range(words.FEW))
    assert text.splitlines()[-1] == "nothing found slower"


@pytest.mark.parametrize("everything", [False, True])
def test_the_table_is_at_most_100_wide(everything):
    """However long the names and large the numbers."""
    endless = Change(ratio=12345.6, low=0.0, high=math.inf, p=1.0, smallest_visible=math.inf, units=2)
    found = comparison(
        cell("x" * 300, Verdict.SLOWER, 1234.5, implementation="y" * 300),
        cell("z", Verdict.INCONCLUSIVE, change=endless, a_s=1e-9, b_s=123456.7),
        *MIXED.cells,
    )
    assert max(map(len, terminal(found, everything=everything).splitlines())) <= 100


def test_what_nobody_could_see_is_said():
    """An endless interval has no number, and green with open cells says so."""
    endless = Change(ratio=1.2, low=0.0, high=math.inf, p=1.0, smallest_visible=math.inf, units=2)
    text = terminal(comparison(cell("z", Verdict.INCONCLUSIVE, change=endless)))
    assert "not known" in text
    assert "none" in text
    assert text.splitlines()[-1] == "nothing could be seen: 1 cells, and no variance to judge them by"


def test_nothing_compared_is_said():
    """No cell with a time on both sides."""
    assert terminal(comparison(unjudged())).splitlines()[-1].startswith("nothing compared")
    assert printed(comparison(unjudged()), "github").startswith("::error title=attnbench::nothing compared")


def test_csv_parses_back():
    """One row per cell, all numbers, empty where there are none."""
    rows = list(csv.DictReader(io.StringIO(printed(MIXED, "csv"))))
    assert [row["case"] for row in rows] == [cell.case for cell in MIXED.cells]
    by_case = {row["case"]: row for row in rows}
    assert by_case["slow"]["verdict"] == "slower"
    assert float(by_case["slow"]["ratio"]) == pytest.approx(1.2)
    assert float(by_case["slow"]["ratio_low"]) == pytest.approx(1.188)
    assert float(by_case["slow"]["smallest_visible"]) == pytest.approx(0.03)
    assert by_case["lost"]["ratio"] == by_case["lost"]["verdict"] == ""
    assert by_case["lost"]["complaints"] == "missing: in the baseline, not in the candidate"


def test_json_parses_back():
    """Strict JSON, with the counts and the exit; endless is null."""
    endless = dataclasses.replace(MIXED.cells[0].change, high=math.inf, smallest_visible=math.inf)
    found = dataclasses.replace(MIXED, cells=(*MIXED.cells, cell("open-2", Verdict.INCONCLUSIVE, change=endless)))

    def constant(name):
        raise AssertionError(name)

    data = json.loads(printed(found, "json"), parse_constant=constant)
    assert data["exit"] == 1
    assert data["counts"] == {"slower": 2, "faster": 1, "same": 21, "inconclusive": 2}
    assert data["worse"] == 4
    assert data["cells"][-1]["ratio_high"] is None
    assert data["cells"][-1]["smallest_visible"] is None
    slow = next(c for c in data["cells"] if c["case"] == "slow")
    assert slow["verdict"] == "slower"
    assert next(c for c in data["cells"] if c["case"] == "lost")["complaints"] == [
        {"gate": "missing", "text": "in the baseline, not in the candidate"}
    ]


def test_junit_parses_back():
    """Worse fails, inconclusive and unjudged are skipped, the rest passes; the totals are right."""
    suite = ET.fromstring(printed(MIXED, "junit"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("27", "4", "2")
    tests = {test.get("name"): test for test in suite}
    assert tests["slow"].find("failure").get("type") == "slower"
    assert "x1.200" in tests["slow"].find("failure").get("message")
    assert tests["inexact"].find("failure").get("type") == "accuracy"
    assert tests["open"].find("skipped") is not None
    assert len(tests["same-0"]) == 0


def test_github_annotations():
    """An error for each cell that is worse, the slowest first, and one notice."""
    lines = printed(MIXED, "github").splitlines()
    assert [line.partition("::")[0] or line.split(" ")[0] for line in lines][-1] == "::notice"
    assert [re.match(r"::error title=(\S+) ", line)[1] for line in lines[:-1]] == ["slowest", "slow", "inexact", "lost"]
    assert "slower: x2.500 [2.48, 2.52], 1.00 ms before, 2.50 ms now" in lines[0]


def test_markdown_is_a_comment():
    """A headline, the counts, a table whose rows have as many cells as its head."""
    text = printed(MIXED, "markdown")
    assert text.startswith("### attnbench: worse: 4 of 27 cells\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4
    assert {row.count("|") for row in rows} == {9}
    assert rows[2].startswith("| **slower** | `slowest` | `numpy/naive` | 2.500 | [2.48, 2.52] | 3.0% |")
    assert "- **accuracy** `inexact` `numpy/naive`:" in text


def test_markdown_fits_a_comment():
    """10,000 slower cells still fit what GitHub takes; --all gives them all."""
    found = comparison(*(cell(f"case-{n}", Verdict.SLOWER, 1.5) for n in range(10_000)))
    text = printed(found, "markdown")
    assert len(text) < 65_536
    assert "and 9900 more cells" in text
    assert VERDICT_FORMATS["markdown"](found, everything=True).count("**slower**") == 10_000


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name):
    """In every form, wherever foreign text stands: names, reasons, notes, labels."""
    found = comparison(
        cell(name, Verdict.SLOWER, 1.2, implementation=name, complaints=(Complaint(Gate.STATUS, name),)),
        unjudged(name, note=name),
        notes=(name,),
    )
    found = dataclasses.replace(found, a=name, b=name)

    text = terminal(found, everything=True)
    assert not any((ord(c) < 32 and c != "\n") or c in "\u202e\ud800" for c in text)
    assert sum("slower" in line.split()[:1] for line in text.splitlines()) == 1

    comment = printed(found, "markdown")
    rows = [line for line in comment.splitlines() if line.startswith("|")]
    assert {row.count("|") - row.count("\\|") for row in rows} == {9}
    outside = re.sub(r"`[^`\n]*`", "", comment)
    for markup in ("<script", "](javascript", "@everyone", " #1", "\x1b", "\u202e"):
        assert markup not in outside
    assert not re.search(r"(?<!\\)`", outside)
    assert not any(line.startswith("::") for line in comment.splitlines())

    lines = printed(found, "github").splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::notice"]
    assert all(line.isprintable() for line in lines)
    properties = lines[0].removeprefix("::error title=").partition("::")[0]
    assert not set(properties) & set(":,")
    assert "%0A" not in lines[0]

    suite = ET.fromstring(printed(found, "junit"))
    assert suite.get("tests") == "2"
    assert {len(test) for test in suite} == {1}

    rows = list(csv.reader(io.StringIO(printed(found, "csv"))))
    assert len(rows) == 3
    assert not any(field[:1] in ("=", "+", "@") for row in rows for field in row)

    data = json.loads(printed(found, "json"))
    assert data["cells"][0]["case"] == name
