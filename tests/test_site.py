"""The documentation builds as a site without a warning, its links lead somewhere, and its two made pages are of today."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer.main

import backends
from benchmarks.cli.commands import app
from tests.processes import ROOT

for needed in ("sphinx", "myst_parser", "pydata_sphinx_theme", "sphinx_copybutton"):
    pytest.importorskip(needed, reason="the dependency group `docs` is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a strict build: every warning is an error, also a reference that leads nowhere."""
    out = tmp_path_factory.mktemp("site")
    options = ("-b", "html", "-q", "-W", "--keep-going", "-n", "-d", str(out / "doctrees"), "-c", "docs")
    command = [sys.executable, "-m", "sphinx", *options, ".", str(out / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


def text(page: Path) -> str:
    """What a page says, without its markup."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text("utf-8")))


def test_every_link_leads_to_a_file_and_a_place(site):
    """Links and pictures within the site exist, with the heading that they name: README, results and sources, too."""
    pages = [page for page in site.rglob("*.html") if "_static" not in page.parts]  # the theme keeps templates there
    ids = {page: set(re.findall(r'\bid="([^"]+)"', page.read_text("utf-8"))) for page in pages}
    missing = []
    for page in ids:
        for link in re.findall(r'(?:href|src)="([^"]+)"', page.read_text("utf-8")):
            parts = urlsplit(html.unescape(link))
            if parts.scheme or parts.netloc or link.startswith("data:"):
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            known = ids.get(target, {parts.fragment})
            if not target.is_file() or (parts.fragment and parts.fragment not in known):
                missing.append(f"{page.relative_to(site)}: {link}")
    assert not missing


def test_nothing_is_loaded_from_elsewhere(site):
    """Scripts, styles and pictures are the site's own."""
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)"', page.read_text("utf-8"))
        loaded += re.findall(r'<link[^>]* rel="(?:stylesheet|preload)"[^>]* href="([^"]+)"', page.read_text("utf-8"))
        assert not [link for link in loaded if urlsplit(link).netloc], page


def test_every_option_of_every_command_is_on_its_page(site):
    """The page of the command line is what --help says today."""
    page = text(site / "docs" / "command-line.html")
    for name, command in typer.main.get_command(app).commands.items():
        assert f"python -m benchmarks {name}" in page
        for option in command.params:
            assert all(word in page for word in option.opts if word.startswith("--")), (name, option.opts)


def test_every_public_name_is_on_the_page_of_the_interface(site):
    """What __all__ promises is described, with its docstring."""
    page = text(site / "docs" / "api.html")
    names = set(backends.__all__) - {"reference"} | {"reference.attention"}
    assert not [name for name in names if f"backends.{name}" not in re.sub(r"\s", "", page)]
    assert "softmax(scale * query @ key.T + bias, over the visible keys) @ value" in page
