"""Thresholds: what users type and what their TOML files hold, and one clear line where it makes no sense."""

from __future__ import annotations

import pytest

from benchmarks.comparison.thresholds import Override, Threshold, parse_percent, parse_seconds, read_overrides
from benchmarks.errors import UnreadableResults, UsageError
from tests.planted import usual


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), ("2.5 %", 0.025), ("0.05", 0.05), (" 0% ", 0.0), ("1e-3", 0.001), ("0.1%", 0.001)]
)
def test_shares(text, share):
    """Per cent with a sign, shares without."""
    assert parse_percent(text) == pytest.approx(share)


@pytest.mark.parametrize(
    "text", ["", "%", "five", "-1%", "nan", "inf%", "1e999", "5 pct", "5", "1.0", "0x5", "5%%", "\u0665%"]
)
def test_no_shares(text):
    """Everything else is a usage error that shows what was got and an example."""
    with pytest.raises(UsageError, match="expected a share such as 5%"):
        parse_percent(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("20us", 2e-5), ("1.5 ms", 1.5e-3), ("3s", 3.0), ("7ns", 7e-9), ("0us", 0.0)]
)
def test_times(text, seconds):
    """A time has its unit."""
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "20", "us", "-1us", "1 h", "nan s", "infs", "1e999s"])
def test_no_times(text):
    """Without a unit it is refused."""
    with pytest.raises(UsageError, match="expected a number with its unit"):
        parse_seconds(text)


def test_the_last_override_that_matches_counts():
    """Case and implementation are globs; what an override leaves out stays."""
    thresholds = usual(
        0.05,
        overrides=[
            Override("self-*", "*", 0.1, None),
            Override("*", "torch/*", None, 2e-5),
            Override("self-128", "torch/*", 0.2, None),
        ],
    )
    assert thresholds.of("masked", "numpy/naive") == Threshold(0.05, 0.0)
    assert thresholds.of("self-64", "numpy/naive") == Threshold(0.1, 0.0)
    assert thresholds.of("self-128", "torch/sdpa") == Threshold(0.2, 2e-5)


def test_overrides_from_a_file(tmp_path):
    """The tables named [[override]]."""
    file = tmp_path / "thresholds.toml"
    file.write_text(
        '[[override]]\ncase = "self-*"\nthreshold = "10%"\n[[override]]\nimplementation = "a/b"\nfloor = "1us"\n'
    )
    assert read_overrides(file) == (Override("self-*", "*", 0.1, None), Override("*", "a/b", None, 1e-6))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[override]\n", "cannot be read"),
        ("[thresholds]\n", "expected tables named"),
        ('override = "5%"\n', "expected tables named"),
        ('[[override]]\ncase = "x"\n', "override 1: expected a threshold or a floor"),
        ("[[override]]\nthreshold = 5\n", "expected texts"),
        ('[[override]]\nthreshold = "5%"\n[[override]]\nthreshold = "x"\n', "override 2: threshold 'x'"),
        ('[[override]]\nfloor = "5"\n', "expected a number with its unit"),
        ('[[override]]\nthreshhold = "5%"\n', "unknown 'threshhold'"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, says):
    """With the number of its override."""
    file = tmp_path / "thresholds.toml"
    file.write_text(text)
    with pytest.raises(UnreadableResults, match=r"thresholds\.toml") as caught:
        read_overrides(file)
    assert says in str(caught.value)


def test_no_file(tmp_path):
    """One that is not there."""
    with pytest.raises(UnreadableResults, match="cannot be read"):
        read_overrides(tmp_path / "none.toml")
