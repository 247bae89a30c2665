"""Pages as text: what is embedded, what is escaped, what the numbers are; without a browser."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser

import altair as alt
import pytest

from benchmarks.cli.report_command import ReportRequest, page_of, write_report
from benchmarks.comparison.verdicts import CellComparison, Change, Comparison, Complaint, Gate, Verdict
from benchmarks.errors import UnreadableResults, UsageError
from benchmarks.reports.page import Chart, Facts, Page, Section, Table, bundle, render, render_page
from benchmarks.reports.page.answers import read_answers
from benchmarks.reports.page.cells import cells_dataset, kind_of
from benchmarks.reports.page.growing import growing
from benchmarks.reports.page.markdown import markdown_page
from benchmarks.reports.page.run_page import run_page
from benchmarks.reports.page.stored_runs import read_runs
from benchmarks.reports.page.verdict_page import verdict_page
from tests import pages
from tests.processes import ROOT, TINY, attnbench

BASELINE = ROOT / "results" / "baselines" / "amd-epyc-25-1-avx2-2-cores" / "default"


class _Elements(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.scripts, self.attributes, self.in_script = [], [], [], [], False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        self.in_script = tag == "script"
        if self.in_script:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.in_script = False

    def handle_data(self, data):
        if self.in_script:
            self.scripts[-1] += data


def elements(html):
    """What a parser finds in a page."""
    found = _Elements()
    found.feed(html)
    return found


def data_of(html):
    """What the page embeds."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL).group(1))


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """A run folder with a ladder of lengths."""
    return pages.write_run(tmp_path_factory.mktemp("runs") / "ladder", pages.ladder())


@pytest.fixture(scope="module")
def default_page(tmp_path_factory):
    """The page of the stored run of the default suite."""
    return page_of([BASELINE], None, tmp_path_factory.mktemp("page") / "report.html")


def test_default_page_is_one_small_file(default_page):
    """The page of the default suite is whole, below 3 MB, and names no address that a browser would ask."""
    assert len(default_page.encode()) < 3_000_000
    found = elements(default_page)
    assert not {"link", "img", "iframe", "object"} & set(found.tags) - {"link"}
    asked = [
        value for _, name, value in found.attributes if name in ("src", "href") and not value.startswith(("#", "data:"))
    ]
    assert asked == []
    assert len(found.ids) == len(set(found.ids))


def test_policy_allows_only_these_scripts(default_page):
    """The policy names each script and the style by its hash, and allows neither eval nor requests."""
    found = elements(default_page)
    policy = next(value for tag, name, value in found.attributes if tag == "meta" and "default-src" in (value or ""))
    style = re.search(r"<style>(.*?)</style>", default_page, re.DOTALL).group(1)
    scripts = [text for text in found.scripts if not text.startswith('{"datasets"')]
    assert len(scripts) == 2
    for text in (style, *scripts):
        assert render._hash(text) in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("section", ["heat-map", "lengths", "backward", "compiling", "accuracy", "noise", "fairness",
                                     "conformance", "environment", "cells"])  # fmt: skip
def test_default_page_has_every_section(default_page, section):
    """What the page has to show is there, and in the list of sections."""
    found = elements(default_page)
    assert section in found.ids
    assert ("a", "href", f"#{section}") in found.attributes


def test_first_sentences_say_what_was_measured(default_page):
    """How many implementations, cases and cells, and what is fastest, stand before everything else."""
    start = default_page[: default_page.index("<nav")]
    for words in ("19 implementations", "10 cases", "182 of 190 cells timed", "Fastest overall: ", "AMD EPYC, 2 cores"):
        assert words in start


def test_cells_carry_the_numbers_of_the_run(ladder):
    """Ratios, winners and kinds of the dataset follow from the run's records, for every cell."""
    (run,) = read_runs([ladder])
    cells = cells_dataset([run])
    fastest = {}
    for record in run.records:
        if record.median_s is not None:
            fastest[record.case] = min(record.median_s, fastest.get(record.case, record.median_s))
    for place, record in enumerate(run.records):
        expected = None if record.median_s is None else record.median_s / fastest[record.case]
        assert cells["ratio"][place] == expected
        assert (cells["mark"][place] == "best") == (expected == 1.0)
        assert cells["kind"][place] == kind_of(record)
    kinds = set(cells["kind"])
    assert kinds == {"timed", "wrong", "refused", "failed", "not tried"}
    assert {s for s, k in zip(cells["sign"], cells["kind"], strict=True) if k != "timed"} == {
        "✗ wrong",
        "refused",
        "! failed",
        "…",
    }


