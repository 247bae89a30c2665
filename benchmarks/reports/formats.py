"""The other forms in which records are printed: Markdown, CSV, JSON, GitHub annotations and JUnit XML."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET  # only writes here; nothing is parsed

from benchmarks.insights import winners
from benchmarks.records import Status, to_csv
from benchmarks.reports.text import harmless, seconds, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.records import Record


def markdown(records: Sequence[Record]) -> str:
    """One table; the winner of each case in bold."""
    best = winners(records)
    lines = [
        "| case | implementation | median | 95% interval | x best | err/bound |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for r in records:
        case, name = _cell(r.case), _cell(r.implementation)
        name = f"**{name}**" if best.get(r.case) is r else name
        if r.median_s is None:
            lines.append(f"| {case} | {name} | {r.status} | {_cell(r.reason)} | | |")
            continue
        fastest = best[r.case].median_s or r.median_s
        interval = spread(r.median_s, r.ci_low_s or r.median_s, r.ci_high_s or r.median_s)
        over = "" if r.error_over_bound is None else f"{r.error_over_bound:.2f}"
        lines.append(f"| {case} | {name} | {seconds(r.median_s)} | {interval} | {r.median_s / fastest:.2f} | {over} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Foreign text in a Markdown cell: no pipes, no HTML, no markup, nobody mentioned."""
    for character in "&\\`*_[]<>|~$":
        text = text.replace(character, f"&#{ord(character)};" if character in "<>|&" else f"\\{character}")
    return re.sub(r"([@#])(?!\d+;)", r"\1&ZeroWidthSpace;", harmless(text))


def as_json(records: Sequence[Record]) -> str:
    """A list of objects with the columns of summary.csv."""
    rows = [{k.rstrip("_"): v for k, v in dataclasses.asdict(r).items()} for r in records]
    return json.dumps(rows, indent=1) + "\n"


def github(records: Sequence[Record]) -> str:
    """An error annotation for each cell that failed; nothing else."""
    lines = []
    for r in records:
        if r.failed:
            message = harmless(r.reason).replace("%", "%25")
            title = harmless(f"{r.implementation} {r.status} on {r.case}").replace("%", "%25")
            lines.append(f"::error title={title.replace(':', '%3A').replace(',', '%2C')}::{message}")
    return "".join(line + "\n" for line in lines)


def junit(records: Sequence[Record]) -> str:
    """One test case per cell: failures fail; refusals, and where a sweep ends, are skipped."""
    failures = sum(r.failed for r in records)
    skipped = sum(r.status is not Status.OK and not r.failed for r in records)
    suite = ET.Element(
        "testsuite", name="attnbench", tests=str(len(records)), failures=str(failures), skipped=str(skipped)
    )
    for r in records:
        found = ET.SubElement(
            suite, "testcase", classname=harmless(r.implementation), name=harmless(f"{r.case} {r.device}")
        )
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
