"""CITATION.cff and the forms of .github are what their readers take, and agree with the project."""

from __future__ import annotations

import tomllib

import pytest
import yaml

from tests.processes import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TYPES = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def test_the_citation_has_what_the_format_requires():
    """Citation File Format 1.2.0: its required keys, a known type, and this project's version and licence."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["cff-version"] == "1.2.0"
    assert cited["type"] in ("software", "dataset")
    assert all({"name"} <= set(author) or {"family-names"} <= set(author) for author in cited["authors"])
    assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])


@pytest.mark.parametrize("file", [f for f in FORMS if f.name != "config.yml"], ids=lambda f: f.stem)
def test_an_issue_form_is_valid(file):
    """GitHub's form schema: name, description, a body of known elements with unique ids and labels."""
    form = yaml.safe_load(file.read_text())
    assert {"name", "description", "body"} <= set(form)
    assert {element["type"] for element in form["body"]} <= TYPES
    ids = [element["id"] for element in form["body"]]
    assert len(ids) == len(set(ids))
    assert all(element["attributes"]["label"] for element in form["body"])


def test_there_is_a_form_for_each_kind_of_issue():
    """Those that CONTRIBUTING.md promises."""
    assert {f.stem for f in FORMS} == {"config", "wrong-answer", "unfair-timing", "false-alarm", "new-implementation"}
