"""What `report --history` prints and writes: every form says the same, in 100 columns, and foreign text stays text."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cli.history_command import HistoryRequest, write_history
from benchmarks.errors import UsageError
from benchmarks.history.runs import in_folder
from benchmarks.history.trends import history
from benchmarks.records import Status
from benchmarks.reports import history_page as page
from benchmarks.reports.history import history_table, sparkline
from benchmarks.reports.history_formats import HISTORY_FORMATS
from benchmarks.reports.page.render import render_page
from benchmarks.reports.terminal import console
from tests.helpers import ROOT
from tests.histories import environment, plant

HOSTILE = "</script><script>alert(1)</script>`|[x](http://e.example)\x1b[31m\u202e=1+1 @all"
CHROMIUM = shutil.which("chromium")


def gone_wrong(run, cell, row):
    """Cell 2 is incorrect from run 12 on; cell 3 is missing in run 4."""
    if cell == 2 and run >= 12:
        return dataclasses.replace(
            row, status=Status.INCORRECT, reason="wrong", median_s=None, ci_low_s=None, ci_high_s=None
        )
    return None if (run, cell) == (4, 3) else row


def hostile(run, cell, row):
    """Names and reasons that try to leave their place."""
    named = dataclasses.replace(
        row, case=HOSTILE if cell == 0 else row.case, implementation=f"numpy/{HOSTILE}", kernel=HOSTILE
    )
    return dataclasses.replace(gone_wrong(run, cell, named), reason=HOSTILE) if cell == 2 and run >= 12 else named


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A folder with one change, one cell gone wrong, one gap."""
    return plant(tmp_path_factory.mktemp("h") / "runs", steps={1: {8: 1.5}}, change=gone_wrong)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """The same with hostile words in every text."""

    def told(run):
        version = f"numpy {HOSTILE}" if run < 8 else f"numpy 2 {HOSTILE}"
        return environment(run, frameworks__numpy__version=version, machine__cpu=HOSTILE, python=HOSTILE)

    return plant(tmp_path_factory.mktemp("a") / "runs", steps={1: {8: 1.5}}, change=hostile, told=told)


def made(folder):
    """Its history."""
    return history(in_folder(folder), str(folder))


def asked(folder, **options):
    """What the command is asked for."""
    usual = {
        "folder": folder, "output": None, "runs": [], "format": None, "git": False, "order": "auto", "threshold": "3%",
        "alpha": 0.01, "show_all": False,
    }  # fmt: skip
    return HistoryRequest(**{**usual, **options})


def printed(found, **options):
    """The table as text."""
    out = console()
    with out.capture() as captured:
        out.print(history_table(found, **options))
    return captured.get()


def test_every_form_says_what_is_to_be_said(planted):
    """Table, Markdown and JSON begin with what became incorrect, and name the change and the gap."""
    found = made(planted)
    texts = [printed(found), *(write(found) for name, write in HISTORY_FORMATS.items() if name != "csv")]
    for text in texts:
        plain = re.sub(r"\s+", " ", text).replace("\\", "")
        changed = plain.index("Changed most: numpy/naive on case-1, x1.5")
        assert plain.index("Became incorrect: numpy/naive on case-2") < changed
        assert "1 missing" in plain


def test_the_table_fits_in_a_hundred_columns(planted, attacked):
    """Also with every cell, and with names of any length."""
    for folder in (planted, attacked):
        assert all(len(line) <= 100 for line in printed(made(folder), everything=True).splitlines())


def test_a_trend_in_one_line(planted):
    """A step, a dot for a gap, ! where the answer was wrong."""
    trends = {trend.series.key[0]: sparkline(trend) for trend in made(planted).tracks[0].trends}
    assert trends["case-2"].endswith("!!!!")
    assert trends["case-3"][4] == "·"
    assert set(trends["case-1"][:8]) <= set("▁▂")
    assert set(trends["case-1"][8:]) <= set("▇█")


def test_csv_has_a_row_for_each_cell_and_run(planted):
    """Gaps are rows, the change stands where it is, and no cell begins like a formula."""
    rows = list(csv.DictReader(io.StringIO(HISTORY_FORMATS["csv"](made(planted)))))
    assert len(rows) == 10 * 16
    (changed,) = (row for row in rows if row["change"])
    assert (changed["case"], changed["place"], changed["level"]) == ("case-1", "8", "1")
    assert sum(row["status"] == "missing" for row in rows) == 1


