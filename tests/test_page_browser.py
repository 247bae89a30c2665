"""Pages in a real browser: nothing is asked of anywhere, filters reach every chart and table, foreign text stays text."""

from __future__ import annotations

import re
import shutil

import pytest

from benchmarks.cli.report_command import page_of
from benchmarks.reports.page import render_page
from benchmarks.reports.page.verdict_page import verdict_page
from tests import pages
from tests.test_page import BASELINE, comparison

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install --no-install-recommends chromium"),
    # Many browsers at once on few cores are slow; nothing here looks at a clock.
    pytest.mark.xdist_group("browser"),
]
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 120_000
FASTEST = "[data-chart=fastest]"


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests."""
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The pages: of the stored default run, of a ladder, of foreign names, of 5,000 cells, of a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    ladder = pages.write_run(folder / "ladder", pages.ladder())
    hostile = pages.write_run(folder / "hostile", pages.hostile(), pages.hostile_environment())
    many = pages.write_run(folder / "many", pages.many(5000))
    made = {
        "default": page_of([BASELINE], None, folder / "default.html"),
        "ladder": page_of([ladder], None, folder / "ladder.html"),
        "hostile": page_of([hostile], None, folder / "hostile.html"),
        "many": page_of([many], None, folder / "many.html"),
        "comparison": render_page(verdict_page(comparison())),
    }
    for name, html in made.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return folder


@pytest.fixture
def opened(browser, files):
    """A function that opens a page and waits until all of it is drawn; afterwards no complaint and no request was made."""
    complaints, requests, contexts = [], [], []

    def open_page(name, address="", *, width=1280, theme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"file://{files / name}.html{address}")
        idle(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == len(contexts)


def idle(page):
    """Wait until every chart is drawn as the filters want it."""
    page.wait_for_selector("html[data-ready=yes][data-idle=yes]", state="attached")


def marks(page, chart):
    """How many cells a chart draws."""
    return page.locator(f"[data-chart={chart}] .role-mark.mark-rect path").count()


def choose(page, field, *values):
    """Tick these boxes of a filter, and wait until the page shows it."""
    fold = page.locator(f"[data-filter={field}]")
    fold.locator("summary").click()
    for value in values:
        fold.get_by_label(value, exact=True).check()
    page.keyboard.press("Escape")
    page.wait_for_function("document.documentElement.dataset.renders >= 1")
    idle(page)


def test_every_chart_of_the_default_page_is_drawn(opened):
    """All charts of the default suite have marks, a description and a table; cells of the heat map are the run's cells."""
    page = opened("default")
    charts = page.locator("[data-chart]")
    assert charts.count() >= 7
    for place in range(charts.count()):
        assert charts.nth(place).locator("svg path").count() > 0
        assert charts.nth(place).locator("[role=img]").get_attribute("aria-label")
        assert charts.nth(place).locator("details.as-table").count() == 1
    assert marks(page, "fastest") == 190


def test_filters_change_marks_and_tables_once(opened):
    """A filter redraws every chart and table with its cells alone, each once; another framework's cells are gone."""
    page = opened("default")
    before = page.locator(FASTEST).get_attribute("data-drawn")
    choose(page, "framework", "jax")
    assert marks(page, "fastest") == 40
    assert page.locator(FASTEST).get_attribute("data-drawn") == str(int(before) + 1)
    assert page.evaluate("document.documentElement.dataset.renders") == "1"
    assert set(page.locator("#overall tbody th").all_inner_texts()) == {
        "jax/naive",
        "jax/naive-jit",
        "jax/chunked",
        "jax/nn",
    }
    assert "40 of 190" in page.locator("#told").inner_text()
    assert "framework=jax" in page.url
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.documentElement.dataset.renders === '2'")
    idle(page)
    assert marks(page, "fastest") == 190


def test_address_restores_a_view(opened):
    """Filters, sorting and section in the address are what the page opens with; unknown values are passed over."""
    page = opened("default", "#s=cells&framework=torch&dtype=float16&dtype=nothing&sort.all=-median_s")
    assert marks(page, "fastest") == 5
    rows = page.locator("#all tbody tr")
    assert rows.count() == 5
    assert page.locator("#all th[aria-sort=descending]").inner_text().startswith("median")
    assert page.evaluate("scrollY") > 1000
    assert page.evaluate("document.querySelector('[data-filter=framework] b').textContent") == "torch"


