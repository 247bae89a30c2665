"""Vega, Vega-Lite and Vega-Embed as one script, made by vl-convert without a network, and kept for the next page."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def vega_script() -> str:
    """JavaScript that sets `vega`, `vegaLite` and `vegaEmbed`. Made once for each version (2.5 s), then read from a cache."""
    import vl_convert

    name = f"vega-{vl_convert.get_vega_version()}-lite-{vl_convert.get_vegalite_versions()[-1]}-{vl_convert.__version__}.js"
    file = _cache() / name
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return _checked(file.read_text(encoding="utf-8"))
    text = _checked(vl_convert.javascript_bundle())
    with contextlib.suppress(OSError):  # a home that cannot be written costs the next page 2.5 s, no more
        _keep(file, text)
    return text


def _checked(text: str) -> str:
    """OSError for what is not whole or would end the script element early."""
    if "window.vegaEmbed=" not in text[-200:] or "</script" in text.lower():
        raise OSError("no bundle of Vega")
    return text


def _keep(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=file.parent, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
    Path(part).replace(file)


def _cache() -> Path:
    """Where the user keeps what can be made again (XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attnbench"