def test_ladders_have_exponents_and_a_limit(ladder):
    """Time that grows with the square of the length has that exponent, and the limit is the roofline's time."""
    (run,) = read_runs([ladder])
    ladders, points, _ = growing([run])
    assert [found.lengths for found in ladders] == [8, 8]
    of_line = {line: [i for i, value in enumerate(points["line"]) if value == line] for line in set(points["line"])}
    assert set(of_line) == {"measured", "fitted", "limit"}
    assert {round(points["exponent"][i], 6) for i in of_line["fitted"]} == {2.0}
    for i in of_line["limit"]:
        S, factor = points["S"][i], 1 if points["pass"][i] == "forward" else 3
        flops, moved = 256 * S**2 * factor, 4096 * S
        assert points["seconds"][i] == pytest.approx(max(flops / 200e9, moved / 30e9))
    for i in of_line["fitted"]:
        S = points["S"][i]
        measured = [j for j in of_line["measured"] if points["S"][j] == S and points["ladder"][j] == points["ladder"][i]
                    and points["implementation"][j] == points["implementation"][i]]  # fmt: skip
        assert points["seconds"][i] == pytest.approx(points["seconds"][measured[0]])


def test_rates_and_empty_calls_are_there(ladder):
    """Bytes beside operations in the table of all cells; what an empty call costs among the limits."""
    page = run_page(read_runs([ladder]), None)
    blocks = [block for section in page.sections for block in section.blocks]
    (table,) = (block for block in blocks if isinstance(block, Table) and block.id == "all")
    assert [c.label for c in table.columns if c.label.endswith("/s")] == ["GFLOP/s", "GB/s"]
    assert set(page.datasets[table.dataset]["gb_per_s"]) == {12.5, None}
    rows = dict(row for block in blocks if isinstance(block, Facts) for row in block.rows)
    assert (rows["reading memory, numpy"], rows["empty call, numpy"]) == ("30.0 GB/s", "37.0 ns")


def test_memory_grows_along_ladders_too(ladder, tmp_path):
    """A chart for each ladder with memory at two lengths or more, with its own exponent: 2, whatever that of time is."""
    (run,) = read_runs([ladder])
    ladders, _, points = growing([run])
    assert [found.weighed for found in ladders] == [8, 8]
    assert set(points["line"]) == {"measured", "fitted"}
    assert {round(exponent, 6) for exponent in points["exponent"]} == {2.0}
    assert points["bytes"] == pytest.approx([8 * S**2 for S in points["S"]])

    def drawn(name, records):
        page = run_page(read_runs([pages.write_run(tmp_path / name, records)]), None)
        (section,) = [section for section in page.sections if section.id == "memory"]
        return {block.id: block.caption for block in section.blocks if isinstance(block, Chart)}

    def weighed_up_to(longest):
        rows = pages.ladder()
        known = [row.peak_memory_bytes and (row.peak_memory_bytes if longest >= row.S else 0) for row in rows]
        return [dataclasses.replace(row, peak_memory_bytes=told) for row, told in zip(rows, known, strict=True)]

    every = drawn("every", pages.ladder())
    assert list(every) == ["memory-map", "memory-ladder-0", "memory-ladder-1"]
    assert "fitted power law" in every["memory-ladder-0"]
    two = drawn("two", weighed_up_to(256))
    assert list(two) == list(every)
    assert "fitted" not in "".join(two.values())
    assert list(drawn("one", weighed_up_to(128))) == ["memory-map"]


def test_backward_is_held_against_forward(ladder):
    """Cells of both passes are paired by their problem, not by their name."""
    page = run_page(read_runs([ladder]), None)
    pairs = page.datasets["pairs"]
    assert pairs["both_over_forward"] == pytest.approx([3.0] * len(pairs["case"]))
    assert len(pairs["case"]) == 3 * 8 - 4


def test_specifications_are_valid(ladder):
    """Every chart's specification conforms to the schema of Vega-Lite, and draws a dataset that the page has."""
    page = run_page(read_runs([ladder, BASELINE]), None)
    charts = [block for section in page.sections for block in section.blocks if isinstance(block, Chart)]
    assert len(charts) >= 9
    for chart in charts:
        assert chart.dataset in page.datasets
        assert chart.described
        assert chart.spec["$schema"].endswith(".json")
        named = {key: value for key, value in chart.spec.items() if key not in ("$schema",)}
        alt.LayerChart.from_dict(named, validate=True)
        for column in chart.columns:
            assert column.field in page.datasets[chart.dataset], (chart.id, column.field)