def test_headers_sort(opened):
    """A header sorts up, then down, as its aria-sort says; what is not known stays last."""
    page = opened("ladder")
    table = page.locator("#all")
    header = table.get_by_role("button", name=re.compile("^median"))
    place = table.locator("thead th").all_inner_texts().index("median")

    def values():
        return page.evaluate(
            "(place) => [...document.querySelectorAll('#all tbody tr')].map((row) => row.children[place].textContent)",
            place,
        )

    def seconds(text):
        number, unit = text.split()
        return float(number) * {"s": 1, "ms": 1e-3, "us": 1e-6}[unit]

    for order in ("ascending", "descending"):
        header.click()
        assert table.locator(f"th[aria-sort={order}]").inner_text().strip().startswith("median")
        known = [seconds(text) for text in values() if text]
        assert known == sorted(known, reverse=order == "descending")
        assert values()[-4:] == [""] * 4


def test_keyboard_reaches_everything(opened):
    """With Tab alone: the skip link, the theme, the sections, a filter that Enter opens and Space sets, a chart's region."""
    page = opened("default")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "[document.activeElement.tagName, document.activeElement.closest('[data-filter]')?.dataset.filter ?? '']"
            )
        )
        if seen[-1] == ["SUMMARY", "framework"]:
            break
    assert ["BUTTON", ""] in seen
    assert ["A", ""] in seen
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-filter=framework] input")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.wait_for_function("document.documentElement.dataset.renders === '1'")
    idle(page)
    assert marks(page, "fastest") == 20
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    regions = page.locator(".scroll")
    assert regions.count() > 10
    assert page.locator(".scroll[tabindex='0'][role=region][aria-label]").count() == regions.count()


def test_hover_tells_the_numbers(opened):
    """Pointing at a cell shows its case, implementation and time; Escape takes it away."""
    page = opened("default")
    page.locator(f"{FASTEST} .role-mark.mark-text text").first.hover()
    tip = page.locator("#tip")
    tip.wait_for(state="visible")
    assert "self-128" in tip.inner_text()
    assert "median" in tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_light_and_dark(opened):
    """The system's theme and the switch change page and charts, without drawing them anew."""
    look = """[getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector('.role-axis-label text')).fill]"""
    light, dark = opened("default"), opened("default", theme="dark")
    assert light.evaluate(look)[0] == "rgb(255, 255, 255)"
    assert dark.evaluate(look)[0] != light.evaluate(look)[0]
    assert dark.evaluate(look)[1] != light.evaluate(look)[1]
    for _ in range(2):  # as the system, light, dark
        light.locator("#theme").click()
    assert light.evaluate(look) == dark.evaluate(look)
    assert light.locator(FASTEST).get_attribute("data-drawn") == "1"
    light.emulate_media(media="print")
    assert light.evaluate(look)[0] == "rgb(255, 255, 255)"


@pytest.mark.parametrize("name", ["default", "hostile", "comparison"])
def test_narrow_screens(opened, name):
    """At 390 pixels nothing but tables and charts in their own frames goes beyond the screen."""
    page = opened(name, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_foreign_names_stay_text(opened):
    """Markup, script ends, templates and 10,000 letters are shown as text: no element, no code, no title of theirs."""
    page = opened("hostile")
    assert "taken" not in page.title().replace("document.title='taken'", "")
    assert page.locator("img, b b, main script").count() == 0
    assert page.evaluate("document.scripts.length") == 3
    names = page.locator("#all tbody th").all_inner_texts()
    assert pages.HOSTILE[0] in names
    assert "{{7*7}}" in names
    assert any("10,006 letters" in name for name in page.locator("#overall tbody th").all_inner_texts())
    assert "\u202e" not in page.content()
    choose(page, "case", pages.HOSTILE[1])
    assert set(page.locator("#all tbody th").all_inner_texts()) == {pages.HOSTILE[1]}


def test_five_thousand_cells(opened):
    """Large charts are pictures, tables come in parts, one filter is one drawing, and the theme reaches pictures."""
    page = opened("many")
    assert page.locator(f"{FASTEST} canvas").count() == 1
    assert page.locator("#all tbody tr").count() == 50
    assert page.locator(FASTEST).get_attribute("data-rows") == "5000"
    choose(page, "framework", "jax")
    assert page.locator(FASTEST).get_attribute("data-rows") == "1000"
    assert page.locator(FASTEST).get_attribute("data-drawn") == "2"
    page.locator("#all .more").click()
    assert page.locator("#all tbody tr").count() == 550
    for _ in range(2):
        page.locator("#theme").click()
    page.wait_for_function("document.querySelector('[data-chart=fastest]').dataset.drawn >= 3")
    idle(page)


def test_comparison_in_the_browser(opened):
    """A comparison shows its verdicts and intervals, and filters by verdict."""
    page = opened("comparison")
    assert marks(page, "verdict-map") == 5
    choose(page, "verdict", "slower")
    assert marks(page, "verdict-map") == 1
    assert page.locator("#all tbody tr").count() == 1
