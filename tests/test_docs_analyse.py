"""docs/analyse.md: its questions to the stored baseline, and what they print."""

from __future__ import annotations

import re

from tests.documents import FENCE, ROOT, blocks, differences, renewed

DOCUMENT = ROOT / "docs" / "analyse.md"
TEXT = DOCUMENT.read_text("utf-8")


def test_the_page_shows_what_its_blocks_print():
    """Every block runs without a warning and prints exactly the text below it."""
    assert not differences(TEXT, "analyse", DOCUMENT.name)


def test_every_block_is_run_and_shows_its_output():
    """One tag, and an output below each block."""
    found = blocks(TEXT)
    assert {block.tag for block in found} == {"analyse"}
    assert len(found) == sum(fence["info"] == "text" for fence in FENCE.finditer(TEXT))


def test_five_questions_in_three_lines_each():
    """What the page promises."""
    questions = re.findall(r"^## .*\?$", TEXT, re.MULTILINE)
    asked = [block for block in blocks(TEXT) if len(block.source.splitlines()) <= 3]
    assert len(questions) == 5
    assert len(asked) >= 5


def test_a_wrong_number_is_mended():
    """An altered output is not what its block prints, and writing the page anew mends it."""
    altered = re.sub(r"\((\d+), (\d+)\) {", r"(0, \2) {", TEXT)
    assert altered != TEXT
    assert renewed(altered, DOCUMENT.name) == TEXT
