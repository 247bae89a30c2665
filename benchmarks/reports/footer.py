"""What stands under the table of a run: the limits, how time and memory grow, what compiling costs."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from backends import registry
from benchmarks.compiling import Payback, paybacks, twins
from benchmarks.growth import Fit, growth
from benchmarks.insights import handicap_warning
from benchmarks.limits import far_behind
from benchmarks.reports.columns import Column, Columns, Row
from benchmarks.reports.text import harmless, seconds, three_digits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from benchmarks.cases import Case
    from benchmarks.harness.state import State
    from benchmarks.records import Record


def footer(cases: Iterable[Case], records: Sequence[Record], state: State) -> RenderableType:
    """All of it that this run can tell."""
    blocks = [*_warnings(state), *_limits(state), *_growth(cases, records), *_compiling(records)]
    return Group(*(part for block in blocks for part in (block, Text(""))))


def _warnings(state: State) -> list[RenderableType]:
    """Here as well as while it runs: --quiet silences only the latter."""
    lines = [*map(handicap_warning, state.handicaps), *state.notes]
    return [Group(*(Text(harmless(line)) for line in lines))] if lines else []


def _limits(state: State) -> list[RenderableType]:
    dtypes = [name for name in ("float64", "float32", "bfloat16", "float16") if name in state.matmul_gflops]
    told = (*state.matmul_gflops.values(), state.gb_per_s, state.call_overhead_s)
    frameworks = {name: None for rates in told for name in rates}
    if not frameworks:
        return []
    columns = [
        Column("limits, measured", 16, names=True, brief="GFLOP/s", brief_width=11),
        *(Column(f"{dtype} GFLOP/s", 16, brief=dtype, brief_width=8) for dtype in dtypes),
        Column("memory GB/s", 11, rank=1),
        Column("empty call", 10, rank=2),
    ]
    rows = []
    for name in frameworks:
        rates = [*(state.matmul_gflops[dtype].get(name) for dtype in dtypes), state.gb_per_s.get(name)]
        known = ["-" if rate is None else three_digits(rate) for rate in rates]
        rows.append(Row([harmless(name), *known, seconds(state.call_overhead_s.get(name)) or "-"]))
    return [Group(Columns(columns, rows), *(Text(harmless(line)) for line in far_behind(state)))]


_GROWTH = (
    Column("growth with the length", 27, names=True, brief="growth", brief_width=27),
    Column("time ~ S^", 9),
    Column("over", 13, rank=2),
    Column("memory ~ S^", 11),
    Column("over", 13, rank=1),
)


def _growth(cases: Iterable[Case], records: Sequence[Record]) -> list[RenderableType]:
    blocks: list[RenderableType] = []
    for ladder, group in groupby(growth(cases, records), key=lambda g: g.ladder):
        rows = [Row([harmless(g.implementation), *_fitted(g.time), *_fitted(g.memory)]) for g in group]
        blocks.append(Group(Text(harmless(ladder), style="bold"), Columns(_GROWTH, rows)))
    return blocks


def _fitted(fit: Fit | None) -> tuple[str, str]:
    return ("-", "") if fit is None else (f"{fit.exponent:.2f}", f"{fit.first}-{fit.last}")


def _compiling(records: Sequence[Record]) -> list[RenderableType]:
    lines = [Text(harmless(paid_words(payback))) for payback in paybacks(records, twins(registry.implementations()))]
    return [Group(*lines)] if lines else []


def paid_words(payback: Payback) -> str:
    """After how many calls compiling has paid, over all cases: one sentence."""
    told = sorted(calls for calls in payback.calls.values() if calls is not None)
    never = len(payback.calls) - len(told)
    who = f"{payback.compiled} beside {payback.eager.partition('/')[2]}:"  # of the same framework
    warm = f"; its code came from the disk in {payback.cached}" if payback.cached else ""
    if not told:
        return f"{who} never worth compiling here ({never} {_cases(never)}{warm})"
    span = f"{told[0]}" if told[0] == told[-1] else f"{told[0]} to {told[-1]}"
    when = f"after {span} calls" if told[-1] else "from the first call on"
    others = f", never in {never}" if never else ""
    return f"{who} worth compiling {when} ({len(told)} {_cases(len(told))}{others}{warm})"


def _cases(count: int) -> str:
    return "case" if count == 1 else "cases"
