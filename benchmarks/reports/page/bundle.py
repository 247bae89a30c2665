"""Vega, Vega-Lite and Vega-Embed as one script, made by vl-convert without a network, and kept for the next page."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import tempfile
from pathlib import Path

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def vega_script() -> str:
    """JavaScript that sets `vegaEmbed`. Made once for each version of vl-convert (2.5 s), then read from a cache."""
    file = _file()
    kept = "" if file is None else _read(file)
    if _is_whole(kept):
        return kept
    import vl_convert

    made = vl_convert.javascript_bundle(_SNIPPET)
    if not _is_whole(made):
        version = importlib.metadata.version("vl-convert-python")
        raise RuntimeError(
            f"vl-convert {version} makes a bundle that no page can hold: no vegaEmbed, or a script's end in it"
        )
    if file is not None:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs the next page 2.5 s, no more
            _keep(file, made)
    return made


def _is_whole(text: str) -> bool:
    """Written to its end, and without what would end a script element early."""
    return "window.vegaEmbed=" in text[-200:] and "</script" not in text.lower() and "<!--" not in text


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _keep(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=file.parent, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
    Path(part).replace(file)


def _file() -> Path | None:
    """Where the user keeps what can be made again (XDG base directories); None where there is no home."""
    name = f"vega-of-vl-convert-{importlib.metadata.version('vl-convert-python')}.js"
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attnbench" / name
    except RuntimeError:
        return None
