"""The conformance matrix as a page of documentation, and as a table that a later check is held against."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from typing import TYPE_CHECKING

from benchmarks.comparison.plain_json import finite
from benchmarks.conformance.probes import BY_NAME
from benchmarks.conformance.probing import Verdict
from benchmarks.conformance.reproductions import reproduction
from benchmarks.errors import UnreadableResults
from benchmarks.foreign import SMALL_BYTES, csv_header, csv_rows, read_bytes
from benchmarks.records import safe_text
from benchmarks.reports.text import prose

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from backends.interface import Deviation
    from benchmarks.conformance.check import Matrix
    from benchmarks.conformance.probing import Answer

SCHEMA_VERSION = 1
COLUMNS = (
    "schema_version", "framework", "version", "implementation", "probe", "verdict", "reason", "error_over_bound",
    "rmse_over_rms", "error_over_naive",
)  # fmt: skip
MARKS = {
    Verdict.PASS: "✓",
    Verdict.REFUSED: "·",
    Verdict.DEVIATES: "≠",
    Verdict.FAIL: "✗",
    Verdict.ERROR: "✗",
}
_NARROW = ("bfloat16", "float16")


def conformance_csv(matrix: Matrix) -> str:
    """One row for each answer."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for answer in matrix.answers.values():
        framework = answer.implementation.partition("/")[0]
        numbers = (answer.error_over_bound, answer.rmse_over_rms, answer.error_over_naive)
        told = [safe_text(text) for text in (answer.implementation, answer.probe, str(answer.verdict), answer.reason)]
        version = safe_text(matrix.greetings[framework].version)
        writer.writerow(
            [SCHEMA_VERSION, framework, version, *told, *("" if n is None else f"{n:.3g}" for n in numbers)]
        )
    return out.getvalue()


def read_conformance(file: Path) -> list[dict[str, str]]:
    """Column -> text, for each answer of a conformance.csv. UnreadableResults where it is none."""
    data = read_bytes(file, SMALL_BYTES)
    header = csv_header(data, str(file), "conformance.csv")
    if set(COLUMNS) - set(header):
        raise UnreadableResults(f"{file} holds no conformance matrix, expected the columns {', '.join(COLUMNS)}")
    rows = [dict(zip(header, row, strict=True)) for _, row in csv_rows(data, str(file))][1:]
    for row in rows:
        if row["schema_version"] != str(SCHEMA_VERSION):
            raise UnreadableResults(f"{file}: schema_version {row['schema_version']!r}, expected {SCHEMA_VERSION}")
    if not rows:
        raise UnreadableResults(f"{file} has a header and no answers")
    return rows


def changes_since(file: Path, matrix: Matrix) -> list[str]:
    """Where verdicts differ from those of an earlier conformance.csv: a line for each. UnreadableResults."""
    rows = read_conformance(file)
    before = {(row["implementation"], row["probe"]): row for row in rows}
    found = []
    for key, answer in matrix.answers.items():
        was = before.get(key)
        if was is not None and was["verdict"] != answer.verdict:
            version = matrix.greetings[key[0].partition("/")[0]].version
            found.append(
                f"{key[0]} {key[1]}: {was['verdict']} with {was['version']}, now {answer.verdict} with {version}"
                + (f": {answer.reason}" if answer.reason else "")
            )
    return found


def conformance_page(matrix: Matrix, deviations: Mapping[str, Sequence[Deviation]]) -> str:
    """docs/conformance.md. `deviations`: implementation -> what it declares."""
    return "\n".join(
        [
            "# Conformance: does it compute what you mean?",
            "",
            "Every implementation, asked every semantic of the standard on small problems, forward and backward, and held to",
            "a float64 oracle within a bound that follows from the arithmetic it claims. Measured, not claimed: made by",
            "`nox -s conformance`, which turns red when an answer changes. The standard: `docs/architecture.md`.",
            "A question in float32 that is refused is asked in 16 bits: fused kernels of accelerators take nothing else.",
            "",
            *_versions(matrix),
            "",
            "✓ right · refused, with a reason (below) ≠ differs from the standard, as declared (below) ✗ wrong",
            "",
            *_tables(matrix),
            *_deviations(matrix, deviations),
            *_refusals(matrix),
            *_precision(matrix),
        ]
    )


