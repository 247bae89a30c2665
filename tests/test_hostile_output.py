"""What a result file says stays text wherever it is shown, and no path, however named, is written beside."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.cli.verdict_output import SUFFIXES
from benchmarks.records import Status, from_csv, safe_text, to_csv
from benchmarks.reports.formats import FORMATS
from benchmarks.reports.text import harmless
from tests.planted import record, write_run
from tests.processes import attnbench
from tests.test_comparison_reports import HOSTILE

BIDI = [chr(c) for c in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))]
CONTROLS = [chr(c) for c in (*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xD800, 0xE0001)]
NAMES = (
    "with spaces",
    "mit-Ümlaut-\u4e2d",
    "two\nlines",
    "\x1b[31mred",
    "--out",
    "a'b\"c",
    "$(touch x)",
    os.fsdecode(b"\xff\xfe"),
)
"""Of folders, the last no UTF-8."""


@pytest.mark.parametrize("character", BIDI + CONTROLS, ids=lambda c: f"U+{ord(c):04X}")
def test_what_steers_is_no_text(character):
    """Controls, directions, separators, halves of characters: a question mark instead."""
    assert harmless(f"a{character}b") == "a?b"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_with_hostile_names(name):
    """In every form in which a run is printed: names of cases and implementations, and reasons."""
    rows = [
        record(name, implementation=name),
        record(name + "2", implementation=name, status=Status.ERROR, reason=name),
        record(name + "3", implementation=name, status=Status.UNSUPPORTED, reason=name),
    ]
    table = [line for line in FORMATS["markdown"](rows).splitlines() if line]
    assert len(table) == 5
    assert {line.count("|") for line in table} == {7}
    assert not re.search(r"(?<!\\)\]\(", "\n".join(table))
    for markup in ("<script", "@everyone", " #1", "\x1b", "\u202e"):
        assert markup not in "\n".join(table)
    assert not re.search(r"(?<!\\)[`*_](?!\*)[a-z]", "\n".join(table[3:]))

    lines = FORMATS["github"](rows).splitlines()
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert not set(lines[0].removeprefix("::error title=").partition("::")[0]) & set(":,")

    assert [len(test) for test in ET.fromstring(FORMATS["junit"](rows))] == [0, 1, 1]
    assert json.loads(FORMATS["json"](rows))[1]["reason"] == name


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"])
def test_texts_are_no_formulas_and_numbers_stay_numbers(text):
    """A text that a spreadsheet would run gets an apostrophe, once however often it is written; a number never does."""
    row = record(text, implementation=text, scale=-0.5, status=Status.ERROR, reason=text)
    written = to_csv([row])
    fields = next(csv.DictReader(io.StringIO(written, newline="")))
    assert {fields["case"], fields["implementation"], fields["reason"]} == {f"'{text}"}
    assert fields["scale"] == "-0.5"
    assert safe_text(safe_text(text)) == safe_text(text)
    again = from_csv(written, "it")
    assert again[0].scale == -0.5
    assert to_csv(again) == written


@pytest.mark.parametrize("text", ["a\rb", "\r\n=1", "a\r\nb,c", "\r"])
def test_a_carriage_return_ends_no_row(text):
    """A reason of foreign code may hold one; what is written is read again, with a line end in its place."""
    written = to_csv([record(status=Status.ERROR, reason=text)])
    assert from_csv(written, "it")[0].reason == text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("name", NAMES)
def test_compare_and_save_under_any_name(tmp_path, monkeypatch, capsys, name):
    """Runs, thresholds and saved files in a folder of that name; nothing else is written, and the terminal is left alone."""
    from benchmarks.cli.compare_command import CompareRequest, compare_runs
    from benchmarks.cli.options import Format

    folder = tmp_path / name
    a, b = write_run(folder / "a", noise=0.001), write_run(folder / "b", noise=0.001, seed=1)
    (folder / "thresholds.toml").write_text("[[override]]\ncase = 'case-0'\nthreshold = '6%'\n")
    monkeypatch.chdir(tmp_path)
    saved = [folder / f"saved{suffix}" for suffix in SUFFIXES]
    request = {
        "baseline": Path(name) / "a", "candidate": b, "threshold": "5%", "floor": None, "alpha": 0.01, "noise": None,
        "thresholds": folder / "thresholds.toml", "force": False, "allow_missing": False, "save_as": saved, "show_all": True,
        "quiet": True,
    }  # fmt: skip
    for format in Format:
        compare_runs(CompareRequest(**request, format=format))
        out = capsys.readouterr().out
        assert "\x1b" not in out
        out.encode()
    assert a.exists()
    assert {file.name for file in folder.iterdir()} == {"a", "b", "thresholds.toml", *(file.name for file in saved)}
    assert [file.name for file in tmp_path.iterdir()] == [name]
    for file in saved:
        file.read_text(encoding="utf-8")


def test_run_into_a_folder_of_any_name(tmp_path):
    """Spaces, a line end, an escape and a byte that is no UTF-8 at once: written, told on one line, resumed and compared."""
    folder = tmp_path / os.fsdecode(b"a b\nc\x1b[31m\xff\xc3\xbc")
    words = (
        "--shape",
        "t=8 n=1 h=4",
        "--implementation",
        "numpy/naive",
        "--blocks",
        "1",
        "--block-ms",
        "1",
        "--processes",
        "2",
    )
    result = attnbench("run", *words, "--out", folder, "--quiet")
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout
    assert [line.partition(":")[0][:10] for line in result.stdout.splitlines()[-2:]] == ["Written to", "To look at"]
    assert [file.name for file in tmp_path.iterdir()] == [folder.name]
    row = from_csv((folder / "summary.csv").read_bytes(), "it")[0]
    assert row.run_id.startswith("a b\nc")
    again = attnbench("run", "--resume", folder, "--quiet", "--format", "csv")
    assert again.returncode == 0, again.stderr
    compared = attnbench("compare", folder, folder, "--save-as", folder / "out.md")
    assert compared.returncode in (0, 3), compared.stderr
    assert (folder / "out.md").exists()


def test_audit_into_a_folder_of_any_name(tmp_path):
    """The same of an audit: its trials are added to when it is asked for again, and nothing is written beside."""
    folder = tmp_path / os.fsdecode(b"a b\nc\x1b[31m\xff\xc3\xbc")
    shape = ("--shape", "t=8 n=1 h=4", "--implementation", "numpy/naive", "--budget", "0.02", "--epochs", "3")
    trials = ("--comparisons", "1", "--stored", "0", "--resampled", "0", "--trials", "0", "--stored-trials", "0")
    for number in (1, 2):
        result = attnbench("audit", *shape, *trials, "--out", folder, "--quiet")
        assert result.returncode == 0, result.stderr
        assert "\x1b" not in result.stdout
        assert result.stdout.splitlines()[-1].startswith("Written to ")
        assert len((folder / "trials.jsonl").read_text().splitlines()) == number
    assert [file.name for file in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    "words", [("compare", "{}", "{}"), ("run", "--resume", "{}"), ("compare", "{}", "{}", "--noise", "{}")]
)
def test_an_error_about_any_name_is_one_line(tmp_path, words):
    """And nothing in it steers the terminal."""
    path = str(tmp_path / os.fsdecode(b"no\nsuch\x1b[31m\xff"))
    result = attnbench(*(word.format(path) for word in words))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("attnbench: ")
    assert result.stderr.rstrip("\n").isprintable()
