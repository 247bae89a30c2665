"""The site: Sphinx, for that is what NumPy, SciPy, pandas and JAX build theirs with; MyST for Markdown, their theme.

nox -s docs, or: python -W error -m sphinx -b html -W --keep-going -n -c docs . docs/_build/html

The source is the whole repository, so that a link from a page to ../README.md leads to the same place here as on a code host.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "attnbench"
author = "the attnbench authors"
copyright = "the attnbench authors"  # Sphinx's name
html_title = "attnbench"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "results/*.md"]
exclude_patterns = [".*", "**/.*", "docs/_build", "results/runs", "results/baselines", "**/__pycache__", "*.egg-info"]
exclude_patterns += ["backends", "benchmarks", "tests", "examples", "node_modules", "build", "dist"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
highlight_language = "none"  # blocks without a language are commands and what they print
default_role = "code"  # docstrings are plain text with `code`, not reStructuredText
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# Types of other projects, which no page of ours describes, and what typing spells in its own way.
nitpick_ignore_regex = [
    ("py:.*", r"(np|numpy|pd|pandas|pathlib|collections|typing|contextlib|types|Any|Callable|Mapping)\b.*")
]
nitpick_ignore_regex += [("py:.*", r"Path|Window|.*\.(Window|Prepared|Framework)")]  # ours, without a page

html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "navbar_center": [],
    "navbar_persistent": ["search-button-field"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}
html_sidebars = {"**": ["all-pages"]}
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_additional_pages = {"index": "to-index.html"}
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_remove_prompts = True

FRAMEWORKS = {"torch", "jax", "tensorflow", "keras", "onnxruntime"}


def write_command_line(app: Sphinx) -> None:
    """docs/command-line.md, from the program's own help: written anew for each build, and ignored by git."""
    words = ("-m", "typer", "benchmarks.cli.commands", "utils", "docs", "--name", "python -m benchmarks")
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    text = done.stdout.replace("# `python -m benchmarks`\n", "# Command line\n", 1)
    file = ROOT / "docs" / "command-line.md"
    if not file.exists() or file.read_text("utf-8") != text:
        file.write_text(text, "utf-8")


def plain_text(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Stars in docstrings are powers and keyword arguments."""
    lines[:] = [line.replace("*", r"\*") for line in lines]


def import_no_framework(app: Sphinx, error: Exception | None) -> None:
    """The pages of the interface come from its docstrings; a build that had to import a framework for them is wrong."""
    if error is None and (there := FRAMEWORKS & set(sys.modules)):
        raise RuntimeError(f"building the pages has imported {', '.join(sorted(there))}")


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("config-inited", lambda app, config: write_command_line(app))
    app.connect("autodoc-process-docstring", plain_text, priority=400)  # before napoleon
    app.connect("build-finished", import_no_framework)