def _versions(matrix: Matrix) -> list[str]:
    lines = ["| Framework | Version |", "| --- | --- |"]
    return lines + [f"| {name} | {prose(g.version or g.reason)} |" for name, g in matrix.greetings.items()]


def _tables(matrix: Matrix) -> list[str]:
    """A table for each framework: questions down, implementations across."""
    lines = []
    for framework, ids in _by_framework(matrix.implementations).items():
        names = [id.partition("/")[2] for id in ids]
        lines += [f"## {framework}", "", f"| Question | {' | '.join(names)} |", "| --- |" + " :-: |" * len(ids)]
        for probe in matrix.probes:
            marks = [MARKS[matrix.answers[id, probe].verdict] for id in ids]
            lines.append(f"| **{probe}**: {prose(BY_NAME[probe].says)} | {' | '.join(marks)} |")
        lines.append("")
    return lines


def _by_framework(ids: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for id in ids:
        found[id.partition("/")[0]].append(id)
    return found


def _deviations(matrix: Matrix, declared: Mapping[str, Sequence[Deviation]]) -> list[str]:
    """What is declared, those that share sentence and reproduction together."""
    alike: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for id in matrix.implementations:
        for d in declared.get(id, ()):
            shown = reproduction(id, d.topic)
            alike[d.topic, d.says, d.source, "" if shown is None else shown.code].append(id)
    lines = ["## Where they differ from the standard", ""]
    for (topic, says, source, code), ids in sorted(alike.items()):
        probe = next((p.says for p in BY_NAME.values() if p.topic == topic), topic)
        lines.append(f'**{", ".join(ids)}**: the standard says "{probe}"; here it is {says}.')
        lines += [f"Upstream: {source}." if source else "", ""]
        if code:
            lines += ["```python", code.strip(), "```", ""]
    return lines


def _refusals(matrix: Matrix) -> list[str]:
    """Reason -> who gives it, and to which questions."""
    reasons: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for answer in matrix.answers.values():
        if answer.verdict is Verdict.REFUSED:
            reasons[answer.reason][answer.implementation].append(answer.probe)
    lines = ["## What is refused, and why", "", "| Reason | Implementations | Questions |", "| --- | --- | --- |"]
    for reason, by_id in sorted(reasons.items()):
        probes = dict.fromkeys(probe for asked in by_id.values() for probe in asked)
        lines.append(f"| {prose(reason)} | {', '.join(by_id)} | {', '.join(probes)} |")
    return [*lines, ""]


def _precision(matrix: Matrix) -> list[str]:
    """How far the answers are from the oracle: of the bound, of their own size, and of the textbook form's error."""
    lines = [
        "## How wrong the right ones are",
        "",
        "The largest error over its bound (a healthy implementation is between 0.02 and 1: the claim is neither broken nor",
        "generous), over all forward questions of a dtype; root mean square of the error over that of the output; and the",
        "largest error over that of the textbook computation in the same dtype (FlashAttention's tests allow 2).",
        "",
        "| Implementation | dtype | error / bound | RMSE / RMS | error / naive |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for id in matrix.implementations:
        for dtype, answers in _by_dtype(matrix, id).items():
            of_bound, of_size, of_naive = (_largest(answers, name) for name in _NUMBERS)
            if of_bound is not None:
                told = ("" if n is None else f"{n:.2g}" for n in (of_bound, of_size, of_naive))
                lines.append(f"| {id} | {dtype} | {' | '.join(told)} |")
    return [*lines, ""]


_NUMBERS = ("error_over_bound", "rmse_over_rms", "error_over_naive")


def _by_dtype(matrix: Matrix, id: str) -> dict[str, list[Answer]]:
    """The answers that are right, by the dtype of their problems, where all of a question's are of one."""
    found: dict[str, list[Answer]] = defaultdict(list)
    for probe in matrix.probes:
        cases = BY_NAME[probe].cases
        dtypes = {case.dtype for case in cases}
        answer = matrix.answers[id, probe]
        if len(dtypes) == 1 and answer.verdict is Verdict.PASS and not any(case.backward for case in cases):
            found[dtypes.pop()].append(answer)
    return dict(sorted(found.items(), key=lambda item: item[0] in _NARROW))


def _largest(answers: Sequence[Answer], name: str) -> float | None:
    numbers = [n for answer in answers if (n := finite(getattr(answer, name))) is not None]
    return max(numbers, default=None)
