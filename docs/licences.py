"""Write licences.md: what constraints.txt pins, under which licence, and what needs it.

Run in the environment that nox makes: .venv/bin/python docs/licences.py. Licences are read from the packages' own metadata.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
ELSEWHERE = {
    "atheris": "Apache-2.0",
    "contourpy": "BSD-3-Clause",
    "cycler": "BSD-3-Clause",
    "fonttools": "MIT",
    "kiwisolver": "BSD-3-Clause",
    "matplotlib": "PSF-2.0 and BSD (the Matplotlib licence)",
    "namex": "Apache-2.0",
    "pillow": "MIT-CMU",
    "py-cpuinfo": "MIT",
    "pyparsing": "MIT",
}
"""Of packages that are not in .venv, or whose metadata says nothing: as their projects' own pages have it."""
_LONGEST = 80


def pins() -> dict[str, str]:
    """Canonical name -> version, of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(";")[0].strip().partition("==") for line in lines if "==" in line and line[0] != "#")
    return {canonicalize_name(name): version for name, _, version in pairs}


def direct() -> dict[str, str]:
    """Canonical name -> which part of pyproject.toml asks for it: "core", an extra, or a group for development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    parts = {"core": project["project"]["dependencies"], **project["project"]["optional-dependencies"]}
    parts |= project["dependency-groups"]
    for part, words in parts.items():
        for word in words:
            if isinstance(word, str):
                found.setdefault(canonicalize_name(Requirement(word).name), part)
    return found


def licence(name: str) -> str:
    """As the installed package says; as ELSEWHERE says where there is none."""
    try:
        told = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return ELSEWHERE.get(name, "")
    text = (told.get("License-Expression") or "").strip()
    plain = (told.get("License") or "").strip()
    classes = [c.rpartition(" :: ")[2] for c in told.get_all("Classifier") or () if c.startswith("License ::")]
    if not text and plain and len(plain) <= _LONGEST and "\n" not in plain:
        text = plain
    return re.sub(r"\s+", " ", text or ", ".join(classes)) or ELSEWHERE.get(name, "")


def page() -> str:
    """All of it."""
    asked = direct()
    lines = [
        "# Licences of what attnbench stands on",
        "",
        "Everything that `constraints.txt` pins, as the packages' own metadata says. Nothing of it is shipped with attnbench:",
        "pip installs it. Made by `docs/licences.py`. attnbench itself: MIT, see [LICENSE](../LICENSE).",
        "",
        "*Asked for by*: `core` is needed by every command; a framework's extra by that framework; `test`, `lint`, `types`,",
        "`docs`, `fuzz` and `pictures` are for development alone. What is empty there is needed by one of the others.",
        "",
        "| Package | Version | Asked for by | Licence |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {version} | {asked.get(name, '')} | {licence(name)} |" for name, version in sorted(pins().items())
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    without = [name for name in pins() if not licence(name)]
    if without:
        sys.exit(f"no licence known of {', '.join(without)}")
    PAGE.write_text(page(), encoding="utf-8")