def test_foreign_text_is_only_text(tmp_path):
    """Names that are markup, script ends, templates or turn the direction of writing stay text, in HTML and in Markdown."""
    folder = pages.write_run(tmp_path / "hostile", pages.hostile(), pages.hostile_environment())
    html = page_of([folder], None, tmp_path / "report.html")
    found = elements(html)
    assert found.tags.count("script") == 3
    assert not {"img", "b", "iframe"} & set(found.tags)
    assert "\u202e" not in html
    assert "\u2028" not in html
    embedded = data_of(html)["datasets"]["cells"]["columns"]["case"]["words"]
    assert "{{7*7}}" in embedded
    assert pages.HOSTILE[1] in embedded
    markdown = markdown_page(run_page(read_runs([folder]), None))
    assert "<script" not in markdown
    assert "<img" not in markdown
    assert "\u202e" not in markdown


def test_escaping_can_fail(tmp_path, monkeypatch):
    """Without the escapes of the embedded data, the same names end its element: the test above sees what it says."""
    monkeypatch.setattr(render, "_ESCAPES", {})
    folder = pages.write_run(tmp_path / "hostile", [pages.timed(pages.HOSTILE[1], "numpy/naive", 1e-3)])
    assert elements(page_of([folder], None, tmp_path / "report.html")).tags.count("script") > 3


def test_runs_side_by_side(tmp_path, ladder):
    """Several runs have labels that tell them apart, and each cell its time over the first run's."""
    faster = [r if r.median_s is None else pages.timed(r.case, r.implementation, r.median_s / 2, T=r.T, S=r.S, pass_=r.pass_)
              for r in pages.ladder()]  # fmt: skip
    other = pages.write_run(tmp_path / "other" / "ladder", faster, pages.environment(machine={"cpu": "another"}))
    page = run_page(read_runs([ladder, other]), None)
    cells = page.datasets["cells"]
    assert len(set(cells["run"])) == 2
    over = [value for value in cells["over_first"] if value is not None]
    assert over
    assert over == pytest.approx([0.5] * len(over))
    (section,) = (section for section in page.sections if section.id == "runs")
    assert any("machine.cpu" in sentence for sentence in section.lead)


def test_answers_of_other_versions_are_left_out(tmp_path):
    """The conformance matrix shows answers of the run's own versions, and says which it leaves out."""
    (run,) = read_runs([BASELINE])
    file = ROOT / "results" / "conformance.csv"
    same = read_answers(file, [run])
    assert {framework for framework, _ in same.versions} == {"numpy", "tf_keras", "jax", "torch", "onnxruntime"}
    other = tmp_path / "conformance.csv"
    other.write_text(file.read_text().replace("torch 2.13.0+cpu", "torch 1.0"))
    left = read_answers(other, [run])
    assert "torch" not in {framework for framework, _ in left.versions}
    assert any("torch 1.0" in sentence for sentence in left.left_out)
    other.write_text("a,b\n1,2\n")
    with pytest.raises(UnreadableResults, match="conformance matrix"):
        read_answers(other, [run])


def test_too_many_cells_are_cut_and_told(tmp_path, monkeypatch):
    """Beyond what a page holds, whole cases are shown, and the page says where all cells are."""
    monkeypatch.setattr("benchmarks.reports.page.run_page.MOST_CELLS", 100)
    monkeypatch.setattr("benchmarks.cli.report_command.MOST_CELLS", 100)
    a = pages.write_run(tmp_path / "a", pages.many(130))
    b = pages.write_run(tmp_path / "b", pages.many(130))
    html = page_of([a, b], None, tmp_path / "report.html")
    assert data_of(html)["datasets"]["cells"]["rows"] == 80
    assert "80 of 260 cells" in html
    assert "report.cells.csv" in html
    assert len((tmp_path / "report.cells.csv").read_text().splitlines()) == 261


