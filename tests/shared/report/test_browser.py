"""The page as a browser lays it out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from shared.report import Report, render

CHROMIUM = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
)
MEASURE = """<script>
const wide = [...document.querySelectorAll("svg")].filter(drawing => drawing.getBoundingClientRect().height < 10);
document.body.dataset.measured = [document.documentElement.scrollWidth, window.innerWidth, wide.length,
  performance.getEntriesByType("resource").length].join(" ");
</script></body>"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 700, 500])
def test_a_page_is_as_wide_as_its_window_and_loads_nothing(
    reports: tuple[Report, ...], tmp_path: Path, width: int
) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(reports, title="flights").replace("</body>", MEASURE))

    done = subprocess.run(
        [
            *CHROMIUM,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},2000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    measured = re.search(r'data-measured="(\d+) (\d+) (\d+) (\d+)"', done.stdout)
    assert measured is not None
    page_width, window, flat, resources = map(int, measured.groups())
    assert page_width <= window
    assert flat == 0
    assert resources == 0
