"""docs/licences.md says what is installed, for everything that this project asks for itself."""

from __future__ import annotations

import importlib.util

import pytest

from tests.helpers import ROOT


@pytest.fixture(scope="module")
def made():
    """docs/licences.py."""
    spec = importlib.util.spec_from_file_location("licences", ROOT / "docs" / "licences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(made):
    """Package -> version, asked for by, licence."""
    lines = made.PAGE.read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {name: rest for name, *rest in cells[2:]}


def test_every_pin_has_its_row(made, rows):
    """With its version, and none without a licence; nothing else stands there."""
    assert {name: row[0] for name, row in rows.items()} == made.pins()
    assert [name for name, row in rows.items() if not row[2]] == []


def test_what_is_asked_for_is_pinned_and_listed(made, rows):
    """Each dependency of pyproject.toml, with the part that asks for it and the licence that its metadata has here."""
    for name, part in made.direct().items():
        assert rows[name][1] == part, name
        assert rows[name][2] == made.licence(name), f"{name}: make docs/licences.md again, with docs/licences.py"
