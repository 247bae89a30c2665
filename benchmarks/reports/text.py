"""Small words and numbers of all reports: times with their unit, and foreign text made harmless."""

from __future__ import annotations

import html
import re

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def seconds(value: float | None) -> str:
    """Three significant digits and the unit that fits: "12.3 ms"."""
    if value is None:
        return ""
    factor, unit = next(((f, u) for f, u in _UNITS if value >= f * 0.9995), _UNITS[-1])
    return f"{three_digits(value / factor)} {unit}"


def three_digits(value: float) -> str:
    """1.23, 12.3, 123, 1234."""
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def megabytes(value: int | None) -> str:
    """Three significant digits of a peak of memory: "33.6 MB", "1.23 GB"; "< 4 MB" below what the kernel resolves."""
    if value is None:
        return ""
    if value < 4e6:
        return "< 4 MB"
    return f"{three_digits(value / 1e9)} GB" if value >= 999.5e6 else f"{three_digits(value / 1e6)} MB"


def share(value: float | None) -> str:
    """A part of something, in per cent without decimals: "42%"; beyond what fits four digits or below one, where it ends."""
    if value is None:
        return ""
    if 0 < value < 0.005:
        return "<1%"
    return f"{100 * value:.0f}%" if value < 9.995 else ">999%"


def spread(median: float, low: float, high: float) -> str:
    """Half the width of an interval, relative to the median: "±1.2%"."""
    half = 100 * (high - low) / 2 / median
    return f"±{half:.1f}%" if half < 99.95 else "±>99%"


def harmless(text: str) -> str:
    """Text from foreign code without control or direction-changing characters: it cannot steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def prose(text: str) -> str:
    """A sentence with foreign text in it, for Markdown: all markup escaped, mentions and references to issues broken."""
    escaped = re.sub(r"([\\`*_{}\[\]()+!|~$^-])", r"\\\1", html.escape(harmless(text)[:300], quote=False))
    return re.sub(r"([@#])", r"\1&ZeroWidthSpace;", escaped)


def short_machine(name: str) -> str:
    """The digits at the end of a machine's name, by which a narrow table tells machines apart."""
    return name.rpartition("-")[2][-7:] or "none"


def shape_words(row: dict[str, object]) -> str:
    """B1 T128 S128 N8 K8 H64 V64 float32 causal=top_left ...: what a case asks, on one line."""
    words = [f"{letter}{row[letter]}" for letter in "BTSNKHV"] + [str(row["dtype"])]
    if row.get("pass_", "forward") != "forward":
        words.append("forward and backward")
    names = ("causal", "window", "softcap", "scale", "mask", "bias", "kv_lengths")
    words += [f"{name}={str(row[name]).replace(' ', ',')}" for name in names if row.get(name) not in ("", None)]
    return " ".join(words)