def comparison():
    """Four cells, one of each verdict, and one that failed."""

    def change(ratio, low, high):
        return Change(ratio=ratio, low=low, high=high, p=0.001, smallest_visible=0.03, units=8)

    def cell(name, verdict, *numbers, **more):
        return CellComparison(case=name, implementation="numpy/naive", device="cpu", pass_="forward", a_s=1e-3, b_s=1e-3,
                              change=change(*numbers) if numbers else None, verdict=verdict, **more)  # fmt: skip

    cells = (
        cell("a", Verdict.SLOWER, 1.3, 1.2, 1.4),
        cell("b", Verdict.FASTER, 0.7, 0.6, 0.8),
        cell("c", Verdict.SAME, 1.0, 0.99, 1.01),
        cell("</script>", Verdict.INCONCLUSIVE, 1.1, 0.9, float("inf")),
        cell("e", None, complaints=(Complaint(Gate.STATUS, "ok before, crashed now"),)),
    )
    return Comparison(a="A <b>", b="B", threshold=0.05, alpha=0.01, cells=cells, notes=("forced",))


def test_comparison_as_a_page():
    """A comparison's page has its headline, its verdicts, its intervals and its complaints; an endless interval is none."""
    html = render_page(verdict_page(comparison()))
    assert "worse: 2 of 5 cells" in html
    assert "A &lt;b&gt;" in html
    columns = data_of(html)["datasets"]["cells"]["columns"]
    words = [columns["verdict"]["words"][code] for code in columns["verdict"]["codes"]]
    assert sorted(words) == sorted(["slower", "faster", "same", "inconclusive", "none"])
    assert columns["high"]["values"].count(None) == 2
    assert "ok before, crashed now" in html


def test_ids_are_checked():
    """An id that is no id, or is there twice, is a mistake of whoever makes the page."""
    table = Table("t", "d", (), "")
    for sections in ((Section("A b", ""),), (Section("t", "", blocks=(table,)),)):
        with pytest.raises(ValueError, match="id "):
            render_page(Page(title="", intro=(), sections=sections, datasets={"d": {}}))


def test_bundle_is_kept_and_checked(tmp_path, monkeypatch):
    """What the cache holds is used where it is whole, and made again where it is not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []
    bundled = "let vegaEmbed; window.vegaEmbed=vegaEmbed;"
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda snippet: made.append(snippet) or bundled)
    first = bundle.vega_script()
    assert bundle.vega_script() == first
    assert len(made) == 1
    (file,) = (tmp_path / "attnbench").iterdir()
    file.write_text("torn")
    assert bundle.vega_script() == first
    assert len(made) == 2


def test_usage_errors(tmp_path):
    """No run, a file that is none, and an output over an input end with one line."""

    def request(*runs, output=None):
        return ReportRequest(runs=runs, output=output, format=None, conformance=None)

    with pytest.raises(UsageError, match="at least one"):
        write_report(request())
    with pytest.raises(UnreadableResults, match="cannot be read"):
        write_report(request(tmp_path / "nothing.csv"))
    folder = pages.write_run(tmp_path / "run", pages.many(20))
    with pytest.raises(UsageError, match="write over"):
        write_report(request(folder, output=folder / "summary.csv"))


def test_run_leaves_a_page(tmp_path):
    """A run writes its page, also with --quiet, and says where; a page that fails fails no run."""
    quick = (
        *TINY,
        "--processes",
        "1",
        "--blocks",
        "2",
    )
    result = attnbench("run", *quick, "--quiet", "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    assert str(tmp_path / "run" / "report.html") in result.stdout
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert data_of(html)["datasets"]["cells"]["rows"] == 1


def test_report_as_markdown(ladder):
    """`report --format markdown` prints the same sections; the winner has a star in the matrix."""
    result = attnbench("report", ladder, "--format", "markdown")
    assert result.returncode == 0, result.stderr
    assert "## What wins where" in result.stdout
    assert "★1.00" in result.stdout
    assert "| self\\-128 |" in result.stdout


def test_a_page_of_an_accelerator_names_it_and_shows_its_time(default_page, tmp_path):
    """And a page of a CPU has neither: no column of which nothing is known."""
    html = page_of(
        [BASELINE.parents[1] / "nvidia-h200-intel-xeon-processor-16-cores" / "flash"], None, tmp_path / "x.html"
    )
    assert "suite flash on NVIDIA H200<" in html
    assert all(words in html for words in ("cold L2", "4 of 32 heads"))
    assert "device_s" in data_of(html)["datasets"]["cells"]["columns"]
    assert "cold L2" not in default_page
