"""Tables fit the terminal: whole columns go, the least telling first, before a name is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks.conformance.check import Matrix
from benchmarks.conformance.probing import Answer, Verdict
from benchmarks.reports.columns import Column, Columns, Row
from benchmarks.reports.matrix import matrix_table
from benchmarks.reports.terminal import run_table
from benchmarks.stored_run import read_stored
from tests.processes import ROOT

TABLE = Columns(
    (Column("name", 10, names=True, most=14), Column("kept", 6), Column("less", 6, rank=1), Column("least", 6, rank=2)),
    [Row(("a-name-of-19-letters", "1", "2", "3")), Row(("short", "10", "20", "30"))],
)


def lines_of(table, width):
    """As they are printed on a console so wide."""
    out = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    out.print(table)
    return out.file.getvalue().splitlines()


def test_columns_go_in_the_order_of_their_rank():
    """All of them where there is room, then without the least, then without the next; what has no rank stays."""
    heads = {width: lines_of(TABLE, width)[0].split() for width in (40, 34, 27, 20, 17)}
    assert heads[40] == heads[34] == ["name", "kept", "less", "least"]
    assert heads[27] == ["name", "kept", "less"]
    assert heads[20] == heads[17] == ["name", "kept"]


def test_names_grow_where_there_is_room_and_are_cut_where_there_is_none():
    """Up to their most; cut with a mark, to 8 at least; wide characters count as two."""
    assert lines_of(TABLE, 40)[1].startswith("a-name-of-19-…")
    assert lines_of(TABLE, 34)[1].startswith("a-name-of…")
    assert lines_of(TABLE, 17)[1].startswith("a-name-o…  ")
    wide = Columns((Column("name", 8, names=True), Column("n", 3)), [Row(("注意力机制注意力", "1"))])
    assert lines_of(wide, 20)[1] == "注意力 …    1"


@pytest.mark.parametrize("width", [100, 80, 60, 40])
def test_a_stored_run_fits(width):
    """Every line of the baseline's table is within the terminal, ids are whole down to 60, all cases have the same columns."""
    run = read_stored(ROOT / "results" / "baselines" / "amd-epyc-25-1-avx2-2-cores" / "default")
    lines = lines_of(run_table(run.records, run.state), width)
    assert max(map(len, lines)) <= width
    heads = {line for line in lines if "implementation" in line and "median" in line}
    assert any("   GB/s" in head for head in heads) == (width == 100)
    heads = {head.replace("   GB/s", "GFLOP/s") for head in heads}
    assert len(heads) == 1
    assert "x best" in heads.pop()
    assert width < 60 or not any("…" in line for line in lines)


@pytest.mark.parametrize("width", [100, 80, 60])
def test_the_matrix_fits(width):
    """More tables where there is less room; all letters are there."""
    probes = tuple(f"probe-{n}" for n in range(41))
    answers = {("numpy/naive", probe): Answer("numpy/naive", probe, Verdict.PASS, "") for probe in probes}
    lines = lines_of(matrix_table(Matrix(("numpy/naive",), probes, answers, {})), width)
    assert max(map(len, (line.rstrip() for line in lines[:-1]))) <= width
    assert sum(line.count("+") for line in lines if line.startswith("numpy/naive")) == 41