def test_json_is_plain_and_whole(planted):
    """No NaN, and the finding with its commits."""
    found = json.loads(HISTORY_FORMATS["json"](made(planted)), parse_constant=pytest.fail)
    kinds = [finding["kind"] for finding in found["tracks"][0]["findings"]]
    assert kinds == ["incorrect", "changed"]
    assert found["tracks"][0]["findings"][1]["commit"].startswith("0000008")


@pytest.mark.parametrize("name", ["table", *HISTORY_FORMATS])
def test_hostile_words_stay_words(attacked, name):
    """No escape sequence, no direction change, no formula, no live markup in any form."""
    found = made(attacked)
    text = printed(found, everything=True) if name == "table" else HISTORY_FORMATS[name](found)
    assert "\x1b[31m" not in text
    if name != "json":  # JSON has its own escapes
        assert "\u202e" not in text
    if name == "markdown":
        assert "<script" not in text
        assert "](http" not in text
        assert "@all" not in text
    if name == "csv":
        assert not any(cell.startswith(("=", "+", "@")) for row in csv.reader(io.StringIO(text)) for cell in row)


def test_hostile_words_on_the_page(attacked):
    """Only the page's own two scripts and its data are script elements, and data does not end early."""
    text = render_page(page.history_page(made(attacked)))
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert text.count("<script") == 3


def test_the_page_draws_what_changed_first_and_no_more_than_it_can(planted, monkeypatch):
    """Where not all cells are drawn, that is said, and those that changed are."""
    monkeypatch.setattr(page, "MOST_POINTS", 64)
    made_page = page.history_page(made(planted))
    assert set(made_page.datasets["points"]["case"]) >= {"case-1", "case-2"}
    assert len(made_page.datasets["points"]["case"]) <= 64
    (lead,) = (section.lead for section in made_page.sections if section.id == "trends")
    assert lead == ("4 of 10 cells have a line here; the table below has all.",)
    assert len(made_page.datasets["cells"]["case"]) == 10
    assert made_page.intro[0].startswith("Became incorrect: numpy/naive on case-2")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
def test_the_page_in_a_browser(attacked, tmp_path):
    """It draws, asks for nothing, says nothing on the console, and pops nothing up."""
    api = pytest.importorskip("playwright.sync_api")
    file = tmp_path / "h.html"
    file.write_text(render_page(page.history_page(made(attacked))), encoding="utf-8")
    said, requests = [], []
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(file.as_uri())
        tab.wait_for_selector("html[data-idle=yes]", state="attached", timeout=120_000)
        marks = tab.locator(
            "[data-chart=changed-trends] svg .mark-rule path, [data-chart=changed-trends] svg .mark-rule line"
        )
        assert marks.count() >= 1
        assert tab.locator("[data-chart=all-trends] svg .mark-symbol path").count() >= 100
        browser.close()
    assert said == []
    assert requests == [file.as_uri()]


def test_files_and_their_forms(planted, tmp_path, capsys):
    """The suffix says the form; the sentences go to stderr; an unknown one, or a run besides, is refused."""
    for name, first in {
        "h.md": "### attnbench",
        "h.csv": "schema_version",
        "h.json": "{",
        "h.txt": "Became incorrect",
    }.items():
        assert write_history(asked(planted, output=tmp_path / name)) == 0
        assert (tmp_path / name).read_text().startswith(first)
        assert "Became incorrect" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"suffix '\.xyz', expected one of \.html"):
        write_history(asked(planted, output=tmp_path / "h.xyz"))
    with pytest.raises(UsageError, match="give one folder"):
        write_history(asked(planted, runs=[Path("x")]))
    with pytest.raises(UsageError, match="expected one of auto"):
        write_history(asked(planted, order="x"))
    with pytest.raises(UsageError, match="cannot write"):
        write_history(asked(planted, output=tmp_path / "none" / "h.md"))


def test_the_command_line(planted, tmp_path):
    """From the shell: the table on stdout; a folder without runs and options without a history end with 2 and one line."""

    def report(*words):
        command = [sys.executable, "-m", "benchmarks", "report", *map(str, words)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)

    done = report("--history", planted)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Became incorrect")
    for words in (("--history", tmp_path), ("--git", planted), (planted, "--format", "csv")):
        done = report(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
