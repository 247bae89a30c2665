"""The other forms in which records are printed: Markdown, CSV, JSON, GitHub annotations and JUnit XML."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET  # only writes here; nothing is parsed

from benchmarks.insights import winners
from benchmarks.records import COLUMNS, FIELDS, Status, by_machine, to_csv
from benchmarks.reports.text import harmless, seconds, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.records import Record


def markdown(records: Sequence[Record]) -> str:
    """One table; the winner of each case in bold, of each machine where there are several."""
    machines = by_machine(records)
    first, rule = ("", "") if len(machines) < 2 else ("| machine ", "| --- ")
    lines = [
        f"{first}| case | implementation | median | 95% interval | x best | err/bound |",
        f"{rule}| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for machine, own in machines.items():
        start = f"| {_cell(machine)} " if first else ""
        lines += [start + row for row in _rows(own)]
    return "\n".join(lines) + "\n"


def _rows(records: Sequence[Record]) -> Iterator[str]:
    best = winners(records)
    for r in records:
        case, name = _cell(r.case), _cell(r.implementation)
        name = f"**{name}**" if best.get(r.case) is r else name
        if r.median_s is None:
            yield f"| {case} | {name} | {r.status} | {_cell(r.reason)} | | |"
            continue
        fastest = best[r.case].median_s or r.median_s
        interval = spread(r.median_s, r.ci_low_s or r.median_s, r.ci_high_s or r.median_s)
        over = "" if r.error_over_bound is None else f"{r.error_over_bound:.2f}"
        yield f"| {case} | {name} | {seconds(r.median_s)} | {interval} | {r.median_s / fastest:.2f} | {over} |"


def _cell(text: str) -> str:
    """Foreign text in a Markdown cell: no pipes, no HTML, no markup, nobody mentioned."""
    for character in "&\\`*_[]<>|~$":
        text = text.replace(character, f"&#{ord(character)};" if character in "<>|&" else f"\\{character}")
    return re.sub(r"([@#])(?!\d+;)", r"\1&ZeroWidthSpace;", harmless(text))


def as_json(records: Sequence[Record]) -> str:
    """A list of objects with the columns of summary.csv."""
    names = list(zip(COLUMNS, FIELDS, strict=True))
    rows = (json.dumps({column: getattr(r, name) for column, name in names}, indent=1) for r in records)
    return "[\n" + ",\n".join(rows) + "\n]\n"


def github(records: Sequence[Record]) -> str:
    """An error annotation for each cell that failed; nothing else."""
    lines, several = [], len(by_machine(records)) > 1
    for r in records:
        if r.failed:
            message = harmless(r.reason).replace("%", "%25")
            where = f" on {r.machine}" if several else ""
            title = harmless(f"{r.implementation} {r.status} on {r.case}{where}").replace("%", "%25")
            lines.append(f"::error title={title.replace(':', '%3A').replace(',', '%2C')}::{message}")
    return "".join(line + "\n" for line in lines)


def junit(records: Sequence[Record]) -> str:
    """One test case per cell: failures fail; refusals, and where a sweep ends, are skipped."""
    failures = sum(r.failed for r in records)
    skipped = sum(r.status is not Status.OK and not r.failed for r in records)
    suite = ET.Element(
        "testsuite", name="attnbench", tests=str(len(records)), failures=str(failures), skipped=str(skipped)
    )
    several = len(by_machine(records)) > 1
    for r in records:
        where = harmless(f"{r.case} {r.device}" + (f" {r.machine}" if several else ""))
        found = ET.SubElement(suite, "testcase", classname=harmless(r.implementation), name=where)
        if r.median_s is not None:
            found.set("time", f"{r.median_s:.9f}")
        elif r.failed:
            ET.SubElement(found, "failure", message=harmless(r.reason), type=r.status)
        else:
            ET.SubElement(found, "skipped", message=harmless(r.reason))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


FORMATS: dict[str, Callable[[Sequence[Record]], str]] = {
    "markdown": markdown,
    "csv": to_csv,
    "json": as_json,
    "github": github,
    "junit": junit,
}
"""All but "table", which is benchmarks.reports.terminal's."""
