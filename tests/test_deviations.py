"""Each declared deviation can be seen without us: its reproduction, run in its framework, prints what is declared."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from benchmarks.conformance.reproductions import REPRODUCTIONS, reproduction
from tests.helpers import implementation


def test_its_reproduction_shows_each_deviation(cpu_id: str, needs) -> None:
    """NaN where NaN leaks; numbers other than 0 where a row that sees nothing should be 0."""
    chosen = implementation(cpu_id)
    needs(chosen.framework)
    for deviation in chosen.deviations:
        known = reproduction(cpu_id, deviation.topic)
        assert known is not None, f"{cpu_id} {deviation.topic}: no reproduction is written down"
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(known.code, {})
        text = printed.getvalue()
        if deviation.topic == "empty_rows":
            assert "nan" in text.lower() or any(float(number) for number in re.findall(r"\d+\.\d*", text)), text
        else:
            assert "nan" in text.lower(), text


@pytest.mark.parametrize("known", REPRODUCTIONS, ids=lambda r: f"{r.implementations[0]} {r.topic}")
def test_a_reproduction_is_a_few_lines(known) -> None:
    """Short enough to paste into an upstream thread."""
    assert len(known.code.splitlines()) <= 7  # ONNX's model takes three of them
    assert max(map(len, known.code.splitlines())) <= 128
