"""The pictures of reports in README and docs, taken in headless Chromium from a stored run: `nox -s screenshots`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.cli.report_command import page_of

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RUN = ROOT / "results" / "baselines" / "amd-epyc-25-1-avx2-2-cores" / "default"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--force-device-scale-factor=1"]
PATIENCE_MS = 120_000


@dataclass(frozen=True)
class Shot:
    """One picture."""

    name: str
    section: str = ""
    """Only this section; empty: the top of the page."""
    theme: str = "light"
    width: int = 1100
    height: int = 0
    """0: as much as there is."""


SHOTS = (
    Shot("report-heatmap", width=1240, height=1060),
    Shot("report-dark", theme="dark", width=1240, height=1060),
    Shot("report-narrow", width=390, height=1250),
    Shot("report-limit", "lengths"),
    Shot("report-conformance", "conformance"),
)


def take(page: Page, shot: Shot) -> bytes:
    """The picture as PNG."""
    page.wait_for_selector("html[data-ready=yes][data-idle=yes]", state="attached", timeout=PATIENCE_MS)
    top, height = 0.0, float(shot.height)
    if shot.section:
        box = page.locator(f"#{shot.section}").bounding_box()
        assert box is not None
        top, height = box["y"], box["height"] + 12
    return page.screenshot(clip={"x": 0, "y": top, "width": shot.width, "height": height}, full_page=True)


def main() -> None:
    """Write all of them beside this file."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium: apt-get install --no-install-recommends chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        file = Path(folder) / "report.html"
        file.write_text(page_of([RUN], None, file), encoding="utf-8")
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for shot in SHOTS:
            viewport = {"width": shot.width, "height": shot.height or 1000}
            page = browser.new_page(viewport=viewport, color_scheme=shot.theme)  # type: ignore[arg-type]  # typed dicts
            page.goto(file.as_uri())
            (HERE / f"{shot.name}.png").write_bytes(take(page, shot))
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
